// What is kept of a conversation.

import assert from "node:assert/strict";
import { test } from "node:test";

import { serialize } from "../../streaming/static/streaming/conversation.js";

/** @param {number} count @param {(n: number) => unknown} answer */
function conversation(count, answer) {
  const turns = Array.from({ length: count }, (_, n) => ({
    question: { upstream: "default", prompt: `question ${n}`, messages: [{ role: "system", content: "Be brief." }] },
    answer: answer(n),
    thoughts: {},
    state: "done",
    reason: "",
    moderated: 0,
  }));
  return /** @type {any} */ ({ turns, lastEventId: "0:1" });
}

test("a conversation is kept whole within the limit, and without its oldest turns beyond it", () => {
  const saved = conversation(3, (n) => `answer ${n}`);
  const whole = serialize(saved);
  assert.deepEqual(JSON.parse(whole), saved);

  assert.equal(serialize(saved, whole.length), whole);
  const cut = serialize(saved, whole.length - 1);
  assert.ok(cut.length < whole.length);
  assert.deepEqual(JSON.parse(cut), { ...saved, turns: saved.turns.slice(1) });
  assert.deepEqual(JSON.parse(serialize(saved, 10)), { ...saved, turns: [] });
});

test("of a question's messages only the system prompt is kept", () => {
  const saved = conversation(1, () => "Yes.");
  saved.turns[0].question.messages.push({ role: "user", content: "Again and again?" });
  assert.deepEqual(
    JSON.parse(serialize(saved)),
    conversation(1, () => "Yes."),
  );
});

test("each turn is written at most once, however many are too much: this is done every second", () => {
  let written = 0;
  const answer = () => ({
    toJSON() {
      written++;
      return "x".repeat(1000);
    },
  });

  const { turns } = JSON.parse(serialize(conversation(1000, answer), 100_000));

  assert.ok(turns.length > 50 && turns.length < 100, `${turns.length} turns`);
  assert.ok(written <= turns.length + 1, `${written} turns were written`);
});
