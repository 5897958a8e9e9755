// How fast text appears: at the rate at which it comes, a little behind, so that it neither stalls nor lags.
// Pure: the clock is passed in, in milliseconds.

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

// Text that has come is shown over the time until more is expected, within these.
const SHORTEST = 100;
const LONGEST = 1000;
const FIRST_GUESS = 250;
// After the last text nobody should wait for a show.
const LAST = 250;
// No grapheme anyone writes is longer; more need not be looked at to find where one ends.
const WINDOW = 256;
// An emoji, half a flag, a joiner or half a surrogate pair: the next text may well belong to it.
const MAY_GO_ON =
  /(?:[\uD800-\uDBFF]|\p{Regional_Indicator}|\u200D|\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F]?)$/u;

/** Text that waits, and is given out in whole graphemes. */
class Waiting {
  text = "";

  /** @param {number} length */
  give(length) {
    const given = this.text.slice(0, length);
    this.text = this.text.slice(length);
    return given;
  }

  /** At most this much; nothing that the next text may still belong to. @param {number} length */
  atMost(length) {
    return Math.min(boundary(this.text, Math.floor(length)), this.last);
  }

  /** How much may be shown while more may come: all but an end that may be half of something. */
  get settled() {
    return MAY_GO_ON.test(this.text) ? this.last : this.text.length;
  }

  /** Where the last grapheme begins: the next text may still belong to it. */
  get last() {
    const text = this.text.replace(/[\uD800-\uDBFF]$/, "");
    return boundary(text, text.length - 1);
  }
}

export class Typewriter {
  #waiting = new Waiting();
  #finished = false;
  // Until `#due`, each millisecond since `#since` allows `#rate` more characters; `#owed` were allowed and not yet taken.
  #since = 0;
  #due = 0;
  #rate = 0;
  #owed = 0;
  // How long the next text takes to come, and how much that varies; as TCP estimates a round trip.
  /** @type {number | undefined} */
  #lastPush;
  /** @type {number | undefined} */
  #gap;
  #deviation = 0;

  /** What has come and is not shown. */
  get pending() {
    return this.#waiting.text;
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  push(text, now) {
    if (text === "") return;
    this.#learn(now);
    this.#accrue(now);
    this.#waiting.text += text;
    this.#plan(now, this.#horizon());
  }

  /**
   * What to show in this frame. However late the frame is, it gives all that is due: a stall is caught up.
   * @param {number} now
   */
  take(now) {
    if (this.pending === "") return "";
    if (now >= this.#due) return this.#give(this.#finished ? this.pending.length : this.#waiting.settled);
    this.#accrue(now);
    return this.#give(this.#waiting.atMost(this.#owed));
  }

  /** All that is left, at once. */
  flush() {
    return this.#give(this.pending.length);
  }

  /**
   * No more text will come.
   * @param {number} now
   */
  finish(now) {
    this.#finished = true;
    this.#accrue(now);
    if (this.#due > now) this.#plan(now, Math.min(LAST, this.#due - now));
  }

  /** @param {number} now */
  #learn(now) {
    if (this.#lastPush !== undefined) {
      const gap = Math.min(now - this.#lastPush, LONGEST);
      if (this.#gap === undefined) this.#gap = gap;
      this.#deviation += (Math.abs(gap - this.#gap) - this.#deviation) / 4;
      this.#gap += (gap - this.#gap) / 4;
    }
    this.#lastPush = now;
  }

  #horizon() {
    if (this.#gap === undefined) return FIRST_GUESS;
    return Math.min(Math.max(this.#gap + 2 * this.#deviation, SHORTEST), LONGEST);
  }

  /** @param {number} now */
  #accrue(now) {
    this.#owed = Math.min(this.#owed + this.#rate * (Math.min(now, this.#due) - this.#since), this.pending.length);
    this.#since = Math.min(now, this.#due);
  }

  /**
   * @param {number} now
   * @param {number} duration
   */
  #plan(now, duration) {
    this.#since = now;
    this.#due = now + duration;
    this.#rate = (this.pending.length - this.#owed) / duration;
  }

  /** @param {number} length */
  #give(length) {
    this.#owed = Math.max(0, this.#owed - length);
    return this.#waiting.give(length);
  }
}

/** The classic way, for who likes it: a character each 10 ms while more than 50 wait, else each 50 ms. */
export class ClassicTypewriter {
  #waiting = new Waiting();
  #finished = false;
  /** When the next character is due. */
  #due = 0;

  get pending() {
    return this.#waiting.text;
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  push(text, now) {
    if (this.pending === "") this.#due = Math.max(this.#due, now);
    this.#waiting.text += text;
  }

  /** @param {number} now */
  take(now) {
    const { length } = this.pending;
    let count = 0;
    while (count < length && this.#due <= now) this.#due += length - count++ > 50 ? 10 : 50;
    if (count === length) return this.#waiting.give(this.#finished ? length : this.#waiting.settled);
    return this.#waiting.give(this.#waiting.atMost(count));
  }

  flush() {
    return this.#waiting.give(this.pending.length);
  }

  finish() {
    this.#finished = true;
  }
}

/**
 * The last place at or before `index` where a grapheme begins.
 * @param {string} text
 * @param {number} index
 */
function boundary(text, index) {
  if (index <= 0) return 0;
  return segmenter.segment(text.slice(0, index + WINDOW)).containing(index)?.index ?? text.length;
}
