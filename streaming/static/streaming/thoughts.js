// Separates the reasoning that some models write before their answer, as `<think>...</think>`, from the answer.

/** `thought`: the number of the thought that the text belongs to, from 1; 0 in the answer. @typedef {{ thought: number, text: string }} Segment */

/**
 * How far a text has been read. `held`: text that is not yet decided; `closing`: the tag that ends the thought;
 * `thoughts`: how many have begun.
 * @typedef {{ held: string, place: "before" | "thinking" | "answer", closing: string, thoughts: number }} SplitterState
 */

const OPENING = /^\s*<(think|thinking|thought|reasoning)>/i;
const MAY_OPEN = /^\s*(?:<[a-z]{0,9})?$/i;

export class ThoughtSplitter {
  /** @param {SplitterState} [state]  is kept up to date, so that a text can be continued after a reload */
  constructor(state = { held: "", place: "before", closing: "", thoughts: 0 }) {
    this.state = state;
  }

  /**
   * Returns the segments that are now certain.
   * @param {string} text
   * @returns {Segment[]}
   */
  feed(text) {
    this.state.held += text;
    /** @type {Segment[]} */
    const segments = [];
    for (let previous = ""; previous !== this.state.held;) {
      previous = this.state.held;
      const next = this.#next();
      if (next.text) segments.push(next);
    }
    return segments;
  }

  /** Returns the text still held back, at the end of the stream. @returns {Segment[]} */
  finish() {
    const text = this.#take(this.state.held.length);
    return text ? [{ thought: this.state.place === "thinking" ? this.state.thoughts : 0, text }] : [];
  }

  /** @returns {Segment} */
  #next() {
    if (this.state.place === "before") this.#begin();
    if (this.state.place === "thinking") return { thought: this.state.thoughts, text: this.#think() };
    return { thought: 0, text: this.state.place === "answer" ? this.#take(this.state.held.length) : "" };
  }

  #begin() {
    const [opening, name] = OPENING.exec(this.state.held) ?? [];
    if (opening) {
      this.#take(opening.length);
      this.state.closing = `</${name?.toLowerCase()}>`;
      this.state.place = "thinking";
      this.state.thoughts++;
    } else if (!MAY_OPEN.test(this.state.held)) this.state.place = "answer";
  }

  #think() {
    const end = this.state.held.toLowerCase().indexOf(this.state.closing);
    if (end < 0)
      return this.#take(this.state.held.length - partialTagLength(this.state.held.toLowerCase(), this.state.closing));
    const thought = this.#take(end);
    this.#take(this.state.closing.length);
    this.state.place = "before";
    return thought;
  }

  /** @param {number} length */
  #take(length) {
    const taken = this.state.held.slice(0, length);
    this.state.held = this.state.held.slice(length);
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
