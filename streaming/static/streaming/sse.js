// Parses Server-Sent Events (WHATWG HTML, section 9.2.6): bytes in, messages out, without network, clock or page.

/** @typedef {{ event: string, data: string, id: string }} Message  `id` is the last event ID in force at dispatch. */

/** The peer's bytes cannot be read as an event stream. */
export class StreamError extends Error {
  name = "StreamError";
}

const FIELD = /^(?:data|event|id|retry):/;
const MAX_FIELD_LENGTH = "event:".length;
const MAX_PREFIX_LENGTH = "event: ".length;
/** Field names, indexed by the low three bits of their first character. */
const FIELDS = [, "id", "retry", , "data", "event"];
const LF = 10,
  SPACE = 32,
  COLON = 58;

/**
 * Its memory is bounded: one message's data and one unfinished line, together little more than `maxMessageChars`.
 * Of a line that is ignored (a comment, an unknown field) only the beginning is ever stored.
 */
export class Parser {
  /** The `Last-Event-ID` to send when reconnecting. */
  lastEventId;
  /** @type {number | undefined} The reconnection time the server asked for, in milliseconds. */
  retry;

  // One decoder covers split UTF-8 and a leading BOM.
  #decoder = new TextDecoder();
  #maxMessageChars;
  #line = "";
  #isIgnored = false;
  #afterCR = false;
  /** @type {string | null} */
  #data = null;
  #event = "";
  #id;
  /** @type {Message[]} */
  #messages = [];
  /** @type {unknown} */
  #error;

  constructor({ lastEventId = "", maxMessageChars = 1 << 20 } = {}) {
    this.lastEventId = this.#id = lastEventId;
    this.#maxMessageChars = maxMessageChars;
  }

  /**
   * Returns the messages that these bytes complete. Messages before an error are returned first; then the next call
   * throws the error, as does every later one.
   * @param {Uint8Array} bytes
   * @returns {Message[]}
   */
  feed(bytes) {
    this.#messages = [];
    try {
      if (!this.#error) this.#feedText(this.#decoder.decode(bytes, { stream: true }));
    } catch (error) {
      this.#error = error;
      this.#line = "";
      this.#data = null;
    }
    if (this.#error && this.#messages.length === 0) throw this.#error;
    return this.#messages;
  }

  /**
   * A CR ends its line at once; an LF directly after it belongs to it, even in a later chunk.
   * @param {string} text
   */
  #feedText(text) {
    if (text === "") return;
    if (this.#afterCR && text.charCodeAt(0) === LF) text = text.slice(1);
    this.#afterCR = text.endsWith("\r");
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    this.#keepUnfinished(text, this.#readLines(text));
  }

  /**
   * Reads the lines that end in this text; returns where the unfinished one begins. Nearly all messages are one line
   * of data, so these are emitted directly.
   * @param {string} text
   */
  #readLines(text) {
    let start = 0;
    for (let end; (end = text.indexOf("\n", start)) !== -1; start = end + 1) {
      if (this.#isIgnored || this.#line !== "") this.#endLine(text, end);
      else if (start === end) this.#dispatch();
      else if (this.#data === null && text.charCodeAt(end + 1) === LF && isData(text, start)) {
        this.#emit(text.slice(valueStart(text, start), end++));
      } else this.#readLine(text, start, end);
    }
    return start;
  }

  /**
   * Stores the unfinished line unless it will be ignored. This is checked once, when its field name must be complete:
   * checking a growing string repeatedly would make the parser quadratic.
   * @param {string} text
   * @param {number} start
   */
  #keepUnfinished(text, start) {
    if (start === text.length || this.#isIgnored) return;
    const undecided = this.#line.length < MAX_FIELD_LENGTH;
    this.#line += text.slice(start);
    if (undecided && this.#line.length >= MAX_FIELD_LENGTH && !FIELD.test(this.#line)) {
      this.#isIgnored = true;
      this.#line = "";
    }
    this.#checkLimit(this.#line.length - MAX_PREFIX_LENGTH);
  }

  /**
   * Ends a line that began in an earlier chunk.
   * @param {string} text
   * @param {number} end
   */
  #endLine(text, end) {
    const line = this.#line + text.slice(0, end);
    this.#line = "";
    if (!this.#isIgnored) this.#readLine(line, 0, line.length);
    this.#isIgnored = false;
  }

  /**
   * Reads one line that is not blank: a name, a colon, an optional space and a value; or a name alone.
   * @param {string} text
   * @param {number} start
   * @param {number} end
   */
  #readLine(text, start, end) {
    if (isData(text, start)) return this.#addData(text.slice(valueStart(text, start), end));
    const name = FIELDS[text.charCodeAt(start) & 7];
    if (name === undefined || !text.startsWith(name, start)) return;
    let from = start + name.length;
    if (from < end) {
      if (text.charCodeAt(from++) !== COLON) return;
      if (from < end && text.charCodeAt(from) === SPACE) from++;
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
    this.#checkLimit(value.length);
    this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
  }

  /** Handles a blank line. Without data there is no message, but the id takes effect. */
  #dispatch() {
    const data = this.#data;
    this.#data = null;
    if (data !== null) this.#emit(data);
    this.lastEventId = this.#id;
    this.#event = "";
  }

  /** @param {string} data */
  #emit(data) {
    this.#checkLimit(data.length);
    this.lastEventId = this.#id;
    this.#messages.push({ event: this.#event || "message", data, id: this.#id });
    this.#event = "";
  }

  /** @param {number} more  characters about to be added to the message's data, or buffered in an unfinished line */
  #checkLimit(more) {
    if ((this.#data === null ? 0 : this.#data.length + 1) + more > this.#maxMessageChars)
      throw new StreamError(`a message is longer than ${this.#maxMessageChars} characters`);
  }
}

/**
 * Whether a line begins with `data:`. Nearly all do, and this is the fastest test.
 * @param {string} text
 * @param {number} start
 */
function isData(text, start) {
  return (
    text.charCodeAt(start) === 100 &&
    text.charCodeAt(start + 1) === 97 &&
    text.charCodeAt(start + 2) === 116 &&
    text.charCodeAt(start + 3) === 97 &&
    text.charCodeAt(start + 4) === COLON
  );
}

/**
 * Where the value begins in such a line.
 * @param {string} text
 * @param {number} start
 */
function valueStart(text, start) {
  return start + (text.charCodeAt(start + 5) === SPACE ? 6 : 5);
}
