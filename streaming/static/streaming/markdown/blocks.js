// What of a growing Markdown text can never change again, and the open tail that still can.
//
// CommonMark decides blocks line by line, and only the last block of a text is open. So the parse of the complete
// lines, never of a half-typed one, makes every block but the last final. Link definitions before the last block
// stay in the tail, for the next line may still become their title.
//
// One long block would be an open tail for as long as it lasts. So what stands in it is final too: the items of a list
// and the blocks of a quote but the last, the rows of a table, the lines of code, and a paragraph as far as no mark in
// it waits for its other half. The block stays open, a container, and the tail goes on inside.

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {NonNullable<import("./dialect.js").Env["references"]>} References */
/** @typedef {import("./dialect.js").Markdown} Markdown */

/**
 * A block whose beginning, `source`, is final. Its `head` must stand before the tail for that to be read as going on
 * with it. It goes on in an element that lies `depth` deep in the block's own. One blank line between its items makes
 * all paragraphs of a list loose.
 * @typedef {{ type: string, head: string, depth: number, loose: boolean, source: string }} Container
 */

/**
 * Final source. It begins inside `container`, behind whose head it is `readable`, or at the top; what is left of it goes
 * on inside `opened`.
 * @typedef {{ source: string, readable: string, container: Container | null, opened: Container | null }} Part
 */

// A tail that is longer may be one long line, or a long paragraph.
const LONG = 500;
// Where a paragraph may be cut: before a space, or after a comma or a stop that no space follows. The next piece is
// read behind such a comma, which nothing clings to.
const SEAM = /[^\s\\](?=[ \n])|[，。；：！？](?=\p{Script=Han})/gu;
const SEAM_HEAD = "，";
// What may wait for its other half: a mark that begins something, a bracket, a target that is not complete.
const WAITING = /`|\\[([]|\$\$|<(?:sub|sup|kbd)>|\[|\]\(|\*(?!\s)|~~(?!\s)|(?<![\p{L}\p{N}])_(?!\s)/u;

export class Blocks {
  tail = "";
  /** @type {Container | null} */
  container = null;
  /** The link definitions of all final parts. @type {References} */
  references = {};
  #md;
  #looked = true;
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
    if (lines.includes("\n") || this.tail.length > this.#long) this.#looked = false;
  }

  /** What else became final, a part at a time. @returns {Part | null} */
  settle() {
    const part = this.#looked ? null : this.#next();
    this.#looked = !part;
    return part;
  }

  /** The tail as it can be read. */
  get readable() {
    return (this.container?.head ?? "") + this.tail;
  }

  /**
   * Takes the container back into the tail: it turned out to be something else after all.
   * @param {boolean} [looksAgain]  at once, and not when more has come
   */
  reopen(looksAgain = false) {
    this.tail = (this.container?.source ?? "") + this.tail;
    this.container = null;
    this.#looked = !looksAgain;
  }

  /** @returns {Part | null} */
  #next() {
    const { container, tail, readable } = this;
    const complete = readable.slice(0, readable.lastIndexOf("\n") + 1);
    const isLong = tail.length > this.#long;
    // A line this long that is read as a paragraph's will be one.
    const whole = isLong && readable.length - complete.length > LONG ? this.#look(readable) : null;
    const found = whole?.blocks.at(-1)?.type === "paragraph_open" ? whole : this.#look(complete);
    if (container && !fits(found.tokens, container)) return null;
    const end = found.blocks.length > 1 ? lines(found.source, 0, found.blocks.at(-2)?.map?.[1]).length : 0;
    const part = end > 0 ? this.#cut(end, null) : this.#open(found, isLong);
    if (part) this.#long = LONG;
    // What could not be cut is looked at again when it has doubled, or the cost would be the square of its length.
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
   * What of the only block is final.
   * @param {{ source: string, tokens: Token[], blocks: Token[] }} found
   * @param {boolean} isLong
   */
  #open({ source, tokens, blocks: [block] }, isLong) {
    if (!block) return null;
    const { type } = block;
    if (type === "paragraph_open")
      return this.#openAt(isLong ? this.#seam(source) : 0, { type, head: SEAM_HEAD, depth: 0, loose: true });
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
    // A table's first row is its head.
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
    // Without a paragraph there is nothing to tell tight from loose by.
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
   * A late place in a long paragraph where nothing before it can still change. To look for the latest would cost a
   * parse for each: of three one is nearly always quiet.
   * @param {string} source
   */
  #seam(source) {
    if (source.trimStart()[0] === "[") return 0;
    const seams = [...source.matchAll(SEAM)].map((seam) => seam.index + 1);
    return (
      [1, 0.7, 0.3]
        .map((share) => seams[Math.ceil(seams.length * share) - 1] ?? 0)
        .find((end) => this.#isQuiet(source.slice(0, end))) ?? 0
    );
  }

  /** @param {string} source */
  #isQuiet(source) {
    // A line with bars may become the head of a table.
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
 * Whether the tail, read behind its container's head, goes on with it as the whole text would. An item that has no
 * paragraph does not tell whether a list is tight, and then it may not be.
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
 * Tokens of what was read with a container's head, or opens one, as they are in the whole text.
 * @param {Token[]} tokens
 * @param {Container | null} container  that they begin in
 * @param {Container | null} [opened]  that they end in
 */
export function inContext(tokens, container, opened) {
  const list = opened ?? container;
  if (list?.loose && list.type.endsWith("_list_open"))
    for (const paragraph of paragraphsOf(tokens)) paragraph.hidden = false;
  const [first] = (container?.type === "paragraph_open" && tokens[1]?.children) || [];
  if (first) first.content = first.content.slice(SEAM_HEAD.length);
  return tokens;
}

/** The tokens of the first block. @param {Token[]} tokens */
function firstBlock(tokens) {
  return tokens.slice(0, tokens.findIndex(({ level, nesting }) => level === 0 && nesting === -1) + 1);
}

/** The paragraphs, opening and closing tokens, that stand directly in the items of a list. @param {Token[]} tokens */
function paragraphsOf(tokens) {
  return firstBlock(tokens).filter(({ type, level }) => level === 2 && type.startsWith("paragraph_"));
}

/** A fence has one line that is not its content, and another when it is closed. @param {Token} fence */
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
