"""Words looked for loosely: letters that only look like it, signs between them, letters repeated.

A letter of a word may be any symbol that looks like it (UTS #39, and what people write in its place: 4 for a, $ for s),
once or more often. Between two letters there may be up to three separators. A match with separators in it counts only
if no letter stands directly before or after it: ``push it`` is none of a bad word.

The words are a trie. A thread is a node of it, and how many separators have come since; the threads of a text are a
state, made when it is first met, as those of regular expressions are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from operator import getitem

from streaming.moderation.edges import Edges, Ending
from streaming.moderation.folding import fold, fold_letter, is_mark, is_word_char
from streaming.moderation.unicode_tables import LOOK_ALIKES

MAX_SEPARATORS = 3

# What people write for a letter. A sign is a separator as well: "s!h!t".
_WRITTEN_FOR = {
    "a": "4@", "b": "8", "c": "(<¢©", "e": "3€", "g": "69", "h": "#", "i": "l1!|", "o": "0", "s": "5$", "t": "7+",
    "x": "×", "y": "¥", "z": "2",
}  # fmt: skip
# Letters on coloured ground and of flags: no compatibility forms, yet read as letters.
_LETTER_SIGNS = (0x1F150, 0x1F170, 0x1F1E6)


@lru_cache(maxsize=1)
def _table() -> dict[str, frozenset[str]]:
    """Of symbols that are read as other letters, which ones."""
    read_as: dict[str, set[str]] = {}
    for letter, alike in LOOK_ALIKES.items():
        for char in alike:
            symbol = fold_letter(char)
            if len(symbol) == 1 and symbol.isalnum() and not symbol.isascii():
                read_as.setdefault(symbol, set()).add("i" if letter in "l1" else letter)
    for letter, signs in _WRITTEN_FOR.items():
        for sign in signs:
            read_as.setdefault(sign, {sign} if sign.isdigit() and sign != "1" else set()).add(letter)
    for first in _LETTER_SIGNS:
        for number in range(26):
            letter = chr(ord("a") + number)
            read_as.setdefault(chr(first + number), set()).add("i" if letter == "l" else letter)
    return {symbol: frozenset(letters) for symbol, letters in read_as.items()}


@lru_cache(maxsize=1 << 12)
def letters_of(symbol: str) -> frozenset[str]:
    """The letters that a symbol may be read as; none if it is only a separator."""
    found = _table().get(symbol)
    if found is not None:
        return found
    return frozenset(symbol) if symbol.isalnum() or is_mark(symbol) else frozenset()


def is_letter(symbol: str) -> bool:
    return bool(letters_of(symbol))


def is_separator(symbol: str) -> bool:
    return not symbol.isalnum() and not is_mark(symbol)


def loose_word(pattern: str, *, accents: bool) -> str:
    """The letters of a word that is looked for loosely, one for all that look alike."""
    read = (letters_of(symbol) for symbol in fold(pattern, accents=accents))
    return "".join(min(letters) for letters in read if letters)


class _Node(dict[str, "_Node"]):
    """A node of the trie: its children, and the least rank of the words that end here."""

    __slots__ = ("letter", "number", "rank")

    def __init__(self, number: int, letter: str) -> None:
        self.number = number
        self.letter = letter
        self.rank = -1


_Thread = tuple[int, int]
"""A node's number, and how many separators have come since its letter."""


class LooseState(dict[str, "LooseState"]):
    """Threads; ``state[symbol]`` is the next one, worked out when it is first asked for."""

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
    """A word was met: it leads to itself whatever follows."""

    __slots__ = ()

    def __missing__(self, symbol: str) -> LooseState:
        return self.automaton.hit


class LooseWords:
    """Words, each with the rank of its rule."""

    _MAX_STATES = 1 << 14

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
        for node in self._nodes:
            node.clear()

    def begins_with(self, symbol: str) -> bool:
        return any(letter in self._nodes[0] for letter in letters_of(symbol))

    def step(self, threads: Iterable[_Thread], symbol: str) -> Iterator[_Thread]:
        """Where threads lead, without those that begin with this symbol."""
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
        """The rank of the word that a thread has read; -1 if it has read none."""
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

    def start_after(self, before: str) -> LooseState:
        return self.start

    def run(self, state: LooseState, text: str) -> LooseState:
        return reduce(getitem, text, state)

    def goes_on_with(self, state: LooseState, symbols: str) -> bool:
        """Whether something that led to this state is alive or complete after these symbols too."""
        threads: Iterable[_Thread] = state.threads
        for symbol in symbols:
            threads = (*self.step(threads, symbol), *self.first_threads(symbol))
            if threads:
                return True
        return False

    def may_begin(self, text: str, start: int, before: str) -> bool:
        return self.edges.may_begin(text[start - 1] if start else before, text[start])

    def open_starts(self, text: str, least: int, before: str, *, or_final: bool, is_open: bool = False) -> list[int]:
        """Where matches could begin that can go on after the text, ascending: any that is being read can."""
        starts: dict[_Thread, set[int]] = {}
        for at in range(least, len(text)):
            after: dict[_Thread, set[int]] = {}
            for thread, begun in starts.items():
                in_reach = {start for start in begun if at - start < self.max_span}
                for following in self.step((thread,), text[at]) if in_reach else ():
                    after.setdefault(following, set()).update(in_reach)
            if self.may_begin(text, at, before):
                for thread in self.first_threads(text[at]):
                    after.setdefault(thread, set()).add(at)
            starts = after
        # What is as long as a match may be waits only if what follows decides whether it is one.
        kept = (
            start
            for thread, begun in starts.items()
            for start in begun
            if len(text) - start < self.max_span or self.ends_word(thread) >= 0
        )
        return sorted(set(kept))

    def waiting_starts(self, text: str, least: int, before: str) -> list[int]:
        """Where matches begin that end with the text, if what follows lets them."""
        matches = LooseMatches(self, text, before, final=True)
        reach = range(max(least, len(text) - self.max_span), len(text))
        return [start for start in reach if any(ending.end == len(text) for ending in matches.ends(start))]

    def matches(self, text: str, before: str, *, final: bool) -> LooseMatches:
        return LooseMatches(self, text, before, final=final)


class _Accepting(LooseState):
    """A word was met here: it leads to the hit whatever follows."""

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

    def starts(self) -> Iterator[int]:
        return (at for at in range(len(self._text)) if self._words.begins_with(self._text[at]))

    def ends(self, start: int) -> Iterator[Ending]:
        """Each match that begins at ``start``, the shortest first."""
        words, text = self._words, self._text
        if not words.may_begin(text, start, self._before):
            return
        # Threads, and whether a separator has come.
        threads: dict[_Thread, bool] = dict.fromkeys(words.first_threads(text[start]), False)
        for at in range(start, min(start + words.max_span, len(text))):
            if at > start:
                threads = self._stepped(threads, text[at])
            if not threads:
                return
            yield from self._endings(threads, start, at + 1)

    def _stepped(self, threads: dict[_Thread, bool], symbol: str) -> dict[_Thread, bool]:
        after: dict[_Thread, bool] = {}
        for thread, separated in threads.items():
            for following in self._words.step((thread,), symbol):
                # Of two ways to the same place that without separators has fewer conditions.
                is_separated = separated or following[1] > 0
                after[following] = after.get(following, True) and is_separated
        return after

    def _endings(self, threads: dict[_Thread, bool], start: int, end: int) -> Iterator[Ending]:
        words, text = self._words, self._text
        for is_separated in (False, True):
            ranks = [words.ends_word(each) for each, separated in threads.items() if separated is is_separated]
            rank = min((rank for rank in ranks if rank >= 0), default=-1)
            if rank < 0 or not words.edges.may_end(text, end, final=self._final):
                continue
            if not is_separated or self._stands_alone(start, end):
                yield Ending(end, rank, looks=is_separated)

    def _stands_alone(self, start: int, end: int) -> bool:
        before = self._text[start - 1] if start else self._before
        if before and _joins(before):
            return False
        return not _joins(self._text[end]) if end < len(self._text) else self._final

    def longest(self, start: int) -> Ending | None:
        return max(self.ends(start), key=lambda ending: (ending.end, -ending.rank), default=None)


def _joins(symbol: str) -> bool:
    return symbol != "_" and is_word_char(symbol)
