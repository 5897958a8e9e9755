"""What moderation means, said as plainly as can be and without a thought for speed.

A rule is the finite set of words that it matches, spelled out over a small alphabet with Python's own ``re``. Every
question is answered by trying all places of the whole text. Nothing of the engine is used but the folding of one
character and what a word character is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from streaming.moderation import Rule
from streaming.moderation.folding import fold_char, is_word_char

SPAN = 4

# As they come; and what they fold to: a, ss, nothing, a simplified character ... A rare rule's word has each of them.
RAW = "aAＡbßs 愛爱\u200b\u0301😀"
FOLDED = "abs 爱😀"


class Place(NamedTuple):
    """A match; the least of several is the one that counts."""

    start: int
    minus_end: int
    rank: int


@dataclass
class Answer:
    """What has been decided of a text: what is shown, what was found, how much is not decided."""

    shown: str
    found: list[tuple[Rule, int, int]]
    held: int
    blocked: bool


@lru_cache(maxsize=4096)
def language(rule: Rule) -> frozenset[str]:
    """All words that a rule matches, at most SPAN characters long."""
    alphabet = RAW if rule.exact else FOLDED
    pattern = rule.pattern if rule.exact else "".join(map(_folded_or_itself, rule.pattern))
    if rule.kind == "literal" and not rule.squeeze:
        return frozenset([pattern])
    if rule.kind == "literal":
        pattern = "".join(
            f"{re.escape(run[0])}{{{len(run)},}}" for run in (m[0] for m in re.finditer(r"(.)\1*", pattern))
        )
    matcher = re.compile(pattern, re.ASCII)
    words = ("".join(word) for size in range(SPAN + 1) for word in itertools.product(alphabet, repeat=size))
    return frozenset(word for word in words if matcher.fullmatch(word))


def _folded_or_itself(char: str) -> str:
    """A regex keeps its own signs; what it would lose as a text it may not hold."""
    return fold_char(char)


@lru_cache(maxsize=4096)
def proper_prefixes(rule: Rule) -> frozenset[str]:
    return frozenset(word[:size] for word in language(rule) for size in range(1, len(word)))


class _Spelling:
    """A text as a rule reads it, and from which character each of it came."""

    def __init__(self, text: str, exact: bool) -> None:
        each = [(c, i) for i, char in enumerate(text) for c in (char if exact else fold_char(char))]
        self.chars = "".join(c for c, _ in each)
        self.origin = [i for _, i in each]


def _begins_well(rule: Rule, chars: str, start: int) -> bool:
    return not (rule.whole_word and start and is_word_char(chars[start - 1]) and is_word_char(chars[start]))


def _places(rank: int, rule: Rule, text: str, final: bool) -> set[Place]:
    spelling, places = _Spelling(text, rule.exact), set()
    chars, origin = spelling.chars, spelling.origin
    for start, end in itertools.combinations(range(len(chars) + 1), 2):
        if chars[start:end] not in language(rule) or not _begins_well(rule, chars, start):
            continue
        if rule.whole_word and is_word_char(chars[end - 1]):
            if end < len(chars) and is_word_char(chars[end]):
                continue
            if end == len(chars) and not final:
                continue
        places.add(Place(origin[start], -(origin[end - 1] + 1), rank))
    return places


def _live(rule: Rule, text: str) -> set[int]:
    """Where a match could begin that the text has only the beginning of."""
    spelling = _Spelling(text, rule.exact)
    chars, origin = spelling.chars, spelling.origin
    live = set()
    for start in range(len(chars)):
        rest = chars[start:]
        undecided = rule.whole_word and rest in language(rule) and is_word_char(rest[-1])
        if (rest in proper_prefixes(rule) or undecided) and _begins_well(rule, chars, start):
            live.add(origin[start])
    return live


def moderate(rules: Iterable[Rule], text: str, *, final: bool) -> Answer:
    """What is decided once this much of a text has come; all of it, if it is final."""
    ranked = sorted(rules, key=lambda rule: -rule.priority)
    deny = [(n, rule) for n, rule in enumerate(ranked) if rule.action in ("mask", "replace", "drop")]
    answer, end = _acted(ranked, deny, text, final)
    if final or answer.blocked:
        flags = [(n, rule) for n, rule in enumerate(ranked) if rule.action == "flag"]
        allow = [rule for rule in ranked if rule.action == "allow"]
        flagged, _ = _acted([*allow], flags, text[:end], True, ranked)
        answer.found += flagged.found
    return answer


def _acted(
    rules: list[Rule], deny: list[tuple[int, Rule]], text: str, final: bool, names: list[Rule] | None = None
) -> tuple[Answer, int]:
    names = names or rules
    allowances = {p for n, rule in enumerate(rules) if rule.action == "allow" for p in _places(n, rule, text, final)}
    allow_live = set() if final else {i for rule in rules if rule.action == "allow" for i in _live(rule, text)}
    block_live = set() if final else {i for rule in rules if rule.action == "block" for i in _live(rule, text)}

    def covered(place: Place) -> bool:
        return any(a.start <= place.start and a.minus_end <= place.minus_end for a in allowances)

    def uncertain(place: Place) -> bool:
        return any(start <= place.start for start in allow_live)

    def known_at(place: Place) -> int:
        # A whole word is known as one by the character after it, as its rule reads the text.
        rule, end = rules[place.rank], -place.minus_end
        if not rule.whole_word or not is_word_char(_Spelling(text[:end], rule.exact).chars[-1]):
            return end
        return next((i + 1 for i in _Spelling(text, rule.exact).origin if i >= end), len(text) + 1)

    blocks = [p for n, rule in enumerate(rules) if rule.action == "block" for p in _places(n, rule, text, final)]
    blocks = sorted((p for p in blocks if not covered(p)), key=lambda p: (known_at(p), *p))
    block = blocks[0] if blocks else None
    blocked = block is not None and not uncertain(block)

    seen = text[: -block.minus_end] if block and blocked else text
    settled = final or blocked
    places = {p for n, rule in deny for p in _places(n, rule, seen, settled)}
    places = {p for p in places if not covered(p)}
    deny_live = set() if settled else {i for _, rule in deny for i in _live(rule, text)}

    shown, found, at = "", [], 0
    while True:
        live = (
            [i for i in deny_live if i >= at] + ([] if blocked else list(block_live)) + ([block.start] if block else [])
        )
        hold = min(live, default=len(text))
        match = min((p for p in places if p.start >= at), default=None)
        if match is None or match.start >= hold:
            break
        too_long = block is not None and not blocked and -match.minus_end > -block.minus_end
        if not blocked and (uncertain(match) or too_long):
            hold = match.start
            break
        rule, end = names[match.rank], -match.minus_end
        found.append((rule, match.start, end))
        shown += text[at : match.start]
        shown += {"mask": "•" * (end - match.start), "replace": rule.replacement}.get(rule.action, "")
        at = end
    hold = max(hold, at)
    shown += text[at:hold]
    if block and blocked:
        return Answer(shown, [*found, (names[block.rank], block.start, -block.minus_end)], 0, True), -block.minus_end
    return Answer(shown, found, len(text) - hold, False), len(text)
