// Turns the messages of one answer into calls to the chat panel.

import { ThoughtSplitter } from "./thoughts.js";
import { parseObject, word } from "./page-texts.js";

/** @typedef {import("./sse.js").Message} Message */

/**
 * How far an answer has been read. `answering`: the channel of the answer's last text; `received`: the length of each
 * channel's text.
 * @typedef {{ answering: string, received: Record<string, number>, splitters: Record<string, import("./thoughts.js").SplitterState> }} Progress
 */

// Providers use different names for these channels. The server moderates each channel on its own, so their texts are
// shown apart: joined, two of them could give a word that no rule has seen.
const ANSWERS = ["content", "refusal"];
const THOUGHTS = ["reasoning", "reasoning_content", "thinking"];

/** Reads one answer to its end. */
export class AnswerReader {
  #problem = "";
  #notice = "";
  #reason = "stop";
  #chat;
  #progress;

  /**
   * @param {import("./chat.js").ChatPanel} chat
   * @param {Progress} [progress]  of the part that was read before a reload
   */
  constructor(chat, progress = { answering: "", received: {}, splitters: {} }) {
    this.#chat = chat;
    this.#progress = progress;
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
    this.#chat.received(id, this.#progress);
  }

  /**
   * Shows text of the answer or of the reasoning before it. Tool calls and further choices are not shown.
   * @param {Record<string, unknown>} fields
   */
  #receiveText({ channel: name = "content", choice = 0, ...fields }) {
    const channel = String(name);
    if (choice !== 0) return;
    if (THOUGHTS.includes(channel)) this.#chat.think(this.#addedText(channel, fields), channel);
    else if (ANSWERS.includes(channel))
      this.#showSegments(channel, this.#splitter(channel).feed(this.#addedText(channel, fields)));
  }

  /** A tag never begins on one channel and ends on another. @param {string} channel */
  #splitter(channel) {
    return new ThoughtSplitter((this.#progress.splitters[channel] ??= new ThoughtSplitter().state));
  }

  /**
   * The text that a message adds; in `mode=full` each message contains all the text of its channel so far.
   * @param {string} channel
   * @param {Record<string, unknown>} fields
   */
  #addedText(channel, { delta, text }) {
    const { received } = this.#progress;
    const before = received[channel] ?? 0;
    const added = typeof delta === "string" ? delta : String(text ?? "").slice(before);
    received[channel] = before + added.length;
    return added;
  }

  end() {
    for (const channel of Object.keys(this.#progress.splitters))
      this.#showSegments(channel, this.#splitter(channel).finish());
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

  /**
   * @param {string} channel
   * @param {import("./thoughts.js").Segment[]} segments
   */
  #showSegments(channel, segments) {
    for (const { thought, text } of segments)
      thought ? this.#chat.think(text, `${channel} ${thought}`) : this.#answer(channel, text);
  }

  /**
   * Shows text of the answer. Another channel's begins a paragraph, also in what is copied and sent to the model.
   * @param {string} channel
   * @param {string} text
   */
  #answer(channel, text) {
    const { answering } = this.#progress;
    this.#progress.answering = channel;
    this.#chat.show(answering && answering !== channel ? `\n\n${text}` : text);
  }
}
