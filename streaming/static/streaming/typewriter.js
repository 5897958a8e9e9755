// Paces how fast text appears: at the rate of arrival with a small delay, so that it neither stalls nor lags.
// Pure: the caller passes the time, in milliseconds.

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

// Received text is spread over the time until more is expected, within these bounds in milliseconds.
const MIN_SPREAD = 100;
const MAX_SPREAD = 1000;
const INITIAL_SPREAD = 250;
// Once the stream has ended, the rest appears within this time.
const FINAL_SPREAD = 250;
// Longer than any realistic grapheme; bounds the search for a grapheme's end.
const WINDOW = 256;
// An emoji, half a flag, a joiner or half a surrogate pair: the next text may extend it.
const MAY_EXTEND =
  /(?:[\uD800-\uDBFF]|\p{Regional_Indicator}|\u200D|\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F]?)$/u;

/** Text waiting to be shown, taken in whole graphemes. */
class PendingText {
  text = "";

  /** @param {number} length */
  give(length) {
    const given = this.text.slice(0, length);
    this.text = this.text.slice(length);
    return given;
  }

  /** The longest prefix of whole graphemes within `length` that later text cannot change. @param {number} length */
  atMost(length) {
    return Math.min(boundary(this.text, Math.floor(length)), this.last);
  }

  /** How much can be shown while more may come: all but a final grapheme that may be incomplete. */
  get settled() {
    return MAY_EXTEND.test(this.text) ? this.last : this.text.length;
  }

  /** Where the last grapheme begins; later text may still extend it. */
  get last() {
    const text = this.text.replace(/[\uD800-\uDBFF]$/, "");
    return boundary(text, text.length - 1);
  }
}

export class Typewriter {
  #buffer = new PendingText();
  #finished = false;
  // Until `#due`, each millisecond since `#since` allows `#rate` more characters; `#allowance` is what was allowed and not yet taken.
  #since = 0;
  #due = 0;
  #rate = 0;
  #allowance = 0;
  // The expected gap between pushes and its deviation, estimated as TCP estimates round-trip times.
  /** @type {number | undefined} */
  #lastPush;
  /** @type {number | undefined} */
  #gap;
  #deviation = 0;

  /** Text received but not yet shown. */
  get pending() {
    return this.#buffer.text;
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  push(text, now) {
    if (text === "") return;
    this.#updateEstimate(now);
    this.#accrue(now);
    this.#buffer.text += text;
    this.#plan(now, this.#expectedGap());
  }

  /**
   * Returns the text to show in this frame: all that is due, so a late frame catches up.
   * @param {number} now
   */
  take(now) {
    if (this.pending === "") return "";
    if (now >= this.#due) return this.#takeNow(this.#finished ? this.pending.length : this.#buffer.settled);
    this.#accrue(now);
    return this.#takeNow(this.#buffer.atMost(this.#allowance));
  }

  /** Returns all remaining text at once. */
  flush() {
    return this.#takeNow(this.pending.length);
  }

  /**
   * No more text will come.
   * @param {number} now
   */
  finish(now) {
    this.#finished = true;
    this.#accrue(now);
    if (this.#due > now) this.#plan(now, Math.min(FINAL_SPREAD, this.#due - now));
  }

  /** @param {number} now */
  #updateEstimate(now) {
    if (this.#lastPush !== undefined) {
      const gap = Math.min(now - this.#lastPush, MAX_SPREAD);
      if (this.#gap === undefined) this.#gap = gap;
      this.#deviation += (Math.abs(gap - this.#gap) - this.#deviation) / 4;
      this.#gap += (gap - this.#gap) / 4;
    }
    this.#lastPush = now;
  }

  #expectedGap() {
    if (this.#gap === undefined) return INITIAL_SPREAD;
    return Math.min(Math.max(this.#gap + 2 * this.#deviation, MIN_SPREAD), MAX_SPREAD);
  }

  /** @param {number} now */
  #accrue(now) {
    this.#allowance = Math.min(
      this.#allowance + this.#rate * (Math.min(now, this.#due) - this.#since),
      this.pending.length,
    );
    this.#since = Math.min(now, this.#due);
  }

  /**
   * @param {number} now
   * @param {number} duration
   */
  #plan(now, duration) {
    this.#since = now;
    this.#due = now + duration;
    this.#rate = (this.pending.length - this.#allowance) / duration;
  }

  /** @param {number} length */
  #takeNow(length) {
    this.#allowance = Math.max(0, this.#allowance - length);
    return this.#buffer.give(length);
  }
}

/** The classic typewriter: one character every 10 ms while more than 50 are pending, otherwise every 50 ms. */
export class ClassicTypewriter {
  #buffer = new PendingText();
  #finished = false;
  /** When the next character is due. */
  #due = 0;

  get pending() {
    return this.#buffer.text;
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  push(text, now) {
    if (this.pending === "") this.#due = Math.max(this.#due, now);
    this.#buffer.text += text;
  }

  /** @param {number} now */
  take(now) {
    const { length } = this.pending;
    let count = 0;
    while (count < length && this.#due <= now) this.#due += length - count++ > 50 ? 10 : 50;
    if (count === length) return this.#buffer.give(this.#finished ? length : this.#buffer.settled);
    return this.#buffer.give(this.#buffer.atMost(count));
  }

  flush() {
    return this.#buffer.give(this.pending.length);
  }

  finish() {
    this.#finished = true;
  }
}

/**
 * The last grapheme boundary at or before `index`.
 * @param {string} text
 * @param {number} index
 */
function boundary(text, index) {
  if (index <= 0) return 0;
  return segmenter.segment(text.slice(0, index + WINDOW)).containing(index)?.index ?? text.length;
}
