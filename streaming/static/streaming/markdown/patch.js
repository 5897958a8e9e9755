// Brings DOM nodes to the state that markdown-it tokens describe, and touches only what differs: text grows by
// appendData, so a selection survives. Text reaches the page as text; there is no innerHTML.

import { showFormula } from "./math.js";

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {Map<string, string | number>} Attributes */

/** Set by the view on the element where the cursor blinks. */
export const CURSOR = "data-cursor";

/**
 * A place between two nodes, or in the text after `last`, of which the first `kept` characters stay.
 * @typedef {{ parent: Element, last: ChildNode | null, kept: number }} Place
 */

/**
 * @param {Place} place  where the first node to reuse is, if there is one
 * @param {Token[]} tokens
 * @param {Place | null} [inside]  where an open container goes on: what is before it there stays
 * @param {number} [open]  the depth of the container whose end is left open
 * @returns {{ end: Cursor, inside: Place | null }}  where the tokens end: what comes after it is left, unless `close()`
 *   drops it; and where the container that is left open does
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
    // A link in a link is none.
    else if (!tag || (tag === "a" && end.parent.closest("a"))) end.text(content);
    else if (type === "formula") end.enter(token, inside).formula(token);
    else {
      end = end.enter(token, inside);
      end.text(content);
      end = end.close().outer;
    }
  }
  return { end: end.flush(), inside: left };
}

/** A place which moves on as nodes are reused or made. */
class Cursor {
  #text = "";
  #kept;
  /** Where it goes on after the parent. @type {Cursor} */
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

  /** Neighbouring pieces of text become one node. */
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
   * Drops what is left over.
   * @param {Element} [open]  but not this: of a table's rows none may be here
   */
  close(open) {
    this.flush();
    for (let rest; (rest = this.next);) {
      this.next = rest.nextSibling;
      if (rest !== open) rest.remove();
    }
    return this;
  }

  /** In the place of the next node, if it is not that one. @param {HTMLElement | Text} node */
  #put(node) {
    const { next } = this;
    this.next = next && next.nextSibling;
    if (!next) this.parent.append(node);
    else if (next !== node) next.replaceWith(node);
  }
}

// Each of these may be in another direction than the one before.
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
  // A link whose target is half-typed has none yet.
  else found.delete("href");
  return found;
}

/**
 * @param {HTMLElement} node
 * @param {Attributes} wanted
 */
function syncAttributes(node, wanted) {
  // markdown-it aligns a column by a style attribute, which the content security policy forbids.
  const align = String(wanted.get("style") ?? "").replace("text-align:", "");
  if (node.style.textAlign !== align) node.style.textAlign = align;
  wanted.delete("style");
  for (const name of node.getAttributeNames())
    if (!wanted.has(name) && !["style", "tabindex", CURSOR].includes(name)) node.removeAttribute(name);
  for (const [name, value] of wanted)
    if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/**
 * Of a long text only what can differ is looked at.
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
