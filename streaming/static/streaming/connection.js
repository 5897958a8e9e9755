// One connection, and the waits between reconnects: both end when the page enters the back/forward cache or the caller
// aborts.

import { LostError } from "./stream-errors.js";

// A timer with a longer delay fires at once (32-bit milliseconds).
export const MAX_TIMER = 2 ** 31 - 1;

// A page in the back/forward cache holds no connection, and opens none until it is shown again.
let inBackForwardCache = false;
/** @type {unknown} */
let watchedTarget;

/** Registers the page listeners, once, at the first connection. */
function watchPage() {
  if (watchedTarget === globalThis.addEventListener) return;
  watchedTarget = globalThis.addEventListener;
  globalThis.addEventListener?.("pagehide", ({ persisted }) => {
    inBackForwardCache = persisted;
  });
  globalThis.addEventListener?.("pageshow", () => {
    inBackForwardCache = false;
  });
}

/** Limits how long the server may be silent, and distinguishes a lost connection from an error of the caller. */
export class Connection {
  #abort = new AbortController();
  #closed = new AbortController();
  #idleTimeout;

  /**
   * @param {number} idleTimeout  milliseconds
   * @param {AbortSignal} [signal]  the caller's
   */
  constructor(idleTimeout, signal) {
    watchPage();
    this.#idleTimeout = idleTimeout;
    this.signal = signal ? AbortSignal.any([signal, this.#abort.signal]) : this.#abort.signal;
    globalThis.addEventListener?.(
      "pagehide",
      ({ persisted }) => {
        if (persisted) this.#abortAsLost("the page was put away");
      },
      { signal: this.#closed.signal },
    );
  }

  /**
   * What the act gives, which the network has to give in time.
   * @template T
   * @param {() => Promise<T>} act
   * @returns {Promise<T>}
   */
  async waitFor(act) {
    const timer = setTimeout(
      () => this.#abortAsLost(`the connection was silent for ${this.#idleTimeout / 1000} s`),
      Math.min(this.#idleTimeout, MAX_TIMER),
    );
    try {
      return await this.unlessAborted(act);
    } catch (error) {
      // fetch reports a lost connection as a TypeError, whatever its cause.
      throw error instanceof TypeError ? new LostError("the connection failed", { cause: error }) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * What the act gives; rejects at once if the signal aborts, also where the act does not know of the signal.
   * @template T
   * @param {() => T | Promise<T>} act
   * @returns {Promise<T>}
   */
  unlessAborted(act) {
    return cancellable((resolve, _, reject) => Promise.resolve(act()).then(resolve, reject), this.signal);
  }

  close() {
    this.#closed.abort();
    this.#abort.abort();
  }

  /** @param {string} why */
  #abortAsLost(why) {
    this.#abort.abort(new LostError(why));
  }
}

/**
 * @param {number} delay
 * @param {AbortSignal} [signal]
 */
export function wait(delay, signal) {
  return cancellable((resume, ended) => {
    const timer = setTimeout(resume, delay);
    ended.addEventListener("abort", () => clearTimeout(timer));
  }, signal);
}

/**
 * Waits until the browser is online and the page is not in the back/forward cache.
 * @param {AbortSignal} [signal]
 */
export function untilReachable(signal) {
  return cancellable((resume, ended) => {
    const check = () => {
      if (!inBackForwardCache && globalThis.navigator?.onLine !== false) resume();
    };
    for (const type of ["online", "pageshow"]) globalThis.addEventListener?.(type, check, { signal: ended });
    check();
  }, signal);
}

/**
 * @template [T=void]
 * @param {(resolve: (value: T) => void, ended: AbortSignal, reject: (error: unknown) => void) => void} begin
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
async function cancellable(begin, signal) {
  signal?.throwIfAborted();
  const ended = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { signal: ended.signal });
      begin(resolve, ended.signal, reject);
    });
  } finally {
    ended.abort();
  }
}
