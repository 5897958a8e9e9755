// How the client handles a misbehaving server: the same scenarios under Node and in browsers. Each returns a JSON value
// and states the expected one.

/**
 * @param {typeof import("../../streaming/static/streaming/event-source.js")} client
 * @param {string} origin  of the misbehaving server
 */
export function scenarios({ fetchEvents, FetchEventSource, RefusedError, CutError }, origin) {
  const retry = { from: 1, to: 2 };
  const run = `${Date.now()}${Math.random()}`.replace(".", "");
  const at = (behaviour) => `${origin}/${behaviour}/${run}`;
  const log = async (behaviour) => (await fetch(`${origin}/log/${behaviour}/${run}`)).json();
  const asked = async (behaviour) => (await log(behaviour)).map(({ method, lastEventId }) => [method, lastEventId]);
  const tear = (behaviour) => void fetch(`${origin}/release/${behaviour}/${run}`);
  const closed = async (behaviour) => until(async () => (await log(behaviour)).every((request) => request.closed));

  /** The delivered messages and how the stream ended. */
  async function read(behaviour, options = {}, onMessage = (_) => {}) {
    const seen = [];
    try {
      for await (const message of fetchEvents(at(behaviour), { retry, ...options })) {
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
    ...["wrong-type", "nearly-right-type"].map((behaviour) => ({
      name: `an endless answer of the ${behaviour.replaceAll("-", " ")} is an error that carries the beginning of the body, and the connection is closed`,
      expect: ["refused", 200, "data: 0", 1, true],
      async run() {
        const { end, error } = await read(behaviour);
        return [end, error.status, error.body.slice(0, 7), (await asked(behaviour)).length, await closed(behaviour)];
      },
    })),
    {
      name: "204 ends the stream without a reconnect",
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
      name: "an error response whose body never ends is still an error",
      expect: ["refused", 500, true],
      async run() {
        const { end, error } = await read("endless-error");
        return [end, error.status, await closed("endless-error")];
      },
    },
    {
      name: "a stream interrupted in the middle of a character resumes after its last complete message",
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
      name: "an interrupted POST is not sent twice",
      expect: ["cut", ["a"], [["POST", null]]],
      async run() {
        const { seen, end } = await read("cut-in-a-post", { method: "POST", body: "{}" }, () => tear("cut-in-a-post"));
        return [end, seen, await asked("cut-in-a-post")];
      },
    },
    {
      name: "a retry delay of 99999999999 ms does not overflow to zero, and an abort ends it",
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
      name: "an abort at the moment of the interruption also ends the delay",
      expect: ["enough"],
      async run() {
        const abort = new AbortController();
        const { error } = await read("endless-retry", { signal: abort.signal, onCut: () => abort.abort("enough") });
        return [error];
      },
    },
    {
      name: "a Chinese id is sent back unchanged",
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
    ...["silence", "silent-head"].map((behaviour) => ({
      name: `${behaviour === "silence" ? "silence in a stream" : "silence before an answer"} counts as a lost connection, which is closed`,
      expect: ["done", 2, true],
      async run() {
        const { end } = await read(behaviour, { idleTimeout: 1500 });
        return [end, (await asked(behaviour)).length, await closed(behaviour)];
      },
    })),
    {
      name: "a redirect is followed, and a stream that arrives byte by byte is complete",
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
      name: "a caller that stops reading slows the server down (back pressure)",
      // Firefox and WebKit buffer everything, whether it is read or not.
      needsBackPressure: true,
      expect: [true, true],
      async run() {
        const messages = fetchEvents(at("flood"));
        const { value } = await messages.next();
        // Browsers buffer many megabytes; once the buffers are full, the transfer stops.
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
      name: "after an abort nothing more is delivered, not even the rest of the chunk, and its reason is thrown",
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

/** The events of an EventSource in order, until it closes. */
export async function recordEvents(EventSourceClass, url) {
  const source = new EventSourceClass(url),
    events = [];
  const record = (event) =>
    events.push([event.type, source.readyState, event.data ?? null, event.lastEventId ?? null, event.origin ?? null]);
  source.onopen = record;
  source.addEventListener("message", record);
  source.addEventListener("named", record);
  source.onerror = record;
  await until(() => source.readyState === 2);
  return events;
}

async function until(condition, deadline = performance.now() + 60_000) {
  for (let found; !(found = await condition()); await new Promise((go) => setTimeout(go, 10)))
    if (performance.now() > deadline) throw new Error("it took too long");
  return true;
}
