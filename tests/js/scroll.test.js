import assert from "node:assert/strict";
import { test } from "node:test";
import { isAtEnd, isUpward, sticksAfterScroll } from "../../streaming/static/streaming/scroll.js";

const at = (scrollTop, scrollHeight = 1000) => ({ scrollTop, scrollHeight, clientHeight: 400 });

test("the end is reached to within a fraction of a pixel", () => {
  assert.equal(isAtEnd(at(600)), true);
  assert.equal(isAtEnd(at(599.2)), true);
  assert.equal(isAtEnd(at(590)), false);
});

test("a move upward releases, even one that ends near the end", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(300)), false);
  assert.equal(sticksAfterScroll(true, at(600), at(599)), false);
});

test("a move downward sticks where the end is reached, and only there", () => {
  assert.equal(sticksAfterScroll(false, at(100), at(600)), true);
  assert.equal(sticksAfterScroll(false, at(100), at(300)), false);
});

test("content that grew releases nobody", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(600, 1200)), true);
});

test("content that shrank moves the place upward, and that is nobody's wish", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(400, 800)), true);
});

test("keys that lead upward are known", () => {
  assert.deepEqual(
    ["ArrowUp", "PageUp", "Home", "ArrowDown", "End", "a"].filter((key) => isUpward({ key, shiftKey: false })),
    ["ArrowUp", "PageUp", "Home"],
  );
  assert.equal(isUpward({ key: " ", shiftKey: true }), true);
  assert.equal(isUpward({ key: " ", shiftKey: false }), false);
});
