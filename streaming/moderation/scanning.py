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

from streaming.moderation.folding import fold_letter, forms_of_letter
from streaming.moderation.found import NO_ALLOWANCES, Allowances, Automaton, Failures, Found
from streaming.moderation.live_starts import LiveStarts, What
from streaming.moderation.loose_words import LooseWords
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.regex_states import State
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import Window
from streaming.moderation.word_automaton import Literals, Node


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
        self.held = 0  # after it, as far as the readings that keep all signs tell
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
        return self._forms_of(reading.letters.open) if reading else ()

    def _forms_of(self, letter: str) -> tuple[str, ...]:
        """The symbols that an undecided letter may become, with a further mark if a match may begin with one."""
        accents, mark = self.spelling.key.accents, self.automaton.leading_mark
        forms = forms_of_letter(letter, accents=accents)
        return (*forms, fold_letter(letter, accents=accents) + mark) if mark and letter else forms

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

    def found(self, start: int, allowed: Allowances = NO_ALLOWANCES) -> Any:
        spelling = self.spelling
        base, end = spelling.index(start), len(spelling.chars)
        matches = self.automaton.matches(spelling.chars[base:], spelling.symbol_before(base), final=False)
        return Found(spelling, matches, (base, end), self.removed, allowed)

    def all(self, start: int, allowed: Allowances) -> Iterable[Match]:
        """The matches that begin at or after ``start``. Some that are allowed are left out."""
        found: Found = self.found(start, allowed)
        return found.all()

    def find_skimmed(self, size: int) -> tuple[Any, list[tuple[int, int, int, int]]] | None:
        """Finds the matches in text that was skimmed; ``size`` is the number of characters of the window with it.

        Returns the state after it, and (start, -end, rank, number of the spelling) of each match in the window; None if
        they are not found easily.
        """
        return None

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

    def _waiting_starts(self, start: int) -> Iterable[int]:
        return super()._waiting_starts(start) if self.state.is_hit else ()  # it is a hit if any match is complete

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
        self._failures = Failures(self.automaton)

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

    def follow(self, other: RescanningScanner) -> None:
        super().follow(other)
        if isinstance(other, RegexScanner):
            self._failures.follow(other._failures)

    def join(self) -> None:
        self._failures.moved(self.own.leader.dropped - self.own.dropped)
        super().join()

    def found(self, start: int, allowed: Allowances = NO_ALLOWANCES) -> Found:
        return self._failures.search(self.spelling, self.spelling.index(start), self.removed, allowed)

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
            held = self.automaton.held_before_open(state, self._forms_of(letter))
            if len(known) < _MAX_KNOWN:
                known[letter] = held
        return held

    @abstractmethod
    def _record(self, match: Match) -> None:
        """Stores a match. Matches arrive in order of their ends."""

    def _read(self, text: str) -> None:
        spelling = self.spelling
        base, offset = len(spelling.chars) - len(text), self._window.offset
        before = spelling.chars[base - 1] if base > 0 else spelling.before
        self.state, words = self.automaton.read(self.state, text, before)
        for start, stop, rank in words:
            # A start before the window was dropped already, since no word can begin there.
            if base + start >= 0 and rank not in self.removed:
                first, last = spelling.begin(base + start), spelling.end(base + stop)
                self._record(Match(offset + first, -offset - last, rank, spelling.number))

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

    def find_skimmed(self, size: int) -> tuple[Node, list[tuple[int, int, int, int]]]:
        spelling, removed = self.spelling, self.removed
        state, words = self.automaton.read(self.state, spelling.added, spelling.last)
        base, number = size - len(spelling.opening) - len(spelling.added), spelling.number
        found = [
            (base + start, -base - stop, rank, number)
            for start, stop, rank in words
            if base + start >= 0 and rank not in removed
        ]
        return state, found

    def forget(self, start: int) -> None:
        del self._found[: bisect_left(self._found, (start + self._window.offset,))]

    def found(self, start: int, allowed: Allowances = NO_ALLOWANCES) -> LongestWords:
        return self

    def first(self, least: int) -> Match | None:
        """The leftmost, then longest word that begins at or after ``least``."""
        at = bisect_left(self._found, (least + self._window.offset,))
        return self._in_window(self._found[at]) if at < len(self._found) else None


class AllWords(LiteralScanner):
    """Keeps every word, including words inside others."""

    def _record(self, match: Match) -> None:
        self._found.append(match)

    def all(self, start: int, allowed: Allowances) -> Iterable[Match]:
        return map(self._in_window, self._found)
