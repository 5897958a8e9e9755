// Separates the reasoning that some models write before their answer, as `<think>...</think>`, from the answer.

/** @typedef {{ isThought: boolean, text: string }} Segment */

const OPENING = /^\s*<(think|thinking|thought|reasoning)>/i;
const MAY_OPEN = /^\s*(?:<[a-z]{0,9})?$/i;

export class ThoughtSplitter {
  /** Text that is not yet decided. */
  #held = "";
  /** @type {"before" | "thinking" | "answer"} */
  #state = "before";
  #closing = "";

  /**
   * Returns the segments that are now certain.
   * @param {string} text
   * @returns {Segment[]}
   */
  feed(text) {
    this.#held += text;
    /** @type {Segment[]} */
    const segments = [];
    for (let previous = ""; previous !== this.#held;) {
      previous = this.#held;
      const next = this.#next();
      if (next.text) segments.push(next);
    }
    return segments;
  }

  /** Returns the text still held back, at the end of the stream. @returns {Segment[]} */
  finish() {
    const text = this.#take(this.#held.length);
    return text ? [{ isThought: this.#state === "thinking", text }] : [];
  }

  /** @returns {Segment} */
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
    if (end < 0) return this.#take(this.#held.length - partialTagLength(this.#held.toLowerCase(), this.#closing));
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
 * How many characters at the end of a text may be the partialTagLength of a tag.
 * @param {string} text
 * @param {string} tag
 */
function partialTagLength(text, tag) {
  for (let length = tag.length - 1; length > 0; length--) if (text.endsWith(tag.slice(0, length))) return length;
  return 0;
}
