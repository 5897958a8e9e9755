"""Automata on their way through one text: what each has met, and where it could still meet something.

A scanner reads each piece of the text once. Nearly always it only runs its automaton over it and learns that there is
nothing. Its answers are in window coordinates; what it remembers counts from the beginning of the text, since the
window moves on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from streaming.moderation.folding import is_word_char
from streaming.moderation.literals import LiteralMatches, Literals, Node
from streaming.moderation.regexes import Regexes, RegexMatches, State
from streaming.moderation.window import Match, Window


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One automaton, and which spelling of the text it reads: the folded one, or the text as it came."""

    automaton: Literals | Regexes
    exact: bool


class Found:
    """The matches of one machine in a part of a window, looked for anew and asked for from left to right."""

    def __init__(self, machine: Machine, window: Window, start: int, end: int, *, final: bool) -> None:
        self._window = window
        self._exact = exact = machine.exact
        self._base = window.index(start, exact=exact)
        text = window.spelling(exact=exact)[self._base : window.index(end, exact=exact)]
        before = window.before(self._base, exact=exact)
        self._matches: LiteralMatches | RegexMatches = machine.automaton.matches(text, before, final=final)
        self._least = 0
        self._next: Match | None = None
        # Of a folding that is not one to one, several matches may be of the same characters: the least comes first.
        one_to_one = window.is_one_to_one(exact=exact)
        self.candidates = self._longest_of_each() if one_to_one else iter(sorted(self.all()))

    def all(self) -> Iterator[Match]:
        for start in self._matches.starts(0):
            for end, rank in self._matches.ends(start):
                yield self._match(start, end, rank)

    def first(self, least: int) -> Match | None:
        """The leftmost and then longest that begins at ``least`` or after; ``least`` only grows."""
        if self._next is None or self._next.start < least:
            self._least = least
            self._next = next((match for match in self.candidates if match.start >= least), None)
        return self._next

    def _longest_of_each(self) -> Iterator[Match]:
        for start in self._matches.starts(0):
            if self._base + start >= self._least and (longest := self._matches.longest(start)) is not None:
                yield self._match(start, *longest)

    def _match(self, start: int, end: int, rank: int) -> Match:
        first = self._window.begin(self._base + start, exact=self._exact)
        return Match(first, -self._window.end(self._base + end, exact=self._exact), rank)


class Live:
    """Where in a window matches of one machine could begin that are not complete. Each is looked at when asked for."""

    def __init__(self, window: Window, starts: Iterator[int], is_live: Callable[[int], bool], *, exact: bool) -> None:
        self._window = window
        self._exact = exact
        self._starts = starts  # ascending, as they are spelled
        self._is_live = is_live
        self._next = -1

    def first(self, least: int) -> int:
        """The first that is ``least`` or more, or else the window's end; ``least`` only grows."""
        while self._next < least:
            start = next(self._starts, None)
            if start is None:
                self._next = len(self._window.raw)
                break
            first = self._window.begin(start, exact=self._exact)
            if first >= least and self._is_live(start):
                self._next = first
        return self._next


class RegexScanner:
    """Regular expressions in one text. What was met is looked for anew each time: a match can be of any shape."""

    def __init__(self, regexes: Regexes, window: Window, *, exact: bool) -> None:
        self.machine = Machine(regexes, exact)
        self.exact = exact
        self.state = regexes.start
        self._regexes = regexes
        self._window = window

    @property
    def has_met(self) -> bool:
        return self.state.is_hit

    def feed(self, text: str) -> bool:
        """Reads what was added to the window, in this machine's spelling. Whether a match was met."""
        self.state = self._regexes.run(self.state, text)
        return self.state.is_hit

    def found(self, start: int) -> Found:
        return Found(self.machine, self._window, start, len(self._window.raw), final=False)

    def all(self, start: int) -> Iterable[Match]:
        return self.found(start).all()

    def live(self, start: int) -> Live:
        window, exact = self._window, self.exact
        text, before = window.spelling(exact=exact), window.before(0, exact=exact)
        starts = self._regexes.open_starts(text, window.index(start, exact=exact))
        return Live(window, iter(starts), lambda at: self._regexes.is_live(text, at, before), exact=exact)

    def forget(self, start: int) -> None:
        """What begins before ``start`` does not matter any more."""
        # Otherwise it may know of too many beginnings: what it holds is told from the text.
        if self.state.is_hit:
            base = self._window.index(start, exact=self.exact)
            self.state = self._regexes.run(self._regexes.start, self._window.spelling(exact=self.exact)[base:])


class LiteralScanner(ABC):
    """Words in one text. Each is met once, when it ends."""

    def __init__(self, literals: Literals, window: Window, *, exact: bool) -> None:
        self.machine = Machine(literals, exact)
        self.exact = exact
        self.state: Node = literals.start
        self._literals = literals
        self._window = window
        # What was met counts from the beginning of the text. Pending are whole words that may go on.
        self._found: list[Match] = []
        self._pending: list[Match] = []

    @property
    def has_met(self) -> bool:
        return bool(self._found)

    def feed(self, text: str) -> bool:
        """Reads what was added to the window, in this machine's spelling. Whether a word was met, or may have been."""
        state = self._literals.run(self.state, text)
        if state.is_hit:
            self._read(text)
        else:
            self.state = state
        return bool(self._found or self._pending)

    @abstractmethod
    def _record(self, match: Match) -> None:
        """Remembers a match; of those to come none ends earlier."""

    def _read(self, text: str) -> None:
        node, end = self.state, len(self._window.spelling(exact=self.exact)) - len(text)
        for char in text:
            end += 1
            if self._pending:
                self._settle(char)
            node = self._literals.step(node, char)
            word = node if node.rank >= 0 else node.output
            while word is not None:
                self._meet(end - word.depth, end, word.rank)
                word = word.output
        self.state = node

    def _settle(self, char: str) -> None:
        pending, self._pending = self._pending, []
        if not is_word_char(char):
            for match in pending:
                self._record(match)

    def _meet(self, start: int, end: int, rank: int) -> None:
        window, exact = self._window, self.exact
        spelling = window.spelling(exact=exact)
        # What begins before the window was let go, since no whole word may begin there.
        if start < 0 or not self._literals.may_begin(spelling, start, window.before(0, exact=exact)):
            return
        offset = window.offset
        match = Match(offset + window.begin(start, exact=exact), -offset - window.end(end, exact=exact), rank)
        if self._literals.whole_word and is_word_char(spelling[end - 1]):
            self._pending.append(match)
        else:
            self._record(match)

    def live(self, start: int) -> Live:
        window, exact = self._window, self.exact
        text, before = window.spelling(exact=exact), window.before(0, exact=exact)
        return Live(window, self._literals.live(self.state, text, before), lambda _: True, exact=exact)

    def forget(self, start: int) -> None:
        """What begins before ``start`` does not matter any more."""
        least = start + self._window.offset
        self._found = [match for match in self._found if match.start >= least]

    def _in_window(self, match: Match) -> Match:
        offset = self._window.offset
        return Match(match.start - offset, match.minus_end + offset, match.rank)


class LongestWords(LiteralScanner):
    """Of the words that begin at one character it remembers the longest, sorted by where they begin."""

    def _record(self, match: Match) -> None:
        found, at = self._found, bisect_left(self._found, (match.start,))
        if at == len(found) or found[at].start != match.start:
            found.insert(at, match)
        elif match < found[at]:
            found[at] = match

    def found(self, start: int) -> LongestWords:
        return self

    def first(self, least: int) -> Match | None:
        """The leftmost and then longest that begins at ``least`` or after."""
        at = bisect_left(self._found, (least + self._window.offset,))
        return self._in_window(self._found[at]) if at < len(self._found) else None


class AllWords(LiteralScanner):
    """It remembers every word, also those inside others."""

    def _record(self, match: Match) -> None:
        self._found.append(match)

    def all(self, start: int) -> Iterable[Match]:
        return map(self._in_window, self._found)


class ReachOfWords(LiteralScanner):
    """It remembers how far the words reach that begin at each character. Reads when it is asked."""

    def __init__(self, literals: Literals, window: Window, *, exact: bool) -> None:
        super().__init__(literals, window, exact=exact)
        self._reach: dict[int, int] = {}
        self._done = 0

    def _record(self, match: Match) -> None:
        self._reach[match.start] = -match.minus_end

    def reach(self) -> Iterable[tuple[int, int]]:
        window = self._window
        if self._done < window.offset:
            self.state, self._pending, self._done = self._literals.start, [], window.offset
        self._read(window.spelling(exact=self.exact)[window.index(self._done - window.offset, exact=self.exact) :])
        self._done = window.offset + len(window.raw)
        return _in_window(self._reach, window)


class ReachOfRegexes(RegexScanner):
    """It remembers how far the matches reach that begin at each character. Reads when it is asked.

    A thread is a beginning on its way to an end. Threads that are in the same state have the same future, so they go
    on as one; of those that end together only the first beginning matters.
    """

    def __init__(self, regexes: Regexes, window: Window, *, exact: bool) -> None:
        super().__init__(regexes, window, exact=exact)
        self._reach: dict[int, int] = {}
        self._done = 0
        self._count = 0  # characters read, as they are spelled
        # By the state's positions. Of each start, ascending: the count there, and which character of the text it is.
        self._threads: dict[int, tuple[State, list[tuple[int, int]]]] = {}
        self._pending: dict[int, int] = {}  # ends of whole words, if the next character is not of the word

    def reach(self) -> Iterable[tuple[int, int]]:
        window, exact = self._window, self.exact
        if self._done < window.offset:
            self._threads, self._pending, self._done = {}, {}, window.offset
        spelling = window.spelling(exact=exact)
        for at in range(window.index(self._done - window.offset, exact=exact), len(spelling)):
            self._read(spelling, at)
        self._done = window.offset + len(window.raw)
        return _in_window(self._reach, window)

    def _read(self, spelling: str, at: int) -> None:
        regexes, window, char = self._regexes, self._window, spelling[at]
        if self._pending:
            if not is_word_char(char):
                self._reach |= self._pending
            self._pending = {}
        threads: dict[int, tuple[State, list[tuple[int, int]]]] = {}
        for state, starts in self._threads.values():
            _join(threads, state[char], starts)
        if regexes.may_begin(spelling, at, window.before(0, exact=self.exact)):
            start = window.offset + window.begin(at, exact=self.exact)
            _join(threads, regexes.match_start[char], [(self._count, start)])
        self._count += 1
        self._threads = threads
        self._end_threads(char, window.offset + window.end(at + 1, exact=self.exact))

    def _end_threads(self, char: str, end: int) -> None:
        regexes = self._regexes
        pending = regexes.whole_word and is_word_char(char)
        for positions, (_, starts) in list(self._threads.items()):
            while starts and self._count - starts[0][0] > regexes.max_span:
                del starts[0]
            if not starts:
                del self._threads[positions]
            elif positions & regexes.positions.final:
                (self._pending if pending else self._reach)[starts[0][1]] = end


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
    """(start, end) of each, but for those that end before the window."""
    for start, end in list(reach.items()):
        if end <= window.offset:
            del reach[start]
        else:
            yield start - window.offset, end - window.offset
