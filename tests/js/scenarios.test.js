import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as client from "../../streaming/static/streaming/event-source.js";
import { close, listen } from "./misbehaving-server.js";
import { scenarios } from "./scenarios.js";

const origin = await listen();
after(close);

for (const { name, run, expect } of scenarios(client, origin))
  test(name, async () => assert.deepEqual(await run(), expect));
