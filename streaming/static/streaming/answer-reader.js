// What each message of one answer means to the chat.

import { ThoughtSplitter } from "./thoughts.js";
import { parseObject, word } from "./words.js";

/** @typedef {import("./sse.js").Message} Message */

// Models differ in what they call these.
const ANSWERS = ["content", "refusal"];
const THOUGHTS = ["reasoning", "reasoning_content", "thinking"];

/** Reads one answer to its end. */
export class AnswerReader {
  #problem = "";
  #notice = "";
  #reason = "stop";
  #chat;
  #splitter = new ThoughtSplitter();
  /** The whole text of each channel, thoughts in the answer included. */
  #texts = { answer: "", thoughts: "" };

  /** @param {import("./chat.js").ChatPanel} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /** @param {Message} message */
  receive({ event, data, id }) {
    const fact = parseObject(data) ?? {};
    if (event === "message") this.#receiveText(fact);
    else if (event === "moderation") {
      if (fact.direction === "prompt") this.#chat.promptModerated();
      else this.#chat.moderated();
      if (fact.action === "block") this.#notice = String(fact.notice ?? "");
    } else if (event === "error") this.#problem = String(fact.detail || fact.title || "");
    else if (event === "done") this.#reason = String(fact.reason);
    this.#chat.received(id);
  }

  /**
   * Text of the answer, or of the thoughts before it. What else a model says, to tools or as a second choice, is no
   * text for a reader.
   * @param {Record<string, unknown>} fact
   */
  #receiveText({ channel = "content", choice = 0, ...fact }) {
    if (choice !== 0) return;
    if (THOUGHTS.includes(String(channel))) this.#chat.think(this.#addedTo("thoughts", fact));
    else if (ANSWERS.includes(String(channel))) this.#showSplit(this.#splitter.feed(this.#addedTo("answer", fact)));
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
    this.#showSplit(this.#splitter.finish());
    switch (this.#reason) {
      case "blocked":
        return this.#chat.finish("blocked", this.#notice || word("problem-blocked"));
      case "stopped":
        return this.#chat.finish("stopped", word("problem-stopped"));
      case "length":
        return this.#chat.finish("length", word("problem-length"));
      case "drained":
        return this.#chat.finish("drained", word("problem-drained"));
      case "error":
        return this.#chat.finish("failed", this.#problem || word("problem"));
      default:
        return this.#chat.finish("done");
    }
  }

  /** @param {import("./thoughts.js").Said[]} said */
  #showSplit(said) {
    for (const { isThought, text } of said) isThought ? this.#chat.think(text) : this.#chat.show(text);
  }
}
