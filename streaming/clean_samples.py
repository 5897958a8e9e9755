"""Counts what rules would match in texts that nobody means to moderate, and warns about rules that are too short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from streaming import sources
from streaming.moderation import Hit, Moderator, RuleSet
from streaming.rule_files import Row

SAMPLES = Path(__file__).parent / "documents" / "samples"
"""Everyday texts, written for this project, in files that are named by their language."""

MAX_REGEXES = 300
"""Regular expressions that are tried; more of them take longer than somebody waits for a preview."""

_REGEXES_AT_ONCE = 40
"""For a text that is read once, a few small automata take a fifth of the time of a large one."""

_CONTEXT = 25


@dataclass(slots=True)
class CleanMatches:
    """The matches of one rule in clean texts."""

    line: int
    row: Row
    count: int = 0
    texts: set[str] = field(default_factory=set)
    """The names of the texts in which it matches: languages, and documents of this site."""
    example: tuple[str, str, str] = ("", "", "")
    """A match, with the text before and after it."""


@lru_cache(maxsize=1)
def clean_texts() -> dict[str, str]:
    """The sample texts by language, and the documents of this site by name."""
    samples = {file.stem: file.read_text("utf-8") for file in sorted(SAMPLES.glob("*.txt"))}
    return samples | {name: sources.read_document(name) for name in sources.DOCUMENTS}


def languages() -> list[str]:
    return [file.stem for file in sorted(SAMPLES.glob("*.txt"))]


def find_matches(rows: Iterable[tuple[int, Row]], texts: dict[str, str]) -> list[CleanMatches]:
    """The rules that match in these texts, those with the most matches first. Rows have their line numbers."""
    tried = list(_tried(rows))
    found: dict[int, CleanMatches] = {}
    for rule_set in _rule_sets(tried):
        for name, text in texts.items():
            moderator = Moderator(rule_set, "markdown")
            for outcome in (*moderator.feed(text), *moderator.finish()):
                if isinstance(outcome, Hit):
                    at = int(outcome.rule.id)
                    matches = found.setdefault(at, CleanMatches(*tried[at]))
                    matches.count += 1
                    matches.texts.add(name)
                    if not matches.example[1]:
                        matches.example = _around(text, outcome.start, outcome.end)
    return sorted(found.values(), key=lambda each: (-each.count, each.line))


def _rule_sets(tried: list[tuple[int, Row]]) -> Iterator[RuleSet]:
    """The rules, with their places as ids. As flag rules they change nothing: each is found whatever the others do."""
    rules = [replace(row.as_rule(at), action="flag", on_trial=False) for at, (_, row) in enumerate(tried)]
    if words := [rule for rule in rules if rule.kind == "literal"]:
        yield RuleSet(words)
    regexes = [rule for rule in rules if rule.kind == "regex"]
    for at in range(0, len(regexes), _REGEXES_AT_ONCE):
        yield RuleSet(regexes[at : at + _REGEXES_AT_ONCE])


def _tried(rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
    regexes = 0
    for line, row in rows:
        regexes += row.kind == "regex"
        if row.action != "allow" and (row.kind != "regex" or regexes <= MAX_REGEXES):
            yield line, row


def _around(text: str, start: int, end: int) -> tuple[str, str, str]:
    return text[max(start - _CONTEXT, 0) : start], text[start:end], text[end : end + _CONTEXT]


def too_short(rows: Sequence[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Words of one or two letters, which occur in many others; of signs that are words, as in Chinese, one."""
    return [(line, row) for line, row in rows if row.kind == "literal" and _is_short(row.pattern.strip())]


def _is_short(pattern: str) -> bool:
    return len(pattern) == 1 or (len(pattern) == 2 and pattern < "\u2e80")
