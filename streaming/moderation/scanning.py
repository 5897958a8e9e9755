"""Scanners: the state of an automaton in one text, with the matches found so far and the starts of possible ones.

A scanner reads each piece of a spelling once. Nearly always it only runs its automaton over the piece and finds no
match. Its results are in characters of the window; its stored positions count from the beginning of the text, because
the window moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from heapq import merge
from operator import getitem
from typing import Any

from streaming.moderation.edges import Ending
from streaming.moderation.folding import forms_of_letter
from streaming.moderation.live_starts import LiveStarts, What
from streaming.moderation.loose_words import LooseMatches, LooseWords
from streaming.moderation.regex_automaton import Regexes, RegexMatches, State
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import Window
from streaming.moderation.word_automaton import LiteralMatches, Literals, Node

Automaton = Literals | Regexes | LooseWords


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """An automaton, and which spellings of the text it reads: the raw one, or those that its rules need."""

    automaton: Automaton
    exact: bool
    accents: bool
    spaces: bool

    @property
    def looks_back(self) -> bool:
        """Whether a match may depend on the symbol before it."""
        automaton = self.automaton
        if isinstance(automaton, LooseWords) or self.spaces or automaton.edges.whole_word:
            return True
        return isinstance(automaton, Regexes) and automaton.positions.before != 0


class Found:
    """Searches a part of a window again for the matches of one automaton, from left to right."""

    def __init__(
        self,
        automaton: Automaton,
        spelling: Spelling,
        start: int,
        end: int,
        *,
        final: bool,
        removed: frozenset[int] = frozenset(),
    ) -> None:
        self._spelling = spelling
        self._removed = removed
        self._base = spelling.index(start)
        text = spelling.chars[self._base : spelling.index_of_end(end)]
        before = spelling.symbol_before(self._base)
        self._matches: LiteralMatches | RegexMatches | LooseMatches = automaton.matches(text, before, final=final)
        self._least = 0
        self._next: Match | None = None
        # If a spelling is not one to one, several matches may cover the same characters: the lowest comes first.
        self._candidates = (
            self._longest_of_each() if spelling.is_one_to_one and not removed else iter(sorted(self.all()))
        )

    def all(self) -> Iterator[Match]:
        for start in self._matches.starts():
            for ending in self._matches.ends(start):
                if ending.rank not in self._removed:
                    yield self._match(start, ending)

    def first(self, least: int) -> Match | None:
        """The leftmost, then longest match that begins at or after ``least``, which must never decrease."""
        if self._next is None or self._next.start < least:
            self._least = least
            self._next = next((match for match in self._candidates if match.start >= least), None)
        return self._next

    def _longest_of_each(self) -> Iterator[Match]:
        for start in self._matches.starts():
            if self._base + start >= self._least and (longest := self._matches.longest(start)) is not None:
                yield self._match(start, longest)

    def _match(self, start: int, ending: Ending) -> Match:
        spelling = self._spelling
        first = spelling.begin(self._base + start)
        end = spelling.end(self._base + ending.end)
        return Match(first, -end, ending.rank, spelling.number, ending.looks)


class Live:
    """The possible starts of incomplete matches in a window, computed lazily."""

    def __init__(self, window: Window, spelling: Spelling, starts: Iterator[int]) -> None:
        self._window = window
        self._spelling = spelling
        self._starts = starts  # ascending, as indexes of symbols
        self._next = -1

    def first(self, least: int) -> int:
        """The first start at or after ``least``, or else the window's end. ``least`` must never decrease."""
        while self._next < least:
            start = next(self._starts, None)
            if start is None:
                self._next = len(self._window.raw)
                break
            self._next = self._spelling.begin(start)
            if start >= len(self._spelling.chars):
                # Within the undecided letter, whose first marks may have been released: it begins after these.
                self._next = max(self._next, least)
        return self._next


class Scanner(ABC):
    """The base class of all scanners."""

    automaton: Any
    state: Any

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        self.automaton = automaton
        self.spelling = spelling
        self.own = spelling
        self.state = automaton.start
        self.following = self.state  # the state after text that is being skimmed
        self.removed: frozenset[int] = frozenset()
        """The ranks of removed rules."""
        self._window = window

    @property
    @abstractmethod
    def has_met(self) -> bool:
        """Whether a match was found that has not been handled yet."""

    @abstractmethod
    def held_after(self, state: Any) -> int:
        """How many of the last characters must be held if it skims the symbols just added, and moves to ``state``.

        NOT_KNOWN if that is not easy to tell.
        """

    @abstractmethod
    def feed(self, state: Any) -> bool:
        """Moves to ``state``, which follows the symbols just added. Returns whether there is or may be a match."""

    def join(self) -> None:
        """Goes on in the leader's spelling, which agrees with its own."""
        self.spelling = self.own.leader

    @abstractmethod
    def follow(self, other: Any) -> None:
        """Copies the state of another scanner of the same automaton, in another spelling."""

    def goes_on_with_open(self) -> bool:
        """Whether a match could continue, begin or end with the undecided letter."""
        letter = self.spelling.open
        if not letter or self.state.is_hit:
            return letter != ""
        known = self.state.with_open
        found = known.get(letter)
        if found is None:
            found = any(map(self._goes_on_with, self._forms()))
            if len(known) < _MAX_KNOWN:
                known[letter] = found
        return bool(found)

    def _goes_on_with(self, form: str) -> bool:
        return bool(self.automaton.goes_on_with(self.state, form) if form else self.state.may_grow)

    def _forms(self) -> tuple[str, ...]:
        reading = self.spelling.reading
        return reading.letters.forms if reading else ()

    def live(self, start: int) -> Live:
        """The possible starts of incomplete matches, from ``start`` on."""
        if not self.spelling.open:
            return Live(self._window, self.spelling, self._open_starts(start, "", or_final=False))
        starts = [iter(self._waiting_starts(start))]
        for form in self._forms():
            if not form:
                starts.append(self._open_starts(start, "", or_final=False))
            starts += [self._open_starts(start, form[:size], or_final=True) for size in range(1, len(form) + 1)]
        return Live(self._window, self.spelling, merge(*starts))

    @abstractmethod
    def _open_starts(self, start: int, more: str, *, or_final: bool) -> Iterator[int]:
        """The possible starts, as symbol indexes, of matches still incomplete after the spelling plus ``more``."""

    def _waiting_starts(self, start: int) -> Iterable[int]:
        """The starts of matches that are complete if the next symbol, which has not arrived yet, permits it."""
        spelling = self.spelling
        waits = isinstance(self.automaton, LooseWords) or self.automaton.edges.waits(spelling.chars[-1:] or " ")
        if not spelling.chars or not waits:
            return ()
        starts: Iterable[int] = self.automaton.waiting_starts(spelling.chars, spelling.index(start), spelling.before)
        return starts

    def found(self, start: int) -> Any:
        return Found(self.automaton, self.spelling, start, len(self._window.raw), final=False, removed=self.removed)

    def all(self, start: int) -> Iterable[Match]:
        found: Found = self.found(start)
        return found.all()

    @abstractmethod
    def forget(self, start: int) -> None:
        """Forgets everything that begins before ``start``."""


NOT_KNOWN = -1

_MAX_KNOWN = 256

_MUCH = 64
"""In symbols. What is held is searched for the start of an incomplete match with each piece while it is not longer."""


class RescanningScanner(Scanner):
    """Finds regular expressions or loose words in one text. After a hit, the text is searched again for the matches."""

    automaton: Regexes | LooseWords

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._live_starts = LiveStarts(self.automaton)

    @property
    def has_met(self) -> bool:
        return bool(self.state.is_hit)

    def follow(self, other: RescanningScanner) -> None:
        self.state = other.state
        self._live_starts.follow(other._live_starts)

    def join(self) -> None:
        self._live_starts.moved(self.own.leader.dropped - self.own.dropped)
        super().join()

    def held_after(self, state: Any) -> int:
        return NOT_KNOWN if state.may_grow or self.spelling.opening else 0

    def feed(self, state: Any) -> bool:
        self.state = state
        return bool(state.is_hit)

    def _open_starts(self, start: int, more: str, *, or_final: bool) -> Iterator[int]:
        spelling, edges = self.spelling, self.automaton.edges
        last = more[-1:] or spelling.chars[-1:]
        or_final = or_final or (last != "" and edges.waits(last))
        return self._live_starts.after(spelling, spelling.index(start), What(more, or_final, bool(more)))

    def forget(self, start: int) -> None:
        # After a hit the state may contain outdated starts, so it is recomputed from the remaining text.
        if self.has_met:
            base = self.spelling.index(start)
            before = self.spelling.symbol_before(base)
            self.state = reduce(getitem, self.spelling.chars[base:], self.automaton.start_after(before))


class RegexScanner(RescanningScanner):
    """Finds regular expressions in one text."""

    automaton: Regexes

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._overflows = False

    @property
    def has_met(self) -> bool:
        return bool(self.state.is_hit) or self._overflows

    def feed(self, state: Any) -> bool:
        self.state = state
        if self.automaton.overflows:
            spelling = self.spelling
            is_long = len(spelling.chars) >= self.automaton.max_span
            self._overflows = is_long and self.automaton.any_overflow(spelling.chars, spelling.before)
        return bool(state.is_hit) or self._overflows

    def held_after(self, state: State) -> int:
        spelling, regexes = self.spelling, self.automaton
        text, before = spelling.chars + spelling.added, spelling.before
        if spelling.opening or len(text) > _MUCH or regexes.overflows:
            return NOT_KNOWN
        or_final = bool(text) and regexes.edges.waits(text[-1])
        start = next(regexes.live_starts(text, 0, before, or_final=or_final), len(text))
        return len(text) - start


class LiteralScanner(Scanner):
    """Finds words in one text. Each occurrence is reported once, at its end."""

    automaton: Literals
    state: Node

    def __init__(self, automaton: Automaton, window: Window, spelling: Spelling) -> None:
        super().__init__(automaton, window, spelling)
        self._found: list[Match] = []  # their offsets count from the start of the text

    @property
    def has_met(self) -> bool:
        return bool(self._found)

    def follow(self, other: LiteralScanner) -> None:
        self.state, self._found = other.state, []

    def feed(self, state: Node) -> bool:
        if state.is_hit:
            self._read(self.spelling.added)
        else:
            self.state = state
        return bool(self._found)

    def goes_on_with_open(self) -> bool:
        return self.spelling.open != "" and self._held_before(self.spelling.open, self.state) >= 0

    def held_after(self, state: Node) -> int:
        opening = self.spelling.opening
        return self._held_before(opening, state) + 1 if opening else state.may_grow

    def _held_before(self, letter: str, state: Node) -> int:
        """``Literals.held_before_open`` for an undecided letter."""
        known = state.before_open
        if known is None:
            known = state.before_open = {}
        held = known.get(letter)
        if held is None:
            forms = forms_of_letter(letter, accents=self.spelling.key.accents)
            held = self.automaton.held_before_open(state, forms)
            if len(known) < _MAX_KNOWN:
                known[letter] = held
        return held

    @abstractmethod
    def _record(self, match: Match) -> None:
        """Stores a match. Matches arrive in order of their ends."""

    def _read(self, text: str) -> None:
        node, step = self.state, self.automaton.step
        for end, char in enumerate(text, len(self.spelling.chars) - len(text) + 1):
            after = step(node, char) if node.is_hit else node[char]
            node = self._step(node, char, end) if after.is_hit else after
        self.state = node

    def _step(self, node: Node, char: str, end: int) -> Node:
        """Reads the symbol before ``end``, and records the words that end before or after it."""
        literals, chars = self.automaton, self.spelling.chars
        may_end = literals.edges.may_end_between
        if node.waits and may_end(chars[end - 2] if end > 1 else self.spelling.before, char):
            self._record_words(node, end - 1)
        after = literals.step(node, char)
        if after.is_hit and (end == len(chars) or may_end(char, chars[end])):
            self._record_words(after, end)
        return after

    def _record_words(self, node: Node, end: int) -> None:
        """Records the words that end with this node."""
        spelling, offset = self.spelling, self._window.offset
        word = node if node.rank >= 0 else node.output
        while word is not None:
            start = end - word.depth
            # A start before the window was dropped already, since no word can begin there.
            if start >= 0 and word.rank not in self.removed:
                first, last = spelling.begin(start), spelling.end(end)
                self._record(Match(offset + first, -offset - last, word.rank, spelling.number))
            word = word.output

    def _open_starts(self, start: int, more: str, *, or_final: bool) -> Iterator[int]:
        spelling, literals = self.spelling, self.automaton
        node = reduce(literals.step, more, self.state)
        return literals.live(node, spelling.chars + more, spelling.before, or_final=or_final)

    def forget(self, start: int) -> None:
        least = start + self._window.offset
        self._found = [match for match in self._found if match.start >= least]

    def _in_window(self, match: Match) -> Match:
        start, minus_end, rank, spelling, looks = match
        offset = self._window.offset
        return Match(start - offset, minus_end + offset, rank, spelling, looks)


class LongestWords(LiteralScanner):
    """Keeps the longest of the words that begin at the same character, sorted by their starts."""

    def _record(self, match: Match) -> None:
        found, at = self._found, bisect_left(self._found, (match.start,))
        if at == len(found) or found[at].start != match.start:
            found.insert(at, match)
        elif match < found[at]:
            found[at] = match

    def forget(self, start: int) -> None:
        del self._found[: bisect_left(self._found, (start + self._window.offset,))]

    def found(self, start: int) -> LongestWords:
        return self

    def first(self, least: int) -> Match | None:
        """The leftmost, then longest word that begins at or after ``least``."""
        at = bisect_left(self._found, (least + self._window.offset,))
        return self._in_window(self._found[at]) if at < len(self._found) else None


class AllWords(LiteralScanner):
    """Keeps every word, including words inside others."""

    def _record(self, match: Match) -> None:
        self._found.append(match)

    def all(self, start: int) -> Iterable[Match]:
        return map(self._in_window, self._found)


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
        self._reach, self._done = {}, -1

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


class ReachOfLooseWords(RescanningScanner):
    """Computes how far the matches of allow rules reach, by searching for them again each time."""

    def reach(self) -> Iterable[tuple[int, int]]:
        return ((match.start, -match.minus_end) for match in self.found(0).all())


class ReachOfCheckedRegexes(RegexScanner):
    """The same for regular expressions that have a check, or whose matches may be incomplete."""

    def reach(self) -> Iterable[tuple[int, int]]:
        return ((match.start, -match.minus_end) for match in self.found(0).all())


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
