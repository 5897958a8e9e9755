"""Finds the starts of incomplete matches in a long text that is held, without searching all of it with each piece.

Starts whose matches have reached the same state have the same future, so they are kept together. Nearly always there
are few states, however many starts there are: in ``aaaa`` all matches of ``a+b`` are in one state.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import reduce
from heapq import heappop, heappush, heapreplace
from operator import getitem
from typing import Any, NamedTuple

from streaming.moderation.loose_words import LooseWords
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.spelling import Spelling

_BLOCK = 64
"""In symbols. The text is read in blocks of this size; its end, which is shorter, is searched each time."""

_MAX_GROUPS = 64
"""With more groups, as for ``a.{2000}b``, searching the text each time is faster."""

_RETRY = 4096
"""After so many symbols, it is tried again whether there are fewer groups."""


class What(NamedTuple):
    """Which matches count as incomplete after a text, and ``more`` symbols that its open letter may become.

    ``or_final``: also those that end there if the next symbol permits it. ``is_open``: also those whose last symbol is
    only a lookahead, since an open letter may still become another symbol.
    """

    more: str
    or_final: bool
    is_open: bool


class _Group:
    """The starts, ascending, of matches that are in the same state after the first ``read`` symbols of the text."""

    __slots__ = ("read", "starts", "state")

    def __init__(self, state: Any, read: int, starts: list[int]) -> None:
        self.state = state
        self.read = read
        self.starts = starts

    def read_on(self, text: str, dropped: int) -> None:
        """Reads the rest of a text whose first symbol is that after ``dropped`` others."""
        if self.read - dropped < len(text):
            self.state = reduce(getitem, text[self.read - dropped :], self.state)
            self.read = dropped + len(text)


class LiveStarts:
    """The starts of incomplete matches of one automaton in one text. They count the symbols before them."""

    def __init__(self, automaton: Regexes | LooseWords) -> None:
        self._automaton = automaton
        self._groups: list[_Group] = []  # sorted by their first starts
        self._read = 0
        self._again_at = 0  # until then, there are too many groups

    def follow(self, other: LiveStarts) -> None:
        """Copies those of another spelling of the text, which is the same so far."""
        self._groups = [_Group(group.state, group.read, group.starts[:]) for group in other._groups]
        self._read, self._again_at = other._read, other._again_at

    def moved(self, count: int) -> None:
        """Accounts for a spelling that has so many more symbols before the same text."""
        if count:
            self._read += count
            self._again_at += count
            for group in self._groups:
                group.read += count
                group.starts = [start + count for start in group.starts]

    def after(self, spelling: Spelling, least: int, what: What) -> Iterator[int]:
        """The starts, ascending, of matches that are incomplete, as indexes of symbols from ``least`` on."""
        self._read_blocks(spelling, least)
        if self._groups:
            yield from self._in_groups(spelling, least, what)
        least = max(least, self._read - spelling.dropped)
        text = spelling.chars + what.more
        yield from self._automaton.live_starts(
            text, least, spelling.before, or_final=what.or_final, is_open=what.is_open
        )

    def _read_blocks(self, spelling: Spelling, least: int) -> None:
        begin, end = spelling.dropped + least, spelling.dropped + len(spelling.chars)
        if self._read < begin:
            self._read, self._groups = begin, []
        if end < self._again_at or (not self._groups and end - self._read <= self._automaton.MUCH):
            return
        while end - self._read >= _BLOCK:
            self._read_block(spelling)
            if len(self._groups) > _MAX_GROUPS:
                self._read, self._groups, self._again_at = begin, [], end + _RETRY
                return

    def _read_block(self, spelling: Spelling) -> None:
        automaton, chars, dropped = self._automaton, spelling.chars, spelling.dropped
        begin = self._read - dropped
        text = chars[: begin + _BLOCK]
        self._read += _BLOCK
        least = self._read - automaton.max_span - 1
        groups: dict[int, _Group] = {}
        for group in self._groups:
            group.read_on(text, dropped)
            group.starts = group.starts[bisect_left(group.starts, least) :]
            _add(groups, group)
        for at in range(begin, len(text)):
            if automaton.may_begin(chars, at, spelling.before):
                state = automaton.match_from(chars[at - 1] if at else spelling.before)
                _add(groups, _Group(reduce(getitem, text[at:], state), self._read, [dropped + at]))
        self._groups = sorted(groups.values(), key=lambda group: group.starts[0])

    def _in_groups(self, spelling: Spelling, least: int, what: What) -> Iterator[int]:
        dropped, groups = spelling.dropped, iter(self._groups)
        least += dropped
        waiting = next(groups, None)
        begun: list[tuple[int, int, list[int]]] = []  # a heap: a start, its index in its group, and the group's starts
        while True:
            # A group is looked at only once its first start could be the next one.
            while waiting and (not begun or waiting.starts[0] <= begun[0][0]):
                starts = waiting.starts
                index = bisect_left(starts, max(least, self._first_live(waiting, spelling, what)))
                if index < len(starts):
                    heappush(begun, (starts[index], index, starts))
                waiting = next(groups, None)
            if not begun:
                return
            start, index, starts = begun[0]
            yield start - dropped
            if index + 1 < len(starts):
                heapreplace(begun, (starts[index + 1], index + 1, starts))
            else:
                heappop(begun)

    def _first_live(self, group: _Group, spelling: Spelling, what: What) -> int:
        """From which start on the matches of a group are short enough to go on."""
        automaton, size = self._automaton, spelling.dropped + len(spelling.chars) + len(what.more)
        group.read_on(spelling.chars, spelling.dropped)
        state = reduce(getitem, what.more, group.state)
        return size - automaton.reach(state, or_final=what.or_final, is_open=what.is_open)


def _add(groups: dict[int, _Group], group: _Group) -> None:
    """Adds a group to those in other states."""
    if not group.starts or not group.state.may_grow:
        return
    known = groups.setdefault(id(group.state), group)
    if known is not group:
        in_order = known.starts[-1] < group.starts[0]
        known.starts += group.starts
        if not in_order:
            known.starts.sort()
