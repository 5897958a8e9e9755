// Server-Sent Events over fetch: any method, headers and body; reconnects where that is safe; never sends a POST twice
// unless it may.

import { Connection, MAX_TIMER, untilReachable, wait } from "./connection.js";
import { Parser } from "./sse.js";
import { readBeginning, CutError, RefusedError } from "./stream-errors.js";

/** @typedef {import("./sse.js").Message} Message */

/**
 * @typedef {object} Retry
 * @property {number} [attempts]  how many consecutive failures are allowed
 * @property {number} [from]  upper bound of the first delay, in milliseconds; it doubles with each failure
 * @property {number} [to]  upper bound of every delay, in milliseconds
 * @property {boolean} [openCounts]  an opened response resets the failure count, as in HTML 9.2.2; otherwise only a message does
 * @property {boolean} [resend]  send a non-GET request again with the same Idempotency-Key: only for requests that may be
 *   repeated, or servers that honour such keys
 * @property {boolean} [firstToo]  a first request that is refused with 429, 502, 503 or 504 is sent again too, like a reconnect
 * @property {() => number} [random]
 */

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers]  a function is called for each attempt, as tokens expire
 * @property {BodyInit | null} [body]
 * @property {RequestCredentials} [credentials]
 * @property {AbortSignal} [signal]
 * @property {(url: string, init: RequestInit) => Promise<Response>} [fetch]
 * @property {Retry | false} [retry]
 * @property {number} [idleTimeout]  milliseconds without a byte, heartbeats included, after which the connection counts as lost
 * @property {string} [lastEventId]  the last id received by an earlier call
 * @property {number} [maxMessageChars]
 * @property {(lastEventId: string) => string | URL} [resume]  where an interrupted stream is resumed with a GET; by default the
 *   `Content-Location` of the response
 * @property {(response: Response) => void | Promise<void>} [onOpen]  called before the response is parsed; may throw
 * @property {(count: number) => void} [onBytes]  called with the size of each chunk, heartbeats included
 * @property {(cut: unknown, delay: number) => void} [onCut]  the connection was lost; the next attempt is in `delay` milliseconds
 */

// Without a minimum, a server that sends `retry: 0` and closes would be called in a tight loop.
const MIN_RETRY_DELAY = 100;
// The longest that is waited as Retry-After says: servers keep an interrupted answer for some minutes.
const MAX_RETRY_AFTER = 300_000;
// Milliseconds after which a request is not sent again: servers keep an answer, and its key, for some minutes.
const RESEND_WITHIN = 240_000;
// Statuses of a server or proxy that is overloaded or restarting.
const TRANSIENT_STATUSES = new Set([429, 502, 503, 504]);

// A 204 to the first request: there is nothing to read, which is not a failure.
const NO_CONTENT = Symbol("no content");

/**
 * The messages of a stream across reconnections, up to and including `done`. It reads on demand; `break` aborts the
 * request. Throws the signal's reason, `RefusedError`, `CutError`, or what `onOpen` throws.
 *
 * Each call that is not a GET or HEAD sends an `Idempotency-Key`; if its response is interrupted, it is resumed with a GET.
 *
 * @param {string | URL} url
 * @param {Options} [options]
 * @returns {AsyncGenerator<Message, void, undefined>}
 */
export async function* fetchEvents(url, options = {}) {
  const { signal, retry, onCut, maxMessageChars } = options;
  const mayResend = isSafe(options.method) || Boolean(retry && retry.resend);
  const state = { lastEventId: options.lastEventId ?? "", retry: /** @type {number | undefined} */ (undefined) };
  const key = isSafe(options.method) ? "" : randomKey();
  const begun = Date.now();
  let address = ""; // where the response to a non-GET request can be resumed
  let failures = 0;
  /** @type {unknown} */
  let cause;
  checkRequest(url, options);

  for (let isReconnect = false; ; isReconnect = true) {
    signal?.throwIfAborted();
    const resumed = (isReconnect && state.lastEventId && options.resume?.(state.lastEventId)) || address;
    const isResuming = isReconnect && !isSafe(options.method) && (resumed !== "" || !mayResend);
    if (isReconnect && key && !isResuming && Math.abs(Date.now() - begun) > RESEND_WITHIN)
      throw new CutError(`the connection was cut, and after so long a ${options.method} is not sent again`, { cause });
    const request = {
      ...(isResuming ? asGet(options) : { ...options, key }),
      url: (isResuming && resumed) || url,
      onOpen: async (/** @type {Response} */ response) => {
        if (!isSafe(options.method)) address ||= addressOf(response, url);
        await options.onOpen?.(response);
        if (retry && retry.openCounts) failures = 0;
      },
    };
    const parser = new Parser({ lastEventId: state.lastEventId, maxMessageChars });
    try {
      for await (const batch of readOnce(request, parser, isReconnect)) {
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
      if (error === NO_CONTENT) return;
      if (!isTransient(error, isReconnect || (mayResend && Boolean(retry && retry.firstToo)))) throw error;
      const canReturn = mayResend || address !== "" || (options.resume && state.lastEventId !== "");
      if (!canReturn)
        throw new CutError(`the connection was cut, and a ${options.method} is not sent twice`, { cause: error });
      cause = error;
      failures++;
      if (retry === false || failures > (retry?.attempts ?? 8)) throw error;
      const delay = Math.min(
        Math.max(
          // Only further failures add to what the server asks for (HTML 9.2.3 allows it).
          state.retry === undefined
            ? backoff(failures, retry)
            : Math.max(state.retry, MIN_RETRY_DELAY) + backoff(failures - 1, retry),
          error instanceof RefusedError ? Math.min(error.retryAfter, MAX_RETRY_AFTER) : 0,
        ),
        MAX_TIMER,
      );
      onCut?.(error, delay);
      await wait(delay, signal);
      await untilReachable(signal);
    }
  }
}

/**
 * One request and the messages of its response, chunk by chunk.
 *
 * @param {Options & { url: string | URL, key?: string }} request
 * @param {Parser} parser
 * @param {boolean} isReconnect
 * @returns {AsyncGenerator<Message[], void, undefined>}
 */
async function* readOnce(
  { url, key, method = "GET", body: sent, credentials, signal, fetch = globalThis.fetch, ...options },
  parser,
  isReconnect,
) {
  const connection = new Connection(options.idleTimeout ?? 45_000, signal);
  const ended = connection.signal;
  try {
    const headers = await connection.unlessAborted(() => headersFor(options.headers, parser.lastEventId, key));
    const response = await connection.waitFor(() =>
      fetch(String(url), {
        method,
        headers,
        body: sent,
        credentials,
        cache: "no-store",
        signal: ended,
      }),
    );
    if (response.status === 204 && !isReconnect) throw NO_CONTENT;
    if (!isEventStream(response)) throw new RefusedError(response, await readBeginning(response), isReconnect);
    const body = /** @type {ReadableStream<Uint8Array>} */ (response.body);
    let opened = /** @type {{ cancel: () => Promise<void> }} */ (body);
    // A response that fetch() did not make knows nothing of the signal.
    ended.addEventListener("abort", () => void opened.cancel().catch(() => {}));
    await connection.unlessAborted(() => options.onOpen?.(response));
    const reader = (opened = body.getReader());
    for (;;) {
      const { done, value } = await connection.waitFor(() => reader.read());
      if (value) options.onBytes?.(value.length);
      // An error in the last bytes is thrown by the next feed(), even an empty one.
      yield parser.feed(value ?? new Uint8Array());
      if (done) return;
    }
  } finally {
    connection.close();
  }
}

/**
 * @param {Options["headers"]} given
 * @param {string} lastEventId
 * @param {string} [key]
 */
async function headersFor(given, lastEventId, key) {
  const headers = new Headers(typeof given === "function" ? await given() : given);
  if (!headers.has("Accept")) headers.set("Accept", "text/event-stream");
  if (lastEventId) headers.set("Last-Event-ID", utf8ByteString(lastEventId));
  if (key && !headers.has("Idempotency-Key")) headers.set("Idempotency-Key", key);
  return headers;
}

/** A header value is a ByteString, one character for each byte; the specification sends the id as UTF-8. @param {string} text */
function utf8ByteString(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

/**
 * Throws at once for an invalid request: fetch reports it as a TypeError, like a lost connection, which would be retried.
 * @param {string | URL} url
 * @param {Options} options
 */
function checkRequest(url, { method, body, fetch }) {
  if (!fetch && !(body instanceof ReadableStream)) new Request(url, { method, body });
}

/** @param {Options} options @returns {Options} */
function asGet({ body, ...options }) {
  return { ...options, method: "GET" };
}

/** Like `crypto.randomUUID`, which exists only in secure contexts. */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The `Content-Location` of a response; "" if it has none, or it names another origin than the request, which a redirect
 * may lead to: it must not receive the request's headers.
 * @param {Response} response
 * @param {string | URL} requested
 */
function addressOf({ headers, url }, requested) {
  const location = headers.get("Content-Location");
  if (!location || !URL.canParse(location, url)) return "";
  const address = new URL(location, url);
  const { origin } = new URL(requested, globalThis.document?.baseURI ?? globalThis.location?.href ?? url);
  return address.origin === origin && address.href !== url ? address.href : "";
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
 * @param {boolean} mayBeRefused
 */
function isTransient(error, mayBeRefused) {
  return (
    error instanceof CutError || (mayBeRefused && error instanceof RefusedError && TRANSIENT_STATUSES.has(error.status))
  );
}

/**
 * Full jitter: clients that lost their connections together reconnect at different times.
 * @param {number} failures
 * @param {Retry | false} [retry]
 */
function backoff(failures, retry) {
  const { from = 1000, to = 30_000, random = Math.random } = retry || {};
  return failures && random() * Math.min(to, from * 2 ** (failures - 1));
}
