/** Blocks of code: a button that copies each, and colours for languages that are known. */
export class Code {
  constructor(root: HTMLElement, onCopy: (copied: boolean) => void);
  /** After each frame that showed more. */
  refresh(): void;
  /** Colours of what is not on the page any more. */
  forget(): void;
}
