// Turns the messages of one answer into calls to the chat panel.

import { ThoughtSplitter } from "./thoughts.js";
import { parseObject, word } from "./page-texts.js";

/** @typedef {import("./sse.js").Message} Message */

// Providers use different names for these channels.
const ANSWERS = ["content", "refusal"];
const THOUGHTS = ["reasoning", "reasoning_content", "thinking"];

/** Reads one answer to its end. */
export class AnswerReader {
  #problem = "";
  #notice = "";
  #reason = "stop";
  #chat;
  #splitter = new ThoughtSplitter();
  /** The text received on each channel, including thoughts within the answer. */
  #texts = { answer: "", thoughts: "" };

  /** @param {import("./chat.js").ChatPanel} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /** @param {Message} message */
  receive({ event, data, id }) {
    const fields = parseObject(data) ?? {};
    if (event === "message") this.#receiveText(fields);
    else if (event === "moderation") {
      if (fields.direction === "prompt") this.#chat.promptModerated();
      else this.#chat.moderated();
      if (fields.action === "block") this.#notice = String(fields.notice ?? "");
    } else if (event === "error") this.#problem = String(fields.detail || fields.title || "");
    else if (event === "done") this.#reason = String(fields.reason);
    this.#chat.received(id);
  }

  /**
   * Shows text of the answer or of the reasoning before it. Tool calls and further choices are not shown.
   * @param {Record<string, unknown>} fields
   */
  #receiveText({ channel = "content", choice = 0, ...fields }) {
    if (choice !== 0) return;
    if (THOUGHTS.includes(String(channel))) this.#chat.think(this.#addedText("thoughts", fields));
    else if (ANSWERS.includes(String(channel)))
      this.#showSegments(this.#splitter.feed(this.#addedText("answer", fields)));
  }

  /**
   * The text that a message adds; in `mode=full` each message contains all the text so far.
   * @param {"answer" | "thoughts"} channel
   * @param {Record<string, unknown>} fields
   */
  #addedText(channel, { delta, text }) {
    const added = typeof delta === "string" ? delta : String(text ?? "").slice(this.#texts[channel].length);
    this.#texts[channel] += added;
    return added;
  }

  end() {
    this.#showSegments(this.#splitter.finish());
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

  /** @param {import("./thoughts.js").Segment[]} segments */
  #showSegments(segments) {
    for (const { isThought, text } of segments) isThought ? this.#chat.think(text) : this.#chat.show(text);
  }
}
