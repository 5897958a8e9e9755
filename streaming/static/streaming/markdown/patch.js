// Brings DOM nodes to the state that markdown-it tokens describe, and touches only what differs: text grows by
// appendData, so a selection survives. Text reaches the page as text; there is no innerHTML.

/** @typedef {import("./dialect.js").Token} Token */
/** @typedef {[name: string, value: string | number][]} Attributes */

/** Set by the view on the element where the cursor blinks. */
export const CURSOR = "data-cursor";

/**
 * A place between two nodes, or in the text after `last`, of which the first `kept` characters stay.
 * @typedef {{ parent: Element, last: ChildNode | null, kept: number }} Place
 */

/**
 * @param {Place} place  where the first node to reuse is, if there is one
 * @param {Token[]} tokens
 * @returns {Cursor}  where the tokens end: what comes after it is left, unless `close()` drops it
 */
export function patch(place, tokens) {
  const patcher = new Patcher(new Cursor(place));
  patcher.walk(tokens);
  patcher.at.flush();
  return patcher.at;
}

/** A place which moves on as nodes are reused or made. */
class Cursor {
  #text = "";
  #kept;

  /** @param {Place} place */
  constructor({ parent, last, kept }) {
    this.parent = parent;
    this.next = last ? last.nextSibling : parent.firstChild;
    this.#kept = kept;
  }

  /** @returns {Place} */
  get place() {
    const last = this.next ? this.next.previousSibling : this.parent.lastChild;
    return last instanceof Text ? { parent: this.parent, last: last.previousSibling, kept: last.length } : { parent: this.parent, last, kept: 0 };
  }

  /**
   * @param {string} tag
   * @param {Attributes} [attributes]
   * @returns {HTMLElement}
   */
  element(tag, attributes = []) {
    this.flush();
    if (this.next instanceof HTMLElement && this.next.localName === tag) {
      const node = this.next;
      this.next = node.nextSibling;
      syncAttributes(node, attributes);
      return node;
    }
    const node = document.createElement(tag);
    syncAttributes(node, attributes);
    this.#put(node);
    return node;
  }

  /** @param {string} value */
  text(value) {
    this.#text += value;
  }

  /** Neighbouring pieces of text become one node. */
  flush() {
    const value = this.#text, kept = this.#kept;
    if (value === "" && kept === 0) return;
    this.#text = "";
    this.#kept = 0;
    if (this.next instanceof Text) {
      setText(this.next, value, kept);
      this.next = this.next.nextSibling;
    } else this.#put(document.createTextNode(value));
  }

  /** Drops what is left over. */
  close() {
    this.flush();
    while (this.next) {
      const rest = this.next;
      this.next = rest.nextSibling;
      rest.remove();
    }
  }

  /** @param {HTMLElement | Text} node */
  #put(node) {
    const old = this.next;
    if (!old) {
      this.parent.append(node);
      return;
    }
    this.next = old.nextSibling;
    old.replaceWith(node);
  }
}

class Patcher {
  /** @type {Cursor[]} */
  #outer = [];

  /** @param {Cursor} at */
  constructor(at) {
    this.at = at;
  }

  /** @param {Token[]} tokens */
  walk(tokens) {
    for (const token of tokens) {
      if (token.hidden) continue;
      if (token.nesting === 1) this.#enter(token.tag, attributesOf(token));
      else if (token.nesting === -1) this.#leave();
      else this.#leaf(token);
    }
  }

  /** @param {Token} token */
  #leaf(token) {
    switch (token.type) {
      case "inline": return this.walk(token.children ?? []);
      case "text": return this.at.text(token.content);
      case "softbreak": return this.at.text("\n");
      case "code_inline": return this.#filled("code", [], token.content);
      case "image": return this.#image(token);
      case "hardbreak":
      case "hr":
      case "task": return void this.at.element(token.tag, attributesOf(token));
      case "reference_definition": return;
      default: return this.at.text(token.content);
    }
  }

  /** What an image says, as a link to it: the page asks no other site for anything. @param {Token} token */
  #image(token) {
    const says = plainText(token.children ?? []);
    const source = String(token.attrGet("src") ?? "");
    // A link in a link is none.
    if (this.#isInLink() || says === "") this.at.text(says);
    else this.#filled("a", linkAttributes(source), says);
  }

  /**
   * @param {string} tag
   * @param {Attributes} attributes
   * @param {string} text
   */
  #filled(tag, attributes, text) {
    this.#enter(tag, attributes);
    this.at.text(text);
    this.#leave();
  }

  /**
   * @param {string} tag
   * @param {Attributes} attributes
   */
  #enter(tag, attributes) {
    const node = this.at.element(tag, attributes);
    this.#outer.push(this.at);
    this.at = new Cursor({ parent: node, last: null, kept: 0 });
  }

  #leave() {
    this.at.close();
    this.at = this.#outer.pop() ?? this.at;
  }

  #isInLink() {
    return this.at.parent.closest("a") !== null;
  }
}

// Each of these may be in another direction than the one before.
const BLOCKS = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "td", "th"]);

/** @param {Token} token @returns {Attributes} */
function attributesOf({ tag, attrs }) {
  if (tag === "a") return linkAttributes(String(attrs?.find(([name]) => name === "href")?.[1] ?? ""), attrs ?? []);
  return BLOCKS.has(tag) ? [...(attrs ?? []), ["dir", "auto"]] : (attrs ?? []);
}

/**
 * A link whose target is half-typed has none yet.
 * @param {string} href
 * @param {Attributes} attributes
 * @returns {Attributes}
 */
function linkAttributes(href, attributes = []) {
  const others = attributes.filter(([name]) => name !== "href");
  return href === "" ? others : [["href", href], ...others, ["rel", "noopener noreferrer"], ["target", "_blank"]];
}

/**
 * @param {HTMLElement} node
 * @param {Attributes} attributes
 */
function syncAttributes(node, attributes) {
  let align = "";
  const wanted = new Map();
  // markdown-it aligns a column by a style attribute, which the content security policy forbids.
  for (const [name, value] of attributes) name === "style" ? (align = String(value).replace("text-align:", "")) : wanted.set(name, String(value));
  if (node.style.textAlign !== align) node.style.textAlign = align;
  for (const name of node.getAttributeNames()) if (!wanted.has(name) && name !== "style" && name !== CURSOR) node.removeAttribute(name);
  for (const [name, value] of wanted) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
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

/** @param {Token[]} tokens @returns {string} */
function plainText(tokens) {
  return tokens.map(({ children, type, content }) => (children ? plainText(children) : type.endsWith("break") ? "\n" : content)).join("");
}
