// What can be wrong with a stream that was asked for.

import { StreamError } from "./sse.js";

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

/** A failure of the network, not of the server or the caller. */
export class LostError extends CutError {}

// A page of text or a stream of another kind may be endless; nobody reads a refusal to its end.
const LONGEST_REFUSAL = 1 << 16;
const REFUSAL_TIME = 1000;

/** @param {Response} response */
export async function beginningOf({ body }) {
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
