"""What patterns are made of, as a tree over folded characters, and what can be told of one by looking at it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import NamedTuple

from streaming.moderation.folding import fold_char

Range = tuple[int, int]
"""Code points, both ends included."""

LAST = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of a set; sorted ranges that do not touch."""

    ranges: tuple[Range, ...]

    @property
    def is_gap(self) -> bool:
        """Whether it stands for almost any character."""
        return sum(last - first + 1 for first, last in self.ranges) > LAST // 2


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other; none is the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Any of these."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` times; None has no end."""

    item: Node
    least: int
    most: int | None


Node = Chars | Seq | Alt | Repeat


def literal(text: str, fold: Callable[[str], str] = fold_char) -> Seq:
    return Seq(tuple(_char(c) for char in text for c in fold(char)))


def squeezed(text: str, fold: Callable[[str], str] = fold_char) -> Seq:
    """A text in which each run of a character may be longer: ``bad`` is in ``baaaad``, ``book`` needs its two o's."""
    folded = "".join(map(fold, text))
    runs = [match[0] for match in re.finditer(r"(?s)(.)\1*", folded)]
    return Seq(tuple(Repeat(_char(run[0]), len(run), None) for run in runs))


def _char(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))


def min_length(node: Node) -> int:
    """Characters of the shortest match."""
    match node:
        case Chars():
            return 1
        case Seq(items):
            return sum(map(min_length, items))
        case Alt(items):
            return min(map(min_length, items))
        case Repeat(item, least, _):
            return min_length(item) * least


def max_length(node: Node) -> int | None:
    """Characters of the longest match; None if there is no longest."""
    match node:
        case Chars():
            return 1
        case Seq(items):
            lengths = [max_length(item) for item in items]
            return None if None in lengths else sum(length for length in lengths if length is not None)
        case Alt(items):
            lengths = [max_length(item) for item in items]
            return None if None in lengths else max(length for length in lengths if length is not None)
        case Repeat(item, _, most):
            longest = max_length(item)
            if longest == 0 or most == 0:
                return 0
            return None if longest is None or most is None else longest * most


def begins_with_gap(node: Node) -> bool:
    """Whether a match can begin with any amount of almost anything, so that all text would have to be held."""
    match node:
        case Chars():
            return False
        case Seq(items):
            for item in items:
                if begins_with_gap(item):
                    return True
                if min_length(item) > 0:
                    return False
            return False
        case Alt(items):
            return any(map(begins_with_gap, items))
        case Repeat(item, _, most):
            return begins_with_gap(item) or (most is None and _is_gap(item))


def _is_gap(node: Node) -> bool:
    match node:
        case Chars():
            return node.is_gap
        case Seq(items) | Alt(items):
            return any(map(_is_gap, items))
        case Repeat(item, _, _):
            return _is_gap(item)


def count_positions(node: Node) -> int:
    match node:
        case Chars():
            return 1
        case Seq(items) | Alt(items):
            return sum(map(count_positions, items))
        case Repeat(item, least, most):
            return count_positions(item) * max(least, 1 if most is None else most)


class _Paths(NamedTuple):
    """How a part of a pattern is walked through: the ways within it, into it and out of it; is there one past it?"""

    arrows: int
    firsts: int
    lasts: int
    can_be_empty: bool


_EMPTY = _Paths(0, 0, 0, can_be_empty=True)


def count_arrows(node: Node) -> int:
    """How many ways lead from one character of the pattern, written out, to another."""
    return _paths(node).arrows


def _paths(node: Node) -> _Paths:
    match node:
        case Chars():
            return _Paths(0, 1, 1, can_be_empty=False)
        case Seq(items):
            return reduce(_then, map(_paths, items), _EMPTY)
        case Alt(items):
            arrows, firsts, lasts, empty = zip(*map(_paths, items), strict=True)
            return _Paths(sum(arrows), sum(firsts), sum(lasts), any(empty))
        case Repeat(item, least, most):
            paths = _paths(item)
            copies = max(least, 1) if most is None else most
            all_of_them = reduce(_then, repeat(paths, copies), _EMPTY)
            back = paths.lasts * paths.firsts if most is None else 0
            more_lasts = paths.lasts * max(copies - least, 0)
            return _Paths(
                all_of_them.arrows + back,
                all_of_them.firsts,
                max(all_of_them.lasts, more_lasts),
                all_of_them.can_be_empty or least == 0,
            )


def _then(before: _Paths, after: _Paths) -> _Paths:
    return _Paths(
        before.arrows + after.arrows + before.lasts * after.firsts,
        before.firsts + (after.firsts if before.can_be_empty else 0),
        after.lasts + (before.lasts if after.can_be_empty else 0),
        before.can_be_empty and after.can_be_empty,
    )
