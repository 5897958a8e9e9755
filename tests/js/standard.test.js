import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FetchEventSource } from "../../streaming/static/streaming/event-source.js";
import { close, listen } from "./misbehaving-server.js";
import { sentences } from "./standard.js";

const origin = await listen();
after(close);

for (const { sentence, run, expect } of sentences(FetchEventSource, origin))
  test(sentence, async () => assert.deepEqual(await run(), expect));
