// The elements of one question and its answer.

import { MarkdownView } from "./markdown/view.js";
import { Part } from "./ping-and-fetch-panels.js";
import { word } from "./page-texts.js";

/** @typedef {"done" | "length" | "stopped" | "blocked" | "failed" | "drained"} End */
/** @typedef {import("./conversation.js").Question} Question */
/** @typedef {import("./conversation.js").SavedTurn} SavedTurn */

// The page itself uses heading levels 1 to 3.
const viewOptions = () => ({
  copyLabel: word("copy-code"),
  taskLabels: /** @type {[string, string]} */ ([word("task-open"), word("task-done")]),
  noteLabel: word("footnote"),
  headingOffset: 3,
});

export class Turn extends Part {
  #moderated = 0;
  #state = /** @type {End | "running"} */ ("running");
  #reason = "";
  /** @type {MarkdownView | null} */
  #raw = null;
  /** Each thought by its name. @type {Map<string, Text>} */
  #thoughts = new Map();

  /**
   * @param {HTMLElement} element
   * @param {Question} question
   */
  constructor(element, question) {
    super(element);
    this.question = question;
    this.answer = this.part("answer");
    /** @type {Pick<MarkdownView, "source" | "append" | "flush" | "end">} */
    this.view = new MarkdownView(this.answer, viewOptions());
    this.part("question").textContent = question.prompt || word("play", { document: question.document ?? "" });
    this.part("edit").hidden = question.prompt === "";
    this.onClick("more", () => this.#unfold());
    // Its height depends on the width of the window and on the zoom.
    new ResizeObserver(() => this.#fold()).observe(this.part("question"));
  }

  /** Offers to unfold a question of which only the beginning is shown. */
  #fold() {
    const asked = this.part("question");
    if (!asked.classList.contains("whole")) this.part("more").hidden = asked.scrollHeight <= asked.clientHeight + 1;
  }

  #unfold() {
    const button = this.part("more");
    const isWhole = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(isWhole));
    button.textContent = word(isWhole ? "less" : "more");
    this.part("question").classList.toggle("whole", isWhole);
  }

  /**
   * The state to save.
   * @param {string} [pending]  text received but not yet shown
   * @param {{ state: End, reason: string } | null} [ending]  how the answer ends once that text is shown
   * @returns {SavedTurn}
   */
  save(pending = "", ending = null) {
    return {
      question: this.question,
      answer: this.view.source + pending,
      thoughts: Object.fromEntries([...this.#thoughts].map(([name, { data }]) => [name, data])),
      state: ending?.state ?? this.#state,
      reason: ending?.reason ?? this.#reason,
      moderated: this.#moderated,
      promptModerated: !this.part("prompt-moderated").hidden,
    };
  }

  /** @param {SavedTurn} saved */
  restore({ answer, thoughts, moderated, promptModerated }) {
    if (promptModerated) this.promptModerated();
    for (const [name, text] of Object.entries(thoughts)) this.think(text, name);
    for (let count = 0; count < moderated; count++) this.moderated();
    this.write(answer);
  }

  /** Shows the unmoderated text beside the answer. @param {string} text */
  showRaw(text) {
    if (!this.#raw) {
      this.#raw = new MarkdownView(this.part("raw-answer"), { ...viewOptions(), cursor: false });
      this.part("raw").hidden = this.part("moderated-heading").hidden = false;
      this.part("beside").classList.add("two");
    }
    this.#raw.append(text);
    this.#raw.flush();
  }

  promptModerated() {
    this.part("prompt-moderated").hidden = false;
  }

  /** Hides the retry buttons once another question follows: retrying would remove that question. */
  hideRetry() {
    this.part("regenerate").hidden = this.part("retry").hidden = true;
  }

  moderated() {
    this.#moderated++;
    this.part("moderated").textContent = word(this.#moderated === 1 ? "moderated-one" : "moderated-many", {
      count: this.#moderated,
    });
  }

  /** @param {string} text */
  write(text) {
    try {
      this.view.append(text);
      this.view.flush();
    } catch (error) {
      this.#showPlain(error);
    }
  }

  /** Falls back to plain text if rendering fails, so that no text is lost and the answer still ends. @param {unknown} error */
  #showPlain(error) {
    reportError(error);
    const { source } = this.view;
    const { answer } = this;
    answer.replaceChildren(source);
    answer.classList.add("plain");
    this.view = {
      source,
      append(text) {
        this.source += text;
      },
      flush() {
        answer.textContent = this.source;
      },
      end() {},
    };
  }

  /**
   * Adds reasoning text to its folded section, where each thought is a paragraph.
   * @param {string} text
   * @param {string} name  of the thought
   */
  think(text, name) {
    if (!text) return;
    const thought = this.#thoughts.get(name) ?? this.#addThought(name);
    thought.appendData(text);
    this.part("aside").hidden = false;
  }

  /** @param {string} name */
  #addThought(name) {
    const thought = new Text();
    const paragraph = document.createElement("p");
    paragraph.dir = "auto";
    paragraph.append(thought);
    this.part("thoughts").append(paragraph, "\n\n");
    this.#thoughts.set(name, thought);
    return thought;
  }

  /**
   * @param {End} state
   * @param {string} reason
   * @param {string} [login]  the login address, if a login is required
   */
  end(state, reason, login = "") {
    this.#state = state;
    this.#reason = reason;
    this.#raw?.end();
    try {
      this.view.end();
    } catch (error) {
      this.#showPlain(error);
    }
    this.answer.ariaBusy = "false";
    this.part("actions").hidden = false;
    this.part("copy").hidden = this.view.source === "";
    const link = /** @type {HTMLAnchorElement} */ (this.part("login"));
    link.hidden = login === "";
    if (login) link.href = login;
    const outcome = this.part("outcome");
    outcome.dataset.state = state;
    outcome.hidden = reason === "";
    this.part("reason").textContent = reason;
    this.part("retry").hidden = state !== "failed" && state !== "drained";
    // A blocked question would be blocked again, so it can be edited but not retried.
    this.part("change").hidden = state !== "blocked" || this.view.source !== "" || this.question.prompt === "";
  }
}
