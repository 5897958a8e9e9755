"""The part of a text that still matters: what is not decided, and what before it could be looked at again."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from streaming.moderation.folding import is_word_char


class Decided(NamedTuple):
    """Text that is decided, and the rank of the rule that matched it; -1 if none did."""

    text: str
    start: int
    end: int
    rank: int


class Match(NamedTuple):
    """In window coordinates. The least of several is the one that counts."""

    start: int
    minus_end: int
    rank: int


class Window:
    """Some text as it came, and folded, and which character of the one comes from which of the other."""

    def __init__(self) -> None:
        self.offset = 0  # characters of the text before it
        self.raw = ""
        self.folded = ""
        self._origin: list[int] | None = None  # for each folded character; None while they are the same
        self._before = ("", "")

    def append(self, text: str, folded: str, origin: list[int] | None) -> None:
        if origin is not None or self._origin is not None:
            if self._origin is None:
                self._origin = list(range(len(self.folded)))
            base = len(self.raw)
            self._origin += [base + index for index in (origin if origin is not None else range(len(folded)))]
        self.raw += text
        self.folded += folded

    def drop(self, count: int) -> None:
        """Forgets the first characters, but for the one that may join with the next to a word."""
        if not count:
            return
        folded = self.index(count, exact=False)
        self._before = (self.folded[folded - 1] if folded else self._before[0], self.raw[count - 1])
        self.offset += count
        self.raw = self.raw[count:]
        self.folded = self.folded[folded:]
        if self._origin is not None:
            self._origin = [index - count for index in self._origin[folded:]]
            if len(self.raw) == len(self.folded) and self._origin == list(range(len(self.raw))):
                self._origin = None

    def spelling(self, *, exact: bool) -> str:
        return self.raw if exact else self.folded

    def take_all(self) -> list[Decided]:
        """All of it as text without a match, and forgets it."""
        text, start = self.raw, self.offset
        if not text:
            return []
        self._before = (self.folded[-1:] or self._before[0], text[-1])
        self.offset = end = start + len(text)
        self.raw = self.folded = ""
        self._origin = None
        return [Decided(text, start, end, -1)]

    def known_at(self, match: Match, *, exact: bool, whole_word: bool) -> int:
        """How much of the text has to be there to know of a match: a whole word is known by the character after it."""
        spelling, end = self.spelling(exact=exact), -match.minus_end
        after = self.index(end, exact=exact)
        if not whole_word or not is_word_char(spelling[after - 1]):
            return end
        return self.end(after + 1, exact=exact) if after < len(spelling) else len(self.raw) + 1

    def is_one_to_one(self, *, exact: bool) -> bool:
        return exact or self._origin is None

    def index(self, at: int, *, exact: bool) -> int:
        """Where a character of the text, or what comes after it, stands in a spelling."""
        return at if exact or self._origin is None else bisect_left(self._origin, at)

    def begin(self, index: int, *, exact: bool) -> int:
        """The character of the text that one of a spelling comes from; at the spelling's end, the text's."""
        if exact or self._origin is None:
            return index
        return self._origin[index] if index < len(self._origin) else len(self.raw)

    def end(self, index: int, *, exact: bool) -> int:
        """Where the character of the text ends that the one before ``index`` comes from."""
        return index if exact or self._origin is None else self._origin[index - 1] + 1

    def before(self, index: int, *, exact: bool) -> str:
        """The character before one of a spelling."""
        return self.spelling(exact=exact)[index - 1] if index else self._before[exact]
