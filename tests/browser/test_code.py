"""Code blocks are copied verbatim, and highlighted without splitting their text node."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

PAGE = """
async () => {
  const { ChatPanel } = await import("/static/streaming/chat.js");
  const panel = new ChatPanel({ ask() {}, stop() {} });
  panel.begin({ upstream: "default", prompt: "", messages: [], document: "tour" });
  globalThis.say = (text) => panel.show(text);
}
"""
COLOURS = """
() => Object.fromEntries([...CSS.highlights].map(([name, highlight]) => [name.replace("code-", ""), [...highlight]
  .sort((a, b) => a.startOffset - b.startOffset)
  .map((range) => range.startContainer.data.slice(range.startOffset, range.endOffset))]))
"""


@pytest.fixture
def code(open_page) -> Page:
    page = open_page(permissions=["clipboard-read", "clipboard-write"], reduced_motion="reduce")
    page.evaluate(PAGE)
    return page


def say(page: Page, text: str) -> None:
    page.evaluate("(text) => say(text)", text)


def test_a_code_block_has_the_class_of_its_language(code):
    say(code, "```python title\nx = 1\n")
    expect(code.locator("figure")).to_have_attribute("data-language", "python")
    shown = code.evaluate("getComputedStyle(document.querySelector('figure'), '::before').content")
    assert shown == '"python"'
    assert code.evaluate("document.querySelector('figure').textContent") == "x = 1\n"


@pytest.mark.parametrize(
    ("module", "text", "count"),
    [
        ("highlight.js", "```js\nlet a;\n```\n\n", "CSS.highlights.get('code-keyword')?.size"),
        ("temml.js", "A formula: \\(x^2\\)\n\n", "document.querySelectorAll('#chat math').length"),
    ],
    ids=["highlighting", "formulas"],
)
def test_a_module_that_could_not_be_loaded_is_loaded_when_the_network_is_back(
    browser, site, wait_until, module, text, count
):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(site.url)
    page.evaluate(PAGE)
    page.route(f"**/{module}", lambda route: route.abort())
    with page.expect_event("requestfailed", lambda request: request.url.endswith(module)):
        say(page, text)

    page.unroute(f"**/{module}")

    wait_until(page, f"(text) => {{ if ({count} > 1) return true; say(text); }}", text)
    assert errors == []
    context.close()


def test_code_is_copied_verbatim_even_while_it_grows_and_the_copy_is_announced(code, wait_until):
    say(code, "```js\nif (a < b)\n\t`c`;\n")
    copy = code.get_by_role("button", name="Copy", exact=True)

    copy.click()

    expect(code.locator("#chat [data-part=live]")).to_have_text("copied")
    assert code.evaluate("navigator.clipboard.readText()") == "if (a < b)\n\t`c`;"

    say(code, "d();\n```\n\nand text")
    copy.focus()
    code.keyboard.press("Enter")

    expect(copy).to_be_focused()
    wait_until(code, "async (text) => await navigator.clipboard.readText() === text", "if (a < b)\n\t`c`;\nd();")


def test_the_copy_button_stays_while_its_block_grows(code):
    say(code, "text\n\n```js\na")
    code.get_by_role("button", name="Copy", exact=True).focus()

    for n in range(50):
        say(code, f"const n{n} = {n};\n")

    expect(code.get_by_role("button", name="Copy", exact=True)).to_be_focused()


def test_highlighting_keeps_the_code_in_one_text_node(code, wait_until):
    say(code, "```python\n# why\ndef f(x):\n    return 'a' + str(1.5)\n")

    wait_until(code, "() => CSS.highlights.get('code-keyword')?.size > 0")

    assert code.evaluate(COLOURS) == {
        "comment": ["# why"],
        "keyword": ["def", "return"],
        "name": ["f", "str"],
        "string": ["'a'"],
        "number": ["1.5"],
    }
    assert code.evaluate("document.querySelector('pre code').childNodes.length") == 1


def test_highlighting_does_not_depend_on_how_the_code_arrives(code):
    source = "/* a\n b */ const x = `c ${d}\n`; // e\nfunction f() { return 'g' + 0x1f; }\n" * 3
    colours = code.evaluate(
        f"""async (source) => {{
          const {{ Highlighter }} = await import("/static/streaming/highlight.js");
          const colours = {COLOURS}, results = [];
          for (const size of [source.length, 1, 7]) {{
            const root = document.createElement("div"), block = document.createElement("code");
            block.className = "language-js";
            root.append(block);
            document.body.append(root);
            const text = block.appendChild(new Text("")), highlighter = new Highlighter();
            for (let from = 0; from < source.length; from += size) {{
              text.appendData(source.slice(from, from + size));
              highlighter.refresh(root);
            }}
            results.push(colours());
            root.remove();
            highlighter.forget();
          }}
          return results;
        }}""",
        source,
    )
    assert len(colours[0]["number"]) == 3
    assert colours[1] == colours[2] == colours[0]


@pytest.mark.parametrize(
    ("language", "source", "kind", "found"),
    [
        (
            "bash",
            'echo "$HOME" # c\nfor x in a; do curl --silent $x; done\n',
            "keyword",
            ["echo", "for", "in", "do", "done"],
        ),
        ("json", '{"a": "b", "c": [1, true]}\n', "name", ['"a"', '"c"']),
        ("sql", "SELECT a FROM b -- c\nwhere d = 'e'\n", "keyword", ["SELECT", "FROM", "where"]),
        ("html", '<p class="a">b</p><!-- c -->\n', "comment", ["<!-- c -->"]),
        ("css", "a { color: red } /* c */\n", "name", ["color"]),
        ("yaml", "a: b # c\nd: 1\n", "name", ["a", "d"]),
        ("go", 'func f() string { return "a" }\n', "keyword", ["func", "return"]),
        ("rust", "fn f() -> u8 { let mut a = 1; a }\n", "keyword", ["fn", "let", "mut"]),
        ("diff", "@@ -1 +1 @@\n-a\n+b\n", "string", ["+b"]),
    ],
)
def test_common_languages_are_highlighted(code, wait_until, language, source, kind, found):
    say(code, f"```{language}\n{source}```\n\n.")
    wait_until(code, "() => [...CSS.highlights.values()].some(({ size }) => size > 0)")
    assert code.evaluate(COLOURS)[kind] == found


def test_code_in_an_unknown_language_is_not_highlighted(code):
    say(code, "```klingon\nqapla' 1\n```\n\n.")
    expect(code.locator("pre code")).to_have_text("qapla' 1\n", use_inner_text=True)
    assert json.dumps(code.evaluate(COLOURS)).count('"') <= 10


def test_highlights_of_a_removed_answer_are_dropped(code, wait_until):
    say(code, "```js\nconst a = 1;\n```\n\n.")
    wait_until(code, "() => CSS.highlights.get('code-keyword')?.size > 0")
    code.evaluate("""async () => {
      const { Highlighter } = await import("/static/streaming/highlight.js");
      document.querySelector("figure").remove();
      new Highlighter().forget();
    }""")
    assert code.evaluate("[...CSS.highlights.values()].every(({ size }) => size === 0)")
