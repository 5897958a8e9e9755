import assert from "node:assert/strict";
import { test } from "node:test";
import MarkdownIt from "markdown-it";
import friendly from "markdown-it-cjk-friendly";
import { emphasizeBesideCJK } from "../../streaming/static/streaming/markdown/emphasis.js";

const theirs = MarkdownIt().use(friendly);
const ours = MarkdownIt();
emphasizeBesideCJK(ours);

test("emphasis next to any CJK character follows the markdown-cjk-friendly specification", () => {
  const characters = [];
  for (let code = 0; code < 0x110000; code++) {
    const character = String.fromCodePoint(code);
    if (
      !/\p{Unassigned}/u.test(character) &&
      /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\p{P}\p{Emoji}\u3000-\u303f\uff00-\uffef]/u.test(
        character,
      )
    )
      characters.push(character);
  }
  const wrong = characters.filter((character) =>
    [`a**（b${character}**c`, `a**${character}b)**c`, `a*"b"*${character}`, `${character}**(b)**`].some(
      (text) => ours.render(text) !== theirs.render(text),
    ),
  );
  assert.ok(characters.length > 90_000);
  assert.deepEqual(
    wrong.map((character) => character.codePointAt(0).toString(16)),
    [],
  );
});

test("emphasis follows that specification in any mixture of marks, letters, spaces and variation selectors", () => {
  const alphabet = [
    "*",
    "**",
    "~~",
    "_",
    "中",
    "。",
    "（",
    "）",
    "a",
    " ",
    ".",
    "(",
    "가",
    "“",
    "”",
    "\ufe01",
    "葛\u{e0100}",
    "😀",
    "\n",
  ];
  let seed = 7;
  const random = (limit) => (seed = (seed * 48271) % 2147483647) % limit;
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: 2 + random(9) }, () => alphabet[random(alphabet.length)]).join("");
    // After other characters this rule does not consider variation selectors.
    if (/[^“”]\ufe01|^\ufe01/.test(text)) continue;
    assert.equal(ours.render(text), theirs.render(text), text);
  }
});
