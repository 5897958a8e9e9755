export interface ViewOptions {
  /** Show incomplete syntax as what it will become; default true. */
  heal?: boolean;
  /** Mark where text will appear with the attribute `data-cursor`; default true. */
  cursor?: boolean;
  /** Label of the copy button on each code block, which `Code` handles. */
  copyLabel?: string;
  /** Labels of open and of completed tasks in task lists. */
  taskLabels?: [string, string];
  /** What the number of a footnote is called, such as "Footnote". */
  noteLabel?: string;
  /** The level of the heading above the text. */
  headingOffset?: number;
}

/** Shows growing Markdown text. */
export class MarkdownView {
  constructor(root: Element, options?: ViewOptions);
  /** The text so far. */
  source: string;
  append(text: string): void;
  /** Renders the text appended so far; call once per frame. */
  flush(): void;
  /** No more text will come. */
  end(): void;
}
