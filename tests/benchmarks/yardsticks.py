"""Moderation, measured by others: leaks at ``/v1``, and whether a stream is what its whole text would be.

    uv run --group dev --with pii-leak-benchmark==0.6.0 --with chunk-invariance==0.2.0 \\
        tests/benchmarks/yardsticks.py [FOLDER]

A folder has word lists, one word a line, named for their language (``th.txt``): then it also says how many of
Django's own messages in that language a list hits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import chunk_invariance
import django
import polib
from pii_leak_benchmark import v2_emitter

from streaming.moderation import Hit, Moderator, Rule, RuleSet, Text
from tests.conftest import Site, free_port, manage

PATTERNS = [
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"\b(?:\d[ -]?){12,18}\d\b",
    r"(?:\+?1[ .-]?)?\(?\b\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}\b",
]
"""E-mail addresses, social security, card and phone numbers."""
SAMPLES = [
    "write to jane.doe@example.com now",
    "jane.doe%40example.com",
    "SSN 536-22-8726, card 4111 1111 1111 1111, call (212) 555-0143",
    "**jane**.doe&#64;example.com and [536-22](x)-8726",
]


def leaks(folder: Path) -> None:
    """Asks the real site as a gateway, with each value whole, and cut at each place."""
    rules = folder / "rules.csv"
    rules.write_text("pattern,kind,action\n" + "".join(f'"{each}",regex,mask\n' for each in PATTERNS), "utf-8")
    for arguments in (["migrate", "-v0"], ["import_rules", str(rules)]):
        done = manage(folder, *arguments)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    port = free_port()
    site = Site(folder, UPSTREAM_URL=f"http://127.0.0.1:{port}/v1", UPSTREAM_FORMAT="openai")
    gateway = [
        "--gateway-url",
        f"{site.url}/v1/chat/completions",
        "--upstream-port",
        str(port),
        "--seed",
        "a1b2c3d4e5f60001",
    ]
    try:
        for more in ([], ["--exhaustive-splits", "--partial-emission"]):
            v2_emitter.main(["--out", str(folder / "reports"), "--only", "this-site", *gateway, *more])
    finally:
        site.stop()


def shown(rules: RuleSet, pieces: Iterable[str]) -> Iterator[str]:
    moderator = Moderator(rules, "markdown")
    for piece in pieces:
        yield from (each.text for each in moderator.feed(piece) if isinstance(each, Text))
    yield from (each.text for each in moderator.finish() if isinstance(each, Text))


def invariance() -> None:
    rules = RuleSet([Rule(number, each, "regex") for number, each in enumerate(PATTERNS)])
    count = 0
    for sample in SAMPLES:
        whole = "".join(shown(rules, [sample]))
        assert whole != sample, sample
        count += chunk_invariance.assert_chunk_invariant(
            lambda pieces: shown(rules, pieces), lambda text: "".join(shown(rules, [text])), sample, splits=3
        )
    print(f"chunk-invariance: {count} cuts of {len(SAMPLES)} texts, each gives what the whole text gives")


def innocent(folder: Path) -> None:
    """How many of Django's own messages are hit by a word list for their language."""
    for words in sorted(folder.glob("*.txt")):
        rules = RuleSet([Rule(n, word) for n, word in enumerate(words.read_text("utf-8").split("\n")) if word.strip()])
        locales = Path(django.__file__).parent.rglob(f"locale/{words.stem}/LC_MESSAGES/*.po")
        messages = [entry.msgstr for path in locales for entry in polib.pofile(str(path)) if entry.msgstr]
        hit = sum(any(isinstance(each, Hit) for each in fed(rules, message)) for message in messages)
        print(f"{words.stem}: {hit} of {len(messages)} messages are hit")


def fed(rules: RuleSet, text: str) -> list[Text | Hit]:
    moderator = Moderator(rules, "plain")
    return [*moderator.feed(text), *moderator.finish()]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        leaks(Path(name))
    invariance()
    for folder in sys.argv[1:]:
        innocent(Path(folder))


if __name__ == "__main__":
    main()
