import assert from "node:assert/strict";
import { test } from "node:test";
import { ClassicTypewriter, Typewriter } from "../../streaming/static/streaming/typewriter.js";

const FRAME = 1000 / 60;

// Arrival patterns: [characters, gap in ms] for each push.
const arrivals = {
  "5 characters each 12 ms": Array.from({ length: 500 }, () => [5, 12]),
  "30 characters each 500 ms": Array.from({ length: 20 }, () => [30, 500]),
  "400 characters each 2 s": Array.from({ length: 6 }, () => [400, 2000]),
  "20 characters each 0 to 300 ms": Array.from({ length: 100 }, (_, n) => [20, (n * 7919) % 301]),
};

for (const [name, steps] of Object.entries(arrivals)) {
  test(`${name}: everything is shown, in order, within 500 ms of the end`, () => {
    const { shown, text, lastShown, end } = play(steps);

    assert.equal(shown, text);
    assert.ok(lastShown - end <= 500, `${lastShown - end} ms after the end`);
  });

  test(`${name}: no pause over 150 ms while text waits`, () => {
    assert.ok(play(steps).longestPause <= 150, `${play(steps).longestPause} ms`);
  });

  test(`${name}: a character is delayed by about one arrival gap at most`, () => {
    const { lags } = play(steps);
    assert.ok(percentile(lags, 0.95) <= 1050, `${percentile(lags, 0.95)} ms`);
  });
}

test("a fast stream is followed closely: p95 lag under 300 ms", () => {
  const { lags } = play(arrivals["5 characters each 12 ms"]);
  assert.ok(percentile(lags, 0.95) < 300, `${percentile(lags, 0.95)} ms`);
});

test("a slow even stream appears continuously, without pauses over 150 ms once its rhythm is known", () => {
  const { frames } = play(arrivals["30 characters each 500 ms"]);
  const times = frames.filter(({ time, text }) => text && time > 2000 && time < 9500).map(({ time }) => time);

  const longest = Math.max(...times.slice(1).map((time, n) => time - times[n]));
  assert.ok(longest <= 150, `${longest} ms`);
});

test("a grapheme is never split, however the text arrives", () => {
  const text = "👨‍👩‍👧 e\u0301 🇫🇷🇨🇳 नमस्ते 👍🏽 ❤️ 한국 ok 👩‍🚀";
  const segments = [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)];
  const boundaries = new Set([text.length, ...segments.map(({ index }) => index)]);

  for (const size of [1, 2, 3, 5, 100]) {
    const typewriter = new Typewriter();
    let shown = 0,
      now = 0;
    for (let from = 0; from < text.length; from += size) {
      typewriter.push(text.slice(from, from + size), now);
      for (const until = now + 60; now < until; now += 5)
        assert.ok(boundaries.has((shown += typewriter.take(now).length)), `${shown}`);
    }
    typewriter.finish(now);
    for (const until = now + 500; now < until; now += 5)
      assert.ok(boundaries.has((shown += typewriter.take(now).length)), `${shown}`);
    assert.equal(shown, text.length);
  }
});

test("half of an emoji waits for the other half, however long it takes", () => {
  const typewriter = new Typewriter();

  typewriter.push("hi 👨\u200d", 0);
  assert.equal(typewriter.take(60_000), "hi ");
  typewriter.push("👩", 60_001);
  typewriter.finish(60_002);
  assert.equal(typewriter.take(61_000), "👨\u200d👩");
});

test("after a stall of the main thread one frame catches up", () => {
  const typewriter = new Typewriter();
  for (let now = 0; now < 3000; now += 12) typewriter.push("12345", now);

  const first = typewriter.take(3000);

  assert.ok(first.length > 1250 - 100, `${first.length} characters`);
});

for (const Kind of [Typewriter, ClassicTypewriter])
  test(`${Kind.name}: flush returns all remaining text at once`, () => {
    const typewriter = new Kind();
    typewriter.push("some text", 0);
    const begun = typewriter.take(100);

    assert.equal(begun + typewriter.flush(), "some text");
    assert.equal(typewriter.pending, "");
  });

// --- the classic typewriter

test("the classic typewriter shows a character every 10 ms while more than 50 are pending, then one every 50 ms", () => {
  const typewriter = new ClassicTypewriter();
  typewriter.push("x".repeat(150), 0);
  typewriter.finish();

  const times = [];
  for (let now = 0; typewriter.pending; now++) times.push(...Array(typewriter.take(now).length).fill(now));

  const gaps = times.slice(1).map((time, n) => time - times[n]);
  assert.deepEqual(gaps, [...Array(100).fill(10), ...Array(49).fill(50)]);
});

test("text that arrives while the classic typewriter writes changes its speed, and nothing is written twice", () => {
  const typewriter = new ClassicTypewriter();
  typewriter.push("a".repeat(10), 0);
  let shown = "";
  for (let now = 0; now <= 100; now++) shown += typewriter.take(now);
  assert.equal(shown.length, 3);

  typewriter.push("b".repeat(100), 100);
  for (let now = 101; now <= 650; now++) shown += typewriter.take(now);

  // 50 ms until the next, and then 10 ms each.
  assert.equal(shown.length, 3 + 51);
  assert.ok(("a".repeat(10) + "b".repeat(100)).startsWith(shown));
});

test("the classic typewriter does not speed up after a time without text", () => {
  const typewriter = new ClassicTypewriter();
  typewriter.push("ab", 0);
  typewriter.take(1000);

  typewriter.push("cdefgh", 10_000);

  assert.ok(typewriter.take(10_001).length <= 1);
});

test("the classic typewriter catches up after a stall and splits no grapheme", () => {
  const typewriter = new ClassicTypewriter();
  typewriter.push("👨‍👩‍👧".repeat(40), 0);

  const late = typewriter.take(1000);

  assert.ok(late.length > 80, `${late.length}`);
  assert.equal(late.length % "👨‍👩‍👧".length, 0);
});

function play(steps) {
  const typewriter = new Typewriter();
  const frames = [],
    arrived = [],
    lags = [];
  let text = "",
    shown = "",
    time = 0,
    longestPause = 0,
    still = 0;
  let n = 0,
    next = 0,
    end = Infinity;
  for (; time < 60_000 && (n < steps.length || shown.length < text.length); time += FRAME) {
    while (n < steps.length && next <= time) {
      const [size, gap] = steps[n++];
      const piece = Array.from({ length: size }, (_, i) => "abcdefghij"[(text.length + i) % 10]).join("");
      for (let i = 0; i < size; i++) arrived.push(next);
      text += piece;
      typewriter.push(piece, next);
      if (n === steps.length) typewriter.finish((end = next));
      next += gap;
    }
    const waits = typewriter.pending !== "";
    const piece = typewriter.take(time);
    for (let i = 0; i < piece.length; i++) lags.push(time - arrived[shown.length + i]);
    shown += piece;
    frames.push({ time, text: piece });
    still = piece || !waits ? 0 : still + FRAME;
    longestPause = Math.max(longestPause, still);
  }
  return { shown, text, frames, lags, longestPause, lastShown: time - FRAME, end };
}

function percentile(values, share) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)];
}
