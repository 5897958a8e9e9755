// What of a growing Markdown text can never change again, and the open tail that still can.
//
// CommonMark decides blocks line by line, and only the last block of a text is open. So the parse of the complete
// lines, never of a half-typed one, makes every block but the last final. Link definitions before the last block
// stay in the tail, for the next line may still become their title.
//
// A long list or table would be one open block for as long as it lasts. So its items but the last, or rows, are final
// too: the container stays open, and the tail goes on inside.

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {NonNullable<import("./dialect.js").Env["references"]>} References */
/** @typedef {import("./dialect.js").Markdown} Markdown */

/**
 * A list or table whose first items are final. A table's head must precede its next rows for them to be read as rows.
 * One blank line between its items makes all paragraphs of a list loose.
 * @typedef {{ type: "list" | "table", head: string, loose: boolean, source: string }} Container
 */

/**
 * Final source. It begins inside `container`, or at the top; what is left of it goes on inside `opened`.
 * @typedef {{ source: string, container: Container | null, opened: Container | null }} Part
 */

/** Tokens that go on inside an open container, and those that follow it. @typedef {{ inside: Token[], after: Token[] }} Continuation */

export class Blocks {
  tail = "";
  /** @type {Container | null} */
  container = null;
  /** The link definitions of all final parts. @type {References} */
  references = {};
  #md;
  #looked = true;
  #afterCR = false;

  /** @param {Markdown} md */
  constructor(md) {
    this.#md = md;
  }

  /** @param {string} text */
  append(text) {
    if (text === "") return;
    if (this.#afterCR && text[0] === "\n") text = text.slice(1);
    this.#afterCR = text.endsWith("\r");
    const lines = text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
    this.tail += lines;
    if (lines.includes("\n")) this.#looked = false;
  }

  /** What became final since the last call. @returns {Generator<Part, void, undefined>} */
  *settle() {
    while (!this.#looked) {
      const part = this.#next();
      if (part) yield part;
      else this.#looked = true;
    }
  }

  /** The tail as it can be read: behind the head of the table it goes on with. */
  get readable() {
    return (this.container?.head ?? "") + this.tail;
  }

  /**
   * Takes the container's first items back into the tail, until the next complete line. A list needs this once, if it
   * turns out to be loose after all.
   */
  reopen() {
    this.tail = (this.container?.source ?? "") + this.tail;
    this.container = null;
    this.#looked = true;
  }

  /**
   * Tokens of a final part. The link definitions in it are added to `references`.
   * @param {Part} part
   * @param {References} references
   */
  parse(part, references) {
    return this.#md.parse((part.container?.head ?? "") + part.source, { references });
  }

  /** @returns {Part | null} */
  #next() {
    const { container } = this;
    const head = container?.head ?? "";
    const complete = head + this.tail.slice(0, this.tail.lastIndexOf("\n") + 1);
    /** @type {Token[]} */
    const tokens = [];
    this.#md.block.parse(complete, this.#md, { references: { ...this.references } }, tokens);
    if (container && !fits(tokens, container)) return null;
    const blocks = tokens.filter(({ level, nesting, map, type }) => level === 0 && nesting >= 0 && map && type !== "reference_definition");
    if (blocks.length > 1) return this.#cut(complete, head, endLine(blocks.at(-2)), null);
    const opened = blocks[0] && openedBy(blocks[0], tokens, complete);
    if (!opened) return null;
    const loose = opened.loose || Boolean(container?.loose);
    return this.#cut(complete, head, opened.line, { ...opened, loose, source: container?.source ?? "" });
  }

  /**
   * @param {string} complete
   * @param {string} head
   * @param {number} line
   * @param {Container | null} opened
   * @returns {Part | null}
   */
  #cut(complete, head, line, opened) {
    const end = lineOffset(complete, line) - head.length;
    if (end <= 0) return null;
    const part = { source: this.tail.slice(0, end), container: this.container, opened };
    this.tail = this.tail.slice(end);
    if (opened) opened.source += part.source;
    this.container = opened;
    return part;
  }
}

/**
 * A list or table that goes on, and the line where its last item or row begins.
 * @param {Token} block
 * @param {Token[]} tokens
 * @param {string} source
 */
function openedBy(block, tokens, source) {
  const isTable = block.type === "table_open";
  if (!isTable && !block.type.endsWith("_list_open")) return null;
  const items = tokens.filter(({ type, level }) => (isTable ? type === "tr_open" && level === 2 : type === "list_item_open" && level === 1));
  // A table's first row is its head.
  const last = items.length > (isTable ? 2 : 1) ? items.at(-1) : undefined;
  if (!last?.map) return null;
  const { map: [line] } = last;
  if (isTable) return { type: /** @type {const} */ ("table"), line, loose: false, head: linesOf(source, startLine(block), 2) };
  const paragraphs = paragraphsOf(tokens);
  // Without a paragraph there is nothing to tell tight from loose by.
  if (paragraphs.length === 0) return null;
  return { type: /** @type {const} */ ("list"), line, loose: paragraphs.some(({ hidden }) => !hidden), head: "" };
}

/**
 * Whether the tail, read alone, goes on with the container as the whole text would. An item that has no paragraph does
 * not tell whether the list is tight, and then it may not be.
 * @param {Token[]} tokens
 * @param {Container} container
 */
export function fits(tokens, { type, loose }) {
  const first = tokens[0]?.type ?? "";
  if (type === "table") return first === "table_open";
  if (!first.endsWith("_list_open") || loose) return first.endsWith("_list_open");
  const items = itemsOf(tokens).length;
  const paragraphs = paragraphsOf(tokens);
  return paragraphs.length >= 2 * items && paragraphs.every(({ hidden }) => hidden);
}

/**
 * Tokens of what was read with a container's head: those that belong inside, and those after it.
 * @param {Token[]} tokens
 * @param {Container} container
 * @returns {Continuation}
 */
export function continuation(tokens, { type, loose }) {
  const end = tokens.findIndex(({ level, nesting }) => level === 0 && nesting === -1);
  if (loose) for (const paragraph of paragraphsOf(tokens)) paragraph.hidden = false;
  const [first, last] = type === "table"
    ? [tokens.findIndex((token) => token.type === "tbody_open"), tokens.findIndex((token) => token.type === "tbody_close")]
    : [0, end];
  return { inside: first === -1 ? [] : tokens.slice(first + 1, last), after: tokens.slice(end + 1) };
}

/**
 * Tokens of a part that ends inside the container it opens: without the end of the container.
 * @param {Token[]} tokens
 * @param {Container} opened
 */
export function unclosed(tokens, { type, loose }) {
  if (loose) for (const paragraph of paragraphsOf(tokens)) paragraph.hidden = false;
  return tokens.slice(0, type === "table" ? -2 : -1);
}

/** The tokens of the first block. @param {Token[]} tokens */
function firstBlock(tokens) {
  return tokens.slice(0, tokens.findIndex(({ level, nesting }) => level === 0 && nesting === -1));
}

/** The items of the first list. @param {Token[]} tokens */
function itemsOf(tokens) {
  return firstBlock(tokens).filter(({ type, level }) => level === 1 && type === "list_item_open");
}

/** The paragraphs, opening and closing tokens, that stand directly in those items. @param {Token[]} tokens */
function paragraphsOf(tokens) {
  return firstBlock(tokens).filter(({ type, level }) => level === 2 && type.startsWith("paragraph_"));
}

/** @param {Token | undefined} token */
const startLine = (token) => token?.map?.[0] ?? 0;
/** @param {Token | undefined} token */
const endLine = (token) => token?.map?.[1] ?? 0;

/**
 * @param {string} text
 * @param {number} first
 * @param {number} count
 */
function linesOf(text, first, count) {
  return text.slice(lineOffset(text, first), lineOffset(text, first + count));
}

/**
 * @param {string} text
 * @param {number} line
 */
function lineOffset(text, line) {
  let offset = 0;
  for (; line > 0; line--) {
    const end = text.indexOf("\n", offset);
    if (end === -1) return text.length;
    offset = end + 1;
  }
  return offset;
}
