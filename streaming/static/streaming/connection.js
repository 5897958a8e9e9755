// One connection, and the waits between two: both end when the page is put away or the caller gives up.

import { LostError } from "./stream-errors.js";

// Above this a timer fires at once.
export const LONGEST_TIMER = 2 ** 31 - 1;

// A page that is kept for the way back holds no connection, and makes none until it is shown again.
let inBackForwardCache = false;
/** @type {unknown} */
let watching;

/** From the first connection on. */
function watchPage() {
  if (watching === globalThis.addEventListener) return;
  watching = globalThis.addEventListener;
  globalThis.addEventListener?.("pagehide", ({ persisted }) => {
    inBackForwardCache = persisted;
  });
  globalThis.addEventListener?.("pageshow", () => {
    inBackForwardCache = false;
  });
}

/** Gives up on waits that are too long, and tells a lost connection from an error of the caller's. */
export class Connection {
  #abort = new AbortController();
  #over = new AbortController();
  #idleTimeout;
  signal = this.#abort.signal;

  /** @param {number} idleTimeout  milliseconds */
  constructor(idleTimeout) {
    watchPage();
    this.#idleTimeout = idleTimeout;
    globalThis.addEventListener?.(
      "pagehide",
      ({ persisted }) => {
        if (persisted) this.#giveUp("the page was put away");
      },
      { signal: this.#over.signal },
    );
  }

  /** @template T @param {() => Promise<T>} act @returns {Promise<T>} */
  async waitFor(act) {
    const timer = setTimeout(
      () => this.#giveUp(`the connection was silent for ${this.#idleTimeout / 1000} s`),
      Math.min(this.#idleTimeout, LONGEST_TIMER),
    );
    try {
      return await act();
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      // fetch reports a lost connection as a TypeError, whatever its cause.
      throw error instanceof TypeError ? new LostError("the connection failed", { cause: error }) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  close() {
    this.#over.abort();
    this.#abort.abort();
  }

  /** @param {string} why */
  #giveUp(why) {
    this.#abort.abort(new LostError(why));
  }
}

/**
 * @param {number} delay
 * @param {AbortSignal} [signal]
 */
export function wait(delay, signal) {
  return waiting((resume, over) => {
    const timer = setTimeout(resume, delay);
    over.addEventListener("abort", () => clearTimeout(timer));
  }, signal);
}

/**
 * Until there is a network, and a page that is shown or at least open.
 * @param {AbortSignal} [signal]
 */
export function untilReachable(signal) {
  return waiting((resume, over) => {
    const look = () => {
      if (!inBackForwardCache && globalThis.navigator?.onLine !== false) resume();
    };
    for (const type of ["online", "pageshow"]) globalThis.addEventListener?.(type, look, { signal: over });
    look();
  }, signal);
}

/**
 * @param {(resume: () => void, over: AbortSignal) => void} begin
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
async function waiting(begin, signal) {
  signal?.throwIfAborted();
  const over = new AbortController();
  try {
    await new Promise((/** @type {(nothing: void) => void} */ resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { signal: over.signal });
      begin(resolve, over.signal);
    });
  } finally {
    over.abort();
  }
}
