"""Text in, in pieces; what may be shown out, as early as can be and never taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streaming.moderation.folding import fold_char
from streaming.moderation.literals import ROOT, Automaton
from streaming.moderation.rules import MAX_SPAN, Rule, checked


@dataclass(frozen=True, slots=True)
class Text:
    """Text that may be shown, masks included."""

    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A match that was acted on: characters ``start`` to ``end`` of all the text that was fed."""

    rule: Rule
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """The end: what follows is not shown. ``start`` and ``end`` as in Finding."""

    rule: Rule
    start: int
    end: int


Outcome = Text | Finding | Blocked


class RuleSet:
    """Rules compiled once, for all streams. Immutable. RuleError names the rule that is wrong."""

    def __init__(self, rules: Iterable[Rule], max_span: int = MAX_SPAN) -> None:
        words = checked(rules, max_span)
        self.rules = tuple(rule for _, rule in words)
        self.automaton = Automaton(word for word, _ in words)


class Moderator:
    """Moderates one text. Whatever way it is cut, the outcomes joined are those of the whole text.

    Matches are leftmost-longest and do not overlap; of two rules with one pattern the first counts. A character
    is held only while some continuation could make it part of a match.
    """

    def __init__(self, rule_set: RuleSet) -> None:
        self._rules = rule_set
        self._state = ROOT
        self._blocked = False
        self._offset = 0  # characters that were decided
        self._raw = ""  # the held text as it came
        self._folded: list[str] = []  # its folding, character by character
        self._origin: list[int] = []  # the index in _raw of each of those
        self._read = 0  # how many of those the automaton has read
        self._best: tuple[int, int, int] | None = None  # start, -end, rule: the least is leftmost-longest, oldest

    @property
    def held(self) -> int:
        """Characters that are not decided yet."""
        return len(self._raw)

    def feed(self, text: str) -> list[Outcome]:
        """What is now certain. Nothing more comes after Blocked."""
        if self._blocked:
            return []
        for index, char in enumerate(text, len(self._raw)):
            for folded in fold_char(char):
                self._folded.append(folded)
                self._origin.append(index)
        self._raw += text
        return self._decide(final=False)

    def finish(self) -> list[Outcome]:
        """The rest: the text has ended, so what could have become a match has not."""
        return [] if self._blocked else self._decide(final=True)

    def _decide(self, *, final: bool) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while match := self._find(final=final):
            self._act(match, outcomes)
            if self._blocked:
                return outcomes
        live = len(self._folded) if final else self._live()
        self._release(self._raw_index(live), live, outcomes)
        return outcomes

    def _live(self) -> int:
        """The index of the first folded character that could still become part of a match."""
        return self._read - self._rules.automaton.held(self._state)

    def _find(self, *, final: bool) -> tuple[int, int, int] | None:
        """Reads on until a match is certain: until nothing that could still grow begins at its start or before."""
        automaton = self._rules.automaton
        while True:
            if self._best is not None and self._best[0] < self._live():
                return self._best
            if self._read == len(self._folded):
                return self._best if final else None
            self._state = automaton.step(self._state, self._folded[self._read])
            self._read += 1
            for length, rule in automaton.words_at(self._state):
                candidate = (self._read - length, -self._read, rule)
                if self._best is None or candidate < self._best:
                    self._best = candidate

    def _act(self, match: tuple[int, int, int], outcomes: list[Outcome]) -> None:
        start, end, rule = match[0], -match[1], self._rules.rules[match[2]]
        first, after = self._origin[start], self._origin[end - 1] + 1
        while end < len(self._origin) and self._origin[end] < after:
            end += 1  # the rest of a character that was matched in part
        place = (self._offset + first, self._offset + after)
        if first:
            outcomes.append(Text(self._raw[:first]))
        if rule.action == "block":
            self._blocked = True
            self._raw = ""
            outcomes.append(Blocked(rule, *place))
            return
        outcomes += [Finding(rule, *place), Text("*" * (after - first))]
        self._drop(after, end)
        self._state, self._read, self._best = ROOT, 0, None

    def _release(self, raw: int, folded: int, outcomes: list[Outcome]) -> None:
        if raw:
            outcomes.append(Text(self._raw[:raw]))
            self._drop(raw, folded)
            self._read -= folded
            if self._best is not None:
                start, end, rule = self._best
                self._best = (start - folded, end + folded, rule)

    def _drop(self, raw: int, folded: int) -> None:
        self._offset += raw
        self._raw = self._raw[raw:]
        del self._folded[:folded]
        self._origin = [index - raw for index in self._origin[folded:]]

    def _raw_index(self, folded: int) -> int:
        """Where the original of a folded character stands; past the last one, where the held text ends."""
        return self._origin[folded] if folded < len(self._origin) else len(self._raw)
