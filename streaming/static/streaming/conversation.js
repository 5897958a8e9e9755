// What was said: as a model is told it, as it is kept in the tab, as a file.

/** @typedef {{ role: "system" | "user" | "assistant", content: string }} Said */

/**
 * What is asked: of which upstream and model, after what was said before, and how a document is played. `isCompared`:
 * what no rule has seen is shown beside it.
 * @typedef {{ upstream: string, prompt: string, messages: Said[], model?: string, document?: string, interval?: number, seed?: number, isCompared?: boolean }} Question
 */

/**
 * @typedef {{ question: Question, answer: string, thoughts: string, state: import("./turn.js").End | "running", reason: string, moderated: number }} SavedTurn
 */

/** `lastEventId`: of the last message that the last turn holds, if that is still running. @typedef {{ turns: SavedTurn[], lastEventId: string }} Saved */

/**
 * The messages for who answers.
 * @param {{ question: Question, view: { source: string } }[]} before
 * @param {string} prompt
 * @param {string} system  the system prompt, if there is one
 * @returns {Said[]}
 */
export function messagesOf(before, prompt, system) {
  /** @type {Said[]} */
  const messages = [{ role: "system", content: system }];
  for (const { question, view } of before)
    if (view.source !== "")
      messages.push({ role: "user", content: question.prompt }, { role: "assistant", content: view.source });
  return [...messages, /** @type {Said} */ ({ role: "user", content: prompt })].filter(({ content }) => content !== "");
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

// Of UTF-16 code units, two bytes each: 1 MB.
const LONGEST = 500_000;
const TURNS = "streams.turns";
const DRAFT = "streams.draft";

/**
 * As JSON that is short enough: the oldest turns go first, and what was sent with a question is known from the others.
 * @param {Saved} saved
 * @param {number} [longest]
 */
export function serialize({ turns, lastEventId }, longest = LONGEST) {
  const kept = turns.map((turn) => ({ ...turn, question: { ...turn.question, messages: [] } }));
  for (;;) {
    const text = JSON.stringify({ turns: kept, lastEventId });
    if (text.length <= longest || kept.length === 0) return text;
    kept.shift();
  }
}

/** The tab's own storage: it survives a reload, the way back and a crash, and nothing else reads it. */
export class ConversationStorage {
  #timer = 0;

  /** @returns {Saved} */
  load() {
    try {
      const { turns, lastEventId } = JSON.parse(read(TURNS) || "{}");
      return { turns: Array.isArray(turns) ? turns : [], lastEventId: String(lastEventId ?? "") };
    } catch {
      return { turns: [], lastEventId: "" };
    }
  }

  /** @param {Saved} saved */
  save(saved) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    write(TURNS, serialize(saved));
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
    write(DRAFT, text.slice(0, LONGEST));
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
 * A browser may forbid it, or have no room: the page works without.
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Nothing is kept, then.
  }
}
