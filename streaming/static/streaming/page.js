// Introduces the panels to the network.

import { AnswerReader } from "./answer-reader.js";
import { ChatPanel } from "./chat.js";
import { CutError, fetchEvents, RefusedError } from "./event-source.js";
import { FetchPanel, PingPanel } from "./panels.js";
import { parseObject, word } from "./words.js";

/** @typedef {import("./sse.js").Message} Message */

const csrfToken = document.querySelector("meta[name=csrf-token]")?.getAttribute("content") ?? "";

/**
 * @param {string} address
 * @param {unknown} body
 * @param {import("./event-source.js").Options} options
 */
function post(address, body, options) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken };
  // This server knows the key that each request has: sent again, it gets the answer that it has begun to give. Where
  // there is no network nothing was sent, and the reader is told at once.
  const retry = { resend: navigator.onLine, attempts: 4 };
  return fetchEvents(address, { method: "POST", headers, body: JSON.stringify(body), retry, ...options });
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
  const source = (beats = new EventSource(ping.address));
  const show = (/** @type {MessageEvent<string>} */ { type, data, lastEventId }) =>
    ping.show({ event: type, data, id: lastEventId });
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
  const { signal } = (events = new AbortController());
  const body = parseObject(text);
  if (!body) {
    raw.setState("failed", word("problem-json"));
    return;
  }
  raw.setState("connecting");
  let hasBegun = false;
  const onOpen = () => {
    hasBegun = true;
    raw.setState("streaming");
  };
  try {
    for await (const message of post(raw.address, body, { signal, onOpen })) raw.show(message);
    raw.setState("done");
  } catch (error) {
    if (!signal.aborted) raw.setState("failed", explain(error, hasBegun));
  }
}

function stopList() {
  events.abort();
  raw.setState("stopped");
}

// --- Chat

/** @typedef {import("./chat.js").Question} Question */

let answer = new AbortController();
let answerAddress = ""; // where the running answer can be stopped, once it has begun

const chat = new ChatPanel({ ask, stop: stopAnswer });
chat.restore(readOn);

function stopAnswer() {
  dropAnswer();
  chat.stop("stopped", word("problem-stopped"));
}

/** Leaving is not stopping: a model whose answer nobody wants any more would go on for a while. */
function dropAnswer() {
  answer.abort();
  const address = answerAddress;
  answerAddress = "";
  if (address) void fetch(address, { method: "DELETE", headers: { "X-CSRFToken": csrfToken } }).catch(() => {});
}

/** @param {Question} question */
async function ask(question) {
  const { upstream, isCompared, ...body } = question;
  dropAnswer();
  const { signal } = (answer = new AbortController());
  chat.begin(question);
  if (isCompared) void showRaw(body, signal);
  const address = upstream === "default" ? chat.address : `${chat.address}/${encodeURIComponent(upstream)}`;
  await readAnswer((options) => post(address, body, options), signal);
}

/** Reads an answer on, of which the page has kept a part. @param {Question} _ @param {string} lastEventId */
async function readOn(_, lastEventId) {
  const { signal } = (answer = new AbortController());
  if (!lastEventId) return chat.stop("failed", word("problem-cut"));
  await readAnswer((options) => fetchEvents(resume(lastEventId), { ...options, lastEventId }), signal, true);
}

/**
 * @param {(options: import("./event-source.js").Options) => AsyncIterable<Message>} open
 * @param {AbortSignal} signal
 * @param {boolean} [isResumed]
 */
async function readAnswer(open, signal, isResumed = false) {
  let hasBegun = isResumed;
  let isOver = false;
  const options = {
    signal,
    onOpen: (/** @type {Response} */ { headers }) => {
      hasBegun = true;
      answerAddress = headers.get("Content-Location") ?? "";
      chat.opened();
    },
    onCut: (/** @type {unknown} */ cut, /** @type {number} */ delay) => chat.returning(delay),
    onBytes: (/** @type {number} */ count) => chat.count(count),
  };
  try {
    const reader = new AnswerReader(chat);
    for await (const message of open(options)) {
      reader.receive(message);
      isOver = message.event === "done";
    }
    answerAddress = "";
    // Where nothing more is kept of a stream, its end is not known.
    if (isResumed && !isOver) chat.stop("failed", word("problem-cut"));
    else reader.end();
  } catch (error) {
    // A newer request has the panel now, or the reader stopped this one.
    if (signal.aborted) return;
    const isBlocked = error instanceof RefusedError && problemOf(error).code === "content_filter";
    const reason = isResumed && error instanceof RefusedError ? word("problem-cut") : explain(error, hasBegun);
    chat.stop(isBlocked ? "blocked" : "failed", isBlocked ? word("problem-blocked-prompt") : reason, loginOf(error));
  }
}

/**
 * What no rule has seen, for who compares.
 * @param {object} body
 * @param {AbortSignal} signal
 */
async function showRaw(body, signal) {
  try {
    for await (const { event, data } of post(chat.rawAddress, body, { signal }))
      if (event === "message") chat.showRaw(String(parseObject(data)?.delta ?? ""));
  } catch {
    // The other side says what is wrong.
  }
}

/** Where an answer is read on that the page had begun to show. @param {string} lastEventId */
function resume(lastEventId) {
  const [stream = ""] = lastEventId.split(":");
  return `${document.body.dataset.base ?? "/"}streams/${encodeURIComponent(stream)}`;
}

// --- All of them

/**
 * A page that is kept for the way back holds no connection, and nothing is asked twice: the beats return with it, and
 * so does an answer, which is read on.
 */
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) return;
  beats?.close();
  if (raw.isRunning) stopList();
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && beats) connect();
});

// Until now a form would have left the page, with the question in its address.
for (const button of document.querySelectorAll("button:disabled")) button.removeAttribute("disabled");

// A stream that is not there any more, or never was kept.
const GONE = [204, 404, 410];

/**
 * @param {unknown} error
 * @param {boolean} hasBegun  whether there was an answer at all
 */
function explain(error, hasBegun) {
  if (error instanceof RefusedError) {
    if (GONE.includes(error.status) && error.isReturn) return word("problem-cut");
    return error.problem?.detail || error.problem?.title || word("problem-status", { status: error.status });
  }
  if (!(error instanceof CutError)) return word("problem");
  return word(hasBegun ? "problem-cut" : "problem-unreachable");
}

/** @param {RefusedError} error @returns {Record<string, unknown>} */
function problemOf({ problem }) {
  return { ...problem };
}

/** Where to log in, and come back from; empty if that is not what is missing. @param {unknown} error */
function loginOf(error) {
  const login = error instanceof RefusedError && error.status === 401 && problemOf(error).login;
  const address = typeof login === "string" && login.startsWith("/") ? login : "";
  return address && `${address}?next=${encodeURIComponent(location.pathname)}`;
}
