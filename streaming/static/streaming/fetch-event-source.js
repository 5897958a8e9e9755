// EventSource's interface (WHATWG HTML, section 9.2.2) over fetch.

import { fetchEvents } from "./fetch-events.js";

/** @typedef {import("./fetch-events.js").Options} Options */

// No other scheme can return an event stream.
const SCHEMES = ["http:", "https:", "data:", "blob:"];

/** EventSource never gives up. */
const ENDLESS = { openCounts: true, attempts: Infinity };

/**
 * `EventSource` over fetch: the same interface, plus method, headers and body. It reconnects after every end of a body,
 * as section 9.2.3 requires, with three differences: a POST is not sent twice, a reconnect answered with 429, 502, 503 or
 * 504 is retried, and an event `done` closes it.
 */
export class FetchEventSource extends EventTarget {
  static CONNECTING = /** @type {const} */ (0);
  static OPEN = /** @type {const} */ (1);
  static CLOSED = /** @type {const} */ (2);
  CONNECTING = FetchEventSource.CONNECTING;
  OPEN = FetchEventSource.OPEN;
  CLOSED = FetchEventSource.CLOSED;

  lastEventId = "";
  /** @type {0 | 1 | 2} */
  #readyState = FetchEventSource.CONNECTING;
  #url;
  #withCredentials;
  #origin = "";
  #abort = new AbortController();
  /** @type {Map<string, { handler: Handler | null }>} */
  #handlers = new Map();

  /**
   * @param {string | URL} url
   * @param {Options & { withCredentials?: boolean }} [init]
   */
  constructor(url, { withCredentials = false, ...options } = {}) {
    super();
    this.#url = parse(url);
    this.#withCredentials = withCredentials;
    this.lastEventId = options.lastEventId ?? "";
    options.signal?.addEventListener("abort", () => this.close(), { once: true, signal: this.#abort.signal });
    if (options.signal?.aborted) this.close();
    else void this.#run({ ...options, retry: options.retry !== false && { ...ENDLESS, ...options.retry } });
  }

  /**
   * The same interface for a stream of bytes that is already open.
   * @param {ReadableStream<Uint8Array>} stream
   */
  static fromReadableStream(stream) {
    const answer = () => new Response(stream, { headers: { "Content-Type": "text/event-stream" } });
    return new FetchEventSource("about:blank", { fetch: async () => answer(), retry: false });
  }

  get readyState() {
    return this.#readyState;
  }

  get url() {
    return this.#url.href;
  }

  get withCredentials() {
    return this.#withCredentials;
  }

  close() {
    this.#readyState = FetchEventSource.CLOSED;
    this.#abort.abort();
  }

  get onopen() {
    return this.#handler("open");
  }
  set onopen(handler) {
    this.#setHandler("open", handler);
  }
  get onmessage() {
    return this.#handler("message");
  }
  set onmessage(handler) {
    this.#setHandler("message", handler);
  }
  get onerror() {
    return this.#handler("error");
  }
  set onerror(handler) {
    this.#setHandler("error", handler);
  }

  /** @param {Options} options */
  async #run(options) {
    const { signal } = this.#abort;
    try {
      // The caller adds listeners only after the constructor returns.
      await null;
      if (!options.fetch && !SCHEMES.includes(this.#url.protocol)) throw new TypeError("no stream can come from there");
      const messages = fetchEvents(this.url, {
        ...options,
        ...(this.#withCredentials ? { credentials: "include" } : {}),
        signal,
        onOpen: (response) => this.#open(response, options),
        onCut: (cut, delay) => {
          options.onCut?.(cut, delay);
          this.#fail(FetchEventSource.CONNECTING, cut);
        },
      });
      for await (const message of messages) {
        this.lastEventId = message.id;
        const { event, data, id } = message;
        this.dispatchEvent(new MessageEvent(event, { data, lastEventId: id, origin: this.#origin }));
      }
      // A 204 means there is nothing to read: EventSource fires `error` and closes.
      if (this.readyState === FetchEventSource.CONNECTING) this.#fail(FetchEventSource.CLOSED, undefined);
      this.close();
    } catch (error) {
      if (signal.aborted) return;
      this.close();
      this.#fail(FetchEventSource.CLOSED, error);
    }
  }

  /**
   * @param {Response} response
   * @param {Options} options
   */
  async #open(response, options) {
    await options.onOpen?.(response);
    this.#abort.signal.throwIfAborted();
    // The final URL, after redirects.
    this.#origin = new URL(response.url || this.url).origin;
    this.#readyState = FetchEventSource.OPEN;
    this.dispatchEvent(new Event("open"));
  }

  /**
   * @param {0 | 2} readyState
   * @param {unknown} error
   */
  #fail(readyState, error) {
    this.#readyState = readyState;
    this.dispatchEvent(Object.assign(new Event("error"), { error }));
  }

  /** @typedef {(this: FetchEventSource, event: any) => void} Handler */

  /** @param {string} type */
  #handler(type) {
    return this.#handlers.get(type)?.handler ?? null;
  }

  /**
   * A handler keeps its position among the listeners from when it was first set.
   * @param {string} type
   * @param {unknown} value
   */
  #setHandler(type, value) {
    const handler = typeof value === "function" ? /** @type {Handler} */ (value) : null;
    const known = this.#handlers.get(type);
    if (known) {
      known.handler = handler;
      return;
    }
    const slot = { handler };
    this.#handlers.set(type, slot);
    this.addEventListener(type, (event) => slot.handler?.call(this, event));
  }
}

/** @param {string | URL} url */
function parse(url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
  } catch {
    throw new DOMException(`${url} is no URL`, "SyntaxError");
  }
}
