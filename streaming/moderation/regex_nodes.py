"""The syntax tree of a pattern, over symbols, and the properties computed from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import NamedTuple

from streaming.moderation.char_sets import LAST, Ranges, normal


@dataclass(frozen=True, slots=True)
class Chars:
    """One symbol from a set, given as sorted ranges that do not touch."""

    ranges: Ranges

    @property
    def is_gap(self) -> bool:
        """Whether it matches almost any symbol."""
        return sum(last - first + 1 for first, last in self.ranges) > LAST // 2


@dataclass(frozen=True, slots=True)
class Seq:
    """A sequence of nodes; without items, the empty text. ``is_group`` marks the part that the rule acts on."""

    items: tuple[Node, ...]
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Alt:
    """Alternatives: any one of these nodes."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` repetitions; None is unlimited. Laziness affects only the span of a group."""

    item: Node
    least: int
    most: int | None
    is_lazy: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Look-around: the symbol before (``ahead``: after) is in a set. ``edge``: the edge of the text also counts."""

    ranges: Ranges
    ahead: bool
    edge: bool


Node = Chars | Seq | Alt | Repeat | Look


def word(symbols: Iterable[str]) -> Seq:
    """A sequence of these symbols."""
    return Seq(tuple(Chars(((ord(symbol), ord(symbol)),)) for symbol in symbols))


def alternatives(nodes: Iterable[Node]) -> Node:
    """Any one of these nodes. Neighbours that are single symbols become one set, so ``a|b`` is ``[ab]``."""
    items: list[Node] = []
    for node in nodes:
        one, before = _one_set(node), items[-1] if items else None
        if one and isinstance(before, Chars):
            items[-1] = Chars(normal((*before.ranges, *one.ranges)))
        else:
            items.append(one or node)
    return items[0] if len(items) == 1 else Alt(tuple(items))


def _one_set(node: Node) -> Chars | None:
    """The set of a node that is one symbol."""
    match node:
        case Chars():
            return node
        case Seq((item,), False):
            return _one_set(item)
    return None


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Seq(items) | Alt(items):
            return items
        case Repeat(item, _, _, _):
            return (item,)
    return ()


def has_look(node: Node) -> bool:
    return isinstance(node, Look) or any(map(has_look, _children(node)))


def has_group(node: Node) -> bool:
    return (isinstance(node, Seq) and node.is_group) or any(map(has_group, _children(node)))


def min_length(node: Node) -> int:
    """The number of symbols in the shortest match."""
    match node:
        case Chars():
            return 1
        case Look():
            return 0
        case Seq(items):
            return sum(map(min_length, items))
        case Alt(items):
            return min(map(min_length, items))
        case Repeat(item, least, _, _):
            return min_length(item) * least


def max_length(node: Node) -> int | None:
    """The number of symbols in the longest match; None if it is unlimited."""
    match node:
        case Chars():
            return 1
        case Look():
            return 0
        case Seq(items):
            lengths = [max_length(item) for item in items]
            return None if None in lengths else sum(length for length in lengths if length is not None)
        case Alt(items):
            lengths = [max_length(item) for item in items]
            return None if None in lengths else max(length for length in lengths if length is not None)
        case Repeat(item, _, most, _):
            longest = max_length(item)
            if longest == 0 or most == 0:
                return 0
            return None if longest is None or most is None else longest * most


def begins_with_gap(node: Node) -> bool:
    """Whether a match can begin with an unlimited run of almost any symbols, so that all text would have to be held."""
    match node:
        case Chars() | Look():
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
        case Repeat(item, _, most, _):
            return begins_with_gap(item) or (most is None and _is_gap(item))


def _is_gap(node: Node) -> bool:
    return node.is_gap if isinstance(node, Chars) else any(map(_is_gap, _children(node)))


def count_positions(node: Node) -> int:
    """The number of sets of symbols in a pattern with its repetitions written out."""
    match node:
        case Chars():
            return 1
        case Repeat(item, least, most, _):
            return count_positions(item) * max(least, 1 if most is None else most)
    return sum(map(count_positions, _children(node)))


class _Paths(NamedTuple):
    """The paths through a part of a pattern: transitions inside it, entries, exits, and whether it can be skipped."""

    arrows: int
    firsts: int
    lasts: int
    can_be_empty: bool


_EMPTY = _Paths(0, 0, 0, can_be_empty=True)


def count_arrows(node: Node) -> int:
    """The number of transitions between the symbols of a pattern with its repetitions written out."""
    return _paths(node).arrows


def _paths(node: Node) -> _Paths:
    match node:
        case Chars():
            return _Paths(0, 1, 1, can_be_empty=False)
        case Look():
            return _EMPTY
        case Seq(items):
            return reduce(_then, map(_paths, items), _EMPTY)
        case Alt(items):
            arrows, firsts, lasts, empty = zip(*map(_paths, items), strict=True)
            return _Paths(sum(arrows), sum(firsts), sum(lasts), any(empty))
        case Repeat(item, least, most, _):
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
