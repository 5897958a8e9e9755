import assert from "node:assert/strict";
import { test } from "node:test";
import { isAtEnd, isUpward, sticksAfterScroll } from "../../streaming/static/streaming/scroll.js";

const at = (scrollTop, scrollHeight = 1000) => ({ scrollTop, scrollHeight, clientHeight: 400 });

test("a position within a fraction of a pixel counts as the end", () => {
  assert.equal(isAtEnd(at(600)), true);
  assert.equal(isAtEnd(at(599.2)), true);
  assert.equal(isAtEnd(at(590)), false);
});

test("scrolling up stops following, even close to the end", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(300)), false);
  assert.equal(sticksAfterScroll(true, at(600), at(599)), false);
});

test("scrolling down resumes following only at the end", () => {
  assert.equal(sticksAfterScroll(false, at(100), at(600)), true);
  assert.equal(sticksAfterScroll(false, at(100), at(300)), false);
});

test("growing content does not stop following", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(600, 1200)), true);
});

test("shrinking content moves the position up but does not stop following", () => {
  assert.equal(sticksAfterScroll(true, at(600), at(400, 800)), true);
});

test("keys that scroll up are recognised", () => {
  assert.deepEqual(
    ["ArrowUp", "PageUp", "Home", "ArrowDown", "End", "a"].filter((key) => isUpward({ key, shiftKey: false })),
    ["ArrowUp", "PageUp", "Home"],
  );
  assert.equal(isUpward({ key: " ", shiftKey: true }), true);
  assert.equal(isUpward({ key: " ", shiftKey: false }), false);
});
