// Introduces the panels to the network.

import { CutError, fetchEvents, RefusedError } from "./event-source.js";
import { FetchPanel, PingPanel, StreamPanel } from "./panels.js";
import { word } from "./words.js";

/** @typedef {import("./sse.js").Message} Message */

const csrfToken = document.querySelector("meta[name=csrf-token]")?.getAttribute("content") ?? "";

/**
 * @param {string} address
 * @param {unknown} body
 * @param {import("./event-source.js").Options} options
 */
function post(address, body, options) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken };
  return fetchEvents(address, { method: "POST", headers, body: JSON.stringify(body), ...options });
}

// --- Ping

/** @type {EventSource | null} */
let beats = null;

const ping = new PingPanel({
  connect,
  disconnect() {
    beats?.close();
    beats = null;
    ping.setState("closed");
  },
});

function connect() {
  ping.setState("connecting");
  const source = beats = new EventSource(ping.address);
  const show = (/** @type {MessageEvent<string>} */ { type, data, lastEventId }) => ping.show({ event: type, data, id: lastEventId });
  source.onopen = () => ping.setState("connected");
  source.onmessage = show;
  source.addEventListener("connect", show);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) beats = null;
    ping.setState(beats ? "returning" : "failed");
  };
}

// --- Fetch

let events = new AbortController();

const raw = new FetchPanel({ start: list, stop: stopList });

/** @param {string} text */
async function list(text) {
  events.abort();
  const { signal } = events = new AbortController();
  const body = parseObject(text);
  if (!body) {
    raw.setState("failed", word("problem-json"));
    return;
  }
  raw.setState("connecting");
  try {
    for await (const message of post(raw.address, body, { signal, onOpen: () => raw.setState("streaming") })) raw.show(message);
    raw.setState("done");
  } catch (error) {
    if (!signal.aborted) raw.setState("failed", explain(error));
  }
}

function stopList() {
  events.abort();
  raw.setState("stopped");
}

// --- Stream

let answer = new AbortController();
/** @type {Record<string, string>} */
let asked = {};

const stream = new StreamPanel({
  start: ask,
  stop: stopAnswer,
  retry: () => ask(asked),
});

function stopAnswer() {
  answer.abort();
  stream.stop("stopped");
}

/** @param {Record<string, string>} fields */
async function ask(fields) {
  asked = fields;
  answer.abort();
  const { signal } = answer = new AbortController();
  stream.begin();
  try {
    const reader = new Reader();
    for await (const message of post(stream.address, bodyOf(fields), { signal, onOpen: () => stream.opened() })) reader.receive(message);
    reader.end();
  } catch (error) {
    // A newer request has the panel now, or the reader stopped this one.
    if (!signal.aborted) stream.stop("failed", { reason: explain(error) });
  }
}

/** @param {Record<string, string>} fields */
function bodyOf({ interval, ...fields }) {
  return { ...fields, interval: Number(interval) };
}

/** What each message of one answer means to the panel. */
class Reader {
  #problem = "";
  #reason = "stop";

  /** @param {Message} message */
  receive({ event, data }) {
    const fact = parseObject(data) ?? {};
    if (event === "message" && !fact.channel) stream.show(textOf(fact));
    else if (event === "moderation") stream.moderated();
    else if (event === "error") this.#problem = String(fact.detail || fact.title || "");
    else if (event === "done") this.#reason = String(fact.reason);
  }

  end() {
    switch (this.#reason) {
      case "blocked": return stream.finish("blocked");
      case "stopped": return stream.finish("stopped");
      case "length": return stream.finish("done", { said: "length" });
      case "drained": return stream.finish("failed", { reason: word("problem-drained") });
      case "error": return stream.finish("failed", { reason: this.#problem || word("problem") });
      default: return stream.finish("done");
    }
  }
}

/**
 * What a message adds; in `mode=full` it holds the whole text so far.
 * @param {Record<string, unknown>} fact
 */
function textOf({ delta, text }) {
  if (typeof delta === "string") return delta;
  return typeof text === "string" ? text.slice(stream.received.length) : "";
}

// --- All of them

/** A page that is kept for the way back holds no connection: the beats return with it, and nothing is asked twice. */
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) return;
  beats?.close();
  if (raw.isRunning) stopList();
  if (stream.isRunning) stopAnswer();
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && beats) connect();
});

/**
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {unknown} error */
function explain(error) {
  if (error instanceof RefusedError) {
    if (error.status === 204) return word("problem-ended");
    return error.problem?.detail || error.problem?.title || word("problem-status", { status: error.status });
  }
  return word(error instanceof CutError ? "problem-cut" : "problem");
}
