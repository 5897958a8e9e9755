import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import {
  CutError,
  FetchEventSource,
  fetchEvents,
  RefusedError,
  StreamError,
} from "../../streaming/static/streaming/event-source.js";
import { StreamError as ParserError } from "../../streaming/static/streaming/sse.js";

const STREAM = { "Content-Type": "text/event-stream" };
const quick = { from: 1, to: 2 };
const servers = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

// --- what counts as a stream

test("fetchEvents yields the messages of the response and stops at done", async () => {
  const { url } = await serve((_, response) =>
    stream(response, "id: 1\ndata: a\n\n", "event: done\ndata: {}\n\ndata: late\n\n"),
  );

  assert.deepEqual(await all(fetchEvents(url)), [
    { event: "message", data: "a", id: "1" },
    { event: "done", data: "{}", id: "1" },
  ]);
});

for (const type of [
  "text/event-stream",
  "TEXT/Event-Stream",
  "text/event-stream; charset=utf-8",
  "text/event-stream ;x=y",
])
  test(`${type} is an event stream`, async () => {
    const { url } = await serve((_, response) => stream(response.setHeader("Content-Type", type), DONE));
    assert.equal((await all(fetchEvents(url))).length, 1);
  });

for (const type of ["text/event-streamish", "text/plain", "application/json"])
  test(`${type} is not an event stream`, async () => {
    const { url, requests } = await serve((_, response) => response.setHeader("Content-Type", type).end(DONE));
    await assert.rejects(
      all(fetchEvents(url)),
      (error) => error instanceof StreamError && error.status === 200 && error.body === DONE,
    );
    assert.equal(requests.length, 1);
  });

test("204 to the first request ends the stream without an error", async () => {
  const { url, requests } = await serve((_, response) => response.writeHead(204).end());
  assert.deepEqual(await all(fetchEvents(url)), []);
  assert.equal(requests.length, 1);
});

test("204 to a reconnect is an error, as the stream was not done", async () => {
  const { url, requests } = await serve((_, response) =>
    requests.length === 1 ? stream(response, "id: 1\ndata: a\n\n") : response.writeHead(204).end(),
  );
  await assert.rejects(
    all(fetchEvents(url, { retry: quick })),
    (error) => error instanceof RefusedError && error.status === 204,
  );
  assert.equal(requests.length, 2);
});

for (const status of [201, 400, 401, 403, 404, 429, 500, 502, 503])
  test(`${status} is an error with status, headers and body, and is not retried`, async () => {
    const { url, requests } = await serve((_, response) =>
      response.writeHead(status, { ...STREAM, "X-Reason": "because" }).end("text"),
    );

    const error = await failure(fetchEvents(url));

    assert.ok(error instanceof RefusedError && error instanceof ParserError);
    assert.deepEqual(
      [error.status, error.headers.get("x-reason"), error.body, error.problem],
      [status, "because", "text", null],
    );
    assert.equal(requests.length, 1);
  });

test("problem details are parsed and give the error its message", async () => {
  const problem = { title: "Bad Gateway", status: 502, detail: "upstream: connection refused" };
  const { url } = await serve((_, response) =>
    response.writeHead(502, { "Content-Type": "application/problem+json" }).end(JSON.stringify(problem)),
  );

  const error = await failure(fetchEvents(url));

  assert.deepEqual(error.problem, problem);
  assert.equal(error.message, problem.detail);
});

test("problem details that are not JSON are kept as text", async () => {
  const { url } = await serve((_, response) =>
    response.writeHead(502, { "Content-Type": "application/problem+json" }).end("{"),
  );
  const error = await failure(fetchEvents(url));
  assert.deepEqual([error.problem, error.body], [null, "{"]);
});

test("onOpen gets the response before anything is parsed, and an error it throws reaches the caller", async () => {
  const refusal = new Error("no, thank you");
  const { url, requests } = await serve((_, response) => stream(response, DONE));

  const error = await failure(
    fetchEvents(url, {
      onOpen: (response) => {
        assert.equal(response.status, 200);
        throw refusal;
      },
    }),
  );

  assert.equal(error, refusal);
  assert.equal(requests.length, 1);
});

test("a message over the limit is an error and is not requested again", async () => {
  const { url, requests } = await serve((_, response) => stream(response, `data: ${"x".repeat(100)}\n\n`));
  const error = await failure(fetchEvents(url, { maxMessageChars: 50, retry: quick }));
  assert.ok(error instanceof StreamError);
  assert.equal(requests.length, 1);
});

test("messages before one that is too long are delivered, followed by an error without a retry", async () => {
  const { url, requests } = await serve((_, response) => stream(response, `data: a\n\ndata: ${"x".repeat(100)}\n\n`));
  const seen = [];

  const error = await failure(fetchEvents(url, { maxMessageChars: 50, retry: quick }), seen);

  assert.ok(error instanceof StreamError && !(error instanceof CutError));
  assert.deepEqual(
    seen.map(({ data }) => data),
    ["a"],
  );
  assert.equal(requests.length, 1);
});

// --- requests

test("a request has the given method, headers and body, and accepts an event stream", async () => {
  const { url, requests } = await serve((_, response) => stream(response, DONE));

  await all(fetchEvents(url, { method: "POST", headers: { "X-Mine": "yes" }, body: '{"a":1}' }));

  const [{ method, headers, body }] = requests;
  assert.deepEqual([method, headers["x-mine"], headers.accept, body], ["POST", "yes", "text/event-stream", '{"a":1}']);
  assert.equal(headers["last-event-id"], undefined);
});

test("headers may be an async function, called for each attempt", async () => {
  let token = 0;
  const { url, requests } = await serve((_, response) => stream(response, requests.length < 3 ? "data: a\n\n" : DONE));

  await all(fetchEvents(url, { headers: async () => ({ Authorization: `Bearer ${++token}` }), retry: quick }));

  assert.deepEqual(
    requests.map(({ headers }) => headers.authorization),
    ["Bearer 1", "Bearer 2", "Bearer 3"],
  );
});

for (const [what, url, options] of [
  ["an address that is none", "http://", {}],
  ["a GET with a body", "http://127.0.0.1:1/", { body: "{}" }],
  ["a method that is none", "http://127.0.0.1:1/", { method: "P OST" }],
])
  test(`${what} is an error of the caller and is thrown at once`, async () => {
    const cuts = [];
    const error = await failure(fetchEvents(url, { ...options, retry: quick, onCut: (cut) => cuts.push(cut) }));
    assert.ok(error instanceof TypeError);
    assert.deepEqual(cuts, []);
  });

test("an error in the headers function reaches the caller and does not count as a lost connection", async () => {
  let calls = 0;
  const error = await failure(
    fetchEvents("http://127.0.0.1:1/", {
      headers: () => {
        calls++;
        throw new TypeError("no token");
      },
      retry: quick,
    }),
  );
  assert.deepEqual([error.message, calls], ["no token", 1]);
});

// --- reconnecting

test("an interrupted GET reconnects with the last event id, even one from a block without data", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "id: 1\ndata: a\n\nid: 2\n\nid: 3\ndata: lost" : DONE),
  );

  const messages = await all(fetchEvents(url, { retry: quick }));

  assert.deepEqual(
    messages.map(({ event, id }) => [event, id]),
    [
      ["message", "1"],
      ["done", "2"],
    ],
  );
  assert.deepEqual(
    requests.map(({ headers }) => headers["last-event-id"]),
    [undefined, "2"],
  );
});

test("an interrupted POST is an error and is never sent twice", async () => {
  const { url, requests } = await serve((_, response) => stream(response, "id: 1\ndata: a\n\n"));
  const seen = [];

  const error = await failure(fetchEvents(url, { method: "POST", body: "{}", retry: quick }), seen);

  assert.ok(error instanceof CutError);
  assert.equal(seen.length, 1);
  assert.equal(requests.length, 1);
});

test("a POST is not sent twice when the connection breaks in the middle of a chunk", async () => {
  const { url, requests } = await serve((_, response) => {
    response.writeHead(200, STREAM).write("id: 1\ndata: a\n\n", () => response.destroy());
  });
  assert.ok((await failure(fetchEvents(url, { method: "POST", body: "{}", retry: quick }))) instanceof CutError);
  assert.equal(requests.length, 1);
});

test("a POST is not sent twice when the server disconnects before it responds", async () => {
  const { url, requests } = await serve((_, response) => response.destroy());
  assert.ok((await failure(fetchEvents(url, { method: "POST", body: "{}", retry: quick }))) instanceof CutError);
  assert.equal(requests.length, 1);
});

test("an interrupted POST is resumed with a GET at the address that resume() returns", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "id: s:1\ndata: a\n\n" : "id: s:2\ndata: b\n\n" + DONE),
  );

  const messages = await all(
    fetchEvents(url, { method: "POST", body: "{}", retry: quick, resume: (id) => `${url}streams/${id.split(":")[0]}` }),
  );

  assert.deepEqual(
    messages.map(({ data }) => data),
    ["a", "b", "{}"],
  );
  assert.deepEqual(
    requests.map(({ method, path, body }) => [method, path, body]),
    [
      ["POST", "/", "{}"],
      ["GET", "/streams/s", ""],
    ],
  );
  assert.equal(requests[1].headers["last-event-id"], "s:1");
});

test("an interrupted POST is resumed at the Content-Location of its response", async () => {
  const { url, requests } = await serve((_, response) => {
    response.setHeader("Content-Location", "/streams/s");
    stream(response, ["id: s:1\ndata: a\n\n", "id: s:2\ndata: b\n\n", DONE][requests.length - 1]);
  });

  const messages = await all(fetchEvents(`${url}transfer`, { method: "POST", body: "{}", retry: quick }));

  assert.deepEqual(
    messages.map(({ data }) => data),
    ["a", "b", "{}"],
  );
  assert.deepEqual(
    requests.map(({ method, path, headers }) => [method, path, headers["last-event-id"]]),
    [
      ["POST", "/transfer", undefined],
      ["GET", "/streams/s", "s:1"],
      ["GET", "/streams/s", "s:2"],
    ],
  );
});

test("a POST interrupted before its first event is resumed too", async () => {
  const { url, requests } = await serve((_, response) => {
    response.setHeader("Content-Location", "/streams/s");
    stream(response, requests.length === 1 ? "" : DONE);
  });

  await all(fetchEvents(url, { method: "POST", body: "{}", retry: quick }));

  assert.deepEqual(
    requests.map(({ method, path, headers }) => [method, path, headers["last-event-id"]]),
    [
      ["POST", "/", undefined],
      ["GET", "/streams/s", undefined],
    ],
  );
});

test("a POST is not resumed at another origin, which must not receive its headers", async () => {
  const other = await serve((_, response) => stream(response, DONE));
  const { url } = await serve((_, response) => {
    response.setHeader("Content-Location", other.url);
    stream(response, "id: 1\ndata: a\n\n");
  });

  assert.ok((await failure(fetchEvents(url, { method: "POST", body: "{}", retry: quick }))) instanceof CutError);
  assert.equal(other.requests.length, 0);
});

for (const [where, address] of [
  ["a page", (url) => url],
  ["a worker, whose addresses may be relative", () => "/"],
])
  test(`a redirected POST of ${where} is not resumed at the other origin either`, async (t) => {
    const other = await serve((_, response) => {
      if (other.requests.length > 1) return response.writeHead(404).end();
      response.setHeader("Content-Location", "/streams/s");
      stream(response, "id: 1\ndata: a\n\n");
    });
    const { url } = await serve((_, response) => response.writeHead(307, { Location: other.url }).end());
    t.after(() => delete globalThis.location);
    globalThis.location = { href: url };
    const fetch = (relative, init) => globalThis.fetch(new URL(relative, url), init);
    const headers = { Authorization: "Bearer secret" };

    const error = await failure(
      fetchEvents(address(url), { method: "POST", body: "{}", headers, fetch, retry: quick }),
    );

    assert.ok(error instanceof CutError);
    // Like every client, fetch removes the header when it follows the redirect.
    assert.deepEqual(
      other.requests.map((request) => request.headers.authorization),
      [undefined],
    );
  });

test("a non-GET request has an Idempotency-Key, one per call and the same in every attempt", async () => {
  const { url, requests } = await serve((_, response) =>
    requests.length % 2 ? response.destroy() : stream(response, DONE),
  );
  const options = { method: "POST", body: "{}", retry: { ...quick, resend: true } };

  await all(fetchEvents(url, options));
  await all(fetchEvents(url, options));
  await all(fetchEvents(url, { retry: quick }));
  await all(fetchEvents(url, { ...options, headers: { "idempotency-key": "mine" } }));

  const keys = requests.map(({ headers }) => headers["idempotency-key"]);
  assert.match(keys[0], /^[0-9a-f]{32}$/);
  assert.deepEqual(keys, [keys[0], keys[0], keys[2], keys[2], undefined, undefined, "mine", "mine"]);
  assert.notEqual(keys[0], keys[2]);
});

test("a POST is sent again if `resend` allows it", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "data: a\n\n" : DONE),
  );
  await all(fetchEvents(url, { method: "POST", body: "{}", retry: { ...quick, resend: true } }));
  assert.deepEqual(
    requests.map(({ method, body }) => [method, body]),
    [
      ["POST", "{}"],
      ["POST", "{}"],
    ],
  );
});

for (const clock of ["goes on", "was set back"])
  test(`a POST is not sent again when its key may be forgotten: after a long sleep whose clock ${clock}`, async (t) => {
    t.after(() => t.mock.timers.reset());
    t.mock.timers.enable({ apis: ["Date"], now: 3_600_000 });
    const { url, requests } = await serve((_, response) => response.destroy());
    const onCut = () => t.mock.timers.setTime(clock === "goes on" ? 7_200_000 : 1_800_000);

    const error = await failure(fetchEvents(url, { method: "POST", retry: { ...quick, resend: true }, onCut }));

    assert.ok(error instanceof CutError);
    assert.match(error.message, /^the connection was cut, and after so long a POST is not sent again$/);
    assert.ok(error.cause instanceof CutError);
    assert.equal(requests.length, 1);
  });

test("a POST that has begun is resumed after a long sleep too", async (t) => {
  t.after(() => t.mock.timers.reset());
  t.mock.timers.enable({ apis: ["Date"], now: 0 });
  const { url, requests } = await serve((_, response) =>
    stream(response.setHeader("Content-Location", "/streams/s"), requests.length === 1 ? "id: s:1\ndata: a\n\n" : DONE),
  );
  const retry = { ...quick, resend: true };

  await all(fetchEvents(url, { method: "POST", retry, onCut: () => t.mock.timers.setTime(7_200_000) }));

  assert.deepEqual(
    requests.map(({ method }) => method),
    ["POST", "GET"],
  );
});

test("a POST that may be sent again is resumed nevertheless where resume() says how", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "id: s:1\ndata: a\n\n" : DONE),
  );
  const retry = { ...quick, resend: true };

  await all(fetchEvents(url, { method: "POST", body: "{}", retry, resume: () => `${url}streams/s` }));

  assert.deepEqual(
    requests.map(({ method, path }) => [method, path]),
    [
      ["POST", "/"],
      ["GET", "/streams/s"],
    ],
  );
});

test("a reconnect to a server that is restarting is retried", async () => {
  const { url, requests } = await serve((_, response) => {
    if (requests.length === 1) stream(response, "data: a\n\n");
    else if (requests.length === 2) response.writeHead(503).end();
    else stream(response, DONE);
  });
  assert.equal((await all(fetchEvents(url, { retry: quick }))).length, 2);
  assert.equal(requests.length, 3);
});

test("fetchEvents fails after the allowed number of consecutive failures, and a message resets the count", async () => {
  const { url, requests } = await serve((_, response) =>
    requests.length === 3 ? stream(response, "data: a\n\n") : response.destroy(),
  );

  const error = await failure(fetchEvents(url, { retry: { ...quick, attempts: 3 } }));

  assert.ok(error instanceof CutError);
  assert.equal(requests.length, 3 + 3);
});

test("with `retry: false` an interruption is an error at once", async () => {
  const { url, requests } = await serve((_, response) => stream(response, "data: a\n\n"));
  assert.ok((await failure(fetchEvents(url, { retry: false }))) instanceof CutError);
  assert.equal(requests.length, 1);
});

test("the delay doubles after each failure, with full jitter, up to a maximum", async (t) => {
  const { url } = await serve((_, response) => response.destroy());
  const delays = [];
  const retry = { from: 10, to: 40, attempts: 5, random: () => 0.5 };

  await failure(fetchEvents(url, { retry, onCut: (_, delay) => delays.push(delay) }));

  assert.deepEqual(delays, [5, 10, 20, 20, 20]);
});

test("the delay that the server asks for grows with each further failure too", async () => {
  const { url, requests } = await serve((_, response) =>
    requests.length === 1 ? stream(response, "retry: 100\ndata: a\n\n") : response.destroy(),
  );
  const delays = [];
  const retry = { from: 10, to: 40, attempts: 5, random: () => 0.5 };

  await failure(fetchEvents(url, { retry, onCut: (_, delay) => delays.push(delay) }));

  assert.deepEqual(delays, [100, 105, 110, 120, 120]);
});

for (const [status, expected] of [
  [429, 2],
  [503, 2],
  [500, 1],
])
  test(`a first request that is answered ${status} is sent ${expected === 1 ? "once, though" : "again where"} firstToo is set`, async () => {
    const { url, requests } = await serve((_, response) =>
      requests.length === 1 ? response.writeHead(status).end() : stream(response, DONE),
    );
    await all(fetchEvents(url, { retry: { ...quick, firstToo: true } })).catch(() => {});
    assert.equal(requests.length, expected);
  });

test("a reconnect waits as long as the server's retry field says", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "retry: 150\ndata: a\n\n" : DONE),
  );
  const delays = [];
  await all(fetchEvents(url, { onCut: (_, delay) => delays.push(delay) }));
  assert.deepEqual(delays, [150]);
});

for (const [what, asked, date, expected] of [
  ["seconds", "2", undefined, 2000],
  ["a date, by the server's clock", "Thu, 01 Jan 1970 01:00:03 GMT", "Thu, 01 Jan 1970 01:00:00 GMT", 3000],
  ["a date that is over", "Thu, 01 Jan 1970 00:00:00 GMT", undefined, 100],
  ["a day, of which it waits five minutes", "86400", undefined, 300_000],
  ["more than a number can say", "9".repeat(400), undefined, 300_000],
  ["less than the server's retry field", "0", undefined, 100],
  ["nothing that can be read", "-1", undefined, 100],
  ["soon", "soon", undefined, 100],
])
  for (const status of [429, 503])
    test(`a reconnect answered ${status} waits as long as Retry-After says: ${what}`, async () => {
      const { url, requests } = await serve((_, response) => {
        if (requests.length === 1) return stream(response, "retry: 100\nid: 1\ndata: a\n\n");
        response.writeHead(status, { "Retry-After": asked, ...(date ? { Date: date } : {}) }).end();
      });
      const delays = [];
      const stopped = new AbortController();
      const onCut = (cut, delay) => delays.push(delay) === 2 && stopped.abort();

      await failure(fetchEvents(url, { signal: stopped.signal, onCut, retry: { random: () => 0 } }));

      assert.deepEqual(delays, [100, expected]);
    });

test("a refusal says how long to wait before another attempt", async () => {
  const { url } = await serve((_, response) => response.writeHead(429, { "Retry-After": "7" }).end());
  assert.equal((await failure(fetchEvents(url))).retryAfter, 7000);
});

test("a reconnect waits while the browser is offline", async (t) => {
  const network = new EventTarget();
  const navigator = { onLine: false };
  const original = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  globalThis.addEventListener = network.addEventListener.bind(network);
  globalThis.removeEventListener = network.removeEventListener.bind(network);
  t.after(() => {
    delete globalThis.navigator;
    if (original) Object.defineProperty(globalThis, "navigator", original);
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length === 1 ? "data: a\n\n" : DONE),
  );

  const reading = all(fetchEvents(url, { retry: quick }));
  await until(() => requests.length);
  await pause(60);
  assert.equal(requests.length, 1);
  navigator.onLine = true;
  network.dispatchEvent(new Event("online"));
  await reading;

  assert.equal(requests.length, 2);
});

test("a connection without a byte for `idleTimeout` counts as lost, and heartbeats count as bytes", async () => {
  const { url, requests } = await serve(async (_, response) => {
    if (requests.length > 1) return stream(response, DONE);
    response.writeHead(200, STREAM);
    for (let n = 0; n < 6; n++) await pause(50).then(() => response.write(":\n"));
    response.write("data: a\n\n");
  });

  const messages = await all(fetchEvents(url, { idleTimeout: 150, retry: quick }));

  assert.deepEqual(
    messages.map(({ data }) => data),
    ["a", "{}"],
  );
  assert.equal(requests.length, 2);
});

// --- stopping

test("with an aborted signal nothing is sent, and its reason reaches the caller", async () => {
  const { url, requests } = await serve((_, response) => stream(response, DONE));
  const reason = new Error("never mind");
  assert.equal(await failure(fetchEvents(url, { signal: AbortSignal.abort(reason) })), reason);
  assert.equal(requests.length, 0);
});

test("an abort during the wait for the next attempt ends it at once", async () => {
  const { url, requests } = await serve((_, response) => stream(response, "retry: 60000\ndata: a\n\n"));
  const abort = new AbortController();
  const reason = new Error("enough");
  const begun = performance.now();

  const error = await failure(
    fetchEvents(url, { signal: abort.signal, onCut: () => setTimeout(() => abort.abort(reason), 10) }),
  );

  assert.equal(error, reason);
  assert.equal(requests.length, 1);
  assert.ok(performance.now() - begun < 50_000);
});

for (const [what, options] of [
  ["the headers are awaited", { headers: () => new Promise(() => {}) }],
  ["onOpen is awaited", { onOpen: () => new Promise(() => {}) }],
])
  test(`an abort while ${what} ends the call at once`, async () => {
    const { url } = await serve((_, response) => response.writeHead(200, STREAM).write("data: a\n\n"));
    const abort = new AbortController();
    const reason = new Error("enough");

    const reading = failure(fetchEvents(url, { ...options, signal: abort.signal }));
    setTimeout(() => abort.abort(reason), 20);

    assert.equal(await reading, reason);
  });

test("an abort while the server is silent closes the connection", async () => {
  const { url, requests } = await serve((_, response) => {
    response.writeHead(200, STREAM).write("data: a\n\n");
  });
  const abort = new AbortController();

  const error = await failure(fetchEvents(url, { signal: abort.signal }), [], () =>
    setTimeout(() => abort.abort(), 10),
  );

  assert.equal(error.name, "AbortError");
  await requests[0].closed;
});

test("a fetch function can be passed in", async () => {
  const fetch = async (url) => new Response(`data: ${url}\n\n${DONE}`, { headers: STREAM });
  assert.equal((await all(fetchEvents("/here", { fetch })))[0].data, "/here");
});

for (const [how, options, reads] of [
  ["an abort", () => ({ signal: AbortSignal.timeout(20) }), /aborted due to timeout/],
  ["silence", () => ({ idleTimeout: 20, retry: false }), /silent for 0.02 s/],
])
  test(`${how} ends the reading of a passed-in response that knows nothing of signals, and cancels it`, async () => {
    let isCancelled = false;
    const body = new ReadableStream({
      cancel() {
        isCancelled = true;
      },
    });
    const fetch = async () => new Response(body, { headers: STREAM });

    const error = await failure(fetchEvents("/here", { fetch, ...options() }));

    assert.match(error.message, reads);
    await until(() => isCancelled);
  });

// --- FetchEventSource

test("FetchEventSource fires the same events as EventSource", async () => {
  const { url } = await serve((_, response) => stream(response, "id: 1\ndata: a\n\nevent: named\ndata: b\n\n" + DONE));
  const source = new FetchEventSource(url, { method: "POST", body: "{}" });
  const seen = [];
  assert.equal(source.readyState, FetchEventSource.CONNECTING);

  source.onopen = () => seen.push(["open", source.readyState]);
  source.onmessage = (event) => seen.push([event.type, event.data, event.lastEventId, event.origin]);
  source.addEventListener("named", (event) => seen.push([event.type, event.data, event.lastEventId, event.origin]));
  await once(source, "done");
  await until(() => source.readyState === FetchEventSource.CLOSED);

  const { origin } = new URL(url);
  assert.deepEqual(seen, [
    ["open", 1],
    ["message", "a", "1", origin],
    ["named", "b", "1", origin],
  ]);
  assert.equal(source.lastEventId, "1");
});

test("204 fires an error event and closes a FetchEventSource, as with EventSource", async () => {
  const { url, requests } = await serve((_, response) => response.writeHead(204).end());
  const source = new FetchEventSource(url);

  await once(source, "error");

  assert.deepEqual([source.readyState, requests.length], [FetchEventSource.CLOSED, 1]);
});

test("closing in an error handler leaves no timer running", async () => {
  const { url, requests } = await serve((_, response) => stream(response, "retry: 99999999999\ndata: a\n\n"));
  const source = new FetchEventSource(url);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();

  source.onerror = () => source.close();
  await once(source, "error");
  await until(() => timers() <= before);

  assert.equal(requests.length, 1);
});

test("a page entering the back/forward cache disconnects, and resumes when it is shown again", async (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => {
    delete globalThis.addEventListener;
  });
  const turn = (type) => page.dispatchEvent(Object.assign(new Event(type), { persisted: true }));
  // A fresh copy of the module, as it registers its listeners once.
  const { fetchEvents } = await import("../../streaming/static/streaming/event-source.js?in-a-page");
  const { url, requests } = await serve((_, response) => {
    if (requests.length > 1) return stream(response, DONE);
    response.writeHead(200, STREAM).write("id: 1\ndata: a\n\n");
  });
  const cuts = [];

  const reading = all(fetchEvents(url, { retry: quick, onCut: (cut) => cuts.push(cut.message) }));
  await until(() => requests.length);
  turn("pagehide");
  await requests[0].closed;
  await pause(50);
  assert.equal(requests.length, 1);
  turn("pageshow");

  assert.equal((await reading).at(-1).event, "done");
  assert.deepEqual(cuts, ["the page was put away"]);
});

test("an interruption fires an error event and reconnects; an error response closes", async () => {
  const { url, requests } = await serve((_, response) =>
    requests.length === 1 ? stream(response, "data: a\n\n") : response.writeHead(404).end(),
  );
  const states = [];
  const source = new FetchEventSource(url, { retry: quick });

  source.onerror = ({ error }) => states.push([source.readyState, error.status]);
  await until(() => states.length === 2);

  assert.deepEqual(states, [
    [0, undefined],
    [2, 404],
  ]);
});

test("fromReadableStream reads an open stream of bytes", async () => {
  const source = FetchEventSource.fromReadableStream(new Blob(["data: a\n\n"]).stream());
  const [event] = await once(source, "message");
  assert.equal(event.data, "a");
  source.close();
});

test("closing a source that reads an open stream of bytes cancels the stream", async () => {
  let isCancelled = false;
  const stream = new ReadableStream({
    cancel() {
      isCancelled = true;
    },
  });
  const source = FetchEventSource.fromReadableStream(stream);
  await once(source, "open");

  source.close();

  await until(() => isCancelled);
});

test("a FetchEventSource reconnects as often as EventSource, also at an interval of its own, and reports each cut", async () => {
  const { url, requests } = await serve((_, response) =>
    stream(response, requests.length > 12 ? "data: a\n\n" : ": nothing yet\n\n"),
  );
  const cuts = [];

  const source = new FetchEventSource(url, { retry: quick, onCut: (cut, delay) => cuts.push([cut.name, delay < 3]) });
  await once(source, "message");

  assert.ok(cuts.length >= 12);
  assert.deepEqual(cuts[0], ["CutError", true]);
  source.close();
});

test("a FetchEventSource that has failed no longer listens to its signal", async () => {
  const { url } = await serve((_, response) => response.writeHead(404).end());
  const { signal } = new AbortController();

  const source = new FetchEventSource(url, { signal });
  await once(source, "error");

  assert.equal(source.readyState, FetchEventSource.CLOSED);
  await until(() => getEventListeners(signal, "abort").length === 0);
});

// --- helpers

const DONE = "event: done\ndata: {}\n\n";

async function serve(handler) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("latin1")) body += chunk;
    requests.push({
      method: request.method,
      path: request.url,
      headers: request.headers,
      body,
      closed: once(response, "close"),
    });
    await handler(request, response);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, requests };
}

function stream(response, ...pieces) {
  if (!response.hasHeader("Content-Type")) response.setHeader("Content-Type", "text/event-stream");
  for (const piece of pieces) response.write(piece);
  response.end();
}

async function all(messages) {
  const seen = [];
  for await (const message of messages) seen.push(message);
  return seen;
}

async function failure(messages, seen = [], onMessage = () => {}) {
  try {
    for await (const message of messages) {
      seen.push(message);
      onMessage(message);
    }
  } catch (error) {
    return error;
  }
  assert.fail("it ended without an error");
}

async function until(condition, deadline = performance.now() + 60_000) {
  while (!condition()) {
    assert.ok(performance.now() < deadline, "it took too long");
    await pause(5);
  }
}
