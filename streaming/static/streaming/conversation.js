// The conversation: as messages for a model, as JSON in the tab's storage, and as a Markdown file.

/** @typedef {{ role: "system" | "user" | "assistant", content: string }} ChatMessage */

/**
 * One question: its upstream and model, the earlier messages, and how a document is played. `isCompared`: the
 * unmoderated stream is shown beside the answer.
 * @typedef {{ upstream: string, prompt: string, messages: ChatMessage[], model?: string, document?: string, interval?: number, seed?: number, isCompared?: boolean }} Question
 */

/**
 * @typedef {{ question: Question, answer: string, thoughts: Record<string, string>, state: import("./turn.js").End | "running", reason: string, moderated: number, promptModerated?: boolean }} SavedTurn
 */

/**
 * `lastEventId`: id of the last message received for the last turn, if it is still running; `progress`: how far its
 * answer has been read; `key`: the idempotency key of its request.
 * @typedef {{ turns: SavedTurn[], lastEventId: string, key: string, progress?: import("./answer-reader.js").Progress }} Saved
 */

/**
 * The messages to send to the model.
 * @param {{ question: Question, view: { source: string } }[]} before
 * @param {string} prompt
 * @param {string} system  the system prompt, if there is one
 * @returns {ChatMessage[]}
 */
export function messagesOf(before, prompt, system) {
  /** @type {ChatMessage[]} */
  const messages = [{ role: "system", content: system }];
  for (const { question, view } of before)
    if (view.source !== "")
      messages.push({ role: "user", content: question.prompt }, { role: "assistant", content: view.source });
  return [...messages, /** @type {ChatMessage} */ ({ role: "user", content: prompt })].filter(
    ({ content }) => content !== "",
  );
}

/** The system prompt that a question was sent with. @param {Pick<Question, "messages">} question */
export function systemOf({ messages }) {
  return messages.find(({ role }) => role === "system")?.content ?? "";
}

/**
 * @param {SavedTurn[]} turns
 * @param {{ asked: string, answered: string, play: (document: string) => string }} labels
 */
export function asMarkdown(turns, { asked, answered, play }) {
  const texts = turns.map(
    ({ question: { prompt, document = "" }, answer }) =>
      `## ${asked}\n\n${prompt || play(document)}\n\n## ${answered}\n\n${answer}\n`,
  );
  return texts.join("\n");
}

// UTF-16 code units of two bytes each: 1 MB.
const MAX_STORED_CHARS = 500_000;
const TURNS = "streams.turns";
const DRAFT = "streams.draft";
const USER = "streams.user";

/**
 * JSON within the limit: the oldest turns are left out. As it is written every second, turns beyond the limit cost nothing.
 * @param {Saved} saved
 * @param {number} [maxChars]
 */
export function serialize({ turns, ...rest }, maxChars = MAX_STORED_CHARS) {
  const [before, after] = ['{"turns":[', `],${JSON.stringify(rest).slice(1)}`];
  let size = before.length + after.length;
  /** @type {string[]} */
  const kept = [];
  for (const turn of turns.toReversed()) {
    const text = JSON.stringify(stored(turn));
    size += text.length + Math.sign(kept.length);
    if (size > maxChars) break;
    kept.push(text);
  }
  return before + kept.reverse().join(",") + after;
}

/** Of a question's `messages` only the system prompt is kept, as the other turns contain the rest. @param {SavedTurn} turn */
function stored({ question, ...turn }) {
  return { question: { ...question, messages: question.messages.filter(({ role }) => role === "system") }, ...turn };
}

/** Whether a stored turn has the form of this release of the page. @param {any} turn @returns {turn is SavedTurn} */
function isTurn(turn) {
  const { question, answer, thoughts, state } = turn ?? {};
  return (
    typeof question?.prompt === "string" &&
    Array.isArray(question.messages) &&
    [answer, state].every((text) => typeof text === "string") &&
    Object.values(thoughts ?? [null]).every((text) => typeof text === "string")
  );
}

/**
 * The conversation in sessionStorage: it survives a reload, going back and a crash, and is private to the tab and to the
 * user who is logged in.
 */
export class ConversationStorage {
  #timer = 0;
  #user;
  #isKept;

  /** @param {string} user  the id of the user; "" if nobody is logged in */
  constructor(user) {
    this.#user = user;
    const before = read(USER);
    // What was asked before a login is the same reader's.
    if (before !== "" && before !== user) for (const name of [TURNS, DRAFT]) write(name, "");
    write(USER, user);
    this.#isKept = read(USER) === user;
    // A page of the back/forward cache may be from before a logout.
    addEventListener("pageshow", () => {
      if (this.#isOurs) return;
      document.documentElement.hidden = true;
      location.reload();
    });
  }

  /** Whether no other user has logged in since, nor this one out. */
  get #isOurs() {
    return !this.#isKept || read(USER) === this.#user;
  }

  /** @returns {Saved} */
  load() {
    try {
      const { turns, lastEventId, key, progress } = JSON.parse(read(TURNS) || "{}");
      const known = Array.isArray(turns) ? turns.filter(isTurn) : [];
      return { turns: known, lastEventId: String(lastEventId ?? ""), key: String(key ?? ""), progress };
    } catch {
      return { turns: [], lastEventId: "", key: "" };
    }
  }

  /** @param {Saved} saved */
  save(saved) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#isOurs) write(TURNS, serialize(saved));
  }

  /** At most once a second. @param {() => Saved} current */
  saveSoon(current) {
    this.#timer ||= setTimeout(() => this.save(current()), 1000);
  }

  get draft() {
    return read(DRAFT);
  }

  /** @param {string} text */
  saveDraft(text) {
    if (this.#isOurs) write(DRAFT, text.slice(0, MAX_STORED_CHARS));
  }
}

/** @param {string} key */
function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/**
 * Storage may be forbidden or full: the page works without it.
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Nothing is saved.
  }
}
