// Updates DOM nodes to match markdown-it tokens and changes only what differs: text grows by appendData, so a selection
// survives. Text is inserted as text nodes, never through innerHTML.

import { showFormula } from "./math.js";

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {Map<string, string | number>} Attributes */

/** Set by the view on the element where the cursor blinks. */
export const CURSOR = "data-cursor";

/**
 * A position after `last`; if that is a text node, after its first `kept` characters.
 * @typedef {{ parent: Element, last: ChildNode | null, kept: number }} Place
 */

/**
 * @param {Place} place  before the first node that may be reused
 * @param {Token[]} tokens
 * @param {Place | null} [inside]  where an open container continues: nodes before it are kept
 * @param {number} [open]  the depth of the container whose end is left open
 * @returns {{ end: Cursor, inside: Place | null }}  where the tokens end (later nodes are kept unless `close()` removes
 *   them), and where the open container ends
 */
export function patch(place, tokens, inside = null, open) {
  let end = new Cursor(place);
  /** @type {Place | null} */
  let left = null;
  for (const token of tokens.flatMap((block) => block.children ?? block)) {
    const { type, tag, nesting, content, level } = token;
    if (token.hidden || type === "reference_definition") continue;
    if (nesting === -1) {
      if (level === open) left = end.flush().place;
      else end.close(inside?.parent);
      end = end.outer;
    } else if (nesting === 1) end = end.enter(token, inside);
    else if (type === "softbreak") end.text("\n");
    // A link inside a link is not shown as one.
    else if (!tag || (tag === "a" && end.parent.closest("a"))) end.text(content);
    else if (type === "formula") end.enter(token, inside).formula(token);
    else {
      end = end.enter(token, inside);
      end.text(content);
      end = end.close().outer;
      // As in CommonMark's HTML, so that programs that read textContent do not join the words around it.
      if (type === "hardbreak") end.text("\n");
    }
  }
  return { end: end.flush(), inside: left };
}

/** A place that advances as nodes are reused or created. */
class Cursor {
  #text = "";
  #kept;
  /** Where to continue after the parent is closed. @type {Cursor} */
  outer;

  /**
   * @param {Place} place
   * @param {Cursor} [outer]
   */
  constructor({ parent, last, kept }, outer) {
    this.parent = parent;
    this.next = last ? last.nextSibling : parent.firstChild;
    this.#kept = kept;
    this.outer = outer ?? this;
  }

  /** @returns {Place} */
  get place() {
    const last = this.next ? this.next.previousSibling : this.parent.lastChild;
    return last instanceof Text
      ? { parent: this.parent, last: last.previousSibling, kept: last.length }
      : { parent: this.parent, last, kept: 0 };
  }

  /**
   * @param {Token} token
   * @param {Place | null} inside
   */
  enter({ tag, attrs }, inside) {
    this.flush();
    const { next } = this;
    const node = next instanceof HTMLElement && next.localName === tag ? next : document.createElement(tag);
    const goesOn = node === inside?.parent;
    if (!goesOn) syncAttributes(node, attributesOf(tag, attrs));
    this.#put(node);
    return new Cursor(goesOn ? inside : { parent: node, last: null, kept: 0 }, this);
  }

  /** @param {string} value */
  text(value) {
    this.#text += value;
  }

  /** @param {Token} formula */
  formula({ content, info }) {
    showFormula(this.parent, content, info === "open");
  }

  /** Writes adjacent pieces of text as one node. */
  flush() {
    const { next } = this;
    const value = this.#text,
      kept = this.#kept;
    if (value === "" && kept === 0) return this;
    this.#text = "";
    this.#kept = 0;
    if (next instanceof Text) setText(next, value, kept);
    this.#put(next instanceof Text ? next : document.createTextNode(value));
    return this;
  }

  /**
   * Removes the remaining nodes.
   * @param {Element} [open]  an element to keep, such as a table body without rows yet
   */
  close(open) {
    this.flush();
    for (let rest; (rest = this.next);) {
      this.next = rest.nextSibling;
      if (rest !== open) rest.remove();
    }
    return this;
  }

  /** Puts a node at the current position unless it is already there. @param {HTMLElement | Text} node */
  #put(node) {
    const { next } = this;
    this.next = next && next.nextSibling;
    if (!next) this.parent.append(node);
    else if (next !== node) next.replaceWith(node);
  }
}

// Each of these may have its own text direction.
const BLOCKS = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "td", "th"]);

/**
 * @param {string} tag
 * @param {Token["attrs"]} attrs
 * @returns {Attributes}
 */
function attributesOf(tag, attrs) {
  const found = new Map(attrs);
  if (BLOCKS.has(tag)) found.set("dir", "auto");
  if (found.get("href")) found.set("rel", "noopener noreferrer").set("target", "_blank");
  // An incomplete link has no target yet.
  else found.delete("href");
  return found;
}

/**
 * @param {HTMLElement} node
 * @param {Attributes} wanted
 */
function syncAttributes(node, wanted) {
  // markdown-it aligns columns with a style attribute, which the content security policy forbids.
  const align = String(wanted.get("style") ?? "").replace("text-align:", "");
  if (node.style.textAlign !== align) node.style.textAlign = align;
  wanted.delete("style");
  for (const name of node.getAttributeNames())
    if (!wanted.has(name) && !["style", "tabindex", CURSOR].includes(name)) node.removeAttribute(name);
  for (const [name, value] of wanted)
    if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/**
 * Compares only the part of a long text that can differ.
 * @param {Text} node
 * @param {string} value
 * @param {number} kept
 */
function setText(node, value, kept) {
  const old = node.substringData(kept, node.length);
  if (value.startsWith(old)) return void (value !== old && node.appendData(value.slice(old.length)));
  let same = 0;
  while (same < old.length && old[same] === value[same]) same++;
  node.replaceData(kept + same, old.length - same, value.slice(same));
}
