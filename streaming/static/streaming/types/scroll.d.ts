/** Stays at the bottom of what grows, until the reader scrolls away. */
export class Scroll {
  constructor(scroller: HTMLElement, content: HTMLElement, onChange: (stuck: boolean) => void);
  /** After each frame that showed more. */
  follow(): void;
  toEnd(): void;
}
