/** Code blocks: a copy button, and syntax highlighting for known languages. */
export class Code {
  constructor(root: HTMLElement, onCopy: (copied: boolean) => void);
  /** Call after each frame that showed more text. */
  refresh(): void;
  /** Drops the highlights of elements that are no longer on the page; call it also after the root itself has left it. */
  forget(): void;
}
