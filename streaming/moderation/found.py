"""The matches of one automaton in a part of a window that is searched again, and those that do not count in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from streaming.moderation.edges import Ending
from streaming.moderation.loose_words import LooseMatches, LooseWords
from streaming.moderation.regex_automaton import Regexes, RegexMatches
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.validators import REACH, Beginnings
from streaming.moderation.word_automaton import LiteralMatches, Literals

Automaton = Literals | Regexes | LooseWords
Matches = LiteralMatches | RegexMatches | LooseMatches

NEVER = 1 << 62
"""An offset after every character."""


class Reach:
    """How far the matches reach that begin at or before each character. Offsets count from the start of the text."""

    def __init__(self) -> None:
        # Of the matches that lie within none of the others. So both ascend.
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        if self.of(start) >= end:
            return
        first, last = bisect_left(self._starts, start), bisect_right(self._ends, end)
        self._starts[first:last], self._ends[first:last] = [start], [end]

    def of(self, start: int) -> int:
        before = bisect_right(self._starts, start)
        return self._ends[before - 1] if before else 0

    def forget(self, end: int) -> None:
        """Forgets the matches that end by then."""
        count = bisect_right(self._ends, end)
        del self._starts[:count], self._ends[:count]

    def copy(self) -> Reach:
        copied = Reach()
        copied._starts, copied._ends = self._starts[:], self._ends[:]
        return copied


class Allowances:
    """The spans in which matches do not count, in a window with this ``offset``. From ``live`` on they are not known
    yet."""

    def __init__(self, reaches: Sequence[Reach], offset: int, live: int) -> None:
        self._reaches = reaches
        self._offset = offset
        self.live = live

    def covers(self, match: Match) -> bool:
        return self.reach_from(match.start) >= -match.minus_end

    def reach_from(self, start: int) -> int:
        """Up to where a match that begins at ``start`` does not count; not after ``start`` if any counts."""
        if not self._reaches:
            return 0
        return max(reach.of(self._offset + start) for reach in self._reaches) - self._offset


NO_ALLOWANCES = Allowances((), 0, NEVER)


class Found:
    """Searches a part of a window again for the matches of one automaton, from left to right."""

    def __init__(
        self,
        spelling: Spelling,
        matches: Matches,
        place: tuple[int, int],
        removed: frozenset[int] = frozenset(),
        allowed: Allowances = NO_ALLOWANCES,
    ) -> None:
        """``matches`` are those in the symbols with the indexes ``place``. ``allowed`` are spans to leave out."""
        base, end = place
        self._spelling = spelling
        self._matches = matches
        self._base = base
        self._removed = removed
        self._allowed = allowed
        self._reach = 0  # up to where matches are allowed at present
        self._beyond: frozenset[int] = frozenset()  # the starts before that from which one may end beyond it
        self._least = 0
        self._next: Match | None = None
        self._candidates = self._best_of_each()
        self.end = spelling.dropped + end
        """The number of symbols of the text up to which it searches."""
        self.has_failed = False
        """Whether it has found that there is no match, or no further one."""

    def all(self) -> Iterator[Match]:
        """The matches, but for those that end like one that began before them, and lie within it."""
        has_failed = True
        for start in self._starts():
            for ending in self._matches.fresh_ends(start):
                if ending.rank not in self._removed:
                    has_failed = False
                    yield self._match(start, ending)
        self.has_failed = has_failed

    def first(self, least: int) -> Match | None:
        """The leftmost, then longest match that begins at or after ``least``, which must never decrease."""
        if self._next is None or self._next.start < least:
            self._least = least
            self._next = next((match for match in self._candidates if match.start >= least), None)
            self.has_failed = self._next is None
        return self._next

    def _best_of_each(self) -> Iterator[Match]:
        """The best match that begins at each character. Several symbols may begin at one."""
        begin = self._spelling.begin
        for at, starts in groupby(self._starts(), key=lambda start: begin(self._base + start)):
            if at >= self._least:
                best = min((match for start in starts if (match := self._longest(start))), default=None)
                if best is not None:
                    yield best

    def _starts(self) -> Iterator[int]:
        """Where matches may begin that are not allowed."""
        spelling, base = self._spelling, self._base
        for start in self._matches.starts():
            at = spelling.begin(base + start)
            reach = self._allowed.reach_from(at)
            if reach > max(at, self._reach):
                self._reach = reach
                self._beyond = frozenset(self._matches.starts_beyond(start, spelling.index_of_end(reach) - base))
            # A symbol that goes on beyond it, such as an escape of which a part is allowed, is not inside it.
            if at >= reach or start in self._beyond or spelling.end(base + start + 1) > reach:
                yield start

    def _longest(self, start: int) -> Match | None:
        """The longest match that begins with a symbol. Several symbols may end at one character."""
        best: Match | None = None
        for ending in self._matches.from_longest(start):
            if ending.rank in self._removed:
                continue
            match = self._match(start, ending)
            if best is not None and match.minus_end > best.minus_end:
                break
            best = match if best is None else min(best, match)
        return best

    def _match(self, start: int, ending: Ending) -> Match:
        spelling = self._spelling
        first = spelling.begin(self._base + start)
        end = spelling.end(self._base + ending.end)
        return Match(first, -end, ending.rank, spelling.number, ending.looks)


def found_up_to(
    automaton: Automaton,
    spelling: Spelling,
    span: tuple[int, int],
    removed: frozenset[int] = frozenset(),
    allowed: Allowances = NO_ALLOWANCES,
) -> Found:
    """The matches in a span of a window, as if nothing followed it."""
    base, stop = spelling.index(span[0]), spelling.index_of_end(span[1])
    matches = automaton.matches(spelling.chars[base:stop], spelling.symbol_before(base), final=True)
    return Found(spelling, matches, (base, stop), removed, allowed)


class Failures:
    """Remembers which parts of a text have not passed the check, so that each is tried once.

    They count symbols of the text: what ends with one of the first ``_failed`` is no match, nor what begins with one of
    the first ``_dull``.
    """

    def __init__(self, regexes: Regexes) -> None:
        self._regexes = regexes
        self._failed = self._dull = 0
        self._last: Found | None = None
        self._beginnings: dict[int, Beginnings] = {}  # by the number of symbols before them

    def follow(self, other: Failures) -> None:
        other._learn()
        self._failed, self._dull, self._last = other._failed, other._dull, None
        self._beginnings = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Failures:
        """The last search, which may still go on, stays with this text."""
        copied = Failures(self._regexes)
        copied.follow(self)
        return copied

    def moved(self, count: int) -> None:
        self._learn()
        self._failed += count
        self._dull += count
        self._beginnings = {}

    def search(self, spelling: Spelling, base: int, removed: frozenset[int], allowed: Allowances) -> Found:
        """The matches from a symbol on, except for those that are known to be none."""
        regexes, chars = self._regexes, spelling.chars
        if regexes.check:
            self._learn()
            self._find_dull(spelling, base)
            base = max(base, self._dull - spelling.dropped)
        failed = self._failed - spelling.dropped - base
        matches = regexes.matches(
            chars[base:],
            spelling.symbol_before(base),
            final=False,
            failed=failed,
            beginnings=self._beginnings_from(spelling, base),
        )
        self._last = Found(spelling, matches, (base, len(chars)), removed, allowed)
        return self._last

    def _learn(self) -> None:
        if self._regexes.check and self._last and self._last.has_failed:
            # What ends with the last symbol may have depended on what follows it.
            self._failed = max(self._failed, self._last.end - 1)
        self._last = None

    def _beginnings_from(self, spelling: Spelling, base: int) -> list[Beginnings]:
        """Which texts pass that begin with each symbol from ``base`` on; none if that is not known."""
        check, chars, dropped, known = self._regexes.check, spelling.chars, spelling.dropped, self._beginnings
        self._beginnings = {}
        if not check or not check.beginnings or self._regexes.acts_on_group or self._regexes.overflows:
            return []
        if len(set(chars[base:])) < check.different:
            return []
        for at in range(base, len(chars)):
            self._beginnings[dropped + at] = found = known.get(dropped + at) or check.beginnings()
            found.read(chars[at : at + REACH])
        return list(self._beginnings.values())

    def _find_dull(self, spelling: Spelling, base: int) -> None:
        """Finds the symbols from which on everything fails, however long it is."""
        regexes, chars, dropped = self._regexes, spelling.chars, spelling.dropped
        self._dull = max(self._dull, dropped + base)
        if regexes.acts_on_group or not regexes.check or regexes.overflows:
            return
        while self._dull + REACH < self._failed:
            at = self._dull - dropped
            if regexes.check(chars[at : at + REACH + 1]):
                return
            self._dull += 1
