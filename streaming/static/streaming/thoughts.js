// Tells the thoughts that some models write into their answer, `<think>...</think>` before it, from the answer itself.

/** @typedef {{ isThought: boolean, text: string }} Said */

const OPENING = /^\s*<(think|thinking|thought|reasoning)>/i;
const MAY_OPEN = /^\s*(?:<[a-z]{0,9})?$/i;

export class ThoughtSplitter {
  /** What is not decided yet. */
  #held = "";
  /** @type {"before" | "thinking" | "answer"} */
  #state = "before";
  #closing = "";

  /**
   * What is certain now.
   * @param {string} text
   * @returns {Said[]}
   */
  feed(text) {
    this.#held += text;
    /** @type {Said[]} */
    const said = [];
    for (let before = ""; before !== this.#held;) {
      before = this.#held;
      const next = this.#next();
      if (next.text) said.push(next);
    }
    return said;
  }

  /** What was held back, when no more text will come. @returns {Said[]} */
  finish() {
    const text = this.#take(this.#held.length);
    return text ? [{ isThought: this.#state === "thinking", text }] : [];
  }

  /** @returns {Said} */
  #next() {
    if (this.#state === "before") this.#begin();
    if (this.#state === "thinking") return { isThought: true, text: this.#think() };
    return { isThought: false, text: this.#state === "answer" ? this.#take(this.#held.length) : "" };
  }

  #begin() {
    const [opening, name] = OPENING.exec(this.#held) ?? [];
    if (opening) {
      this.#take(opening.length);
      this.#closing = `</${name?.toLowerCase()}>`;
      this.#state = "thinking";
    } else if (!MAY_OPEN.test(this.#held)) this.#state = "answer";
  }

  #think() {
    const end = this.#held.toLowerCase().indexOf(this.#closing);
    if (end < 0) return this.#take(this.#held.length - beginning(this.#held.toLowerCase(), this.#closing));
    const thought = this.#take(end);
    this.#take(this.#closing.length);
    this.#state = "before";
    return thought;
  }

  /** @param {number} length */
  #take(length) {
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return taken;
  }
}

/**
 * How many characters at the end of a text may be the beginning of a tag.
 * @param {string} text
 * @param {string} tag
 */
function beginning(text, tag) {
  for (let length = tag.length - 1; length > 0; length--) if (text.endsWith(tag.slice(0, length))) return length;
  return 0;
}
