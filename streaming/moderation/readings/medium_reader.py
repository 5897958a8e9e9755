"""The grammar of a medium, and the transducer that all media share.

A sign is a piece of syntax: it is read as the character that it stands for, or ignored. Text between signs is read as
written. A medium passes both on to its letters, and keeps back what could still become a sign.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from streaming.moderation.readings.letters import Letters


class Grammar(NamedTuple):
    """``may_begin`` finds possible starts of signs, ``sign`` matches one, ``so_far`` an incomplete one.

    The name of the group that matched in ``sign`` is the sign's kind.
    """

    may_begin: re.Pattern[str]
    sign: re.Pattern[str]
    so_far: re.Pattern[str]


def grammar(may_begin: str, sign: str, so_far: str) -> Grammar:
    return Grammar(re.compile(may_begin), re.compile(sign), re.compile(rf"(?:{so_far})\Z"))


class MediumReader:
    """Reads text as written. Subclasses also decode signs."""

    grammar = grammar("(?!)", "(?!)", "(?!)")

    def __init__(self, letters: Letters) -> None:
        self.letters = letters
        self.pending = ""
        """The end of the text that could still become a sign."""
        self.previous = ""
        """The previous character, as written."""
        self.late: list[tuple[int, int]] = []
        """(start, end) of the texts read since ``take_late`` of which no character was decided before the last."""

    minds_backticks = False
    """Whether a backtick changes how what follows is read."""

    is_within = False
    """Whether it is inside syntax that it skips, such as a tag."""

    @property
    def is_neutral(self) -> bool:
        """Whether the text so far does not affect how further text is read, except through ``previous``."""
        return not self.pending

    def is_written(self, text: str) -> bool:
        """Whether it reads this text as written."""
        return self.is_neutral and not self.grammar.may_begin.search(text)

    def follow(self, other: MediumReader) -> None:
        """Copies the state of another reader."""
        self.pending, self.previous = other.pending, other.previous

    def agrees(self, other: MediumReader) -> bool:
        """Whether nothing read so far makes the two read what follows differently."""
        return (
            not self.is_within
            and not other.is_within
            and self.pending == other.pending
            and self.previous == other.previous
        )

    def feed(self, text: str, *, final: bool) -> None:
        """Reads a piece of text. Spans are relative to its start, so those of pending text are negative."""
        data, base = self.pending + text, -len(self.pending)
        self.pending = data[self._read(data, base, final=final) :]

    def read_all(self, text: str, start: int) -> None:
        """Reads a text that is complete."""
        self._read(text, start, final=True)

    def take_late(self) -> list[tuple[int, int]]:
        late, self.late = self.late, []
        return late

    def _read(self, data: str, base: int, *, final: bool) -> int:
        """Reads as much as is decided, and returns how much that is."""
        at, size = 0, len(data)
        while at < size:
            done = self._step(data, at, base, final=final)
            if done == at:
                break
            at = done
            self.previous = data[at - 1]
        return at

    def _step(self, data: str, at: int, base: int, *, final: bool) -> int:
        """Reads on from ``at``. Returns the new offset, which is ``at`` if the text there is undecided."""
        limit = len(data)
        if self.letters.is_after_line_break:
            if (skipped := self._line_beginning(data, at)) > at:
                return skipped
            limit = at + 1
        found = self.grammar.may_begin.search(data, at)
        stop = min(found.start(), limit) if found else limit
        if self.letters.spaces and (line := data.find("\n", at, stop)) >= 0:
            stop = line + 1  # the start of a line may be a quote marker
        if stop > at:
            self.as_written(data[at:stop], base + at)
            return stop
        if not final and self.grammar.so_far.match(data, at) and not self._is_decided(data, at):
            return at
        sign = self.grammar.sign.match(data, at)
        if sign is None:
            self.as_written(data[at], base + at)
            return at + 1
        self._read_sign(sign, data, base)
        return sign.end()

    def as_written(self, text: str, start: int) -> None:
        self.letters.as_written(text, start)
        self.previous = text[-1]

    def stands_for(self, chars: str, start: int, end: int) -> None:
        self.letters.stands_for(chars, start, end)

    def known_after(self, text: str) -> int:
        """How many characters of a text are needed to decide how the first one is read."""
        size, so_far = 1, type(self).grammar.so_far
        while size < len(text) and so_far.match(text[:size]):
            size += 1
        return size

    def _is_decided(self, data: str, at: int) -> bool:
        return False

    def _line_beginning(self, data: str, at: int) -> int:
        return at

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        raise NotImplementedError
