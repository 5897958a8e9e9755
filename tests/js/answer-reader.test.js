import assert from "node:assert/strict";
import { test } from "node:test";
import { AnswerReader } from "../../streaming/static/streaming/answer-reader.js";

/** What a reader has shown: the Markdown of the answer, and each thought. */
class Shown {
  answer = "";
  /** @type {Record<string, string>} */
  byName = {};
  /** The last state that the reader gave to save, as JSON. */
  saved = "";

  show(text) {
    this.answer += text;
  }

  think(text, name) {
    this.byName[name] = (this.byName[name] ?? "") + text;
  }

  received(id, progress) {
    this.saved = JSON.stringify(progress);
  }

  finish() {}

  get texts() {
    return { answer: this.answer, thoughts: Object.values(this.byName) };
  }
}

const message = (fields) => ({ event: "message", data: JSON.stringify(fields), id: "1:1" });

/** @param {Record<string, unknown>[]} messages @param {number} [reload]  after how many messages the page is reloaded */
function read(messages, reload) {
  const shown = new Shown();
  let reader = new AnswerReader(shown);
  for (const [index, fields] of messages.entries()) {
    if (index === reload) reader = new AnswerReader(shown, JSON.parse(shown.saved));
    reader.receive(message(fields));
  }
  reader.end();
  return shown.texts;
}

/** The same deltas, of one character each. */
const cut = (messages) =>
  messages.flatMap(({ delta, ...rest }) => [...delta].map((char) => ({ delta: char, ...rest })));

/** The same deltas, as the whole text of the channel so far. */
function asSnapshots(messages) {
  const texts = {};
  return messages.map(({ delta, channel = "content" }) => {
    texts[channel] = (texts[channel] ?? "") + delta;
    return { text: texts[channel], channel };
  });
}

const content = (delta) => ({ delta });
const on = (channel, delta) => ({ channel, delta });

// The server moderates each channel on its own, and reads `<think>` as a tag within one: none of these has the word "darn".
const seams = [
  ["two channels of reasoning", [on("reasoning", "da"), on("reasoning_content", "rn")], ["da", "rn"], ""],
  ["reasoning on its channel and in a tag", [on("thinking", "da"), content("<think>rn</think>ok")], ["da", "rn"], "ok"],
  ["thoughts with space between", [content("<think>da</think>\n<thinking>rn</thinking>ok")], ["da", "rn"], "ok"],
  ["an answer and a refusal", [content("da"), on("refusal", "rn")], [], "da\n\nrn"],
  ["a refusal and an answer", [on("refusal", "da"), content("<think>x</think>rn")], ["x"], "da\n\nrn"],
  ["a thought and a refusal", [content("<think>da"), on("refusal", "rn</think>")], ["da"], "rn</think>"],
  ["half a tag and a refusal", [content("da <th"), on("refusal", "rn")], [], "da <th\n\nrn"],
  [
    "texts in turns",
    [content("d"), on("refusal", "a"), content("r"), on("reasoning", "n"), content("s")],
    ["n"],
    "d\n\na\n\nrs",
  ],
  ["reasoning in turns", [on("reasoning", "da"), on("thinking", "x"), on("reasoning", "ys")], ["days", "x"], ""],
];

for (const [name, messages, thoughts, answer] of seams)
  test(`texts moderated apart are shown apart, however they are cut: ${name}`, () => {
    for (const cuts of [messages, cut(messages), asSnapshots(messages), asSnapshots(cut(messages))])
      for (let reload = 0; reload <= cuts.length; reload++)
        assert.deepEqual(read(cuts, reload || undefined), { answer, thoughts }, `reloaded after ${reload}`);
  });

test("a text is not broken where it only continues, nor by texts that are empty", () => {
  const messages = [content("da"), on("refusal", ""), on("tool_calls.0", "{}"), content("ys"), on("reasoning", "")];

  assert.deepEqual(read(messages).answer, "days");
});
