"""Many words looked for at once (Aho and Corasick, "Efficient string matching", CACM 18(6), 1975).

A state is a node of the trie of all words, and a node is a dict: ``node[char]`` is the next state. So a text is run
through by ``functools.reduce(getitem, text, node)``, in C. Two things make that enough:

* a node at which a word ends leads to ``hit``, which leads to itself: one look at the end tells whether any was met;
* a node knows how much of the text before it could still become a longer word. That is what must be held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import getitem

from streaming.moderation.folding import is_word_char

_MAX_MEMOS = 1 << 16


class Node(dict[str, "Node"]):
    """Its children, and by and by the other states it was seen to lead to (``memos`` of the automaton count them)."""

    __slots__ = ("automaton", "depth", "fail", "may_grow", "rank")

    is_hit = False

    automaton: Literals
    fail: Node

    def __init__(self, automaton: Literals, depth: int) -> None:
        self.automaton = automaton
        self.depth = depth
        self.may_grow = 0  # how many of the last characters can become a longer word
        self.rank = -1  # of the rule whose word ends here

    def __missing__(self, char: str) -> Node:
        automaton = self.automaton
        state = self.fail[char] if self.depth else self
        automaton.memorize(self, char, state)
        return state

    def child(self, char: str) -> Node | None:
        state = self.get(char)
        return state if state is not None and state.depth > self.depth else None


class _Accepting(Node):
    """A node at which a word ends, if only one of its suffixes'."""

    __slots__ = ()
    is_hit = True

    def __getitem__(self, char: str) -> Node:
        return self.automaton.hit


class _Hit(_Accepting):
    __slots__ = ()


class Literals:
    """An automaton for words, each with the rank of its rule: of one word's rules the least rank counts."""

    def __init__(self, words: Iterable[tuple[str, int]], *, whole_word: bool = False) -> None:
        self.whole_word = whole_word
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
            # A leaf cannot grow; what can is its longest suffix that has children.
            node.may_grow = node.depth if node else fail.may_grow
            for char, child in node.items():
                child.fail = self._suffix(node, char)
                queue.append(child)
            if node.rank >= 0 or isinstance(fail, _Accepting):
                node.__class__ = _Accepting

    def _suffix(self, node: Node, char: str) -> Node:
        """The longest proper suffix of the child that is a node. Its parents are all linked."""
        while node.depth:
            node = node.fail
            if (found := dict.get(node, char)) is not None:
                return found
        return self.start

    def memorize(self, node: Node, char: str, state: Node) -> None:
        """Keeps a transition that is no child, so that it is looked up and not worked out the next time."""
        if len(self._memos) >= _MAX_MEMOS:
            memos, self._memos = self._memos, []
            for old, seen in memos:
                old.pop(seen, None)
        self._memos.append((node, char))
        node[char] = state

    def run(self, state: Node, text: str) -> Node:
        """The state after the text. ``is_hit`` tells whether a word was met, so that the text has to be looked at."""
        return reduce(getitem, text, state)

    def held(self, state: Node, text: str, before: str) -> int:
        """How many of the text's last characters can still become part of a word; ``state`` has met none."""
        if not self.whole_word:
            return state.may_grow
        return max((len(text) - start for start in self._live(state, text, before)), default=0)

    def live(self, text: str, before: str) -> Live:
        """Where words could begin that are not complete; ``before`` is the character before the text."""
        node, skipped = self.start, max(len(text) - self.longest, 0)
        for char in text[skipped:]:
            while (step := node.child(char)) is None and node.depth:
                node = node.fail
            node = self.start if step is None else step
        return Live(list(self._live(node, text, before)))

    def _live(self, node: Node, text: str, before: str) -> Iterator[int]:
        # A whole word that ends with the text is decided by the character that follows.
        pending = self.whole_word and bool(text) and is_word_char(text[-1])
        while node.depth:
            start = len(text) - node.depth
            can_grow = any(child.depth > node.depth for child in node.values())
            # What begins before the text was let go, since no whole word may begin there.
            if start >= 0 and (can_grow or (pending and node.rank >= 0)) and self._may_begin(text, start, before):
                yield start
            node = node.fail

    def _may_begin(self, text: str, start: int, before: str) -> bool:
        previous = text[start - 1] if start else before
        return not (self.whole_word and previous and is_word_char(previous) and is_word_char(text[start]))

    def matches(self, text: str, before: str, *, final: bool) -> LiteralMatches:
        return LiteralMatches(self, text, before, final=final)


class Live:
    """Where matches could begin that are not complete, ascending. Each is looked at when it is asked for."""

    def __init__(self, starts: list[int], is_live: Callable[[int], bool] | None = None) -> None:
        self._starts = starts
        self._is_live = is_live
        self._next = 0
        self._known = -1

    def first(self, least: int) -> int | None:
        """The first that is ``least`` or more; ``least`` only grows."""
        while self._next < len(self._starts):
            start = self._starts[self._next]
            if start >= least and (start == self._known or self._is_live is None or self._is_live(start)):
                self._known = start
                return start
            self._next += 1
        return None


class LiteralMatches:
    """The words in one text."""

    def __init__(self, literals: Literals, text: str, before: str, *, final: bool) -> None:
        self._literals = literals
        self._text = text
        self._before = before
        self._final = final

    def starts(self, least: int) -> Iterator[int]:
        """Where words may begin, ascending, from ``least`` on."""
        text, start = self._text, self._literals.start
        return (at for at in range(least, len(text)) if start.child(text[at]) is not None)

    def ends(self, start: int) -> Iterator[tuple[int, int]]:
        """(end, rank) of each word that begins at ``start``, the shortest first."""
        literals, text = self._literals, self._text
        if not literals._may_begin(text, start, self._before):
            return
        node: Node | None = literals.start
        for at in range(start, len(text)):
            node = node.child(text[at]) if node is not None else None
            if node is None:
                return
            if node.rank >= 0 and (not literals.whole_word or may_end(text, at + 1, final=self._final)):
                yield at + 1, node.rank

    def longest(self, start: int) -> tuple[int, int] | None:
        best = None
        for best in self.ends(start):  # noqa: B007 (the last one is wanted)
            pass
        return best


def may_end(text: str, end: int, *, final: bool) -> bool:
    """Whether a whole word may end there. Not if the next character decides, and has not come."""
    if not is_word_char(text[end - 1]):
        return True
    return not is_word_char(text[end]) if end < len(text) else final
