// What the client makes of a server that misbehaves: the same scenarios under Node and in a browser. Each gives a value
// that can be written as JSON, and says which it must be.

/**
 * @param {typeof import("../../streaming/static/streaming/event-source.js")} client
 * @param {string} origin  of the misbehaving server
 */
export function scenarios({ fetchEvents, FetchEventSource, RefusedError, CutError }, origin) {
  const retry = { from: 1, to: 2 };
  const run = `${Date.now()}${Math.random()}`.replace(".", "");
  const at = (manner) => `${origin}/${manner}/${run}`;
  const log = async (manner) => (await fetch(`${origin}/log/${manner}/${run}`)).json();
  const asked = async (manner) => (await log(manner)).map(({ method, lastEventId }) => [method, lastEventId]);
  const tear = (manner) => void fetch(`${origin}/release/${manner}/${run}`);
  const closed = async (manner) => until(async () => (await log(manner)).every((request) => request.closed));

  /** What was delivered, and how it ended. */
  async function read(manner, options = {}, onMessage = (_) => {}) {
    const seen = [];
    try {
      for await (const message of fetchEvents(at(manner), { retry, ...options })) {
        seen.push(message.data);
        onMessage(message);
      }
      return { seen, end: "done" };
    } catch (error) {
      const kind = error instanceof RefusedError ? "refused" : error instanceof CutError ? "cut" : "other";
      return { seen, end: kind, error };
    }
  }

  return [
    ...["wrong-type", "nearly-right-type"].map((manner) => ({
      name: `an endless answer of the ${manner.replaceAll("-", " ")} is refused, with its beginning, and let go`,
      expect: ["refused", 200, "data: 0", 1, true],
      async run() {
        const { end, error } = await read(manner);
        return [end, error.status, error.body.slice(0, 7), (await asked(manner)).length, await closed(manner)];
      },
    })),
    {
      name: "204 is the end for good",
      expect: ["done", [], [["GET", null]]],
      async run() {
        const { seen, end } = await read("no-content");
        return [end, seen, await asked("no-content")];
      },
    },
    {
      name: "an error carries its status, headers and problem",
      expect: ["refused", 500, "application/problem+json", { detail: "the disk is full" }, "the disk is full", 1],
      async run() {
        const { end, error } = await read("problem");
        return [
          end,
          error.status,
          error.headers.get("Content-Type"),
          error.problem,
          error.message,
          (await asked("problem")).length,
        ];
      },
    },
    {
      name: "an error whose body never ends is an error all the same",
      expect: ["refused", 500, true],
      async run() {
        const { end, error } = await read("endless-error");
        return [end, error.status, await closed("endless-error")];
      },
    },
    {
      name: "a stream cut in the middle of a character is read on after its last whole message",
      expect: [
        "done",
        ["你", "好", "{}"],
        [
          ["GET", null],
          ["GET", "1"],
        ],
      ],
      async run() {
        const { seen, end } = await read("cut-in-a-character", {}, () => tear("cut-in-a-character"));
        return [end, seen, await asked("cut-in-a-character")];
      },
    },
    {
      name: "a POST that was cut is not sent twice",
      expect: ["cut", ["a"], [["POST", null]]],
      async run() {
        const { seen, end } = await read("cut-in-a-post", { method: "POST", body: "{}" }, () => tear("cut-in-a-post"));
        return [end, seen, await asked("cut-in-a-post")];
      },
    },
    {
      name: "a wait of 99999999999 ms is no wait of none, and is over when it is aborted",
      expect: [["a"], [2 ** 31 - 1], [["GET", null]], "enough"],
      async run() {
        const abort = new AbortController(),
          delays = [];
        const onCut = (_, delay) => {
          delays.push(delay);
          setTimeout(() => abort.abort("enough"), 50);
        };
        const { seen, error } = await read("endless-retry", { signal: abort.signal, onCut });
        return [seen, delays, await asked("endless-retry"), error];
      },
    },
    {
      name: "an abort at the very moment of the cut ends the wait too",
      expect: ["enough"],
      async run() {
        const abort = new AbortController();
        const { error } = await read("endless-retry", { signal: abort.signal, onCut: () => abort.abort("enough") });
        return [error];
      },
    },
    {
      name: "a Chinese id comes back as it was",
      needsByteHeaders: true,
      expect: [
        "done",
        [
          ["GET", null],
          ["GET", "第七段 é"],
        ],
      ],
      async run() {
        const { end } = await read("chinese-id");
        return [end, await asked("chinese-id")];
      },
    },
    ...["silence", "silent-head"].map((manner) => ({
      name: `${manner === "silence" ? "silence in a stream" : "silence before an answer"} counts as a cut, and the connection is closed`,
      expect: ["done", 2, true],
      async run() {
        const { end } = await read(manner, { idleTimeout: 200 });
        return [end, (await asked(manner)).length, await closed(manner)];
      },
    })),
    {
      name: "a redirect is followed, and a stream that drips byte by byte is whole",
      expect: ["done", ["你好", "{}"], [["GET", null]], [["GET", null]]],
      async run() {
        const { seen, end } = await read("redirect");
        return [end, seen, await asked("redirect"), await asked("drip")];
      },
    },
    {
      name: "`break` closes the connection",
      expect: [true],
      async run() {
        for await (const _ of fetchEvents(at("several"))) break;
        return [await closed("several")];
      },
    },
    {
      name: "a reader who waits holds the server back",
      // Firefox and WebKit take all that comes, whether it is read or not.
      needsBackPressure: true,
      expect: [true, true],
      async run() {
        const messages = fetchEvents(at("flood"));
        const { value } = await messages.next();
        // A browser has buffers of many megabytes; when they are full nothing moves any more.
        let before = 0,
          taken = -1;
        await until(async () => {
          before = taken;
          await new Promise((go) => setTimeout(go, 100));
          [{ taken }] = await log("flood");
          return taken === before;
        });
        await messages.return();
        return [value.data.length === 1 << 16, taken < 1 << 29];
      },
    },
    {
      name: "after an abort nothing more is delivered, not even the rest of the chunk, and the reason is told",
      expect: [["a"], "enough", true],
      async run() {
        const abort = new AbortController();
        const { seen, error } = await read("several", { signal: abort.signal }, () => abort.abort("enough"));
        return [seen, error, await closed("several")];
      },
    },
    {
      name: "after close() a FetchEventSource delivers nothing more",
      expect: [["a"], 2],
      async run() {
        const source = new FetchEventSource(at("several")),
          seen = [];
        source.onmessage = ({ data }) => {
          seen.push(data);
          source.close();
        };
        source.onerror = () => seen.push("error");
        await until(() => seen.length > 0 && closed("several"));
        return [seen, source.readyState];
      },
    },
  ];
}

/** What an EventSource tells, one after the other, until it is closed. */
export async function story(EventSourceClass, url) {
  const source = new EventSourceClass(url),
    told = [];
  const tell = (event) =>
    told.push([event.type, source.readyState, event.data ?? null, event.lastEventId ?? null, event.origin ?? null]);
  source.onopen = tell;
  source.addEventListener("message", tell);
  source.addEventListener("named", tell);
  source.onerror = tell;
  await until(() => source.readyState === 2);
  return told;
}

async function until(condition, deadline = performance.now() + 15_000) {
  for (let found; !(found = await condition()); await new Promise((go) => setTimeout(go, 10)))
    if (performance.now() > deadline) throw new Error("it took too long");
  return true;
}
