"""Searches for many words at once (Aho and Corasick, "Efficient string matching", CACM 18(6), 1975).

A state is a node of the trie of all words, and a node is a dict: ``node[char]`` is the next state. A whole text is
scanned by ``functools.reduce(getitem, text, node)``, in C. Two properties make that sufficient:

* a node at which a word ends leads to ``hit``, which leads to itself: the last state tells whether any word occurred;
* a node knows how many of the last characters could still become a longer word. These must be held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import getitem

from streaming.moderation.edges import Edges, Ending

_MAX_MEMOS = 1 << 16


class Node(dict[str, "Node"]):
    """A trie node: its children, plus other transitions cached on first use (the automaton's ``memos`` counts them)."""

    __slots__ = ("automaton", "depth", "fail", "may_grow", "output", "rank", "with_open")

    is_hit = False

    automaton: Literals
    fail: Node

    def __init__(self, automaton: Literals, depth: int) -> None:
        self.automaton = automaton
        self.depth = depth
        self.may_grow = 0  # how many of the last characters could become a longer word
        self.rank = -1  # of the rule whose word ends here
        self.output: Node | None = None  # the longest proper suffix that is a word
        self.with_open: dict[str, bool] | None = None  # whether it can continue with what an open letter may become

    def __missing__(self, char: str) -> Node:
        # No suffix of this node is a word, so each suffix can be asked for its child.
        state, node = None, self
        while state is None and node.depth:
            node = node.fail
            state = node.get(char)
        state = node if state is None else state
        self.automaton.memorize(self, char, state)
        return state

    def child(self, char: str) -> Node | None:
        state = self.get(char)
        return state if state is not None and state.depth > self.depth else None


class _Accepting(Node):
    """A node at which a word ends: its own, or that of one of its suffixes."""

    __slots__ = ()
    is_hit = True

    def __getitem__(self, char: str) -> Node:
        return self.automaton.hit


class _Hit(_Accepting):
    __slots__ = ()


class Literals:
    """An automaton for words, each with its rule's rank. Of several rules with one word, the lowest rank counts."""

    def __init__(self, words: Iterable[tuple[str, int]], edges: Edges) -> None:
        self.edges = edges
        self.longest = 0
        self._memos: list[tuple[Node, str]] = []
        self.start = Node(self, 0)
        self.start.fail = self.start
        for word, rank in words:
            node = self.start
            for char in word:
                child = dict.get(node, char)
                node = self._grow(node, char) if child is None else child
            self.longest = max(self.longest, node.depth)
            node.rank = rank if node.rank < 0 else min(rank, node.rank)
        self._link()
        self.hit: Node = _Hit(self, 0)

    def _grow(self, node: Node, char: str) -> Node:
        node[char] = child = Node(self, node.depth + 1)
        return child

    def _link(self) -> None:
        queue = deque([self.start])
        while queue:
            node = queue.popleft()
            fail = node.fail
            # A leaf cannot grow, but its longest suffix that has children can.
            node.may_grow = node.depth if node else fail.may_grow
            for char, child in node.items():
                child.fail = suffix = self._suffix(node, char)
                child.output = suffix if suffix.rank >= 0 else suffix.output
                queue.append(child)
            if node.rank >= 0 or isinstance(fail, _Accepting):
                node.__class__ = _Accepting

    def _suffix(self, node: Node, char: str) -> Node:
        """The longest proper suffix of the child that is a node. The links of all its ancestors must be set already."""
        while node.depth:
            node = node.fail
            if (found := dict.get(node, char)) is not None:
                return found
        return self.start

    def memorize(self, node: Node, char: str, state: Node) -> None:
        """Caches a transition that is not a child, so that it need not be computed again."""
        if len(self._memos) >= _MAX_MEMOS:
            memos, self._memos = self._memos, []
            for old, seen in memos:
                old.pop(seen, None)
        self._memos.append((node, char))
        node[char] = state

    def dismantle(self) -> None:
        """Frees the nodes one by one, since they form reference cycles. Called when the automaton is no longer in use.

        The cyclic garbage collector would stop all threads while it examines the nodes of a hundred thousand words.
        """
        self._memos.clear()
        nodes = [self.start]
        while nodes:
            node = nodes.pop()
            nodes += [child for child in node.values() if child.depth > node.depth]
            node.clear()
            del node.fail, node.automaton
        del self.start, self.hit.automaton, self.hit

    def run(self, state: Node, text: str) -> Node:
        """The state after the text. Its ``is_hit`` tells whether a word occurred, so the text must be examined."""
        return reduce(getitem, text, state)

    def begins_with(self, symbol: str) -> bool:
        return self.start.child(symbol) is not None

    def step(self, node: Node, char: str) -> Node:
        """The next state. Unlike ``node[char]``, it never leads to ``hit``, so a scanner can continue after a word."""
        while (child := node.child(char)) is None and node.depth:
            node = node.fail
        return node if child is None else child

    def walk(self, node: Node, symbols: str) -> Node:
        return reduce(self.step, symbols, node)

    def goes_on_with(self, node: Node, symbols: str) -> bool:
        """Whether a word begun before this state can continue, or is complete, after these further symbols."""
        for symbol in symbols:
            node = self.step(node, symbol)
            if node.may_grow or node.rank >= 0 or node.output is not None:
                return True
        return False

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


class LiteralMatches:
    """The words in one text."""

    def __init__(self, literals: Literals, text: str, before: str, *, final: bool) -> None:
        self._literals = literals
        self._text = text
        self._before = before
        self._final = final

    def starts(self) -> Iterator[int]:
        """The indexes where words may begin, ascending."""
        text, start = self._text, self._literals.start
        return (at for at in range(len(text)) if start.child(text[at]) is not None)

    def ends(self, start: int) -> Iterator[Ending]:
        """The words that begin at ``start``, shortest first."""
        literals, text = self._literals, self._text
        if not literals.may_begin(text, start, self._before):
            return
        node: Node | None = literals.start
        for at in range(start, len(text)):
            node = node.child(text[at]) if node is not None else None
            if node is None:
                return
            if node.rank >= 0 and literals.edges.may_end(text, at + 1, final=self._final):
                yield Ending(at + 1, node.rank)

    def longest(self, start: int) -> Ending | None:
        best = None
        for best in self.ends(start):  # noqa: B007 (the last one is wanted)
            pass
        return best
