// Reads Server-Sent Events (WHATWG HTML, section 9.2.6): bytes in, messages out. Knows no network, clock or page.

/** @typedef {{ event: string, data: string, id: string }} Message  `id` is the last event ID in force at dispatch. */

/** The peer's bytes cannot be read as an event stream. */
export class StreamError extends Error {
  name = "StreamError";
}

const FIELD = /^(?:data|event|id|retry):/;
const LONGEST_FIELD = "event:".length;
const LONGEST_START = "event: ".length;
/** The fields, by the last three bits of their first character. */
const FIELDS = [, "id", "retry", , "data", "event"];
const LF = 10,
  SPACE = 32,
  COLON = 58;

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
  /** @type {unknown} */
  #error;

  constructor({ lastEventId = "", maxMessageChars = 1 << 20 } = {}) {
    this.lastEventId = this.#id = lastEventId;
    this.#maxMessageChars = maxMessageChars;
  }

  /**
   * The messages that these bytes complete. What cannot be read is thrown, and again at each later call; the messages
   * before it are given first, and then the next call throws.
   * @param {Uint8Array} bytes
   * @returns {Message[]}
   */
  feed(bytes) {
    this.#messages = [];
    try {
      if (!this.#error) this.#take(this.#decoder.decode(bytes, { stream: true }));
    } catch (error) {
      this.#error = error;
      this.#line = "";
      this.#data = null;
    }
    if (this.#error && this.#messages.length === 0) throw this.#error;
    return this.#messages;
  }

  /**
   * A CR ends its line at once, and an LF after it belongs to it, whenever that comes.
   * @param {string} text
   */
  #take(text) {
    if (text === "") return;
    if (this.#afterCR && text.charCodeAt(0) === LF) text = text.slice(1);
    this.#afterCR = text.endsWith("\r");
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    this.#hold(text, this.#lines(text));
  }

  /**
   * Reads the lines that end in this text; returns where the unfinished one begins. Nearly all messages are one line
   * of data: they are made at once, without keeping their data first.
   * @param {string} text
   */
  #lines(text) {
    let start = 0;
    for (let end; (end = text.indexOf("\n", start)) !== -1; start = end + 1) {
      if (this.#meaningless || this.#line !== "") this.#endLine(text, end);
      else if (start === end) this.#dispatch();
      else if (this.#data === null && text.charCodeAt(end + 1) === LF && isData(text, start)) {
        this.#give(text.slice(valueOf(text, start), end++));
      } else this.#read(text, start, end);
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
   * The end of a line that began earlier.
   * @param {string} text
   * @param {number} end
   */
  #endLine(text, end) {
    const line = this.#line + text.slice(0, end);
    this.#line = "";
    if (!this.#meaningless) this.#read(line, 0, line.length);
    this.#meaningless = false;
  }

  /**
   * One line, which is not blank: a name, a colon, one optional space, a value; or a name alone.
   * @param {string} text
   * @param {number} start
   * @param {number} end
   */
  #read(text, start, end) {
    if (isData(text, start)) return this.#addData(text.slice(valueOf(text, start), end));
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
    this.#limit(value.length);
    this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
  }

  /** A blank line. Without data there is no message, but the id counts. */
  #dispatch() {
    const data = this.#data;
    this.#data = null;
    if (data !== null) this.#give(data);
    this.lastEventId = this.#id;
    this.#event = "";
  }

  /** @param {string} data */
  #give(data) {
    this.#limit(data.length);
    this.lastEventId = this.#id;
    this.#messages.push({ event: this.#event || "message", data, id: this.#id });
    this.#event = "";
  }

  /** @param {number} more  characters about to join the message's data, or waiting for the end of their line */
  #limit(more) {
    if ((this.#data === null ? 0 : this.#data.length + 1) + more > this.#maxMessageChars)
      throw new StreamError(`a message is longer than ${this.#maxMessageChars} characters`);
  }
}

/**
 * Nearly every line is one of data, and this is the quickest way to know.
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
function valueOf(text, start) {
  return start + (text.charCodeAt(start + 5) === SPACE ? 6 : 5);
}
