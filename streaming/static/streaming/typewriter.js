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
const MAY_GO_ON = /(?:[\uD800-\uDBFF]|\p{Regional_Indicator}|\u200D|\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F]?)$/u;

export class Typewriter {
  #pending = "";
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
    return this.#pending;
  }

  /**
   * @param {string} text
   * @param {number} now
   */
  push(text, now) {
    if (text === "") return;
    this.#learn(now);
    this.#accrue(now);
    this.#pending += text;
    this.#plan(now, this.#horizon());
  }

  /**
   * What to show in this frame. However late the frame is, it gives all that is due: a stall is caught up.
   * @param {number} now
   */
  take(now) {
    if (this.#pending === "") return "";
    if (now >= this.#due) return this.#give(this.#finished ? this.#pending.length : this.#settled());
    this.#accrue(now);
    return this.#give(Math.min(boundary(this.#pending, Math.floor(this.#owed)), this.#last()));
  }

  /** All that is left, at once. */
  flush() {
    return this.#give(this.#pending.length);
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
    this.#owed = Math.min(this.#owed + this.#rate * (Math.min(now, this.#due) - this.#since), this.#pending.length);
    this.#since = Math.min(now, this.#due);
  }

  /**
   * @param {number} now
   * @param {number} duration
   */
  #plan(now, duration) {
    this.#since = now;
    this.#due = now + duration;
    this.#rate = (this.#pending.length - this.#owed) / duration;
  }

  /** How much may be shown while more may come: all but an end that may be half of something. */
  #settled() {
    return MAY_GO_ON.test(this.#pending) ? this.#last() : this.#pending.length;
  }

  /** Where the last grapheme begins: the next text may still belong to it. */
  #last() {
    const text = this.#pending.replace(/[\uD800-\uDBFF]$/, "");
    return boundary(text, text.length - 1);
  }

  /** @param {number} length */
  #give(length) {
    const text = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    this.#owed = Math.max(0, this.#owed - length);
    return text;
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
