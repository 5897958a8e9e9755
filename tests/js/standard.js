// Requirements of the standard (WHATWG HTML, section 9.2) for EventSource, one sentence each, checked on the browser's
// implementation and on ours. Each returns a JSON value and states the expected one.

/**
 * @param {new (url: string, init?: object) => any} EventSourceClass
 * @param {string} origin  of the misbehaving server
 */
export function sentences(EventSourceClass, origin) {
  const run = `${EventSourceClass.name}${Date.now()}${Math.random()}`.replace(".", "");
  let count = 0;

  /** A URL that returns these replies in order. */
  function address(...replies) {
    return `${origin}/reply/${run}-${count++}?replies=${encodeURIComponent(JSON.stringify(replies))}`;
  }

  async function asked(url) {
    return (await fetch(url.split("?")[0].replace("/reply/", "/log/reply/"))).json();
  }

  /** The events received until there are this many or the source closes. */
  async function hear(url, enough, { types = [], init = {}, act = () => {} } = {}) {
    const source = new EventSourceClass(url, init);
    const heard = [];
    for (const type of ["open", "message", "error", ...types])
      source.addEventListener(type, (event) => {
        heard.push([event.type, source.readyState, event.data ?? null]);
        act(source, event);
      });
    await until(() => heard.length >= enough || source.readyState === 2);
    source.close();
    return heard.slice(0, enough);
  }

  const CLOSED_AT_ONCE = [["error", 2, null]];
  const BACK = [
    ["error", 0, null],
    ["open", 1, null],
  ];
  const one = "retry:1\n\ndata: a\n\n";

  return [
    {
      sentence: "If urlRecord is failure, then throw a SyntaxError DOMException",
      expect: "SyntaxError",
      async run() {
        try {
          new EventSourceClass("http://[::1/");
        } catch (error) {
          return error.name;
        }
      },
    },
    {
      sentence: "The url attribute's getter must return the serialization of this event source's url",
      expect: [`${origin}/a/c?d#e`, false, true],
      async run() {
        const source = new EventSourceClass(`${origin}/a/./b/../c?d#e`);
        const other = new EventSourceClass(`${origin}/a`, { withCredentials: true });
        for (const each of [source, other]) each.close();
        return [source.url, source.withCredentials, other.withCredentials];
      },
    },
    {
      sentence: "CONNECTING, OPEN and CLOSED are constants of the interface and of each object",
      expect: [0, 1, 2, 0, 1, 2],
      async run() {
        const source = new EventSourceClass(address({ status: 204 }));
        source.close();
        return [EventSourceClass, source].flatMap(({ CONNECTING, OPEN, CLOSED }) => [CONNECTING, OPEN, CLOSED]);
      },
    },
    {
      sentence: "readyState, url and withCredentials are readonly",
      expect: [2, true, false],
      async run() {
        const source = new EventSourceClass(address({ status: 204 }));
        source.close();
        const { url } = source;
        for (const name of ["readyState", "url", "withCredentials"]) Reflect.set(source, name, 7);
        return [source.readyState, source.url === url, source.withCredentials];
      },
    },
    {
      sentence:
        "when the object is created its readyState must be set to CONNECTING (0), when it is opened to OPEN (1), and when the connection is closed to CLOSED (2)",
      expect: [0, 1, 2],
      async run() {
        const source = new EventSourceClass(address({ body: "data: a\n\n", isHeld: true }));
        const states = [source.readyState];
        await new Promise((opened) => (source.onopen = opened));
        states.push(source.readyState);
        source.close();
        return [...states, source.readyState];
      },
    },
    {
      sentence:
        "Set (`Accept`, `text/event-stream`) in request's header list, and no `Last-Event-ID` while that is the empty string",
      expect: ["GET", "text/event-stream", null],
      async run() {
        const url = address({ body: "data: a\n\n", isHeld: true });
        await hear(url, 2);
        const [{ method, accept, lastEventId }] = await asked(url);
        return [method, accept, lastEventId];
      },
    },
    ...[201, 202, 204, 205, 210, 299, 400, 404, 410, 500].map((status) => ({
      sentence: `if res's status is not 200 (it is ${status}), then fail the connection`,
      expect: [CLOSED_AT_ONCE, 1],
      async run() {
        const url = address({ status, body: [204, 205].includes(status) ? "" : one });
        return [await hear(url, 9), (await asked(url)).length];
      },
    })),
    ...["text/plain", "text/event-streamish", "x bogus", "text/event-stream,text/plain", "", "text/ event-stream"].map(
      (type) => ({
        sentence: `if res's \`Content-Type\` is not \`text/event-stream\` (it is \`${type}\`), then fail the connection`,
        expect: CLOSED_AT_ONCE,
        run: () => hear(address({ type, body: one }), 9),
      }),
    ),
    ...["text/event-stream;", "TEXT/Event-Stream; charset=utf-8", "text/event-stream;a=b;c"].map((type) => ({
      sentence: `it is one as \`${type}\` as well, and always UTF-8`,
      expect: [
        ["open", 1, null],
        ["message", 1, "…é"],
      ],
      run: () => hear(address({ type, body: "data: …é\n\n", isHeld: true }), 2),
    })),
    ...[301, 302, 303, 307, 308].map((status) => ({
      sentence: `Clients follow redirects (${status}), and the origin of an event is that of the final URL`,
      expect: ["a", origin],
      async run() {
        const to = address({ body: one, isHeld: true });
        const source = new EventSourceClass(address({ status, type: "", headers: { Location: to } }));
        const { data, origin: from } = await new Promise((heard) => (source.onmessage = heard));
        source.close();
        return [data, from];
      },
    })),
    {
      sentence:
        "when res's body is successfully read, reestablish the connection: once, and after ten ends in a row as well",
      expect: [
        [
          ["open", 1, null],
          ["message", 1, "a"],
          ...Array(10)
            .fill([...BACK, ["message", 1, "a"]])
            .flat(),
        ],
        true,
      ],
      async run() {
        const url = address({ body: one });
        const heard = await hear(url, 32);
        return [heard, (await asked(url)).length >= 11];
      },
    },
    {
      sentence: "a body that ends without any event also reestablishes the connection",
      expect: [["open", 1, null], ...BACK, ...BACK, ["message", 1, "a"]],
      run: () => hear(address({ body: "retry:1\n" }, { body: ":" }, { body: "data: a\n\n", isHeld: true }), 6),
    },
    {
      sentence:
        "Set (`Last-Event-ID`, lastEventIDValue) in request's header list, UTF-8 encoded, and not from an event that did not end",
      needsByteHeaders: true,
      expect: [null, "第1", "第1", ""],
      async run() {
        const url = address(
          { body: "retry:1\nid: 第1\ndata: a\n\nid: 2\ndata: lost" },
          { body: ":\n" },
          { body: "id\n\n" },
          { body: "data: b\n\n", isHeld: true },
        );
        await hear(url, 9);
        return (await asked(url)).map(({ lastEventId }, n) => (n === 3 ? (lastEventId ?? "") : lastEventId));
      },
    },
    {
      sentence: "if the response to a reconnect is not a stream, fail the connection",
      expect: [
        ["open", 1, null],
        ["error", 0, null],
        ["error", 2, null],
      ],
      run: () => hear(address({ body: "retry:1\n" }, { status: 404 }), 9),
    },
    {
      sentence:
        "If the event type buffer has a value other than the empty string, change the type of the newly created event to equal it",
      expect: [
        ["open", 1, null],
        ["named", 1, "a"],
        ["message", 1, "b"],
      ],
      run: () =>
        hear(address({ body: "event: named\ndata: a\n\nevent: other\ndata: x\n\ndata: b\n\n", isHeld: true }), 3, {
          types: ["named"],
        }),
    },
    {
      sentence:
        "an event is a MessageEvent with data, lastEventId and origin, which neither bubbles nor can be cancelled",
      expect: ["MessageEvent", "a\nb", "7", origin, false, false, true],
      async run() {
        const source = new EventSourceClass(address({ body: "id: 7\ndata: a\ndata: b\n\n", isHeld: true }));
        const event = await new Promise((heard) => (source.onmessage = heard));
        source.close();
        const { data, lastEventId, origin: from, bubbles, cancelable, target } = event;
        return [event.constructor.name, data, lastEventId, from, bubbles, cancelable, target === source];
      },
    },
    {
      sentence:
        "The close() method must abort any instances of the fetch algorithm, and set the readyState attribute to CLOSED: no event comes after it",
      expect: [
        ["open", 1, null],
        ["message", 1, "a"],
      ],
      run: () =>
        hear(address({ body: "data: a\n\ndata: b\n\n" }), 9, {
          act: (source, { type }) => type === "message" && source.close(),
        }),
    },
    {
      sentence: "close() during the reconnection delay ends the delay",
      expect: [
        ["open", 1, null],
        ["error", 0, null],
      ],
      run: () =>
        hear(address({ body: "retry:1\n" }), 9, { act: (source, { type }) => type === "error" && source.close() }),
    },
    {
      sentence:
        "onopen, onmessage and onerror are event handlers: a function is called with the object as this, what is none is null, and it is called in its place among listeners",
      expect: [null, "this", ["handler", "listener"]],
      async run() {
        const source = new EventSourceClass(address({ body: "data: a\n\n", isHeld: true }));
        source.onopen = 7;
        const none = source.onopen;
        const order = [];
        let isThis;
        source.onmessage = () => order.push("replaced");
        await new Promise((heard) => {
          source.addEventListener("message", () => heard(order.push("listener")));
          source.onmessage = function () {
            isThis = this === source ? "this" : "other";
            order.push("handler");
          };
        });
        source.close();
        return [none, isThis, order];
      },
    },
    ...["javascript:alert(1)", "mailto:a@b.cc", "ftp://127.0.0.1/x"].map((url) => ({
      sentence: `${url} cannot return a stream: fail the connection`,
      expect: CLOSED_AT_ONCE,
      run: () => hear(url, 9),
    })),
    {
      sentence: "A stream may begin with one byte order mark, and only one",
      expect: [
        ["open", 1, null],
        ["message", 1, "a"],
        ["message", 1, "b"],
      ],
      run: () => hear(address({ body: "\ufeffdata: a\n\n\ufeffdata: x\n\ndata: b\n\n", isHeld: true }), 3),
    },
  ];
}

async function until(condition, deadline = performance.now() + 60_000) {
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("it took too long");
    await new Promise((go) => setTimeout(go, 10));
  }
}
