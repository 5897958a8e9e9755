import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const STATIC = fileURLToPath(new URL("../../streaming/static/streaming/", import.meta.url));
const KB = 1024;

// Each module and its limit; `without` lists files that are measured elsewhere or that the application already has.
const sizes = [
  { name: "the parser", entry: "sse.js", limit: 1 * KB },
  { name: "the client, without the parser", entry: "event-source.js", without: ["*/sse.js"], limit: 3.5 * KB },
  // Of these, healing incomplete syntax takes 1.3 KB, and splitting long paragraphs 0.4 KB.
  {
    name: "the renderer, without markdown-it and math",
    entry: "markdown/view.js",
    without: ["*/vendor/markdown-it.js", "*/math.js"],
    limit: 7.5 * KB,
  },
];

for (const { name, entry, without = [], limit } of sizes)
  test(`${name}, minified and gzipped, is at most ${limit / KB} KB`, async (t) => {
    const { outputFiles } = await build({
      entryPoints: [STATIC + entry],
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      external: without,
      write: false,
    });
    const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;

    t.diagnostic(`${name}: ${size} bytes`);

    assert.ok(size <= limit, `${size} bytes`);
  });
