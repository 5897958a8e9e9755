"""Text in, in pieces; what may be shown out, as early as can be and never taken back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from streaming.moderation.matching import Engine, Plan
from streaming.moderation.rules import MAX_SPAN, MAX_SPAN_LIMIT, Rule, compile_rule
from streaming.moderation.window import Decided

MASK = "•"
"""Shown for each character that is masked. Markdown and HTML give it no meaning, as they do to ``*``."""


class Text(NamedTuple):
    """Text that may be shown, masks included."""

    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A match that counted: characters ``start`` to ``end`` of all the text that was fed."""

    rule: Rule
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """The end: what follows is not shown. ``rule.replacement`` is the notice to the reader."""

    rule: Rule
    start: int
    end: int


Outcome = Text | Finding | Blocked


class RuleSet:
    """Rules compiled once, for all streams. RuleError names the rule that is wrong.

    ``warnings`` has (rule, sentence) of what works otherwise than its author may think. ``max_span`` is the longest
    match there is, in folded characters; at most 4,096.
    """

    def __init__(self, rules: Iterable[Rule], max_span: int = MAX_SPAN) -> None:
        if not 1 <= max_span <= MAX_SPAN_LIMIT:
            raise ValueError(f"max_span is {max_span}; it may be 1 to {MAX_SPAN_LIMIT:,}")
        # The least rank counts: the highest priority, then the oldest.
        self.rules = tuple(sorted(rules, key=lambda rule: -rule.priority))
        compiled = [(rank, compile_rule(rule, max_span)) for rank, rule in enumerate(self.rules)]
        self.warnings = [(each.rule, each.warning) for _, each in compiled if each.warning]
        # A flag holds nothing back and changes nothing, so flags have a plan of their own.
        flags = [each for each in compiled if each[1].rule.action in ("flag", "allow")]
        self.plan = Plan([each for each in compiled if each[1].rule.action != "flag"], max_span)
        self.flag_plan = Plan(flags, max_span) if any(each[1].rule.action == "flag" for each in flags) else None

    @property
    def plans(self) -> list[Plan]:
        """What the rules were compiled to. Whoever moderates a text holds on to these."""
        return [plan for plan in (self.plan, self.flag_plan) if plan]


class Moderator:
    """Moderates one text. Whatever way it is cut, the outcomes joined are those of the whole text."""

    def __init__(self, rule_set: RuleSet) -> None:
        self._rules = rule_set.rules
        self._engine = Engine(rule_set.plan)
        self._flags = Engine(rule_set.flag_plan) if rule_set.flag_plan else None

    @property
    def held(self) -> int:
        """Characters that are not decided yet."""
        return self._engine.held

    def feed(self, text: str) -> list[Outcome]:
        """What is now certain. Nothing more comes after Blocked."""
        return [] if self._engine.blocked else self._told(self._engine.feed(text))

    def feed_all(self, pieces: list[str]) -> list[list[Outcome]]:
        """As feeding the pieces one by one, but they are looked at together; what came of them, for each piece.

        Text goes with the piece that it came in, a match with the piece that has its end.
        """
        if self._engine.blocked:
            return [[] for _ in pieces]
        base, held = self._engine.fed, self._engine.held
        ends = list(accumulate(map(len, pieces), initial=base))[1:]
        decided = self._engine.feed("".join(pieces))
        if len(decided) == 1 and decided[0].rank < 0 and not held and not self._flags:
            return _passed(pieces, ends, decided[0])
        return [self._told(group) for group in _by_piece(decided, ends)]

    def finish(self) -> list[Outcome]:
        """The rest: the text has ended, so what could have become a match has not."""
        if self._engine.blocked:
            return []
        outcomes = self._told(self._engine.finish())
        return outcomes if self._engine.blocked else [*outcomes, *self._flagged([])]

    def _told(self, decided: list[Decided]) -> list[Outcome]:
        if len(decided) == 1 and decided[0].rank < 0 and not self._flags:
            return [Text(decided[0].text)]
        outcomes: list[Outcome] = []
        for each in decided:
            if each.rank < 0:
                outcomes.append(Text(each.text))
                continue
            rule = self._rules[each.rank]
            if rule.action == "block":
                outcomes += self._flagged(decided)
                return [*outcomes, Blocked(rule, each.start, each.end)]
            outcomes.append(Finding(rule, each.start, each.end))
            if shown := _shown(rule, each.text):
                outcomes.append(Text(shown))
        if self._flags:
            for each in decided:
                outcomes += self._findings(self._flags.feed(each.text))
        return outcomes

    def _flagged(self, last: list[Decided]) -> list[Outcome]:
        """What was flagged in the last text there is."""
        if not self._flags:
            return []
        findings = [finding for each in last for finding in self._findings(self._flags.feed(each.text))]
        return [*findings, *self._findings(self._flags.finish())]

    def _findings(self, decided: list[Decided]) -> list[Outcome]:
        return [Finding(self._rules[each.rank], each.start, each.end) for each in decided if each.rank >= 0]


def _shown(rule: Rule, text: str) -> str:
    match rule.action:
        case "mask":
            return MASK * len(text)
        case "replace":
            return rule.replacement
    return ""


def _passed(pieces: list[str], ends: list[int], decided: Decided) -> list[list[Outcome]]:
    """What is said of pieces in which no rule has met anything, but that the last characters may be held."""
    whole = bisect_right(ends, decided.end)
    groups: list[list[Outcome]] = [[Text(piece)] if piece else [] for piece in pieces[:whole]]
    for piece, end in zip(pieces[whole:], ends[whole:], strict=True):
        shown = piece[: max(decided.end - end + len(piece), 0)]
        groups.append([Text(shown)] if shown else [])
    return groups


def _by_piece(decided: list[Decided], ends: list[int]) -> list[list[Decided]]:
    """What was decided, cut where the pieces end."""
    groups: list[list[Decided]] = [[] for _ in ends]
    piece = 0
    for each in decided:
        text, base, end, rank = each
        start = base
        while (cut := ends[piece]) < end:
            if rank < 0 and cut > start:
                groups[piece].append(Decided(text[start - base : cut - base], start, cut, -1))
                start = cut
            piece += 1
        groups[piece].append(Decided(text[start - base :], start, end, rank) if start > base else each)
    return groups
