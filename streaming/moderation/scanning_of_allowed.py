"""Scanners for allow rules: how far the matches that begin at each character reach. Nothing inside them counts."""

from __future__ import annotations

from collections.abc import Iterable

from streaming.moderation.found import Automaton
from streaming.moderation.regex_states import State
from streaming.moderation.scanning import LiteralScanner, RegexScanner, RescanningScanner
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import Window


class ReachOfWords(LiteralScanner):
    """Keeps how far the words that begin at each character reach. It reads the text only on request."""

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach: dict[int, int] = {}
        self._done = 0  # the number of symbols of the text read so far

    def follow(self, other: LiteralScanner) -> None:
        self._reach, self._done = {}, -1  # it scans the window again

    def _record(self, match: Match) -> None:
        self._reach[match.start] = max(-match.minus_end, self._reach.get(match.start, 0))

    def reach(self) -> Iterable[tuple[int, int]]:
        window, spelling = self._window, self.spelling
        if self._done < spelling.dropped:
            self.state, self._done = self.automaton.start_after(spelling.before), spelling.dropped
        self._read(spelling.chars[self._done - spelling.dropped :])
        self._done = spelling.dropped + len(spelling.chars)
        return _in_window(self._reach, window)


class ReachOfRegexes(RegexScanner):
    """Keeps how far the matches that begin at each character reach. It reads the text only on request.

    A thread is a match in progress. Threads in the same state have the same future, so they are merged; of matches
    that end together, only the earliest start matters.
    """

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach: dict[int, int] = {}
        self._done = 0  # the number of symbols of the text read so far
        # Keyed by the state's positions. Each start, ascending, is (the number of symbols before it, its character).
        self._threads: dict[int, tuple[State, list[tuple[int, int]]]] = {}
        self._pending: dict[int, int] = {}  # ends that count if the next symbol does not continue the word

    def follow(self, other: RescanningScanner) -> None:
        """Goes on from what the other has read: both have read the same so far."""
        if isinstance(other, ReachOfRegexes):
            self._reach, self._pending, self._done = dict(other._reach), dict(other._pending), other._done
            self._threads = {positions: (state, starts[:]) for positions, (state, starts) in other._threads.items()}

    def reach(self) -> Iterable[tuple[int, int]]:
        spelling = self.spelling
        if self._done < spelling.dropped:
            self._threads, self._pending, self._done = {}, {}, spelling.dropped
        for at in range(self._done - spelling.dropped, len(spelling.chars)):
            self._read(at)
        self._done = spelling.dropped + len(spelling.chars)
        return _in_window(self._reach, self._window)

    def _read(self, at: int) -> None:
        regexes, spelling = self.automaton, self.spelling
        chars, offset = spelling.chars, self._window.offset
        symbol, before = chars[at], spelling.symbol_before(at)
        if before:
            self._end_threads_before(before, symbol, offset + (spelling.end(at) if at else 0))
        threads: dict[int, tuple[State, list[tuple[int, int]]]] = {}
        for state, starts in self._threads.values():
            _join(threads, state[symbol], starts)
        if regexes.may_begin(chars, at, spelling.before):
            start = spelling.dropped + at, offset + spelling.begin(at)
            _join(threads, regexes.match_from(before)[symbol], [start])
        self._threads = threads
        self._end_threads(symbol, spelling.dropped + at + 1, offset + spelling.end(at + 1))

    def _end_threads_before(self, last: str, following: str, end: int) -> None:
        """Ends the threads that end before the symbol ``following``, which is known now."""
        regexes = self.automaton
        if not regexes.edges.may_end_between(last, following):
            self._pending = {}
            return
        self._keep_pending()
        if not regexes.positions.after:
            return
        for state, starts in self._threads.values():
            if starts and state[following].positions & regexes.positions.after:
                self._reach[starts[0][1]] = max(end, self._reach.get(starts[0][1], 0))

    def _end_threads(self, symbol: str, count: int, end: int) -> None:
        regexes = self.automaton
        for positions, (_, starts) in list(self._threads.items()):
            while starts and count - starts[0][0] > regexes.max_span:
                del starts[0]
            if not starts:
                del self._threads[positions]
            elif positions & regexes.positions.final:
                self._pending[starts[0][1]] = end
        is_last = count == self.spelling.dropped + len(self.spelling.chars)
        if is_last and not regexes.edges.waits(symbol):
            self._keep_pending()

    def _keep_pending(self) -> None:
        for start, end in self._pending.items():
            self._reach[start] = max(end, self._reach.get(start, 0))
        self._pending = {}


class _RescannedReach(RescanningScanner):
    """Computes how far the matches of allow rules reach, by searching again from where one may be incomplete."""

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._reach: dict[int, int] = {}
        self._again_from = 0  # the number of characters of the text in which all beginnings are decided

    def follow(self, other: RescanningScanner) -> None:
        super().follow(other)
        self._reach, self._again_from = {}, 0

    def reach(self) -> Iterable[tuple[int, int]]:
        offset = self._window.offset
        start = max(self._again_from - offset, 0)
        for match in self.found(start).all():
            begin = match.start + offset
            self._reach[begin] = max(offset - match.minus_end, self._reach.get(begin, 0))
        undecided = self.spelling.begin(len(self.spelling.chars))  # its symbols are still to come
        self._again_from = offset + min(self.live(start).first(start), undecided)
        return _in_window(self._reach, self._window)


class ReachOfLooseWords(_RescannedReach):
    """How far the loose words of allow rules reach."""


class ReachOfCheckedRegexes(_RescannedReach, RegexScanner):
    """The same for regular expressions that have a check, or whose matches may be incomplete."""


def _join(threads: dict[int, tuple[State, list[tuple[int, int]]]], state: State, starts: list[tuple[int, int]]) -> None:
    if not state.positions:
        return
    _, known = threads.setdefault(state.positions, (state, starts))
    if known is starts:
        return
    known += starts
    if known[-len(starts) - 1] > starts[0]:
        known.sort()


def _in_window(reach: dict[int, int], window: Window) -> Iterable[tuple[int, int]]:
    """(start, end) of each match, except those that end before the window."""
    for start, end in list(reach.items()):
        if end <= window.offset:
            del reach[start]
        else:
            yield start - window.offset, end - window.offset
