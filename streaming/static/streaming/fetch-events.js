// Server-Sent Events over fetch: any method, headers and body; comes back when it may; never pays twice.

import { Connection, LONGEST_TIMER, untilReachable, wait } from "./connection.js";
import { Parser } from "./sse.js";
import { beginningOf, CutError, RefusedError } from "./stream-errors.js";

/** @typedef {import("./sse.js").Message} Message */

/**
 * @typedef {object} Retry
 * @property {number} [attempts]  how many failures in a row are one too many
 * @property {number} [from]  the longest first wait, in milliseconds; it doubles with each failure
 * @property {number} [to]  the longest wait of all
 * @property {boolean} [openCounts]  an answer that opens ends a row of failures, as HTML 9.2.2 has it; else a message does
 * @property {boolean} [resend]  send a request again that is not a GET, with the same Idempotency-Key: only if it may
 *   happen twice, or the server knows such keys
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
 * @property {(lastEventId: string) => string | URL} [resume]  where a cut stream is read on, with a GET; else at the
 *   `Content-Location` of the answer
 * @property {(response: Response) => void | Promise<void>} [onOpen]  may look at the response before it is parsed, or throw
 * @property {(count: number) => void} [onBytes]  so many have come, heartbeats included
 * @property {(cut: unknown, delay: number) => void} [onCut]  the connection was lost; the next attempt is in `delay` milliseconds
 */

// A server that asks for no wait at all, and cuts, would be asked in a tight loop.
const SHORTEST_WAIT = 100;
// A server or proxy that is just starting again answers with these.
const PASSING = new Set([429, 502, 503, 504]);

// A 204 to the first request: there is nothing to read, and that is no failure.
const NO_CONTENT = Symbol("no content");

/**
 * The messages of a stream, until `done` (which is the last one), across reconnections. It reads when it is asked;
 * `break` aborts the request. Throws the signal's reason, `RefusedError`, `CutError`, or what `onOpen` throws.
 *
 * What is no GET carries an `Idempotency-Key`, one for each call; when it is cut, it is read on with a GET.
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
  let address = ""; // where the answer to what is no GET can be read on
  let failures = 0;
  checkRequest(url, options);

  for (let returning = false; ; returning = true) {
    signal?.throwIfAborted();
    const resuming = returning && !isSafe(options.method) && (address !== "" || !mayResend);
    const request = {
      ...(resuming ? readOn(options) : { ...options, key }),
      url: (resuming && ((state.lastEventId && options.resume?.(state.lastEventId)) || address)) || url,
      onOpen: async (/** @type {Response} */ response) => {
        if (!isSafe(options.method)) address ||= addressOf(response);
        await options.onOpen?.(response);
        if (retry && retry.openCounts) failures = 0;
      },
    };
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
      if (error === NO_CONTENT) return;
      if (!isPassing(error, returning)) throw error;
      const canReturn = mayResend || address !== "" || (options.resume && state.lastEventId !== "");
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

/**
 * One request and what its answer holds, chunk by chunk.
 *
 * @param {Options & { url: string | URL, key?: string }} request
 * @param {Parser} parser
 * @param {boolean} returning
 * @returns {AsyncGenerator<Message[], void, undefined>}
 */
async function* readOnce(
  { url, key, method = "GET", body, credentials, signal, fetch = globalThis.fetch, ...options },
  parser,
  returning,
) {
  const connection = new Connection(options.idleTimeout ?? 45_000);
  try {
    const headers = await headersFor(options.headers, parser.lastEventId, key);
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
    if (response.status === 204 && !returning) throw NO_CONTENT;
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

/** `crypto.randomUUID` is there in secure contexts only. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Where an answer says that it can be found; "" if it does not, or it is not its own server that would be asked.
 * @param {Response} response
 */
function addressOf({ headers, url }) {
  const location = headers.get("Content-Location");
  if (!location || !URL.canParse(location, url)) return "";
  const address = new URL(location, url);
  return address.origin === new URL(url).origin && address.href !== url ? address.href : "";
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
