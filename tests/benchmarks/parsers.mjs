// Compares the speed of event stream parsers: the same bytes for all, interleaved in one run. Runs in a browser and in
// Node; as a Node program it prints its figures as JSON.

const EVENTS = 100_000;
const ROUNDS = 7;
const CHUNKS = { "64 KB": 1 << 16, "100 bytes": 100 };

/** 64 bytes each. */
function events() {
  const event = (n) => `data: {"delta": "${String(n).padStart(6, "0")} 0123456789 abcdefghij 你好 0123456"}\n\n`;
  return new TextEncoder().encode(Array.from({ length: EVENTS }, (_, n) => event(n)).join(""));
}

/** @param {Record<string, () => (bytes: Uint8Array) => { length: number }>} parsers  each creates a `feed` function that returns a chunk's messages */
export function measure(parsers) {
  const bytes = events(),
    figures = {};
  if (bytes.length !== EVENTS * 64) throw new Error(`an event is ${bytes.length / EVENTS} bytes`);
  for (const [name, size] of Object.entries(CHUNKS)) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
      bytes.subarray(n * size, (n + 1) * size),
    );
    const times = Object.fromEntries(Object.keys(parsers).map((parser) => [parser, []]));
    for (let round = -2; round < ROUNDS; round++)
      for (const [parser, make] of Object.entries(parsers)) {
        const feed = make(),
          begun = performance.now();
        let count = 0;
        for (const chunk of chunks) count += feed(chunk).length;
        const time = performance.now() - begun;
        if (count !== EVENTS) throw new Error(`${parser} found ${count} events`);
        // The first rounds warm up.
        if (round >= 0) times[parser].push(time);
      }
    figures[name] = Object.fromEntries(
      Object.entries(times).map(([parser, all]) => [parser, EVENTS / median(all) / 1000]),
    );
  }
  return figures;
}

/** The parsers that run anywhere, from their modules. */
export function portable({ Parser, createParser, getLines, getMessages }) {
  return {
    "this project": () => {
      const parser = new Parser();
      return (bytes) => parser.feed(bytes);
    },
    "eventsource-parser": () => collected((give) => decoded(createParser({ onEvent: give }))),
    // Only counting would store no messages, so they could not be consumed asynchronously.
    "eventsource-parser, only counting": () => {
      let count = 0;
      const feed = decoded(createParser({ onEvent: () => count++ }));
      return (bytes) => {
        count = 0;
        feed(bytes);
        return { length: count };
      };
    },
    "@microsoft/fetch-event-source": () =>
      collected((give) =>
        getLines(
          getMessages(
            () => {},
            () => {},
            give,
          ),
        ),
      ),
  };
}

/** Adapts parsers with a callback per message: returns the messages of a chunk as a list. */
function collected(make) {
  let messages = [];
  const feed = make((message) => {
    messages.push(message);
  });
  return (bytes) => {
    messages = [];
    feed(bytes);
    return messages;
  };
}

function decoded(parser) {
  const decoder = new TextDecoder();
  return (bytes) => parser.feed(decoder.decode(bytes, { stream: true }));
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

if (import.meta.main) {
  const modules = new URL("../js/node_modules/", import.meta.url);
  const found = await Promise.all([
    import("../../streaming/static/streaming/sse.js"),
    import(new URL("eventsource-parser/dist/index.js", modules)),
    import(new URL("@microsoft/fetch-event-source/lib/esm/parse.js", modules)),
  ]);
  const { EventSourceStream } = await import(new URL("undici/lib/web/eventsource/eventsource-stream.js", modules));
  const undici = () =>
    collected((give) => {
      const stream = new EventSourceStream({ push: give });
      return (bytes) => stream._transform(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), "", () => {});
    });
  console.log(JSON.stringify(measure({ ...portable(Object.assign({}, ...found)), undici })));
}
