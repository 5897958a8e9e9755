// Server-Sent Events over fetch: any method, headers and body; comes back when it may; never pays twice.

import { Parser, StreamError } from "./sse.js";

export { StreamError };

/** @typedef {import("./sse.js").Message} Message */

/**
 * @typedef {object} Retry
 * @property {number} [attempts]  how many failures in a row are one too many
 * @property {number} [from]  the longest first wait, in milliseconds; it doubles with each failure
 * @property {number} [to]  the longest wait of all
 * @property {boolean} [resend]  send a request again that is not a GET: only if it may happen twice
 * @property {() => number} [random]
 */

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers]  a function is called for each attempt: tokens expire
 * @property {BodyInit | null} [body]
 * @property {RequestCredentials} [credentials]
 * @property {AbortSignal} [signal]
 * @property {(url: string, init: RequestInit) => Promise<Response>} [fetch]
 * @property {Retry | false} [retry]
 * @property {number} [idleTimeout]  milliseconds without a byte, heartbeats included, after which the connection counts as cut
 * @property {string} [lastEventId]  where an earlier reading ended
 * @property {number} [maxMessageChars]
 * @property {(lastEventId: string) => string | URL} [resume]  where a cut stream is read on, with a GET
 * @property {(response: Response) => void | Promise<void>} [onOpen]  may look at the response before it is parsed, or throw
 * @property {(count: number) => void} [onBytes]  so many have come, heartbeats included
 * @property {(cut: unknown, delay: number) => void} [onCut]  the connection was lost; the next attempt is in `delay` milliseconds
 */

/** The answer is not an event stream. */
export class RefusedError extends StreamError {
  name = "RefusedError";

  /**
   * @param {Response} response
   * @param {string} body
   * @param {boolean} isReturn  whether the stream had begun, and was cut
   */
  constructor(response, body, isReturn) {
    const problem = readProblem(response, body);
    super(problem?.detail || problem?.title || describe(response));
    this.status = response.status;
    this.headers = response.headers;
    this.body = body;
    this.problem = problem;
    this.isReturn = isReturn;
  }
}

/** The stream ended, or fell silent, before it was done. */
export class CutError extends StreamError {
  name = "CutError";
}

// Above this a timer fires at once.
const LONGEST_TIMER = 2 ** 31 - 1;
// A server that asks for no wait at all, and cuts, would be asked in a tight loop.
const SHORTEST_WAIT = 100;
// A server or proxy that is just starting again answers with these.
const PASSING = new Set([429, 502, 503, 504]);

/**
 * The messages of a stream, until `done` (which is the last one), across reconnections. It reads when it is asked;
 * `break` aborts the request. Throws the signal's reason, `RefusedError`, `CutError`, or what `onOpen` throws.
 *
 * @param {string | URL} url
 * @param {Options} [options]
 * @returns {AsyncGenerator<Message, void, undefined>}
 */
export async function* fetchEvents(url, options = {}) {
  const { signal, retry, onCut, maxMessageChars } = options;
  const mayResend = isSafe(options.method) || Boolean(retry && retry.resend);
  const state = { lastEventId: options.lastEventId ?? "", retry: /** @type {number | undefined} */ (undefined) };
  let failures = 0;
  checkRequest(url, options);

  for (let returning = false; ; returning = true) {
    signal?.throwIfAborted();
    // Only what was sent once already, and cannot be sent again, is read on at another address.
    const resuming = returning && !mayResend;
    const request = resuming
      ? { ...readOn(options), url: options.resume?.(state.lastEventId) ?? url }
      : { ...options, url };
    const parser = new Parser({ lastEventId: state.lastEventId, maxMessageChars });
    try {
      for await (const batch of readOnce(request, parser, returning)) {
        state.lastEventId = parser.lastEventId;
        state.retry = parser.retry ?? state.retry;
        for (const message of batch) {
          signal?.throwIfAborted();
          failures = 0;
          yield message;
          if (message.event === "done") return;
        }
      }
      throw new CutError("the stream ended before it was done");
    } catch (error) {
      signal?.throwIfAborted();
      if (error === STOP) return;
      if (!isPassing(error, returning)) throw error;
      const canReturn = mayResend || (options.resume && state.lastEventId !== "");
      if (!canReturn)
        throw new CutError(`the connection was cut, and a ${options.method} is not sent twice`, { cause: error });
      failures++;
      if (retry === false || failures > (retry?.attempts ?? 8)) throw error;
      const delay = Math.min(
        state.retry === undefined ? backoff(failures, retry) : Math.max(state.retry, SHORTEST_WAIT),
        LONGEST_TIMER,
      );
      onCut?.(error, delay);
      await wait(delay, signal);
      await untilReachable(signal);
    }
  }
}

// A 204 to the first request: there is nothing to read, and that is no failure.
const STOP = Symbol("no content");

/** A failure of the network, not of the server or the caller. */
class Lost extends CutError {}

/**
 * One request and what its answer holds, chunk by chunk.
 *
 * @param {Options & { url: string | URL }} request
 * @param {Parser} parser
 * @param {boolean} returning
 * @returns {AsyncGenerator<Message[], void, undefined>}
 */
async function* readOnce(
  { url, method = "GET", body, credentials, signal, fetch = globalThis.fetch, ...options },
  parser,
  returning,
) {
  const connection = new Connection(options.idleTimeout ?? 45_000);
  try {
    const headers = await headersFor(options.headers, parser.lastEventId);
    const response = await connection.waitFor(() =>
      fetch(String(url), {
        method,
        headers,
        body,
        credentials,
        cache: "no-store",
        signal: signal ? AbortSignal.any([signal, connection.signal]) : connection.signal,
      }),
    );
    if (response.status === 204 && !returning) throw STOP;
    if (!isEventStream(response)) throw new RefusedError(response, await beginningOf(response), returning);
    await options.onOpen?.(response);
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { done, value } = await connection.waitFor(() => reader.read());
      if (value) options.onBytes?.(value.length);
      // An error that the last bytes held is told by the next call, even of nothing.
      yield parser.feed(value ?? new Uint8Array());
      if (done) return;
    }
  } finally {
    connection.close();
  }
}

// A page that is kept for the way back holds no connection, and makes none until it is shown again.
let isPutAway = false;
globalThis.addEventListener?.("pagehide", ({ persisted }) => {
  isPutAway = persisted;
});
globalThis.addEventListener?.("pageshow", () => {
  isPutAway = false;
});

/** Gives up on waits that are too long, and tells a lost connection from an error of the caller's. */
class Connection {
  #abort = new AbortController();
  #over = new AbortController();
  #patience;
  signal = this.#abort.signal;

  /** @param {number} patience  milliseconds */
  constructor(patience) {
    this.#patience = patience;
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
      () => this.#giveUp(`the connection was silent for ${this.#patience / 1000} s`),
      Math.min(this.#patience, LONGEST_TIMER),
    );
    try {
      return await act();
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      // fetch reports a lost connection as a TypeError, whatever its cause.
      throw error instanceof TypeError ? new Lost("the connection failed", { cause: error }) : error;
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
    this.#abort.abort(new Lost(why));
  }
}

// A page of text or a stream of another kind may be endless; nobody reads a refusal to its end.
const LONGEST_REFUSAL = 1 << 16;
const REFUSAL_TIME = 1000;

/** @param {Response} response */
async function beginningOf({ body }) {
  const reader = body?.getReader();
  const timer = setTimeout(() => reader?.cancel().catch(() => {}), REFUSAL_TIME);
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (reader && text.length < LONGEST_REFUSAL) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // What has come tells enough.
  } finally {
    clearTimeout(timer);
  }
  return text;
}

/**
 * @param {Options["headers"]} given
 * @param {string} lastEventId
 */
async function headersFor(given, lastEventId) {
  const headers = new Headers(typeof given === "function" ? await given() : given);
  if (!headers.has("Accept")) headers.set("Accept", "text/event-stream");
  if (lastEventId) headers.set("Last-Event-ID", utf8ByteString(lastEventId));
  return headers;
}

/** A header value is a ByteString, one character for each byte; the specification sends the id as UTF-8. @param {string} text */
function utf8ByteString(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

/**
 * What a caller got wrong is told at once: fetch tells it as it tells a lost connection, which would be tried again.
 * @param {string | URL} url
 * @param {Options} options
 */
function checkRequest(url, { method, body, fetch }) {
  if (!fetch && !(body instanceof ReadableStream)) new Request(url, { method, body });
}

/** @param {Options} options @returns {Options} */
function readOn({ body, ...options }) {
  return { ...options, method: "GET" };
}

/** @param {string | undefined} method */
function isSafe(method = "GET") {
  return ["GET", "HEAD"].includes(method.toUpperCase());
}

/** @param {Response} response */
function isEventStream(response) {
  const [essence] = (response.headers.get("Content-Type") ?? "").split(";");
  return response.status === 200 && response.body !== null && essence?.trim().toLowerCase() === "text/event-stream";
}

/**
 * Whether another attempt may help.
 * @param {unknown} error
 * @param {boolean} returning
 */
function isPassing(error, returning) {
  return error instanceof CutError || (returning && error instanceof RefusedError && PASSING.has(error.status));
}

/**
 * Full jitter: clients that were cut together come back apart.
 * @param {number} failures
 * @param {Retry | false} [retry]
 */
function backoff(failures, retry) {
  const { from = 1000, to = 30_000, random = Math.random } = retry || {};
  return random() * Math.min(to, from * 2 ** (failures - 1));
}

/**
 * @param {number} delay
 * @param {AbortSignal} [signal]
 */
function wait(delay, signal) {
  return waiting((resume, over) => {
    const timer = setTimeout(resume, delay);
    over.addEventListener("abort", () => clearTimeout(timer));
  }, signal);
}

/**
 * Until there is a network, and a page that is shown or at least open.
 * @param {AbortSignal} [signal]
 */
function untilReachable(signal) {
  return waiting((resume, over) => {
    const look = () => {
      if (!isPutAway && globalThis.navigator?.onLine !== false) resume();
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

/** @typedef {{ type?: string, title?: string, status?: number, detail?: string }} Problem  RFC 9457 */

/**
 * @param {Response} response
 * @param {string} body
 * @returns {Problem | null}
 */
function readProblem(response, body) {
  if (!/^application\/(problem\+)?json\b/i.test(response.headers.get("Content-Type") ?? "")) return null;
  try {
    const problem = JSON.parse(body);
    return problem !== null && typeof problem === "object" ? problem : null;
  } catch {
    return null;
  }
}

/** @param {Response} response */
function describe({ status, statusText, headers }) {
  if (status === 200) return `the answer is ${headers.get("Content-Type") ?? "of no type"}, not an event stream`;
  if (status === 204) return "there is nothing more to read";
  return `${status} ${statusText}`.trim();
}

/**
 * `EventSource`, over fetch: the same interface, and method, headers and body besides. `done` ends it.
 */
export class FetchEventSource extends EventTarget {
  static CONNECTING = /** @type {const} */ (0);
  static OPEN = /** @type {const} */ (1);
  static CLOSED = /** @type {const} */ (2);
  CONNECTING = FetchEventSource.CONNECTING;
  OPEN = FetchEventSource.OPEN;
  CLOSED = FetchEventSource.CLOSED;

  /** @type {0 | 1 | 2} */
  readyState = FetchEventSource.CONNECTING;
  lastEventId = "";
  url;
  withCredentials;
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
    this.url = new URL(url, globalThis.location?.href).href;
    this.withCredentials = withCredentials;
    this.lastEventId = options.lastEventId ?? "";
    options.signal?.addEventListener("abort", () => this.close(), { once: true, signal: this.#abort.signal });
    if (options.signal?.aborted) this.close();
    else void this.#run({ ...options, ...(withCredentials ? { credentials: "include" } : {}) });
  }

  /**
   * The same interface for bytes that are here already.
   * @param {ReadableStream<Uint8Array>} stream
   */
  static fromReadableStream(stream) {
    const answer = () => new Response(stream, { headers: { "Content-Type": "text/event-stream" } });
    return new FetchEventSource("about:blank", { fetch: async () => answer(), retry: false });
  }

  close() {
    this.readyState = FetchEventSource.CLOSED;
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
      const messages = fetchEvents(this.url, {
        ...options,
        signal,
        onOpen: (response) => this.#open(response, options),
        onCut: (cut) => this.#fail(FetchEventSource.CONNECTING, cut),
      });
      for await (const message of messages) {
        this.lastEventId = message.id;
        const { event, data, id } = message;
        this.dispatchEvent(new MessageEvent(event, { data, lastEventId: id, origin: this.#origin }));
      }
      // As an EventSource does when it is told by a 204 that there is nothing to read.
      if (this.readyState === FetchEventSource.CONNECTING) this.#fail(FetchEventSource.CLOSED, undefined);
      this.close();
    } catch (error) {
      if (!signal.aborted) this.#fail(FetchEventSource.CLOSED, error);
    }
  }

  /**
   * @param {Response} response
   * @param {Options} options
   */
  async #open(response, options) {
    await options.onOpen?.(response);
    this.#abort.signal.throwIfAborted();
    // Where a redirect led.
    this.#origin = new URL(response.url || this.url).origin;
    this.readyState = FetchEventSource.OPEN;
    this.dispatchEvent(new Event("open"));
  }

  /**
   * @param {0 | 2} readyState
   * @param {unknown} error
   */
  #fail(readyState, error) {
    this.readyState = readyState;
    this.dispatchEvent(Object.assign(new Event("error"), { error }));
  }

  /** @typedef {(this: FetchEventSource, event: any) => void} Handler */

  /** @param {string} type */
  #handler(type) {
    return this.#handlers.get(type)?.handler ?? null;
  }

  /**
   * A handler keeps the place in the order of listeners that its first setting gave it.
   * @param {string} type
   * @param {Handler | null} handler
   */
  #setHandler(type, handler) {
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
