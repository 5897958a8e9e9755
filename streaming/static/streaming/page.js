// Connects the panels to the server.

import { AnswerReader } from "./answer-reader.js";
import { ChatPanel } from "./chat.js";
import { CutError, fetchEvents, RefusedError } from "./event-source.js";
import { FetchPanel, PingPanel } from "./ping-and-fetch-panels.js";
import { randomKey } from "./fetch-events.js";
import { parseObject, word } from "./page-texts.js";

/** @typedef {import("./sse.js").Message} Message */

/**
 * A login, also one in another tab, changes the token: the cookie has the present one. Scripts may not be allowed to read
 * it; then the page's own has to do.
 */
function csrfToken() {
  const { content = "", dataset } = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=csrf-token]"));
  const cookie = document.cookie.split("; ").find((pair) => pair.startsWith(`${dataset.cookie}=`));
  return cookie?.split("=")[1] || content;
}

// An answer that has begun is kept for minutes: for about two of them it is asked for again, also while the server is
// restarting or its store is away.
const RESUMING = { attempts: 12, firstToo: true };

/**
 * @param {string} address
 * @param {unknown} body
 * @param {import("./event-source.js").Options} options
 * @param {string} [key]
 */
function post(address, body, options, key = randomKey()) {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), "Idempotency-Key": key };
  // The server honours the Idempotency-Key of a request: a repeated one gets the answer already begun. Without a network
  // nothing was sent, so the request fails at once.
  const retry = { resend: navigator.onLine, attempts: 4 };
  const onOpen = (/** @type {Response} */ response) => {
    retry.attempts = RESUMING.attempts;
    return options.onOpen?.(response);
  };
  return fetchEvents(address, { ...options, method: "POST", headers, body: JSON.stringify(body), retry, onOpen });
}

// --- Ping

/** @type {EventSource | null} */
let pingSource = null;

const ping = new PingPanel({
  connect,
  disconnect() {
    pingSource?.close();
    pingSource = null;
    ping.setState("closed");
  },
});

function connect() {
  ping.setState("connecting");
  const source = (pingSource = new EventSource(ping.address));
  const show = (/** @type {MessageEvent<string>} */ { type, data, lastEventId }) =>
    ping.show({ event: type, data, id: lastEventId });
  source.onopen = () => ping.setState("connected");
  source.onmessage = show;
  source.addEventListener("connect", show);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) pingSource = null;
    ping.setState(pingSource ? "reconnecting" : "failed");
  };
}

// --- Fetch

let events = new AbortController();

const fetchPanel = new FetchPanel({ start: listEvents, stop: stopListing });

/** @param {string} text */
async function listEvents(text) {
  events.abort();
  const { signal } = (events = new AbortController());
  const body = parseObject(text);
  if (!body) {
    fetchPanel.setState("failed", word("problem-json"));
    return;
  }
  fetchPanel.setState("connecting");
  let hasBegun = false;
  const onOpen = () => {
    hasBegun = true;
    fetchPanel.setState("streaming");
  };
  try {
    for await (const message of post(fetchPanel.address, body, { signal, onOpen })) fetchPanel.show(message);
    fetchPanel.setState("done");
  } catch (error) {
    if (!signal.aborted) fetchPanel.setState("failed", explain(error, hasBegun));
  }
}

function stopListing() {
  events.abort();
  fetchPanel.setState("stopped");
}

// --- Chat

/** @typedef {import("./chat.js").Question} Question */

/** Where an answer can be resumed and stopped. @typedef {{ address: string, headers?: Record<string, string> }} Place */

const STREAMS = `${document.body.dataset.base ?? "/"}streams`;

/** By the key of its request, also before its response has begun. @param {string} key @returns {Place} */
const placeOfKey = (key) => ({ address: STREAMS, headers: { "Idempotency-Key": key } });

/** By the id of one of its messages. @param {string} eventId @returns {Place} */
const placeOfEvent = (eventId) => ({ address: `${STREAMS}/${encodeURIComponent(eventId.split(":")[0] ?? "")}` });

let answer = new AbortController();
/** Where the running answer is. @type {Place | null} */
let place = null;

const chat = new ChatPanel({ ask, stop: stopAnswer });
chat.restore(resumeAnswer);

function stopAnswer() {
  cancelAnswer();
  chat.stop("stopped", word("problem-stopped"));
}

function cancelAnswer() {
  answer.abort();
  stopOnServer(place);
  place = null;
}

/**
 * Closing the connection alone would let the model continue for a while. The request is sent also if the user leaves
 * the page at once.
 * @param {Place | null} place
 */
function stopOnServer(place) {
  if (!place) return;
  const headers = { ...place.headers, "X-CSRFToken": csrfToken() };
  void fetch(place.address, { method: "DELETE", headers, keepalive: true }).catch(() => {});
}

/** @param {Question} question */
async function ask(question) {
  const { upstream, isCompared, ...body } = question;
  cancelAnswer();
  const { signal } = (answer = new AbortController());
  // Saved with the question before it is sent: after a reload the key finds the answer, which is not paid twice.
  const key = randomKey();
  place = placeOfKey(key);
  chat.begin(question, key);
  if (isCompared) void showRaw(body, signal);
  const address = upstream === "default" ? chat.address : `${chat.address}/${encodeURIComponent(upstream)}`;
  await readAnswer((options) => post(address, body, options, key), signal);
}

/**
 * Continues an answer of which the page has saved a part, or only the key of its request.
 * @param {import("./conversation.js").Saved} saved
 */
async function resumeAnswer({ lastEventId, progress, key }) {
  const { signal } = (answer = new AbortController());
  if (!lastEventId && !key) return chat.stop("failed", word("problem-cut"));
  const { address, headers } = (place = lastEventId ? placeOfEvent(lastEventId) : placeOfKey(key));
  await readAnswer(
    (options) => fetchEvents(address, { ...options, headers, lastEventId, retry: RESUMING }),
    signal,
    true,
    progress,
  );
}

/**
 * @param {(options: import("./event-source.js").Options) => AsyncIterable<Message>} open
 * @param {AbortSignal} signal
 * @param {boolean} [isResumed]
 * @param {import("./answer-reader.js").Progress} [progress]
 */
async function readAnswer(open, signal, isResumed = false, progress) {
  let hasBegun = isResumed;
  let isOver = false;
  // A request that is cancelled before its response has begun goes on until then: it may have reached the server after
  // what stops it.
  const request = new AbortController();
  signal.addEventListener("abort", () => hasBegun && request.abort());
  const options = {
    signal: request.signal,
    onOpen: (/** @type {Response} */ { headers }) => {
      hasBegun = true;
      const address = headers.get("Content-Location");
      if (signal.aborted) {
        stopOnServer(address ? { address } : null);
        return request.abort();
      }
      place = address ? { address } : null;
      chat.opened();
    },
    onCut: (/** @type {unknown} */ cut, /** @type {number} */ delay) =>
      signal.aborted ? request.abort() : chat.showReconnect(delay),
    onBytes: (/** @type {number} */ count) => chat.count(count),
  };
  try {
    const reader = new AnswerReader(chat, progress);
    for await (const message of open(options)) {
      reader.receive(message);
      isOver = message.event === "done";
    }
    place = null;
    // A stream that is no longer stored gives no messages, and its end is unknown.
    if (isResumed && !isOver) chat.stop("failed", word("problem-cut"));
    else reader.end();
  } catch (error) {
    // A newer request uses the panel now, or the user stopped this one.
    if (signal.aborted) return;
    const isBlocked = error instanceof RefusedError && problemOf(error).code === "content_filter";
    const reason = isResumed && error instanceof RefusedError ? word("problem-cut") : explain(error, hasBegun);
    chat.stop(isBlocked ? "blocked" : "failed", isBlocked ? word("problem-blocked-prompt") : reason, loginOf(error));
  }
}

/**
 * Reads the unmoderated stream for the comparison.
 * @param {object} body
 * @param {AbortSignal} signal
 */
async function showRaw(body, signal) {
  try {
    for await (const { event, data } of post(chat.rawAddress, body, { signal }))
      if (event === "message") chat.showRaw(String(parseObject(data)?.delta ?? ""));
  } catch {
    // The moderated side reports the error.
  }
}

// --- All panels

/**
 * A page in the back/forward cache holds no connection and repeats no request. When it is shown again, ping reconnects
 * and a running answer resumes.
 */
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) return;
  pingSource?.close();
  if (fetchPanel.isRunning) stopListing();
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && pingSource) connect();
});

// Until the script runs, submitting a form would navigate away with the question in the URL.
for (const button of document.querySelectorAll("button:disabled")) button.removeAttribute("disabled");

// Statuses for a stream that is no longer stored, or never was.
const GONE_STATUSES = [204, 404, 410];

/**
 * @param {unknown} error
 * @param {boolean} hasBegun  whether a response had arrived
 */
function explain(error, hasBegun) {
  if (error instanceof RefusedError) {
    if (GONE_STATUSES.includes(error.status) && error.isReconnect) return word("problem-cut");
    return error.problem?.detail || error.problem?.title || word("problem-status", { status: error.status });
  }
  if (!(error instanceof CutError)) return word("problem");
  return word(hasBegun ? "problem-cut" : "problem-unreachable");
}

/** @param {RefusedError} error @returns {Record<string, unknown>} */
function problemOf({ problem }) {
  return { ...problem };
}

/** The login address with a link back to this page; empty if the error is not a missing login. @param {unknown} error */
function loginOf(error) {
  const login = error instanceof RefusedError && error.status === 401 && problemOf(error).login;
  const address = typeof login === "string" && /^\/(?![/\\])/.test(login) ? login : "";
  return address && `${address}?next=${encodeURIComponent(location.pathname)}`;
}
