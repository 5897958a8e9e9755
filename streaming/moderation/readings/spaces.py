"""The last stage of a reading: collects symbols with their spans. On request, white space becomes one space."""

from __future__ import annotations

import re
from typing import NamedTuple

_UNEVEN = re.compile(r"\s\s|[^\S ]")


class Read(NamedTuple):
    """The symbols that were read, and where each begins and ends.

    ``starts`` and ``ends`` are None if each symbol is one character, contiguous from ``first`` on.
    """

    symbols: str
    first: int = 0
    starts: list[int] | None = None
    ends: list[int] | None = None


class Symbols:
    """The symbols read since the last call of ``take``."""

    def __init__(self, *, spaces: bool) -> None:
        self.spaces = spaces
        self.after_space = self.after_line_break = False
        # The end _EACH marks a run of symbols of one character each.
        self._out: list[tuple[str, int, int]] = []

    def follow(self, other: Symbols) -> None:
        self.after_space, self.after_line_break = other.after_space, other.after_line_break

    def is_even(self, text: str) -> bool:
        """Whether merging white space would leave this text unchanged."""
        return not (self.after_space and text[0].isspace()) and not _UNEVEN.search(text)

    def is_even_after(self, before: str, text: str) -> bool:
        """The same for a text that was not added here, after the symbol ``before``, outside a line's beginning."""
        return not self.after_line_break and not (before == " " and text[0].isspace()) and not _UNEVEN.search(text)

    def passed(self, symbol: str) -> None:
        """Accounts for symbols that were output without being added here; ``symbol`` is the last of them."""
        self.after_space, self.after_line_break = symbol == " ", False

    def add_each(self, symbols: str, start: int) -> None:
        """Adds symbols of one character each."""
        if self.spaces:
            if (self.after_space and symbols[0].isspace()) or _UNEVEN.search(symbols):
                for at, symbol in enumerate(symbols, start):
                    self.add(symbol, at, at + 1)
                return
            self.after_space, self.after_line_break = symbols[-1] == " ", False
        self._out.append((symbols, start, _EACH))

    def add(self, symbols: str, start: int, end: int) -> None:
        """Adds symbols that all come from the same span."""
        for symbol in symbols:
            if self.spaces and symbol.isspace():
                self.after_line_break |= symbol == "\n"
                if self.after_space:
                    continue
                self.after_space, symbol = True, " "
            else:
                self.after_space = self.after_line_break = False
            self._out.append((symbol, start, end))

    def take(self) -> Read:
        out, self._out = self._out, []
        if not out:
            return Read("")
        symbols = out[0][0] if len(out) == 1 else "".join([each[0] for each in out])
        first = at = out[0][1]
        for text, start, end in out:
            if start != at or (end != _EACH and end != at + 1):
                return Read(symbols, first, *_spans(out))
            at += len(text)
        return Read(symbols, first)


_EACH = -(1 << 62)


def _spans(out: list[tuple[str, int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for symbols, start, end in out:
        if end == _EACH:
            starts += range(start, start + len(symbols))
            ends += range(start + 1, start + len(symbols) + 1)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
