"""What a person sees holds no forbidden word, however Markdown spells it, at no moment of the stream."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from streaming.moderation import Rule
from tests import oracle
from tests.browser.conftest import Visit
from tests.conftest import Connection, ScriptedUpstream, Site, manage

RULES = [Rule(n, word) for n, word in enumerate(["darn", "ばか", "敏感词", "so bad", "zorp@ex.org"], 1)]

DESTINATIONS = [
    *("x", "/a(b)c", "<a)b>", "<a b>", 'x "a)b"', "x 'a)b'", "x (a b)", "a\\)b", 'x\n"t"', "", " x ", "a%20b"),
    *("<a\\>)b>", "a b", 'x "t', "x 't", "x (t", "<a b", "x y z", "a<b", "x\n\ny", "](y"),
]
SIMPLE = ["*", "**", "***", "~~", "~", "`", "``", "_", "__"]
NOISE = [
    *SIMPLE,
    *(
        "[",
        "]",
        "![",
        "<b>",
        "</b>",
        "<!-- a -->",
        "<br>",
        "<sub>",
        "\\(",
        "\\)",
        "\\[",
        "$$",
        "$",
        "\\",
        "^",
        "{",
        "}",
    ),
    *(
        "&",
        "&#",
        "&amp;",
        "&shy;",
        "&#8203;",
        "&zwnj;",
        "\u200b",
        "\u00ad",
        "%",
        "%6",
        "[^1]",
        "[1]",
        "(",
        ")",
        "!",
        "|",
    ),
    *("- ", "# ", "> ", "1. ", "\n", "\n\n", "\n> ", "  \n", "\\\n", " ", "a", "é", "一", ".", ": ", "[a]: /b\n"),
    *("https://e.org/", "www.e.org/", "<https://e.org/", "<a@", ">", "\n```\n", "\n    "),
    *("](", "](x", '](x "', "](<", "][", "][a", "<", "<a", "<a b", '<a b="', "'", '"', "</", "<!--", "-->", "<?"),
]


class Author:
    """Writes Markdown in which words are spelled with syntax within."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self) -> str:
        pieces = [self._spelled(self._random.choice(RULES).pattern) for _ in range(self._random.randint(1, 3))]
        noise = [self._noise() for _ in range(len(pieces) + 1)]
        return noise[0] + "".join(piece + more for piece, more in zip(pieces, noise[1:], strict=True))

    def pieces(self, text: str) -> list[str]:
        """The text as a model would send it."""
        pieces, at = [], 0
        while at < len(text):
            size = self._random.choice([1, 1, 2, 3, 5, 8])
            pieces.append(text[at : at + size])
            at += size
        return pieces

    def _spelled(self, word: str) -> str:
        """The word, with some of its parts in syntax, twice over at times."""
        choose = self._random
        parts = [self._letter(char) for char in word]
        for _ in range(choose.choice([0, 1, 1, 2, 3])):
            start = choose.randrange(len(parts))
            end = choose.randint(start + 1, len(parts))
            parts[start:end] = [self._wrapped("".join(parts[start:end]))]
        if choose.random() < 0.3:
            parts.insert(choose.randrange(len(parts) + 1), choose.choice(NOISE))
        return "".join(parts)

    def _letter(self, char: str) -> str:
        match self._random.randrange(16):
            case 0:
                return f"&#{ord(char)};"
            case 1:
                return f"&#x{ord(char):x};"
            case 2:
                return char.upper()
            case 3:
                return char if char.isalnum() or char == " " else "\\" + char
            case 4 if char == " ":
                return self._random.choice(["\n", "\n> ", "  ", "&nbsp;", "\t"])
            case 5:
                return "".join(f"%{byte:02x}" for byte in char.encode())
        return char

    def _wrapped(self, text: str) -> str:
        choose = self._random
        mark, destination = choose.choice(SIMPLE), choose.choice(DESTINATIONS)
        tag = choose.choice(["sub", "sup", "kbd", "b"])
        return choose.choice(
            [
                f"{mark}{text}{mark}",
                f"{mark}{text}{mark}",
                f"[{text}]({destination})",
                f"[{text}]({destination})",
                f"![{text}]({destination})",
                f"[{text}][{choose.choice(['a', 'a b', 'é', 'a&#92;'])}]",
                f"<{tag}>{text}</{tag}>",
                f"\\({text}\\)",
                f"$${text}$$",
                f"{text}<br>",
                f"![]({destination}){text}",
                f"<https://e.org/{text}>",
                f"<a@{text}>",
                f"<{text}",
                f'<a b="{text}">',
                f"]({text})",
                f"][{text}]",
            ]
        )

    def _noise(self) -> str:
        return "".join(self._random.choices([*NOISE, "a ", " "], k=self._random.choice([0, 0, 1, 2])))


# Asks the page's own form, one question after the other, and keeps what the answer showed after each change of the
# page, and what the same text shows after each of its characters.
ASK = """
async (questions) => {
  const { MarkdownView } = await import("/static/streaming/markdown/view.js");
  const panel = document.querySelector("#chat");
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  // As textContent and, with a line break for each <br>, as people read it. But blank lines stand between blocks, as in
  // innerText, in what is copied and for screen readers: a word does not go on in the next paragraph, item or cell, and
  // to moderate as if it did would hit words that no one reads.
  const read = (node, lineBreak) => {
    let text = "";
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) text += child.data;
      else if (child.nodeType === Node.ELEMENT_NODE) {
        if (child.tagName === "BR") text += lineBreak;
        const isBlock = /^(P|H[1-6]|LI|UL|OL|TABLE|T[RDH]|BLOCKQUOTE|FIGURE|HR|SECTION)$/.test(child.tagName);
        text += isBlock ? `\\n\\n${read(child, lineBreak)}\\n\\n` : read(child, lineBreak);
      }
    }
    return text;
  };
  const answers = [];
  for (const question of questions) {
    const shown = new Set();
    const look = () => {
      const article = [...panel.querySelectorAll("article")].at(-1);
      if (article) for (const each of ["", "\\n"]) shown.add(read(article, each));
    };
    const observer = new MutationObserver(look);
    observer.observe(part("turns"), { childList: true, characterData: true, subtree: true });
    part("prompt").value = question;
    part("form").requestSubmit();
    while (part("status").dataset.state !== "done") {
      if (["failed", "stopped"].includes(part("status").dataset.state)) throw new Error(part("status").textContent);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    look();
    observer.disconnect();
    const flushes = shown.size;
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    const text = JSON.parse(sessionStorage.getItem("streams.turns")).turns.at(-1).answer;
    const root = document.createElement("div");
    const view = new MarkdownView(root, { cursor: false });
    for (const char of text) {
      view.append(char);
      view.flush();
      for (const each of ["", "\\n"]) shown.add(read(root, each));
    }
    part("new-chat").click();
    answers.push({ text, shown: [...shown], flushes });
  }
  return answers;
}
"""


@pytest.fixture
def site(make_site: Callable[..., Site], upstream: ScriptedUpstream) -> Site:
    site = make_site(UPSTREAM_URL=upstream.url)
    words = site.folder / "words.txt"
    words.write_text("".join(f"{rule.pattern}\n" for rule in RULES), "utf-8")
    imported = manage(site.folder, "import_rules", str(words), "--action", "mask", "--whole-word", "no")
    assert imported.returncode == 0, imported.stderr
    return site


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    visit = Visit(browser, site.url)
    yield visit(reduced_motion="reduce")
    visit.end()


@pytest.mark.parametrize("count", [80, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_forbidden_word_is_shown_at_any_moment(page: Page, upstream: ScriptedUpstream, count: int) -> None:
    author = Author(seed=count)
    texts = [author.text() for _ in range(count)]

    async def script(connection: Connection) -> None:
        number = json.loads(await connection.body())["prompt"]
        await connection.begin()
        for piece in author.pieces(texts[int(number)]):
            await connection.send(f"data: {json.dumps({'delta': piece})}\n\n".encode())
        await connection.send(b'event: done\ndata: {"reason": "stop"}\n\n')

    upstream.script = script
    leaks, flushes = [], 0
    for first in range(0, count, 50):
        numbers = range(first, min(first + 50, count))
        for number, answer in zip(numbers, page.evaluate(ASK, [str(n) for n in numbers]), strict=True):
            flushes += answer["flushes"]
            found = next((shown for shown in answer["shown"] if oracle.visible(RULES, shown)), None)
            if found is not None:
                leaks.append((texts[number], answer["text"], found))

    assert not leaks, f"{len(leaks)} of {count}: " + "\n".join(map(repr, leaks[:20]))
    assert flushes > 2 * count
