// Shows a Markdown text while it grows: final parts once, the open tail on each flush.

import { Blocks, continuation, fits, unclosed } from "./blocks.js";
import { createMarkdown } from "./dialect.js";
import { presentable } from "./heal.js";
import { CURSOR, patch } from "./patch.js";

/** @typedef {import("./blocks.js").Part} Part */
/** @typedef {import("./blocks.js").References} References */
/** @typedef {import("./dialect.js").Env & { references: References }} Env */
/** @typedef {import("./patch.js").Place} Place */

/**
 * A final block that may be shown anew: when a link definition comes that it was not shown with, and at the end, if
 * it was healed.
 * @typedef {{ source: string, place: Place, known: References, healed: boolean }} Linked
 */

const md = createMarkdown();

export class MarkdownView {
  /** All the text so far. */
  source = "";
  #root;
  #heal;
  #hasCursor;
  #blocks = new Blocks(md);
  /** Where the tail begins, or the open container does. @type {Place} */
  #top;
  /** Where the tail goes on in the open container. @type {Place | null} */
  #inside = null;
  /** What the beginning of the open container was shown with. @type {Omit<Linked, "source" | "place">} */
  #opened = { known: {}, healed: false };
  /** @type {Linked[]} */
  #linked = [];
  #checked = 0;
  /** The link definitions that all blocks before `#checked` were shown with. @type {References} */
  #references = {};
  /** Labels that were shown in brackets because nothing defined them yet. @type {Set<string>} */
  #bracketed = new Set();
  /** @type {Element | null} */
  #cursor = null;
  #copyLabel;

  /**
   * @param {Element} root
   * @param {{ heal?: boolean, cursor?: boolean, copyLabel?: string }} [options]  heal: show half-typed syntax
   *   as what it will be; copyLabel: of a button on each block of code (`Code` in code.js answers it)
   */
  constructor(root, { heal = true, cursor = true, copyLabel } = {}) {
    this.#root = root;
    this.#top = { parent: root, last: null, kept: 0 };
    this.#heal = heal;
    this.#hasCursor = cursor;
    this.#copyLabel = copyLabel;
    root.replaceChildren();
    this.#moveCursor();
  }

  /** @param {string} text */
  append(text) {
    this.source += text;
    this.#blocks.append(text);
  }

  /** Once a frame: brings the page up to date. */
  flush() {
    for (const part of this.#blocks.settle()) this.#commit(part);
    this.#showTail();
    this.#moveCursor();
  }

  /** No more text will come: what is there is shown as it stands. */
  end() {
    this.#heal = this.#hasCursor = false;
    for (const linked of this.#linked) if (linked.healed) this.#showAgain(linked);
    if (this.#opened.healed) this.#reopen();
    this.flush();
  }

  /** @param {Part} part */
  #commit(part) {
    const { container, opened } = part;
    const env = this.#env(this.#blocks.references);
    const tokens = this.#blocks.parse(part, env);
    const shown = { known: this.#blocks.references = env.references, healed: Boolean(env.healed) };
    if (container && this.#inside) {
      const { inside, after } = continuation(tokens, container);
      const end = patch(this.#inside, inside);
      this.#opened.healed ||= shown.healed;
      this.#inside = end.place;
      if (opened) return;
      end.close();
      this.#close({ ...part, source: container.source + part.source }, this.#opened, patch(this.#behind(), after).place);
    } else if (opened) {
      this.#inside = patch(this.#top, unclosed(tokens, opened)).place;
      this.#opened = shown;
    } else this.#close(part, shown, patch(this.#top, tokens).place);
  }

  /**
   * @param {Part} part
   * @param {Omit<Linked, "source" | "place">} shown
   * @param {Place} end
   */
  #close({ source }, shown, end) {
    if (source.includes("[")) this.#linked.push({ source, place: this.#top, ...shown });
    this.#top = end;
    this.#inside = null;
    this.#opened = { known: {}, healed: false };
  }

  /** @returns {void} */
  #showTail() {
    const { container, readable, references } = this.#blocks;
    const { text, open } = this.#heal ? presentable(readable) : { text: readable, open: false };
    const env = { ...this.#env(references), open };
    const tokens = md.parse(text, env);
    const isAsBefore = !container?.source.includes("[") || isSame(this.#opened.known, env.references);
    if (container && !(fits(tokens, container) && isAsBefore)) {
      this.#reopen();
      return this.#showTail();
    }
    this.#link(env.references);
    if (!container || !this.#inside) patch(this.#top, tokens).close();
    else {
      const { inside, after } = continuation(tokens, container);
      patch(this.#inside, inside).close();
      patch(this.#behind(), after).close();
    }
  }

  /** The place behind the open container. @returns {Place} */
  #behind() {
    const { parent, last } = this.#top;
    return { parent, last: last ? last.nextSibling : parent.firstChild, kept: 0 };
  }

  #reopen() {
    this.#blocks.reopen();
    this.#inside = null;
    this.#opened = { known: {}, healed: false };
  }

  /**
   * A link definition counts for all the text, also for what came before it.
   * @param {References} references
   */
  #link(references) {
    const changed = !isSame(references, this.#references);
    this.#references = references;
    for (const linked of this.#linked.slice(changed ? 0 : this.#checked)) if (!isSame(linked.known, references)) this.#showAgain(linked);
    this.#checked = this.#linked.length;
  }

  /** @param {Linked} linked */
  #showAgain(linked) {
    const env = this.#env(this.#references);
    patch(linked.place, md.parse(linked.source, env));
    linked.known = this.#references;
    linked.healed = Boolean(env.healed);
  }

  /** @param {References} references @returns {Env} */
  #env(references) {
    return { references: { ...references }, copyLabel: this.#copyLabel, bracketed: this.#heal ? this.#bracketed : undefined };
  }

  #moveCursor() {
    const element = this.#hasCursor ? lastElement(this.#root) : null;
    if (element === this.#cursor) return;
    this.#cursor?.removeAttribute(CURSOR);
    element?.setAttribute(CURSOR, "");
    this.#cursor = element;
  }
}

/**
 * @param {References} some
 * @param {References} others
 */
function isSame(some, others) {
  if (some === others) return true;
  const labels = Object.keys(some);
  return labels.length === Object.keys(others).length
    && labels.every((label) => some[label]?.href === others[label]?.href && some[label]?.title === others[label]?.title);
}

/** The element that ends with the last character: a row may have cells that are still empty. @param {Element} root */
function lastElement(root) {
  let element = root;
  for (;;) {
    const last = element.localName === "tr" ? [...element.children].findLast((cell) => cell.hasChildNodes()) : element.lastChild;
    if (!(last instanceof Element) || ["br", "hr", "input"].includes(last.localName)) return element;
    element = last;
  }
}
