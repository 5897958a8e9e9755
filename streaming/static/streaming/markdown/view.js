// Shows growing Markdown text: final parts are rendered once, the open tail on each flush.

import { Blocks, fits, inContext } from "./final-parts.js";
import { createMarkdown } from "./dialect.js";
import { presentable } from "./heal.js";
import { CURSOR, patch } from "./patch.js";

/** @typedef {import("./final-parts.js").Part} Part */
/** @typedef {import("./final-parts.js").References} References */
/** @typedef {import("./dialect.js").Env & { references: References }} Env */
/** @typedef {import("./patch.js").Place} Place */

/**
 * A final block that may contain links. It is rendered again when a definition arrives that was not `known` before, and
 * at the end, without healing.
 * @typedef {{ source: string, place: Place, known: string }} Linked
 */

const md = createMarkdown();

export class MarkdownView {
  /** The text so far. */
  source = "";
  #root;
  #heal;
  #hasCursor;
  #blocks = new Blocks(md);
  /** Where the tail begins, or its open container. @type {Place} */
  #top;
  /** Where the tail continues in the open container. @type {Place | null} */
  #inside = null;
  /** The definitions known when the beginning of the open container was rendered. */
  #opened = "";
  /** @type {Linked[]} */
  #linked = [];
  /** All link definitions. @type {References} */
  #references = {};
  /** Labels that were shown in brackets because nothing defined them yet. @type {Set<string>} */
  #bracketed = new Set();
  /** @type {Element | null} */
  #cursor = null;
  #page;
  /** Records DOM changes made by translators and extensions since the last flush. */
  #observer;
  /** @type {MutationRecord[]} */
  #foreign = [];
  /** Whether others have changed final content. */
  #isChanged = false;

  /**
   * @param {Element} root
   * @param {{ heal?: boolean, cursor?: boolean } & import("./dialect.js").Page} [options]  heal: show incomplete syntax
   *   as what it will become; cursor: mark where text will appear
   */
  constructor(root, { heal = true, cursor = true, ...page } = {}) {
    this.#root = root;
    this.#top = { parent: root, last: null, kept: 0 };
    this.#heal = heal;
    this.#hasCursor = cursor;
    this.#page = page;
    root.replaceChildren();
    root.addEventListener("click", showNote);
    this.#observer = new MutationObserver((records) => this.#foreign.push(...records));
    this.#observer.observe(root, { childList: true, characterData: true, subtree: true });
    this.#moveCursor();
  }

  /** @param {string} text */
  append(text) {
    this.source += text;
    this.#blocks.append(text);
  }

  /** Renders the text appended so far; call once per frame. */
  flush() {
    this.#lookForChanges();
    for (let part; (part = this.#blocks.takeFinalPart());) this.#commit(part);
    this.#showTail();
    this.#moveCursor();
    this.#observer.takeRecords();
  }

  /** Ends the text: the remainder is rendered without healing. */
  end() {
    if (this.#heal) {
      for (const linked of this.#linked) linked.known = "";
      this.#opened = "";
    }
    this.#heal = this.#hasCursor = false;
    this.#lookForChanges();
    if (this.#isChanged) this.#restart();
    this.flush();
    this.#observer.disconnect();
  }

  /**
   * Renders the open block again if others changed it, and everything if they moved blocks. Their changes to final
   * content, such as a translation, are kept until the end.
   */
  #lookForChanges() {
    for (const { target } of [...this.#foreign.splice(0), ...this.#observer.takeRecords()]) {
      const block = blockOf(target, this.#root);
      // A formula is rendered when its library has loaded, which may be between two flushes.
      if (!block || (target instanceof Element ? target : target.parentElement)?.closest(".math")) continue;
      this.#isChanged = true;
      if (block === this.#root) this.#restart();
      else if (!isBefore(block, this.#top.last)) {
        this.#blocks.reopen(true);
        this.#inside = null;
      }
    }
  }

  /** Starts over: all text is rendered again and no shown node is assumed to be correct. */
  #restart() {
    this.#blocks = new Blocks(md);
    this.#blocks.append(this.source);
    this.#top = { parent: this.#root, last: null, kept: 0 };
    this.#inside = null;
    this.#linked = [];
  }

  /** @param {Part} part */
  #commit(part) {
    const { container, opened } = part;
    const env = this.#env(this.#blocks.references);
    const tokens = inContext(md.parse(part.readable, env), container, opened);
    this.#blocks.references = env.references;
    if (!container) this.#opened = JSON.stringify(env.references);
    const { end, inside } = patch(this.#top, tokens, this.#inside, opened?.depth);
    this.#inside = inside;
    if (opened) return;
    const source = (container?.source ?? "") + part.source;
    if (source.includes("[")) this.#linked.push({ source, place: this.#top, known: this.#opened });
    this.#top = end.place;
  }

  /** @returns {void} */
  #showTail() {
    const { container, readable, references } = this.#blocks;
    const { text, open } = this.#heal ? presentable(readable) : { text: readable, open: false };
    const env = { ...this.#env(references), open };
    const tokens = inContext(md.parse(text, env), container);
    const known = JSON.stringify(env.references);
    if (container && !(fits(tokens, container) && (this.#opened === known || !container.source.includes("[")))) {
      // The container turned out to be a different block.
      this.#blocks.reopen();
      this.#inside = null;
      return this.#showTail();
    }
    this.#references = env.references;
    for (const linked of this.#linked) if (linked.known !== known) this.#showAgain(linked, known);
    patch(this.#top, tokens, this.#inside).end.close();
  }

  /**
   * A link definition applies to the whole text, including the part before it.
   * @param {Linked} linked
   * @param {string} known
   */
  #showAgain(linked, known) {
    patch(linked.place, md.parse(linked.source, this.#env(this.#references)));
    linked.known = known;
  }

  /** @param {References} references @returns {Env} */
  #env(references) {
    return {
      references: { ...references },
      ...this.#page,
      bracketed: this.#heal ? this.#bracketed : undefined,
    };
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
 * The block that contains a node, or the root itself.
 * @param {Node} node
 * @param {Element} root
 */
function blockOf(node, root) {
  if (node === root) return root;
  for (let block = /** @type {Node | null} */ (node); block; block = block.parentNode)
    if (block.parentNode === root) return block;
  return null;
}

/**
 * @param {Node} node
 * @param {Node | null} last
 */
const isBefore = (node, last) => last !== null && (last === node || (last.compareDocumentPosition(node) & 2) !== 0);

/** Moves the focus from a footnote's number, which a translator may have wrapped, to its text. @param {Event} event */
function showNote({ target, currentTarget }) {
  const label = (/** @type {HTMLElement} */ { dataset }) => md.utils.normalizeReference(dataset.note ?? "");
  const button = /** @type {Element} */ (target).closest("button[data-note]");
  /** @type {NodeListOf<HTMLElement>} */
  const notes = /** @type {Element} */ (currentTarget).querySelectorAll("aside[data-note]");
  const text = button && [...notes].find((note) => label(note) === label(/** @type {HTMLElement} */ (button)));
  text?.setAttribute("tabindex", "-1");
  text?.focus();
}

/** The element that contains the last character: later cells of a row may still be empty. @param {Element} root */
function lastElement(root) {
  let element = root;
  for (;;) {
    const last =
      element.localName === "tr" ? [...element.children].findLast((cell) => cell.hasChildNodes()) : element.lastChild;
    if (!(last instanceof Element) || ["br", "hr", "input", "span", "button"].includes(last.localName)) return element;
    element = last;
  }
}
