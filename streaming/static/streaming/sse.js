// Reads Server-Sent Events (WHATWG HTML, section 9.2.6): bytes in, messages out. Knows no network, clock or page.

/** @typedef {{ event: string, data: string, id: string }} Message  `id` is the last event ID in force at dispatch. */

/** The peer's bytes cannot be read as an event stream. */
export class StreamError extends Error {
  name = "StreamError";
}

const FIELD = /^(?:data|event|id|retry):/;
const LONGEST_FIELD = "event:".length;
const LONGEST_START = "event: ".length;
const CR = "\r", LF = "\n";

/**
 * What it holds is bounded: one message's data and one unfinished line, together little more than `maxMessageChars`.
 * Of a line that can mean nothing (a comment, an unknown field) only its beginning is ever kept.
 */
export class Parser {
  /** What a reconnect must send. */
  lastEventId;
  /** @type {number | undefined} The reconnection time the server asked for, in milliseconds. */
  retry;

  // One decoder covers split UTF-8 and a leading BOM.
  #decoder = new TextDecoder();
  #maxMessageChars;
  #line = "";
  #meaningless = false;
  #afterCR = false;
  /** @type {string | null} */
  #data = null;
  #event = "";
  #id;
  /** @type {Message[]} */
  #messages = [];

  constructor({ lastEventId = "", maxMessageChars = 1 << 20 } = {}) {
    this.lastEventId = this.#id = lastEventId;
    this.#maxMessageChars = maxMessageChars;
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Message[]}
   */
  feed(bytes) {
    const text = this.#decoder.decode(bytes, { stream: true });
    if (text) this.#hold(text, this.#lines(text));
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /**
   * Reads the lines that end in this text; returns where the unfinished one begins. A CR ends its line at once, and
   * an LF after it is skipped when it comes. Each next CR and LF is looked for once, which keeps this linear.
   * @param {string} text
   */
  #lines(text) {
    let start = this.#afterCR && text[0] === LF ? 1 : 0;
    this.#afterCR = false;
    let cr = text.indexOf(CR, start), lf = text.indexOf(LF, start);
    while (cr !== -1 || lf !== -1) {
      const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
      this.#endLine(text, start, end);
      start = end + 1;
      if (end === cr) {
        if (start === text.length) this.#afterCR = true;
        else if (start === lf) start++;
        cr = text.indexOf(CR, start);
      }
      if (lf !== -1 && lf < start) lf = text.indexOf(LF, start);
    }
    return start;
  }

  /**
   * Keeps the unfinished line, if it may still mean something. It is looked at once, when its name must be complete:
   * looking at a growing string again and again is what makes a parser quadratic.
   * @param {string} text
   * @param {number} start
   */
  #hold(text, start) {
    if (start === text.length || this.#meaningless) return;
    const undecided = this.#line.length < LONGEST_FIELD;
    this.#line += text.slice(start);
    if (undecided && this.#line.length >= LONGEST_FIELD && !FIELD.test(this.#line)) {
      this.#meaningless = true;
      this.#line = "";
    }
    this.#limit(this.#line.length - LONGEST_START);
  }

  /**
   * @param {string} text
   * @param {number} start
   * @param {number} end
   */
  #endLine(text, start, end) {
    if (this.#meaningless) this.#meaningless = false;
    else if (this.#line) {
      const line = this.#line + text.slice(start, end);
      this.#line = "";
      this.#read(line, 0, line.length);
    } else if (start === end) this.#dispatch();
    else this.#read(text, start, end);
  }

  /**
   * One line, which is not blank: a name, a colon, one optional space, a value; or a name alone.
   * @param {string} text
   * @param {number} start
   * @param {number} end
   */
  #read(text, start, end) {
    const name = fieldAt(text, start);
    if (!name) return;
    let from = start + name.length;
    if (from < end) {
      if (text[from++] !== ":") return;
      if (from < end && text[from] === " ") from++;
    }
    const value = text.slice(from, end);
    if (name === "data") this.#addData(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") {
      if (!value.includes("\0")) this.#id = value;
    } else if (/^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @param {string} value */
  #addData(value) {
    this.#limit(value.length);
    this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
  }

  /** A blank line. Without data there is no message, but the id counts. */
  #dispatch() {
    this.lastEventId = this.#id;
    if (this.#data !== null) this.#messages.push({ event: this.#event || "message", data: this.#data, id: this.#id });
    this.#data = null;
    this.#event = "";
  }

  /** @param {number} more  characters about to join the message's data, or waiting for the end of their line */
  #limit(more) {
    if ((this.#data === null ? 0 : this.#data.length + 1) + more > this.#maxMessageChars)
      throw new StreamError(`a message is longer than ${this.#maxMessageChars} characters`);
  }
}

/**
 * @param {string} text
 * @param {number} start
 */
function fieldAt(text, start) {
  switch (text[start]) {
    case "d": return text.startsWith("data", start) ? "data" : "";
    case "e": return text.startsWith("event", start) ? "event" : "";
    case "i": return text.startsWith("id", start) ? "id" : "";
    case "r": return text.startsWith("retry", start) ? "retry" : "";
    default: return "";
  }
}
