"""Loose word matching: finds words written with look-alike letters, separators between letters, or repeated letters.

Each letter of a word may be written as any symbol that looks like it (UTS #39, and common substitutes: 4 for a, $ for
s), one or more times. Up to three separators may stand between two letters. A match that contains separators counts
only if there is no letter directly before or after it, so ``push it`` does not match a bad word.

The words form a trie. A thread is a trie node and the number of separators since its letter. The set of active threads
is a state, which is cached on first use like the states of regular expressions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache, reduce
from operator import getitem
from string import ascii_lowercase

from streaming.moderation.edges import Edges, Ending
from streaming.moderation.folding import fold, fold_letter, is_mark, is_word_char, moving_marks
from streaming.moderation.shared import Shared
from streaming.moderation.unicode_tables import LOOK_ALIKES
from streaming.moderation.walks import Walks

MAX_SEPARATORS = 3

# Common substitutes for letters. A sign among them is also a separator: "s!h!t".
_WRITTEN_FOR = {
    "a": "4@", "b": "8", "c": "(<¢©", "e": "3€", "g": "69", "h": "#", "i": "l1!|", "o": "0", "s": "5$", "t": "7+",
    "x": "×", "y": "¥", "z": "2",
}  # fmt: skip
# Negative circled, negative squared and flag letters: no compatibility forms, but people read them as letters.
_LETTER_SIGNS = (0x1F150, 0x1F170, 0x1F1E6)


@lru_cache(maxsize=1)
def _table() -> dict[str, frozenset[str]]:
    """The letters that each look-alike symbol may be read as."""
    read_as: dict[str, set[str]] = {}
    for letter, alike in LOOK_ALIKES.items():
        for char in alike:
            symbol = fold_letter(char)
            if len(symbol) == 1 and symbol.isalnum() and not symbol.isascii():
                read_as.setdefault(symbol, set()).add("i" if letter in "l1" else letter)
    for letter, signs in _WRITTEN_FOR.items():
        for sign in signs:
            read_as.setdefault(sign, {sign} if sign.isdigit() and sign != "1" else set()).add(letter)
    for letter in ascii_lowercase:
        small_capital = _named(f"LATIN LETTER SMALL CAPITAL {letter.upper()}")
        read_as.setdefault(small_capital, set()).add("i" if letter == "l" else letter)
    for first in _LETTER_SIGNS:
        for number in range(26):
            letter = chr(ord("a") + number)
            read_as.setdefault(chr(first + number), set()).add("i" if letter == "l" else letter)
    return {symbol: frozenset(letters) for symbol, letters in read_as.items()}


def _named(name: str) -> str:
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return ""


@lru_cache(maxsize=1 << 12)
def letters_of(symbol: str) -> frozenset[str]:
    """The letters that a symbol may be read as; empty if it is only a separator."""
    found = _table().get(symbol)
    if found is not None:
        return found
    return frozenset(symbol) if symbol.isalnum() or is_mark(symbol) else frozenset()


def is_letter(symbol: str) -> bool:
    return bool(letters_of(symbol))


def is_separator(symbol: str) -> bool:
    return not symbol.isalnum() and not is_mark(symbol)


def loose_word(pattern: str, *, accents: bool) -> str:
    """The letters of a word for loose matching, with one representative for all look-alikes."""
    read = (letters_of(symbol) for symbol in fold(pattern, accents=accents))
    return "".join(min(letters) for letters in read if letters)


class _Node(dict[str, "_Node"]):
    """A node of the trie: its children, and the lowest rank of the words that end here."""

    __slots__ = ("letter", "number", "rank")

    def __init__(self, number: int, letter: str) -> None:
        self.number = number
        self.letter = letter
        self.rank = -1


_Thread = tuple[int, int]
"""The number of a node, and the number of separators since its letter."""


class LooseState(Shared, dict[str, "LooseState"]):
    """A set of threads. ``state[symbol]`` is the next state, computed on first use."""

    __slots__ = ("automaton", "is_hit", "may_grow", "threads", "with_open")

    def __init__(self, automaton: LooseWords, threads: frozenset[_Thread], *, is_hit: bool) -> None:
        self.automaton = automaton
        self.threads = threads
        self.is_hit = is_hit
        self.may_grow = bool(threads)
        self.with_open: dict[str, bool] = {}

    def __missing__(self, symbol: str) -> LooseState:
        return self.automaton.go(self, symbol)


class _Hit(LooseState):
    """The state after a complete word: every symbol leads back to it."""

    __slots__ = ()

    def __missing__(self, symbol: str) -> LooseState:
        self[symbol] = self
        return self


class Progress(Shared, dict[str, "Progress"]):
    """The threads of one match, each with whether it has read a separator. ``progress[symbol]`` is what follows.

    ``together`` and ``apart`` are the lowest ranks of the words that end here, without and with separators in them; -1
    if none does.
    """

    __slots__ = ("apart", "may_grow", "threads", "together", "words")

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, words: LooseWords, threads: dict[_Thread, bool]) -> None:
        self.words = words
        self.threads = threads
        self.may_grow = bool(threads)
        self.together, self.apart = (
            min(
                (rank for each, apart in threads.items() if apart is kind and (rank := words.ends_word(each)) >= 0),
                default=-1,
            )
            for kind in (False, True)
        )

    def __missing__(self, symbol: str) -> Progress:
        return self.words.go_on(self, symbol)


class LooseWords(Shared):
    """An automaton for loose words, each with the rank of its rule."""

    _MAX_STATES = 1 << 14
    MUCH = 64
    """In symbols. A longer text is expensive to search for the starts of incomplete matches with each piece."""

    def __init__(self, words: Iterable[tuple[str, int]], max_span: int, edges: Edges) -> None:
        self.edges = edges
        self.max_span = max_span
        self._nodes = [_Node(0, "")]
        self.ranks: list[int] = []
        for word, rank in words:
            node = self._nodes[0]
            for letter in word:
                node = self._child(node, letter)
            node.rank = rank if node.rank < 0 else min(rank, node.rank)
            self.ranks.append(rank)
        self._states: dict[frozenset[_Thread], LooseState] = {}
        self.start = LooseState(self, frozenset(), is_hit=False)
        self.hit: LooseState = _Hit(self, frozenset(), is_hit=True)
        self._progress: dict[frozenset[tuple[_Thread, bool]], Progress] = {}
        self._begin = Progress(self, {})

    def _child(self, node: _Node, letter: str) -> _Node:
        child = node.get(letter)
        if child is None:
            node[letter] = child = _Node(len(self._nodes), letter)
            self._nodes.append(child)
        return child

    def dismantle(self) -> None:
        for state in (self.start, self.hit, *self._states.values()):
            state.clear()
            del state.automaton
        for progress in (self._begin, *self._progress.values()):
            progress.clear()
            del progress.words
        for node in self._nodes:
            node.clear()

    def begins_with(self, symbol: str) -> bool:
        return any(letter in self._nodes[0] for letter in letters_of(symbol))

    @cached_property
    def leading_mark(self) -> str:
        """A mark with which a match may begin, in the middle of a letter; empty if there is none."""
        return next(filter(self.begins_with, moving_marks()), "")

    def step(self, threads: Iterable[_Thread], symbol: str) -> Iterator[_Thread]:
        """The threads after this symbol, except those that it starts."""
        letters, separates = letters_of(symbol), is_separator(symbol)
        for number, separators in threads:
            node = self._nodes[number]
            for letter in letters:
                child = node.get(letter)
                if child is not None:
                    yield child.number, 0
                if letter == node.letter and not separators:
                    yield number, 0
            if separates and node and separators < MAX_SEPARATORS:
                yield number, separators + 1

    def first_threads(self, symbol: str) -> Iterator[_Thread]:
        root = self._nodes[0]
        return ((root[letter].number, 0) for letter in letters_of(symbol) if letter in root)

    def ends_word(self, thread: _Thread) -> int:
        """The rank of the word that a thread completes; -1 if it completes none."""
        number, separators = thread
        return -1 if separators else self._nodes[number].rank

    def go(self, state: LooseState, symbol: str) -> LooseState:
        if state.is_hit:
            return self.hit
        threads = frozenset((*self.step(state.threads, symbol), *self.first_threads(symbol)))
        if len(self._states) >= self._MAX_STATES:
            for old in self._states.values():
                old.clear()
            self.start.clear()
            self._states.clear()
        found = self._states.get(threads)
        if found is None:
            is_hit = any(self.ends_word(thread) >= 0 for thread in threads)
            kind = _Accepting if is_hit else LooseState
            found = self._states[threads] = kind(self, threads, is_hit=is_hit)
        state[symbol] = found
        return found

    def go_on(self, progress: Progress, symbol: str) -> Progress:
        """What follows a match's threads, which is remembered."""
        if progress is self._begin:
            threads = dict.fromkeys(self.first_threads(symbol), False)
        else:
            threads = self._stepped(progress.threads, symbol)
        if len(self._progress) >= self._MAX_STATES:
            for old in (self._begin, *self._progress.values()):
                old.clear()
            self._progress.clear()
        key = frozenset(threads.items())
        found = self._progress.get(key)
        if found is None:
            found = self._progress[key] = Progress(self, threads)
        progress[symbol] = found
        return found

    def _stepped(self, threads: dict[_Thread, bool], symbol: str) -> dict[_Thread, bool]:
        after: dict[_Thread, bool] = {}
        for thread, separated in threads.items():
            for following in self.step((thread,), symbol):
                # Of two paths to the same thread, the one without separators has fewer conditions.
                is_separated = separated or following[1] > 0
                after[following] = after.get(following, True) and is_separated
        return after

    def match_from(self, before: str) -> Progress:
        """The initial state of a match that begins directly after this symbol."""
        return self._begin

    def start_after(self, before: str) -> LooseState:
        return self.start

    def run(self, state: LooseState, text: str) -> LooseState:
        return reduce(getitem, text, state)

    def goes_on_with(self, state: LooseState, symbols: str) -> bool:
        """Whether a match begun before this state can continue, or is complete, after these further symbols."""
        threads: Iterable[_Thread] = state.threads
        for symbol in symbols:
            threads = (*self.step(threads, symbol), *self.first_threads(symbol))
            if threads:
                return True
        return False

    def may_begin(self, text: str, start: int, before: str) -> bool:
        return self.edges.may_begin(text[start - 1] if start else before, text[start])

    def live_starts(
        self, text: str, least: int, before: str, *, or_final: bool, is_open: bool = False
    ) -> Iterator[int]:
        """The starts, ascending, of matches that can continue after the text."""
        for start in range(max(least, len(text) - self.max_span), len(text)):
            if self.may_begin(text, start, before):
                progress = reduce(getitem, text[start:], self._begin)
                if len(text) - start <= self.reach(progress, or_final=or_final, is_open=is_open):
                    yield start

    def reach(self, progress: Progress, *, or_final: bool, is_open: bool) -> int:
        """With how many symbols at most a match can still continue; -1 if it cannot."""
        if not progress.threads:
            return -1
        # At max_span symbols, only a match that the next symbol still has to confirm is kept.
        return self.max_span - (progress.together < 0 and progress.apart < 0)

    def waiting_starts(self, text: str, least: int, before: str) -> list[int]:
        """The starts of matches that end with the text if the next symbol permits it."""
        matches = LooseMatches(self, text, before, final=True)
        reach = range(max(least, len(text) - self.max_span), len(text))
        return [start for start in reach if any(ending.end == len(text) for ending in matches.ends(start))]

    def matches(self, text: str, before: str, *, final: bool) -> LooseMatches:
        return LooseMatches(self, text, before, final=final)


class _Accepting(LooseState):
    """A state in which a word is complete: every symbol leads to the automaton's ``hit`` state."""

    __slots__ = ()

    def __getitem__(self, symbol: str) -> LooseState:
        return self.automaton.hit


class LooseMatches:
    """The loose matches in one text."""

    def __init__(self, words: LooseWords, text: str, before: str, *, final: bool) -> None:
        self._words = words
        self._text = text
        self._before = before
        self._final = final
        # What stands before a match decides whether it may have separators in it.
        self._walks = {joins: Walks(self._progress_at) for joins in (False, True)}

    def starts(self) -> Iterator[int]:
        return (at for at in range(len(self._text)) if self._words.begins_with(self._text[at]))

    def ends(self, start: int) -> Iterator[Ending]:
        """The matches that begin at ``start``, shortest first."""
        words, text = self._words, self._text
        if not words.may_begin(text, start, self._before):
            return
        progress = words.match_from(self._before)
        for at in range(start, min(start + words.max_span, len(text))):
            progress = progress[text[at]]
            if not progress.threads:
                return
            if progress.together >= 0 or progress.apart >= 0:
                yield from self._endings(progress, start, at + 1)

    def fresh_ends(self, start: int) -> Iterator[Ending]:
        """The same, but for what ends like a match that was asked for before, and began before it."""
        words, text = self._words, self._text
        if not words.may_begin(text, start, self._before):
            return
        walks, limit = self._walks[self._joins_before(start)], min(start + words.max_span, len(text))
        for at, progress in walks.walk(start, self._progress_at(words.match_from(self._before), start), limit):
            if progress.together >= 0 or progress.apart >= 0:
                yield from self._endings(progress, start, at + 1)

    def _progress_at(self, progress: Progress, at: int) -> Progress | None:
        after = progress[self._text[at]] if at < len(self._text) else None
        return after if after is not None and after.threads else None

    def _endings(self, progress: Progress, start: int, end: int) -> Iterator[Ending]:
        if not self._words.edges.may_end(self._text, end, final=self._final):
            return
        if progress.together >= 0:
            yield Ending(end, progress.together)
        if progress.apart >= 0 and self._stands_alone(start, end):
            yield Ending(end, progress.apart, looks=True)

    def _stands_alone(self, start: int, end: int) -> bool:
        if self._joins_before(start):
            return False
        return not joins_words(self._text[end]) if end < len(self._text) else self._final

    def _joins_before(self, start: int) -> bool:
        before = self._text[start - 1] if start else self._before
        return before != "" and joins_words(before)

    def starts_beyond(self, start: int, end: int) -> Iterable[int]:
        """The starts from ``start`` to ``end`` of which a match may end after ``end``."""
        return range(start, end)

    def from_longest(self, start: int) -> Iterator[Ending]:
        return reversed(list(self.ends(start)))


def joins_words(symbol: str) -> bool:
    """Whether a match with separators in it may not stand beside this symbol."""
    return symbol != "_" and is_word_char(symbol)
