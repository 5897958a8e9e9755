// A server that reproduces how networks, proxies and servers fail. Each path names one behaviour and a key chosen by the
// caller: `/drip/7`. `/log/drip/7` returns the requests received there. The client's files are served too, so that a page
// of this server can read its streams.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const STREAM = { "Content-Type": "text/event-stream" };
const DONE = "event: done\ndata: {}\n\n";
const STATIC = new URL("../../streaming/static/streaming/", import.meta.url);
const TYPES = { ".js": "text/javascript", ".html": "text/html; charset=utf-8" };

/** How each behaviour responds to the first request and to later ones. */
const MANNERS = {
  "wrong-type": [endless("text/plain")],
  "nearly-right-type": [endless("text/event-streamish")],
  "no-content": [(response) => response.writeHead(204).end()],
  problem: [
    (response) =>
      response.writeHead(500, { "Content-Type": "application/problem+json" }).end('{"detail": "the disk is full"}'),
  ],
  "endless-error": [endless("text/html", 500)],
  "cut-in-a-character": [
    hold(Buffer.from("id: 1\ndata: 你\n\nid: 2\ndata: 好").subarray(0, -1)),
    (response) => send(response, "id: 2\ndata: 好\n\n", DONE),
  ],
  "cut-in-a-post": [hold("id: s:1\ndata: a\n\n"), (response) => send(response, DONE)],
  "endless-retry": [(response) => send(response, "retry: 99999999999\nid: 1\ndata: a\n\n")],
  "chinese-id": [(response) => send(response, "id: 第七段 é\ndata: a\n\n"), (response) => send(response, DONE)],
  silence: [
    (response) => response.writeHead(200, STREAM).write("id: 1\ndata: a\n\n"),
    (response) => send(response, DONE),
  ],
  "silent-head": [() => {}, (response) => send(response, DONE)],
  redirect: [(response, path) => response.writeHead(307, { Location: path.replace("redirect", "/drip") }).end()],
  drip: [(response) => drip(response, "id: 1\ndata: 你好\n\n" + DONE)],
  several: [(response) => response.writeHead(200, STREAM).write("data: a\n\ndata: b\n\n" + DONE)],
  flood: [flood],
  held: [hold("retry: 1\nid: 1\ndata: a\n\n"), (response) => send(response, "id: 2\ndata: b\n\n", DONE)],
  // Each request gets the next of the replies listed in the URL; the last one is repeated.
  reply: [
    (response, path, entry, request) => {
      const { searchParams } = new URL(request.url ?? "", "http://localhost");
      const replies = JSON.parse(searchParams.get("replies") ?? "[]");
      const count = asked.get(path)?.length ?? 1;
      const {
        status = 200,
        type = STREAM["Content-Type"],
        body = "",
        headers = {},
        isHeld = false,
      } = replies[Math.min(count, replies.length) - 1];
      response.writeHead(status, { ...(type ? { "Content-Type": type } : {}), ...headers });
      if (isHeld) response.write(body);
      else response.end(body);
    },
  ],
  parity: [
    (response) =>
      send(
        response,
        "retry: 20\n\ndata: a\n\nid: 第1\nevent: named\ndata: b\ndata: c\n\nid: 2\n\n:heartbeat\n\ndata: lost",
      ),
    (response) => send(response, "event: error\ndata: said\n\nid\ndata:d\n\n"),
    (response) => response.writeHead(204).end(),
  ],
};

/** @type {Map<string, { method: string, accept: string | null, lastEventId: string | null, body: string, taken: number, closed: boolean }[]>} */
const asked = new Map();
/** @type {Map<string, () => void>} */
const held = new Map();

export const server = createServer(async (request, response) => {
  response.on("error", () => {});
  const [, behaviour = "", key = "", ...rest] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
  if (behaviour === "log") return json(response, asked.get([key, ...rest].join("/")) ?? []);
  if (behaviour === "release") {
    held.get([key, ...rest].join("/"))?.();
    return json(response, []);
  }
  if (behaviour === "" || behaviour === "static" || behaviour === "tests")
    return serveFile(response, behaviour, [key, ...rest].join("/"));
  const path = `${behaviour}/${key}`;
  const before = asked.get(path) ?? [];
  asked.set(path, before);
  const id = request.headers["last-event-id"];
  const entry = {
    method: request.method ?? "",
    accept: request.headers.accept ?? null,
    lastEventId: id === undefined ? null : Buffer.from(String(id), "latin1").toString("utf8"),
    body: "",
    taken: 0,
    closed: false,
  };
  before.push(entry);
  response.on("close", () => {
    entry.closed = true;
  });
  for await (const chunk of request) entry.body += chunk;
  const steps = MANNERS[behaviour] ?? [(unknown) => unknown.writeHead(404).end()];
  await steps[Math.min(before.length, steps.length) - 1](response, path, entry, request);
});

/** @returns {Promise<string>}  its address */
export async function listen() {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}

export async function close() {
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
}

function send(response, ...pieces) {
  response.writeHead(200, STREAM).end(pieces.join(""));
}

function endless(type, status = 200) {
  return async (response) => {
    response.writeHead(status, { "Content-Type": type });
    for (let n = 0; !response.destroyed; n++) {
      response.write(`data: ${n}\n\n`);
      await pause(20);
    }
  };
}

async function drip(response, text) {
  response.writeHead(200, STREAM);
  for (const byte of Buffer.from(text)) {
    response.write(Buffer.of(byte));
    await pause(2);
  }
  response.end();
}

/** 1 GB, as fast as the client reads. */
async function flood(response, path, entry) {
  response.writeHead(200, STREAM);
  const piece = `data: ${"x".repeat(1 << 16)}\n\n`,
    closed = once(response, "close");
  for (let n = 0; n < 16_384 && !response.destroyed; n++) {
    entry.taken += piece.length;
    if (!response.write(piece)) await Promise.race([once(response, "drain"), closed]);
  }
}

/** Sends this and breaks the connection on request: if it broke at once, a browser might not have read the data. */
function hold(piece) {
  return (response, path) => {
    response.writeHead(200, STREAM).write(piece);
    held.set(path, () => response.destroy());
  };
}

function json(response, value) {
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(value));
}

async function serveFile(response, room, path) {
  if (room === "")
    return response
      .writeHead(200, { "Content-Type": TYPES[".html"] })
      .end("<!doctype html><title>a reader</title><link rel='icon' href='data:,'>");
  const folder = room === "static" ? STATIC : new URL("./", import.meta.url);
  try {
    const found = await readFile(new URL(path, folder));
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "text/plain" }).end(found);
  } catch {
    response.writeHead(404).end();
  }
}

// Run as a program, it serves until its standard input ends.
if (import.meta.main) {
  console.log(await listen());
  process.stdin.on("end", () => process.exit()).resume();
}
