// Splits growing Markdown text into final parts, which can never change again, and the open tail, which still can.
//
// CommonMark decides blocks line by line, and only the last block of a text is open. So the parse of the complete
// lines, never of a half-typed one, makes every block but the last final. Link definitions before the last block
// stay in the tail, as the next line may still become their title.
//
// A long block would keep the tail long until it ends. So its finished contents become final too: all but the last item
// of a list or block of a quote, rows of a table, lines of code, and a paragraph up to where no mark still waits for its
// counterpart. The block itself stays open as a container, and the tail continues inside it.

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {NonNullable<import("./dialect.js").Env["references"]>} References */
/** @typedef {import("./dialect.js").Markdown} Markdown */

/**
 * A block whose beginning, `source`, is final. The tail is parsed with `head` in front of it, so that it continues the
 * block. Its content continues in an element `depth` levels inside the block's element. `loose`: a list with a blank line
 * between items, whose paragraphs are all shown.
 * @typedef {{ type: string, head: string, depth: number, loose: boolean, source: string }} Container
 */

/**
 * Final source. It begins inside `container` (or at the top level); `readable` is the source with the container's head in
 * front. The text after it continues inside `opened`.
 * @typedef {{ source: string, readable: string, container: Container | null, opened: Container | null }} Part
 */

// A longer tail may be one long line, or a long paragraph.
const LONG = 500;
// Where a paragraph may be split: before a space, or after a comma or full stop without a space. The next piece is
// parsed with such a comma in front of it, as a comma never combines with what follows.
const SPLIT_POINTS = /[^\s\\](?=[ \n])|[，。；：！？](?=\p{Script=Han})/gu;
const CONTINUED_PARAGRAPH = "，";
// What may wait for its counterpart: an opening mark, a bracket, an incomplete link target.
const WAITING = /`|\\[([]|\$\$|<(?:sub|sup|kbd)>|\[|\]\(|\*(?!\s)|~~(?!\s)|(?<![\p{L}\p{N}])_(?!\s)/u;

export class Blocks {
  tail = "";
  /** @type {Container | null} */
  container = null;
  /** The link definitions of all final parts. @type {References} */
  references = {};
  #md;
  #isParsed = true;
  #afterCR = false;
  #long = LONG;

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
    if (lines.includes("\n") || this.tail.length > this.#long) this.#isParsed = false;
  }

  /** Returns the next part that became final, or null. @returns {Part | null} */
  takeFinalPart() {
    const part = this.#isParsed ? null : this.#next();
    this.#isParsed = !part;
    return part;
  }

  /** The tail with its container's head in front, ready to be parsed. */
  get readable() {
    return (this.container?.head ?? "") + this.tail;
  }

  /**
   * Moves the container back into the tail, because it turned out to be a different block.
   * @param {boolean} [parseNow]  parse again at once rather than when more text has arrived
   */
  reopen(parseNow = false) {
    this.tail = (this.container?.source ?? "") + this.tail;
    this.container = null;
    this.#isParsed = !parseNow;
  }

  /** @returns {Part | null} */
  #next() {
    const { container, tail, readable } = this;
    const complete = readable.slice(0, readable.lastIndexOf("\n") + 1);
    const isLong = tail.length > this.#long;
    // A line this long that parses as a paragraph will stay one.
    const whole = isLong && readable.length - complete.length > LONG ? this.#look(readable) : null;
    const found = whole?.blocks.at(-1)?.type === "paragraph_open" ? whole : this.#look(complete);
    if (container && !fits(found.tokens, container)) return null;
    const end = found.blocks.length > 1 ? lines(found.source, 0, found.blocks.at(-2)?.map?.[1]).length : 0;
    const part = end > 0 ? this.#cut(end, null) : this.#open(found, isLong);
    if (part) this.#long = LONG;
    // A block that could not be split is tried again when its length has doubled; otherwise the cost would be quadratic.
    else if (isLong) this.#long = 2 * tail.length;
    return part;
  }

  /** @param {string} source */
  #look(source) {
    /** @type {Token[]} */
    const tokens = [];
    this.#md.block.parse(source, this.#md, { references: { ...this.references } }, tokens);
    const blocks = tokens.filter(
      ({ level, nesting, map, type }) => level === 0 && nesting >= 0 && map && type !== "reference_definition",
    );
    return { source, tokens, blocks };
  }

  /**
   * The final part of the only block.
   * @param {{ source: string, tokens: Token[], blocks: Token[] }} found
   * @param {boolean} isLong
   */
  #open({ source, tokens, blocks: [block] }, isLong) {
    if (!block) return null;
    const { type } = block;
    if (type === "paragraph_open")
      return this.#openAt(isLong ? this.#splitPoint(source) : 0, {
        type,
        head: CONTINUED_PARAGRAPH,
        depth: 0,
        loose: true,
      });
    if (type === "fence")
      return isClosed(block)
        ? null
        : this.#openAt(source.length, { type, head: lines(source, startLine(block), 1), depth: 2, loose: true });
    const isTable = type === "table_open";
    const children = tokens.filter(
      (token) =>
        token.map &&
        token.nesting >= 0 &&
        (isTable
          ? token.type === "tr_open" && token.level === 2
          : token.level === 1 && token.type !== "reference_definition"),
    );
    // The first row of a table is its header.
    const last = children.length > (isTable ? 2 : 1) ? children.at(-1) : undefined;
    const end = lines(source, 0, startLine(last)).length;
    if (!type.endsWith("_list_open"))
      return this.#openAt(end, {
        type,
        head: isTable ? lines(source, startLine(block), 2) : "",
        depth: Number(isTable),
        loose: true,
      });
    const paragraphs = paragraphsOf(tokens);
    // Without a paragraph, a tight list cannot be distinguished from a loose one.
    return paragraphs.length
      ? this.#openAt(end, { type, head: "", depth: 0, loose: paragraphs.some(({ hidden }) => !hidden) })
      : null;
  }

  /**
   * @param {number} end
   * @param {Omit<Container, "source">} found
   */
  #openAt(end, found) {
    const { container } = this;
    return this.#cut(end, {
      ...found,
      loose: found.loose || Boolean(container?.loose),
      source: container?.source ?? "",
    });
  }

  /**
   * @param {number} end  in the readable tail
   * @param {Container | null} opened
   * @returns {Part | null}
   */
  #cut(end, opened) {
    const length = end - (this.container?.head.length ?? 0);
    if (length <= 0) return null;
    const part = {
      source: this.tail.slice(0, length),
      readable: this.readable.slice(0, end),
      container: this.container,
      opened,
    };
    this.tail = this.tail.slice(length);
    if (opened) opened.source += part.source;
    this.container = opened;
    return part;
  }

  /**
   * A late position in a long paragraph before which nothing can change. Each candidate costs a parse, so only three are
   * tried; one of them nearly always works.
   * @param {string} source
   */
  #splitPoint(source) {
    if (source.trimStart()[0] === "[") return 0;
    const points = [...source.matchAll(SPLIT_POINTS)].map((point) => point.index + 1);
    return (
      [1, 0.7, 0.3]
        .map((share) => points[Math.ceil(points.length * share) - 1] ?? 0)
        .find((end) => this.#isQuiet(source.slice(0, end))) ?? 0
    );
  }

  /** @param {string} source */
  #isQuiet(source) {
    // A line with pipes may become a table header.
    if (/\|[^\n]*$/.test(source)) return false;
    /** @type {Token[]} */
    const tokens = [];
    this.#md.inline.parse(source, this.#md, { references: this.references }, tokens);
    const text = tokens
      .map(({ type, info, markup, content }) => (type === "text" ? content : info === "escape" ? markup : " "))
      .join("");
    return !WAITING.test(text.replace(/\[[^[\]]*\](?!\()/g, ""));
  }
}

/**
 * Whether the tail, parsed after its container's head, continues the container as in the whole text. Items without a
 * paragraph do not show whether a list is tight, so the list must then not be tight.
 * @param {Token[]} tokens
 * @param {Container} container
 */
export function fits(tokens, { type, loose }) {
  if (type !== "fence" && tokens[0]?.type !== type) return false;
  if (loose) return true;
  const paragraphs = paragraphsOf(tokens);
  const items = firstBlock(tokens).filter((token) => token.level === 1 && token.type === "list_item_open");
  return paragraphs.length >= 2 * items.length && paragraphs.every(({ hidden }) => hidden);
}

/**
 * Adjusts tokens that were parsed with a container's head, or that open a container, to match those of the whole text.
 * @param {Token[]} tokens
 * @param {Container | null} container  that they begin in
 * @param {Container | null} [opened]  that they end in
 */
export function inContext(tokens, container, opened) {
  const list = opened ?? container;
  if (list?.loose && list.type.endsWith("_list_open"))
    for (const paragraph of paragraphsOf(tokens)) paragraph.hidden = false;
  const [first] = (container?.type === "paragraph_open" && tokens[1]?.children) || [];
  if (first) first.content = first.content.slice(CONTINUED_PARAGRAPH.length);
  return tokens;
}

/** The tokens of the first block. @param {Token[]} tokens */
function firstBlock(tokens) {
  return tokens.slice(0, tokens.findIndex(({ level, nesting }) => level === 0 && nesting === -1) + 1);
}

/** The opening and closing tokens of paragraphs directly within the items of a list. @param {Token[]} tokens */
function paragraphsOf(tokens) {
  return firstBlock(tokens).filter(({ type, level }) => level === 2 && type.startsWith("paragraph_"));
}

/** Whether a fence is closed: it then has two lines besides its content, otherwise one. @param {Token} fence */
function isClosed({ map, content }) {
  return map !== null && map[1] - map[0] - content.split("\n").length > 0;
}

/** @param {Token | undefined} token */
const startLine = (token) => token?.map?.[0] ?? 0;

/**
 * @param {string} text
 * @param {number} first
 * @param {number} [count]
 */
function lines(text, first, count = 0) {
  return (
    text
      .match(/[^\n]*\n|[^\n]+$/g)
      ?.slice(first, first + count)
      .join("") ?? ""
  );
}
