/** Keeps growing content scrolled to the bottom until the user scrolls away. */
export class Scroll {
  constructor(scroller: HTMLElement, content: HTMLElement, onChange: (stuck: boolean) => void);
  /** Call after each frame that showed more text. */
  follow(): void;
  toEnd(): void;
  /** Call when the scroller leaves the page, or shall no longer follow: nothing listens or moves any more. */
  destroy(): void;
}
