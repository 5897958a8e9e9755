"""Scanners for allow rules: how far the matches that begin at each character reach. Nothing inside them counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any

from streaming.moderation.found import Automaton, Reach, found_up_to
from streaming.moderation.glushkov import union
from streaming.moderation.loose_words import LooseWords, Progress, joins_words
from streaming.moderation.regex_states import State
from streaming.moderation.scanning import LiteralScanner, RegexScanner, RescanningScanner, Scanner
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import Window

Starts = list[tuple[int, int]]
"""The places where matches begin, ascending: the number of symbols before each, and its character."""


class ReachOfWords(LiteralScanner):
    """Keeps how far the words that begin at each character reach. It reads the text only on request."""

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach = Reach()
        self._done = 0  # the number of symbols of the text read so far

    def follow(self, other: LiteralScanner) -> None:
        self._reach, self._done = Reach(), -1  # it scans the window again

    def _record(self, match: Match) -> None:
        self._reach.add(match.start, -match.minus_end)

    def reach(self, *, final: bool) -> Reach:
        """How far its matches reach in the text so far, or in all of it if this is the end."""
        spelling = self.spelling
        if final:
            _add_all(self, self._reach)
            return self._reach
        if self._done < spelling.dropped:
            self.state, self._done = self.automaton.start_after(spelling.before), spelling.dropped
        self._read(spelling.chars[self._done - spelling.dropped :])
        self._done = spelling.dropped + len(spelling.chars)
        self._reach.forget(self._window.offset)
        return self._reach


class _ReachByStates(RescanningScanner):
    """Keeps how far the matches that begin at each character reach. It reads the text only on request.

    Matches in the same state have the same future, so they are kept together; of those that end together, only the
    earliest start matters.
    """

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach = Reach()
        self._done = 0  # the number of symbols of the text read so far
        self._begun: dict[Hashable, tuple[Any, Starts]] = {}
        self._pending: dict[int, int] = {}  # ends that count if the next symbol does not continue the word

    def follow(self, other: RescanningScanner) -> None:
        """Goes on from what the other has read: both have read the same so far."""
        super().follow(other)
        if isinstance(other, _ReachByStates):
            self._reach, self._pending, self._done = other._reach.copy(), dict(other._pending), other._done
            self._begun = {key: (state, starts[:]) for key, (state, starts) in other._begun.items()}

    def reach(self, *, final: bool) -> Reach:
        spelling, offset = self.spelling, self._window.offset
        if self._done < spelling.dropped:
            self._begun, self._pending, self._done = {}, {}, spelling.dropped
        for at in range(self._done - spelling.dropped, len(spelling.chars)):
            self._read(at)
        self._done = spelling.dropped + len(spelling.chars)
        if final and spelling.chars:
            self._end_before(spelling.chars[-1], "", offset + spelling.end(len(spelling.chars)))
        self._reach.forget(offset)
        return self._reach

    def _read(self, at: int) -> None:
        automaton, spelling = self.automaton, self.spelling
        chars, offset = spelling.chars, self._window.offset
        symbol, before = chars[at], spelling.symbol_before(at)
        if before:
            self._end_before(before, symbol, offset + (spelling.end(at) if at else 0))
        begun, self._begun = self._begun.items(), {}
        for key, (state, starts) in begun:
            self._join(key, state[symbol], starts)
        if automaton.may_begin(chars, at, spelling.before):
            start = spelling.dropped + at, offset + spelling.begin(at)
            self._join(before, automaton.match_from(before)[symbol], [start])
        count = spelling.dropped + at + 1
        self._drop_long(count)
        self._end_with(offset + spelling.end(at + 1))
        if at + 1 == len(chars) and not automaton.edges.waits(symbol):
            self._keep_pending()

    def _drop_long(self, count: int) -> None:
        """Leaves out the matches that are too long after so many symbols of the text."""
        least = count - self.automaton.max_span
        for key, (_, starts) in list(self._begun.items()):
            while starts and starts[0][0] < least:
                del starts[0]
            if not starts:
                del self._begun[key]

    @abstractmethod
    def _join(self, key: Hashable, state: Any, starts: Starts) -> None:
        """Adds matches in a state. ``key`` is that of the state before, or the symbol before a new match."""

    def _add(self, key: Hashable, state: Any, starts: Starts) -> None:
        _, known = self._begun.setdefault(key, (state, starts))
        if known is starts:
            return
        known += starts
        if known[-len(starts) - 1] > starts[0]:
            known.sort()

    @abstractmethod
    def _end_with(self, end: int) -> None:
        """Notes which matches end with the symbol just read, if the next one permits it."""

    @abstractmethod
    def _end_before(self, last: str, following: str, end: int) -> None:
        """Ends the matches that end at ``end``, between two symbols; ``following`` is empty at the end of the text."""

    def _keep_pending(self) -> None:
        for start, end in self._pending.items():
            self._reach.add(start, end)
        self._pending = {}


class ReachOfRegexes(_ReachByStates, RegexScanner):
    """How far the regular expressions of allow rules reach."""

    def _waiting_starts(self, start: int) -> Iterable[int]:
        return Scanner._waiting_starts(self, start)  # it has no state that tells whether a match is complete

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """The positions at which a match ends, and those of the symbol after one, but for rules that were removed."""
        kept = [ending for ending in self.automaton.positions.endings if ending.rank not in self.removed]
        return union(ending.final for ending in kept), union(ending.after for ending in kept)

    def _join(self, key: Hashable, state: State, starts: Starts) -> None:
        if state.positions:
            self._add(state.positions, state, starts)

    def _end_with(self, end: int) -> None:
        final, _ = self._ends
        for state, starts in self._begun.values():
            if state.positions & final:
                self._pending[starts[0][1]] = end

    def _end_before(self, last: str, following: str, end: int) -> None:
        regexes, (_, after) = self.automaton, self._ends
        if following and not regexes.edges.may_end_between(last, following):
            self._pending = {}
            return
        self._keep_pending()
        for state, starts in self._begun.values() if after else ():
            ahead = state[following].positions if following else regexes.positions.at_edge(state.positions)
            if ahead & after and starts:
                self._reach.add(starts[0][1], end)


class ReachOfLooseWords(_ReachByStates):
    """How far the loose words of allow rules reach."""

    automaton: LooseWords

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._pending_apart: dict[int, int] = {}  # the same for matches with separators in them

    def follow(self, other: RescanningScanner) -> None:
        super().follow(other)
        if isinstance(other, ReachOfLooseWords):
            self._pending_apart = dict(other._pending_apart)

    def _join(self, key: Hashable, state: Progress, starts: Starts) -> None:
        if state.threads:
            joins: bool = key[1] if isinstance(key, tuple) else key != "" and joins_words(str(key))
            self._add((state, joins), state, starts)

    def _waiting_starts(self, start: int) -> Iterable[int]:
        spelling = self.spelling
        complete = [
            begun - spelling.dropped
            for key, (progress, starts) in self._begun.items()
            if progress.together >= 0 or (progress.apart >= 0 and not (isinstance(key, tuple) and key[1]))
            for begun, _ in starts
        ]
        return sorted(index for index in complete if index >= spelling.index(start))

    def _end_with(self, end: int) -> None:
        for key, (progress, starts) in self._begun.items():
            joins = isinstance(key, tuple) and key[1]
            if progress.together >= 0 and progress.together not in self.removed:
                self._pending[starts[0][1]] = end
            if progress.apart >= 0 and progress.apart not in self.removed and not joins:
                self._pending_apart[starts[0][1]] = end

    def _end_before(self, last: str, following: str, end: int) -> None:
        if not following or self.automaton.edges.may_end_between(last, following):
            self._keep_pending()
            if not following or not joins_words(following):
                self._pending = self._pending_apart
                self._keep_pending()
        self._pending, self._pending_apart = {}, {}


class ReachOfCheckedRegexes(RegexScanner):
    """The same for regular expressions that have a check, or whose matches may be incomplete.

    They are searched again from where one may be incomplete.
    """

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach = Reach()
        self._again_from = 0  # the number of characters of the text in which all beginnings are decided

    def follow(self, other: RescanningScanner) -> None:
        super().follow(other)
        self._reach, self._again_from = Reach(), 0

    def _waiting_starts(self, start: int) -> Iterable[int]:
        return Scanner._waiting_starts(self, start)

    def reach(self, *, final: bool) -> Reach:
        offset = self._window.offset
        start = max(self._again_from - offset, 0)
        if final:
            _add_all(self, self._reach)
            return self._reach
        for match in self.found(start).all():
            self._reach.add(match.start + offset, offset - match.minus_end)
        undecided = self.spelling.begin(len(self.spelling.chars))  # its symbols are still to come
        self._again_from = offset + min(self.live(start).first(start), undecided)
        self._reach.forget(offset)
        return self._reach


def _add_all(scanner: ReachOfWords | ReachOfCheckedRegexes, reach: Reach) -> None:
    """Adds the matches in the window, as nothing follows it."""
    window = scanner._window
    span = 0, len(window.raw)
    for match in found_up_to(scanner.automaton, scanner.spelling, span, scanner.removed).all():
        reach.add(window.offset + match.start, window.offset - match.minus_end)
