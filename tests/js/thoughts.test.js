import assert from "node:assert/strict";
import { test } from "node:test";
import { ThoughtSplitter } from "../../streaming/static/streaming/thoughts.js";

/** Each thought, and the answer, in text that arrives in these pieces. */
function split(pieces) {
  const splitter = new ThoughtSplitter();
  const thoughts = [];
  let answer = "";
  for (const { thought, text } of [...pieces.flatMap((piece) => splitter.feed(piece)), ...splitter.finish()])
    if (thought) thoughts[thought - 1] = (thoughts[thought - 1] ?? "") + text;
    else answer += text;
  return { thoughts, answer };
}

const cases = [
  ["<think>hidden</think>shown", ["hidden"], "shown"],
  [
    "\n<think>\na < b </thin k\n</think>\n\nshown <think>x</think>",
    ["\na < b </thin k\n"],
    "\n\nshown <think>x</think>",
  ],
  ["<Thinking>a</thinking><think>b</think>c", ["a", "b"], "c"],
  ["<think>so</think>\n\n<think>bad</think> ok", ["so", "bad"], " ok"],
  ["<think>never closed </thi", ["never closed </thi"], ""],
  ["no tag <think>x</think>", [], "no tag <think>x</think>"],
  ["<thin", [], "<thin"],
  ["<b>bold</b>", [], "<b>bold</b>"],
  ["  ", [], "  "],
];

for (const [text, thoughts, answer] of cases)
  test(`thoughts are separated from the answer in every split of ${JSON.stringify(text)}`, () => {
    const cuts = [[text], [...text], ...Array.from(text, (_, at) => [text.slice(0, at), text.slice(at)])];

    for (const pieces of cuts) assert.deepEqual(split(pieces), { thoughts, answer }, JSON.stringify(pieces));
  });
