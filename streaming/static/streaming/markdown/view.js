// Shows a Markdown text while it grows: final parts once, the open tail on each flush.

import { Blocks, continuation, fits, unclosed } from "./blocks.js";
import { createMarkdown } from "./dialect.js";
import { presentable } from "./heal.js";
import { CURSOR, patch } from "./patch.js";

/** @typedef {import("./blocks.js").Container} Container */
/** @typedef {import("./blocks.js").Part} Part */
/** @typedef {import("./blocks.js").References} References */
/** @typedef {import("./dialect.js").Token} Token */

/** Where nodes may go on: in `parent`, after `last`. @typedef {{ parent: Element, last: ChildNode | null }} Place */

/**
 * Nodes of a final part that a later link definition may still change.
 * @typedef {{ part: Part, place: Place, pick: (tokens: Token[]) => Token[], known: References }} Linked
 */

const md = createMarkdown();

export class MarkdownView {
  /** All the text so far. */
  source = "";
  #root;
  #heal;
  #hasCursor;
  #blocks = new Blocks(md);
  /** Where the tail begins. While a container is open that is the container, and inside it the tail goes on. @type {Place} */
  #top;
  /** @type {Place | null} */
  #inside = null;
  /** @type {Linked[]} */
  #linked = [];
  #checked = 0;
  #linkedBeforeContainer = 0;
  /** The link definitions that all parts before `#checked` were shown with. @type {References} */
  #references = {};
  /** @type {Element | null} */
  #cursor = null;

  /**
   * @param {Element} root
   * @param {{ heal?: boolean, cursor?: boolean }} [options]  heal: show half-typed syntax as what it will be
   */
  constructor(root, { heal = true, cursor = true } = {}) {
    this.#root = root;
    this.#top = { parent: root, last: null };
    this.#heal = heal;
    this.#hasCursor = cursor;
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
    this.#showTail(this.#heal ? presentable(this.#blocks.readable) : { text: this.#blocks.readable, open: false });
    this.#moveCursor();
  }

  /** No more text will come: what is there is shown as it stands. */
  end() {
    this.#heal = this.#hasCursor = false;
    this.flush();
  }

  /** @param {Part} part */
  #commit(part) {
    const { container, opened } = part;
    if (opened && !container) this.#linkedBeforeContainer = this.#linked.length;
    const inside = container && this.#inside
      ? this.#show(part, this.#inside, (tokens) => continuation(tokens, container).inside)
      : this.#show(part, this.#top, (tokens) => (opened ? unclosed(tokens, opened) : tokens));
    if (opened) {
      this.#inside = placeOf(inside);
      return;
    }
    this.#inside = null;
    if (!container) this.#top = placeOf(inside);
    else {
      inside.close();
      const after = { parent: this.#root, last: next(this.#top) };
      this.#top = placeOf(this.#show(part, after, (tokens) => continuation(tokens, container).after));
    }
  }

  /**
   * @param {Part} part
   * @param {Place} place
   * @param {Linked["pick"]} pick
   */
  #show(part, place, pick) {
    const tokens = pick(this.#blocks.parse(part, this.#blocks.references));
    if (part.source.includes("[")) this.#linked.push({ part, place, pick, known: { ...this.#blocks.references } });
    return patch(place.parent, next(place), tokens);
  }

  /** @param {{ text: string, open: boolean }} tail */
  #showTail({ text, open }) {
    const { container } = this.#blocks;
    /** @type {import("./dialect.js").Env & { references: References }} */
    const env = { references: { ...this.#blocks.references }, open };
    const tokens = md.parse(text, env);
    if (container && !fits(tokens, container)) {
      this.#reopen();
      this.flush();
      return;
    }
    this.#link(env.references);
    if (!container || !this.#inside) patch(this.#root, next(this.#top), tokens).close();
    else {
      const { inside, after } = continuation(tokens, container);
      patch(this.#inside.parent, next(this.#inside), inside).close();
      patch(this.#root, next(this.#top)?.nextSibling ?? null, after).close();
    }
  }

  #reopen() {
    this.#blocks.reopen();
    this.#inside = null;
    this.#linked.length = this.#linkedBeforeContainer;
    this.#checked = Math.min(this.#checked, this.#linked.length);
  }

  /**
   * A link definition counts for all the text, also for what came before it.
   * @param {References} references
   */
  #link(references) {
    const changed = !isSame(references, this.#references);
    this.#references = references;
    for (const { part, place, pick, known } of this.#linked.slice(changed ? 0 : this.#checked))
      if (changed || !isSame(known, references))
        patch(place.parent, next(place), pick(this.#blocks.parse(part, { ...references })));
    this.#checked = this.#linked.length;
  }

  #moveCursor() {
    const element = this.#hasCursor ? lastElement(this.#root) : null;
    if (element === this.#cursor) return;
    this.#cursor?.removeAttribute(CURSOR);
    element?.setAttribute(CURSOR, "");
    this.#cursor = element;
  }
}

/** @param {Place} place */
function next({ parent, last }) {
  return last ? last.nextSibling : parent.firstChild;
}

/** @param {Place} place @returns {Place} */
function placeOf({ parent, last }) {
  return { parent, last };
}

/**
 * @param {References} some
 * @param {References} others
 */
function isSame(some, others) {
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
