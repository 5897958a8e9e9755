// Introduces the panels to the network.

import { ChatPanel } from "./chat.js";
import { CutError, fetchEvents, RefusedError } from "./event-source.js";
import { FetchPanel, PingPanel } from "./panels.js";
import { ThoughtSplitter } from "./thoughts.js";
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

const chat = new ChatPanel({ ask, stop: stopAnswer });

function stopAnswer() {
  answer.abort();
  chat.stop("stopped", word("problem-stopped"));
}

/** @param {Question} question */
async function ask({ upstream, ...question }) {
  answer.abort();
  const { signal } = (answer = new AbortController());
  chat.begin({ upstream, ...question });
  let hasBegun = false;
  const onOpen = () => {
    hasBegun = true;
    chat.opened();
  };
  try {
    const address = upstream === "default" ? chat.address : `${chat.address}/${encodeURIComponent(upstream)}`;
    const reader = new Reader();
    const messages = post(address, question, {
      signal,
      resume,
      onOpen,
      onCut: (_, delay) => chat.returning(delay),
      onBytes: (count) => chat.count(count),
    });
    for await (const message of messages) reader.receive(message);
    reader.end();
  } catch (error) {
    // A newer request has the panel now, or the reader stopped this one.
    if (!signal.aborted) chat.stop("failed", explain(error, hasBegun), loginOf(error));
  }
}

/** Where an answer that was cut is read on: it is not asked for, and paid for, again. @param {string} lastEventId */
function resume(lastEventId) {
  const [stream = ""] = lastEventId.split(":");
  return `/streams/${encodeURIComponent(stream)}`;
}

/** What each message of one answer means to the panel. */
class Reader {
  #problem = "";
  #notice = "";
  #reason = "stop";
  #splitter = new ThoughtSplitter();
  /** The whole text of each channel, thoughts in the answer included. */
  #texts = { answer: "", thoughts: "" };

  /** @param {Message} message */
  receive({ event, data }) {
    const fact = parseObject(data) ?? {};
    if (event === "message") this.#receiveText(fact);
    else if (event === "moderation") {
      chat.moderated();
      if (fact.action === "block") this.#notice = String(fact.notice ?? "");
    } else if (event === "error") this.#problem = String(fact.detail || fact.title || "");
    else if (event === "done") this.#reason = String(fact.reason);
  }

  /**
   * Text of the answer, or of the thoughts before it. What else a model says, to tools or as a second choice, is no
   * text for a reader.
   * @param {Record<string, unknown>} fact
   */
  #receiveText({ channel = "content", choice = 0, ...fact }) {
    if (choice !== 0) return;
    if (THOUGHTS.includes(String(channel))) chat.think(this.#addedTo("thoughts", fact));
    else if (ANSWERS.includes(String(channel))) showSplit(this.#splitter.feed(this.#addedTo("answer", fact)));
  }

  /**
   * What a message adds; in `mode=full` it holds the whole text so far.
   * @param {"answer" | "thoughts"} channel
   * @param {Record<string, unknown>} fact
   */
  #addedTo(channel, { delta, text }) {
    const added = typeof delta === "string" ? delta : String(text ?? "").slice(this.#texts[channel].length);
    this.#texts[channel] += added;
    return added;
  }

  end() {
    showSplit(this.#splitter.finish());
    switch (this.#reason) {
      case "blocked":
        return chat.finish("blocked", this.#notice || word("problem-blocked"));
      case "stopped":
        return chat.finish("stopped", word("problem-stopped"));
      case "length":
        return chat.finish("length", word("problem-length"));
      case "drained":
        return chat.finish("drained", word("problem-drained"));
      case "error":
        return chat.finish("failed", this.#problem || word("problem"));
      default:
        return chat.finish("done");
    }
  }
}

// Models differ in what they call these.
const ANSWERS = ["content", "refusal"];
const THOUGHTS = ["reasoning", "reasoning_content", "thinking"];

/** @param {import("./thoughts.js").Said[]} said */
function showSplit(said) {
  for (const { isThought, text } of said) isThought ? chat.think(text) : chat.show(text);
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

/** Where to log in, and come back from; empty if that is not what is missing. @param {unknown} error */
function loginOf(error) {
  const problem =
    error instanceof RefusedError && error.status === 401 && /** @type {{ login?: unknown } | null} */ (error.problem);
  const login = problem && typeof problem.login === "string" && problem.login.startsWith("/") ? problem.login : "";
  return login && `${login}?next=${encodeURIComponent(location.pathname)}`;
}
