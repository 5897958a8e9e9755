// The errors of a requested stream.

import { StreamError } from "./sse.js";

/** The response is not an event stream. */
export class RefusedError extends StreamError {
  name = "RefusedError";

  /**
   * @param {Response} response
   * @param {string} body
   * @param {boolean} isReconnect  whether it answered a reconnect, after the stream had begun
   */
  constructor(response, body, isReconnect) {
    const problem = readProblem(response, body);
    super(problem?.detail || problem?.title || describe(response));
    this.status = response.status;
    this.headers = response.headers;
    this.retryAfter = readRetryAfter(response.headers);
    this.body = body;
    this.problem = problem;
    this.isReconnect = isReconnect;
  }
}

/** The stream ended or stalled before its `done` event. */
export class CutError extends StreamError {
  name = "CutError";
}

/** A failure of the network, not of the server or the caller. */
export class LostError extends CutError {}

// The body of an error response may be endless, so only its beginning is read.
const MAX_ERROR_BODY_CHARS = 1 << 16;
const ERROR_BODY_TIMEOUT = 1000;

/** @param {Response} response */
export async function readBeginning({ body }) {
  const reader = body?.getReader();
  const timer = setTimeout(() => reader?.cancel().catch(() => {}), ERROR_BODY_TIMEOUT);
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (reader && text.length < MAX_ERROR_BODY_CHARS) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // The part received so far is enough.
  } finally {
    clearTimeout(timer);
  }
  return text;
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

/**
 * Milliseconds after which the server may be asked again; 0 if it does not say (RFC 9110, section 10.2.3). A date is
 * compared with the server's own clock, as far as it shows it.
 * @param {Headers} headers
 */
function readRetryAfter(headers) {
  const value = headers.get("Retry-After") ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const now = Date.parse(headers.get("Date") ?? "") || Date.now();
  return /[a-z]/i.test(value) ? Math.max(Date.parse(value) - now, 0) || 0 : 0;
}

/** @param {Response} response */
function describe({ status, statusText, headers }) {
  if (status === 200) return `the answer is ${headers.get("Content-Type") ?? "of no type"}, not an event stream`;
  if (status === 204) return "there is nothing more to read";
  return `${status} ${statusText}`.trim();
}
