import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Parser, StreamError } from "../../streaming/static/streaming/sse.js";

// The test vectors shared with the Python parser.
const vectors = JSON.parse(readFileSync(new URL("../sse-vectors.json", import.meta.url), "utf8"));
const bytes = (text) => new TextEncoder().encode(text);

for (const vector of vectors) {
  const chunks = vector.chunks.flatMap(chunkBytes);
  const whole = Buffer.concat(chunks);

  test(`${vector.name}: in the given chunks`, () => {
    const { counts, ...result } = read(vector, chunks);
    assertExpected(result, vector);
    if (vector.dispatchedAfter) assert.deepEqual(counts, vector.dispatchedAfter);
  });
  test(`${vector.name}: in one chunk`, () => assertExpected(read(vector, [whole]), vector));
  test(`${vector.name}: byte by byte`, () =>
    assertExpected(
      read(
        vector,
        cut(whole, () => 1),
      ),
      vector,
    ));
  test(`${vector.name}: in random cuts`, () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = randomNumbers(seed);
      assertExpected(
        read(
          vector,
          cut(whole, () => Math.floor(random() * Math.min(40, whole.length + 1))),
        ),
        vector,
      );
    }
  });
}

test("a message may be as long as the limit and not one character longer, however it is cut", () => {
  for (const size of [1, 2, 7, 100]) {
    const limited = (data) => {
      const parser = new Parser({ maxMessageChars: 10 });
      return cut(bytes(`data: ${data}\n\n`), () => size).flatMap((chunk) => parser.feed(chunk));
    };

    assert.equal(limited("0123456789")[0].data, "0123456789");
    assert.throws(() => limited("0123456789a"), StreamError);
  }
});

test("a message of many lines is limited as a whole, its newlines included", () => {
  const parser = new Parser({ maxMessageChars: 10 });

  parser.feed(bytes("data: 0123\ndata: 567\n"));
  assert.throws(() => parser.feed(bytes("data: 90\n")), StreamError);
});

test("messages before one that is too long are returned first, and every later call throws", () => {
  const parser = new Parser({ maxMessageChars: 10 });

  const messages = parser.feed(bytes("id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: 0123456789a\n\ndata: never\n\n"));

  assert.deepEqual(
    messages.map(({ data }) => data),
    ["a", "b"],
  );
  assert.throws(() => parser.feed(bytes("")), StreamError);
  assert.throws(() => parser.feed(bytes("data: c\n\n")), StreamError);
  assert.equal(parser.lastEventId, "1");
});

test("an endless line is an error before it fills the memory", () => {
  const parser = new Parser({ maxMessageChars: 1000 });
  const line = bytes(`data: ${"x".repeat(94)}`);

  assert.throws(() => {
    for (let n = 0; n < 20; n++) parser.feed(line);
  }, StreamError);
});

test("an endless comment or unknown field is allowed, as none of it is stored", () => {
  for (const start of [":", "unknown: ", "dat", "data ", "datas: "]) {
    const parser = new Parser({ maxMessageChars: 20 });

    parser.feed(bytes(start));
    for (let n = 0; n < 1000; n++) parser.feed(bytes("x".repeat(100)));

    assert.deepEqual(parser.feed(bytes("\ndata: a\n\n")), [{ event: "message", data: "a", id: "" }]);
  }
});

test("one line of 1 MiB in pieces of 64 bytes takes less than a quarter of a second", () => {
  const piece = bytes("x".repeat(64));

  function secondsForTheLine() {
    const parser = new Parser({ maxMessageChars: 1 << 26 });
    const before = process.cpuUsage();
    parser.feed(bytes("data: "));
    for (let n = 0; n < (1 << 20) / 64; n++) parser.feed(piece);
    const [message] = parser.feed(bytes("\n\n"));
    const { user, system } = process.cpuUsage(before);
    assert.equal(message.data.length, 1 << 20);
    return (user + system) / 1e6;
  }

  // Of processor time, and the least of five: the machine may have other things to do.
  const seconds = Math.min(...Array.from({ length: 5 }, secondsForTheLine));
  assert.ok(seconds < 0.25, `${seconds} s`);
});

function read(vector, chunks) {
  const parser = new Parser({ lastEventId: vector.seedId, maxMessageChars: 1 << 26 });
  const messages = [],
    counts = [];
  for (const chunk of chunks) {
    messages.push(...parser.feed(chunk));
    counts.push(messages.length);
  }
  return { messages, lastEventId: parser.lastEventId, retry: parser.retry, counts };
}

function assertExpected({ messages, lastEventId, retry }, vector) {
  assert.deepEqual(messages, vector.expect.flatMap(expected));
  assert.equal(lastEventId, vector.lastEventId);
  if (vector.retry === "any") assert.equal(typeof retry, "number");
  else assert.equal(retry, vector.retry);
}

function expected({ event, data, id, times = 1 }) {
  if (typeof data !== "string")
    data =
      (data.prefix ?? "") +
      Array(data.times)
        .fill(data.text)
        .join(data.join ?? "");
  return Array.from({ length: times }, () => ({ event, data, id }));
}

function chunkBytes(chunk) {
  if (typeof chunk === "string") return [bytes(chunk)];
  if (chunk.hex !== undefined) return [Buffer.from(chunk.hex, "hex")];
  const whole = bytes(chunk.text.repeat(chunk.times));
  return chunk.split ? cut(whole, () => chunk.split) : [whole];
}

function cut(whole, size) {
  const pieces = [];
  for (let from = 0; from < whole.length;) pieces.push(whole.subarray(from, (from += size())));
  return pieces;
}

/** mulberry32: the same numbers on each run. */
function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
