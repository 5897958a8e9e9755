"""Many words looked for at once (Aho and Corasick, "Efficient string matching", CACM 18(6), 1975).

Beside the usual links each node knows how much of the text before it could still become a longer word: that is
what must be held back, and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

ROOT = 0


class Automaton:
    """Compiled once, read by all streams. A state is a node's number; ``ROOT`` is where a text begins."""

    def __init__(self, words: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._fail = [ROOT]
        self._depth = [0]
        self._word: list[int | None] = [None]
        for number, word in enumerate(words):
            self._add(word, number)
        self._output = [ROOT] * len(self._next)  # the nearest suffix at which a word ends
        self._held = [0] * len(self._next)
        self._link()

    def _add(self, word: str, number: int) -> None:
        node = ROOT
        for char in word:
            if char not in self._next[node]:
                self._next[node][char] = len(self._next)
                self._next.append({})
                self._fail.append(ROOT)
                self._depth.append(self._depth[node] + 1)
                self._word.append(None)
            node = self._next[node][char]
        if self._word[node] is None:
            self._word[node] = number

    def _link(self) -> None:
        queue = deque(self._next[ROOT].values())
        while queue:
            node = queue.popleft()
            fail = self._fail[node]
            # A leaf cannot grow; what can is the longest suffix that is a node with children.
            self._held[node] = self._depth[node] if self._next[node] else self._held[fail]
            self._output[node] = fail if self._word[fail] is not None else self._output[fail]
            for char, child in self._next[node].items():
                self._fail[child] = self.step(fail, char)
                queue.append(child)

    def step(self, node: int, char: str) -> int:
        while char not in self._next[node]:
            if node == ROOT:
                return ROOT
            node = self._fail[node]
        return self._next[node][char]

    def held(self, node: int) -> int:
        """How many of the last characters could be the beginning of a word that is not complete."""
        return self._held[node]

    def words_at(self, node: int) -> Iterable[tuple[int, int]]:
        """(length, number) of each word that ends here, the longest first."""
        while node != ROOT:
            number = self._word[node]
            if number is not None:
                yield self._depth[node], number
            node = self._output[node]
