"""Real regular expressions: how many compile, and whether they match what RE2 matches.

    uv run --group dev --with google-re2==1.1.20251105 tests/benchmarks/patterns.py patterns.json [seconds]

The file is brought by the person who runs it: a JSON list of patterns, or a pattern a line. From each pattern, texts
are generated that it matches, or nearly so, with separators between them. RE2 searches them for leftmost-longest
matches, the engine as one piece and in pieces of 7 characters.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from streaming.moderation import Hit, Moderator, Rule, RuleError, RuleSet, compile_rule
from streaming.moderation.char_sets import Ranges
from streaming.moderation.regex_nodes import Alt, Chars, Node, Repeat, Seq

FREQUENT = "0123456789abcdefABCDEFxyz-_ .:/=\"'\n"
SEPARATORS = [" ", "\n", "", ": ", '"', "x", "0", "=", ", ", "-"]
MOST_CHARS = 3000


class Author:
    """Writes texts for patterns."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def text(self, node: Node) -> str:
        choose = self._dice.choice
        return "".join(choose(SEPARATORS) + self._changed(self._met(node)) + choose(SEPARATORS) for _ in range(3))

    def _met(self, node: Node) -> str:
        match node:
            case Chars(ranges):
                return self._one_of(ranges)
            case Seq(items):
                return "".join(map(self._met, items))
            case Alt(items):
                return self._met(self._dice.choice(items))
            case Repeat(item, least, most):
                most = least + self._dice.choice([0, 1, 3, 20]) if most is None else most
                count = self._dice.choice([least, most, self._dice.randint(least, most)])
                return "".join(self._met(item) for _ in range(min(count, least + 60)))
        return ""  # look-around

    def _one_of(self, ranges: Ranges) -> str:
        for char in self._dice.choices(FREQUENT, k=4):
            if any(first <= ord(char) <= last for first, last in ranges):
                return char
        first, last = self._dice.choice([each for each in ranges if each[0] < 127] or ranges[:1])
        return chr(self._dice.randint(first, min(last, 126) if first < 127 else last))

    def _changed(self, text: str) -> str:
        if not text or self._dice.random() < 0.4:
            return text
        at = self._dice.randrange(len(text))
        before, after = text[:at], text[at:]
        return self._dice.choice(
            [before + after[1:], before + self._dice.choice(FREQUENT) + after[1:], text + after, before]
        )


def matches(rule_set: RuleSet, text: str, size: int) -> list[tuple[int, int]]:
    moderator = Moderator(rule_set, "plain")
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    outcomes = [each for piece in pieces for each in moderator.feed(piece)] + moderator.finish()
    return [(each.start, each.end) for each in outcomes if isinstance(each, Hit)]


def compiles(pattern: str) -> str:
    """How a pattern compiles: as a normal rule, only as an exact one, or why it is refused."""
    for compare in ("normal", "exact"):
        try:
            compile_rule(Rule(1, pattern, "regex", compare=compare))  # type: ignore[arg-type]
        except RuleError as error:
            reason = error.template
        else:
            return compare
    return reason


def main() -> None:
    try:
        import re2
    except ImportError:
        sys.exit(__doc__)
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data = Path(sys.argv[1]).read_text("utf-8")
    patterns = list(dict.fromkeys(json.loads(data) if data.startswith("[") else data.splitlines()))
    how = {pattern: compiles(pattern) for pattern in patterns}
    for reason, count in Counter(how.values()).most_common():
        print(f"{count:6,} {reason}")

    options = re2.Options()
    options.longest_match, options.log_errors, options.max_mem = True, False, 1 << 28
    random.Random(1).shuffle(patterns)
    compared, differing = compare(
        [pattern for pattern in patterns if how[pattern] in ("normal", "exact")],
        lambda pattern: re2.compile(pattern, options=options),
        time.monotonic() + float(sys.argv[2] if len(sys.argv) > 2 else 60),
    )
    print(f"{compared[0]:,} patterns compared with RE2's, {compared[1]:,} matches; {len(differing)} patterns differ")
    for pattern, text in differing.items():
        print(repr(pattern)[:200], repr(text)[:200])


def compare(patterns: list[str], compile_reference: Any, until: float) -> tuple[tuple[int, int], dict[str, str]]:
    """The number of patterns compared and of their matches, and those that differ with a text on which they do."""
    author, count, total, differing = Author(1), 0, 0, {}
    for pattern in patterns:
        if time.monotonic() > until:
            break
        try:
            reference = compile_reference(pattern)
        except Exception:  # noqa: BLE001 (RE2 does not know all syntax that is known here)
            continue
        rule = Rule(1, pattern, "regex", "flag", compare="exact")
        node, rule_set = compile_rule(rule).node, RuleSet([rule])
        assert node is not None
        count += 1
        for text in (author.text(node) for _ in range(3)):
            if len(text) > MOST_CHARS:
                continue
            wanted = [found.span() for found in reference.finditer(text) if found[0]]
            total += len(wanted)
            if any(matches(rule_set, text, size) != wanted for size in (MOST_CHARS, 7)):
                differing[pattern] = text
    return (count, total), differing


if __name__ == "__main__":
    main()
