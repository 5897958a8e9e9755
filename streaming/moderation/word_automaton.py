"""Searches for many words at once (Aho and Corasick, "Efficient string matching", CACM 18(6), 1975).

A state is a node of the trie of all words, and a node is a dict: ``node[char]`` is the next state. A whole text is
scanned by ``functools.reduce(getitem, text, node)``, in C. Two properties make that sufficient:

* when a word ends that counts whatever follows, the next symbol leads to ``hit``, which leads to itself: the last state
  tells whether any word occurred. A whole word leads there once it is known that no letter follows;
* a node knows how many of the last characters could still become a longer word. These must be held back.

The words are only sorted in advance. A node is made when a text first leads to it: in practice, texts lead to few.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property, reduce
from operator import getitem, itemgetter

from streaming.moderation.edges import Edges, Ending
from streaming.moderation.folding import is_word_char, moving_marks
from streaming.moderation.shared import Shared

_MAX_TRANSITIONS = 1 << 16


class Node(Shared, dict[str, "Node"]):
    """A node of the trie, which stands for the beginning of a word. Its transitions are added on first use."""

    __slots__ = ("automaton", "before_open", "depth", "fail", "first", "last", "may_grow", "output", "rank", "waits")

    is_hit = False

    automaton: Literals
    fail: Node

    def __init__(self, automaton: Literals, depth: int, first: int, last: int) -> None:
        self.automaton = automaton
        self.depth = depth
        self.first = first  # of the sorted words that begin like this
        self.last = last
        self.may_grow = 0  # how many of the last characters could become a longer word
        self.rank = -1  # of the rule whose word ends here
        self.output: Node | None = None  # the longest proper suffix that is a word
        self.waits = False  # whether a word ends here if the next symbol permits it
        self.before_open: dict[str, int] | None = None  # a cache of ``Literals.held_before_open``

    def __missing__(self, char: str) -> Node:
        return self.automaton.go(self, char)

    @property
    def longest_word(self) -> int:
        """The length of the longest word that ends here; 0 if none does."""
        if self.rank >= 0:
            return self.depth
        return 0 if self.output is None else self.output.depth

    def add_words(self, end: int, words: list[tuple[int, int, int]]) -> None:
        """Adds the words that end here, as (start, end, rank)."""
        word = self if self.rank >= 0 else self.output
        while word is not None:
            words.append((end - word.depth, end, word.rank))
            word = word.output


class _Accepting(Node):
    """A node at which a word ends: its own, or that of one of its suffixes."""

    __slots__ = ()
    is_hit = True

    def __getitem__(self, char: str) -> Node:
        return self.automaton.hit


class _Hit(Node):
    """The state after a word."""

    __slots__ = ()
    is_hit = True

    def __missing__(self, char: str) -> Node:
        self[char] = self
        return self


class Literals(Shared):
    """An automaton for words, each with its rule's rank. Of several rules with one word, the lowest rank counts."""

    def __init__(self, words: Iterable[tuple[str, int]], edges: Edges) -> None:
        self.edges = edges
        ranks: dict[str, int] = {}
        for word, rank in words:
            ranks[word] = min(rank, ranks.get(word, rank))
        self._words = _in_order(ranks)
        self._ranks = [ranks[word] for word in self._words]
        self.longest = max(map(len, self._words), default=0)
        self._nodes: dict[tuple[int, int], Node] = {}  # by their first word and depth
        self._transitions = 0
        self.start = Node(self, 0, 0, len(self._words))
        self.within_word = Node(self, 0, 0, len(self._words)) if edges.whole_word else self.start
        for root in (self.start, self.within_word):
            root.fail = root
        self.hit: Node = _Hit(self, 0, 0, 0)

    def go(self, node: Node, char: str) -> Node:
        """The next state, which is remembered. A whole word that ends here leads to ``hit``."""
        if self._transitions + len(self._nodes) >= _MAX_TRANSITIONS:
            self._forget()
        self._transitions += 1
        word_ends = node.waits and self.edges.may_end_between(self._last_symbol(node), char)
        after = self.hit if word_ends else self._next(node, char)
        node[char] = after
        return after

    def step(self, node: Node, char: str) -> Node:
        """The next state. Unlike ``node[char]``, it never leads to ``hit``, so a scanner can continue after a word."""
        after = node.get(char)
        if after is None:
            after = self.go(node, char)
        return self._next(node, char) if after is self.hit else after

    def child(self, node: Node, char: str) -> Node | None:
        """The node of the beginning that is longer by this symbol, if a word begins so."""
        after = self.step(node, char)
        return after if after.depth > node.depth else None

    def _next(self, node: Node, char: str) -> Node:
        while (words := self._words_with(node, char)) is None and node.depth:
            node = node.fail
            known = node.get(char)
            if known is not None and known is not self.hit:
                return known
        return self._made(node, char, words)

    def _words_with(self, node: Node, char: str) -> tuple[int, int] | None:
        """The range of the words that begin like this node, with ``char`` after that."""
        depth, first, last = node.depth, node.first, node.last
        if node.depth == 0 and node is not self.start and is_word_char(char):
            return None  # a whole word cannot begin within another
        first += first < last and len(self._words[first]) == depth
        symbol = itemgetter(depth)
        begin = bisect_left(self._words, char, first, last, key=symbol)
        end = bisect_right(self._words, char, begin, last, key=symbol)
        return (begin, end) if begin < end else None

    def _made(self, parent: Node, char: str, words: tuple[int, int] | None) -> Node:
        """The child of a node. It is made if need be, and before it those of its suffixes that are nodes as well."""
        missing: list[tuple[int, tuple[int, int]]] = []
        suffix, node = parent, self._root_after(char)
        while words is not None:
            known = self._nodes.get((words[0], suffix.depth + 1))
            if known is not None:
                node = known
                break
            missing.append((suffix.depth + 1, words))
            words = None
            while words is None and suffix.depth:
                suffix = suffix.fail
                words = self._words_with(suffix, char)
        for depth, range_ in reversed(missing):
            node = self._nodes[range_[0], depth] = self._new(char, depth, range_, node)
        return node

    def _last_symbol(self, node: Node) -> str:
        return self._words[node.first][node.depth - 1]

    def _new(self, char: str, depth: int, words: tuple[int, int], fail: Node) -> Node:
        first, last = words
        is_word = len(self._words[first]) == depth
        output = fail if fail.rank >= 0 else fail.output
        ends = is_word or output is not None
        waits = ends and self.edges.waits(char)
        kind = _Accepting if ends and not waits else Node
        node = kind(self, depth, first, last)
        node.fail, node.output, node.waits = fail, output, waits
        node.rank = self._ranks[first] if is_word else -1
        is_longer = last - first > is_word
        # Where no longer word begins like this, one may still begin like a suffix.
        node.may_grow = depth if is_longer or (is_word and waits) else fail.may_grow
        return node

    def _root_after(self, char: str) -> Node:
        return self.within_word if self.edges.whole_word and is_word_char(char) else self.start

    def start_after(self, before: str) -> Node:
        """The initial state for a text that follows the symbol ``before``."""
        return self._root_after(before) if before else self.start

    def _forget(self) -> None:
        for node in (self.start, self.within_word, self.hit, *self._nodes.values()):
            node.clear()
        self._nodes.clear()
        self._transitions = 0

    def dismantle(self) -> None:
        """Frees the nodes, which form reference cycles. Called when the automaton is no longer in use."""
        self._forget()
        for node in (self.start, self.within_word, self.hit):
            node.fail = None  # type: ignore[assignment]
        del self.start, self.within_word, self.hit

    def run(self, state: Node, text: str) -> Node:
        """The state after the text. Its ``is_hit`` tells whether a word occurred, so the text must be examined."""
        return reduce(getitem, text, state)

    def read(self, node: Node, text: str, before: str) -> tuple[Node, list[tuple[int, int, int]]]:
        """Reads a text after the symbol ``before``. Returns the state after it, and all words, ordered by their ends.

        They are (start, end, rank). The start is negative if a word begins before the text.
        """
        words: list[tuple[int, int, int]] = []
        step, may_end, size = self.step, self.edges.may_end_between, len(text)
        for end, char in enumerate(text, 1):
            after = step(node, char) if node.is_hit else node[char]
            if after.is_hit:
                if node.waits and may_end(text[end - 2] if end > 1 else before, char):
                    node.add_words(end - 1, words)
                after = step(node, char)
                if after.is_hit and (end == size or may_end(char, text[end])):
                    after.add_words(end, words)
            node = after
        return node, words

    @cached_property
    def first_symbols(self) -> frozenset[str]:
        return frozenset(word[0] for word in self._words)

    def begins_with(self, symbol: str) -> bool:
        return symbol in self.first_symbols

    @cached_property
    def leading_mark(self) -> str:
        """A mark with which a match may begin, in the middle of a letter; empty if there is none."""
        return next(filter(self.begins_with, moving_marks()), "")

    def held_before_open(self, node: Node, forms: Iterable[str]) -> int:
        """How many of the last symbols could belong to a word with an undecided letter, whose ``forms`` are given.

        -1 if no word could begin, go on or be completed with it.
        """
        held = node.longest_word if node.waits else -1
        for form in forms:
            if not form and node.may_grow:
                held = max(held, node.may_grow)
            after = node
            for size, symbol in enumerate(form, 1):
                after = self.step(after, symbol)
                begun = max(after.may_grow, after.longest_word)
                if begun:
                    held = max(held, begun - size, 0)
        return held

    def live(self, node: Node, text: str, before: str, *, or_final: bool = False) -> Iterator[int]:
        """The possible starts, ascending, of incomplete words in the text that led to this state.

        ``or_final``: also those that end with the text if the next symbol permits it.
        """
        or_final = or_final or (bool(text) and self.edges.waits(text[-1]))
        while node.depth:
            start = len(text) - node.depth
            may_go_on = node.may_grow == node.depth or (or_final and node.rank >= 0)
            # A start before the text was dropped already, since no whole word may begin there.
            if start >= 0 and may_go_on and self.may_begin(text, start, before):
                yield start
            node = node.fail

    def waiting_starts(self, text: str, least: int, before: str) -> Iterator[int]:
        """The starts of words that end with the text if the next symbol permits it."""
        matches = LiteralMatches(self, text, before, final=True)
        for start in range(max(least, len(text) - self.longest), len(text)):
            if any(ending.end == len(text) for ending in matches.ends(start)):
                yield start

    def may_begin(self, text: str, start: int, before: str) -> bool:
        return self.edges.may_begin(text[start - 1] if start else before, text[start])

    def matches(self, text: str, before: str, *, final: bool) -> LiteralMatches:
        return LiteralMatches(self, text, before, final=final)


def _in_order(words: Iterable[str]) -> list[str]:
    """The words, sorted in small parts: while it sorts, other threads have to wait."""
    by_first: dict[str, list[str]] = {}
    for word in words:
        by_first.setdefault(word[0], []).append(word)
    return [word for _, same in sorted(by_first.items()) for word in sorted(same)]


class LiteralMatches:
    """The words in one text."""

    def __init__(self, literals: Literals, text: str, before: str, *, final: bool) -> None:
        self._literals = literals
        self._text = text
        self._before = before
        self._final = final

    def starts(self) -> Iterator[int]:
        """The indexes where words may begin, ascending."""
        text, first = self._text, self._literals.first_symbols
        return (at for at in range(len(text)) if text[at] in first)

    def ends(self, start: int) -> Iterator[Ending]:
        """The words that begin at ``start``, shortest first."""
        literals, text = self._literals, self._text
        if not literals.may_begin(text, start, self._before):
            return
        node = literals.start
        for at in range(start, len(text)):
            child = literals.child(node, text[at])
            if child is None:
                return
            node = child
            if node.rank >= 0 and literals.edges.may_end(text, at + 1, final=self._final):
                yield Ending(at + 1, node.rank)

    def fresh_ends(self, start: int) -> Iterator[Ending]:
        return self.ends(start)

    def starts_beyond(self, start: int, end: int) -> Iterable[int]:
        """The starts from ``start`` to ``end`` of which a match may end after ``end``."""
        return range(start, end)

    def from_longest(self, start: int) -> Iterator[Ending]:
        return reversed(list(self.ends(start)))
