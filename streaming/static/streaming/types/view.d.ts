export interface ViewOptions {
  /** Show half-typed syntax as what it will be; true. */
  heal?: boolean;
  /** Mark where text is to come with the attribute `data-cursor`; true. */
  cursor?: boolean;
  /** Of a button on each block of code, which `Code` answers. */
  copyLabel?: string;
  /** Of what is to do, and of what is done, in lists of tasks. */
  taskLabels?: [string, string];
  /** The level of the heading above, of which those of the text are parts. */
  headingOffset?: number;
}

/** Shows a Markdown text while it grows. */
export class MarkdownView {
  constructor(root: Element, options?: ViewOptions);
  /** All the text so far. */
  source: string;
  append(text: string): void;
  /** Once a frame: brings the page up to date. */
  flush(): void;
  /** No more text will come. */
  end(): void;
}
