r"""Compiles look-around into the layout of a pattern, so that it costs nothing when text is scanned.

A condition between two symbols (``\b``, ``(?=a)`` ...) depends only on these symbols. So the sets of symbols on both
sides are split until each part is entirely inside or entirely outside the condition's set, and parts that do not meet
the condition have no arrow between them. At the edge of a pattern, the condition is about a symbol outside the match:
there it becomes a context position beside the match.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.moderation.char_sets import Ranges, common, complement
from streaming.moderation.regex_nodes import Alt, Chars, Look, Node, Repeat, Seq

Condition = tuple[Ranges, bool]
"""A set of symbols, and whether the edge of the text also satisfies the condition."""

_NEVER: Condition = ((), False)


@dataclass(frozen=True, slots=True)
class Arrow:
    """Transitions from every source set to every target set. The first arrow has no sources, the last no targets."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    behind: Condition | None = None
    ahead: Condition | None = None
    begins: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A pattern's sets of symbols, the arrows between them (preferred ones first), and the sets inside its group."""

    sets: list[Ranges]
    arrows: list[Arrow]
    group: list[int]


@dataclass(slots=True)
class _Graph:
    """A graph of the places between symbols. Steps read nothing; ``chars`` read one symbol of a set."""

    steps: dict[int, list[tuple[Condition | None, Condition | None, int]]] = field(default_factory=dict)
    chars: list[tuple[int, Ranges, int]] = field(default_factory=list)
    group: range = range(0)
    count: int = 0

    def new(self) -> int:
        self.count += 1
        return self.count

    def step(self, a: int, b: int, behind: Condition | None = None, ahead: Condition | None = None) -> None:
        self.steps.setdefault(a, []).append((behind, ahead, b))

    def lay(self, node: Node, a: int, b: int) -> None:
        """Lays out a part of a pattern between two places. Steps are added in order of preference."""
        match node:
            case Chars(ranges):
                middle = self.new()
                self.step(a, middle)
                self.chars.append((middle, ranges, b))
            case Look(ranges, ahead, edge):
                self.step(a, b, None if ahead else (ranges, edge), (ranges, edge) if ahead else None)
            case Seq(items, is_group):
                begin = len(self.chars)
                for item in items:
                    middle = self.new()
                    self.lay(item, a, middle)
                    a = middle
                self.step(a, b)
                if is_group:
                    self.group = range(begin, len(self.chars))
            case Alt(items):
                for item in items:
                    before = self.new()
                    self.step(a, before)
                    self.lay(item, before, b)
            case Repeat():
                self._lay_repeat(node, a, b)

    def _lay_repeat(self, node: Repeat, a: int, b: int) -> None:
        copies = max(node.least, 1) if node.most is None else node.most
        last = 0
        for number in range(copies):
            before, after = self.new(), self.new()
            self._choose(a, before, b if number >= node.least else 0, is_lazy=node.is_lazy)
            self.lay(node.item, before, after)
            a, last = after, before
        if node.most is None:
            self._choose(a, last, b, is_lazy=node.is_lazy)
        else:
            self.step(a, b)

    def _choose(self, a: int, again: int, onward: int, *, is_lazy: bool) -> None:
        for target in (onward, again) if is_lazy else (again, onward):
            if target:
                self.step(a, target)

    def reach(self, node: int) -> list[tuple[int, Condition | None, Condition | None]]:
        """The places reachable without reading a symbol, and their conditions, in order of preference."""
        seen: dict[tuple[int, Condition | None, Condition | None], None] = {}
        todo: list[tuple[int, Condition | None, Condition | None]] = [(node, None, None)]
        while todo:
            here = todo.pop()
            if here in seen:
                continue
            seen[here] = None
            at, behind, ahead = here
            for more_behind, more_ahead, target in reversed(self.steps.get(at, ())):
                both = _both(behind, more_behind), _both(ahead, more_ahead)
                if _NEVER not in both:
                    todo.append((target, *both))
        return list(seen)


def lay_out(node: Node) -> Layout:
    graph = _Graph()
    start, end = graph.new(), graph.new()
    graph.lay(node, start, end)
    arrows = _arrows(graph, start, end)
    parts = _split(graph, arrows)
    sets: list[Ranges] = []
    numbers: list[list[int]] = []
    for each in parts:
        numbers.append(list(range(len(sets), len(sets) + len(each))))
        sets += each
    placed = [arrow for each in arrows if (arrow := _placed(each, sets, numbers)) is not None]
    return Layout(sets, placed, [number for index in graph.group for number in numbers[index]])


_Raw = tuple[int, int, "Condition | None", "Condition | None"]  # from (-1: the start), to (-1: the end), behind, ahead


def _arrows(graph: _Graph, start: int, end: int) -> list[_Raw]:
    by_place: dict[int, list[int]] = {}
    for number, (before, _, _) in enumerate(graph.chars):
        by_place.setdefault(before, []).append(number)
    arrows: list[_Raw] = []
    for source, place in ((-1, start), *((number, after) for number, (_, _, after) in enumerate(graph.chars))):
        for at, behind, ahead in graph.reach(place):
            arrows += [(source, target, behind, ahead) for target in by_place.get(at, ())]
            if at == end and source >= 0:
                arrows.append((source, -1, behind, ahead))
    return arrows


def _split(graph: _Graph, arrows: list[_Raw]) -> list[list[Ranges]]:
    """Splits each set into parts that are entirely inside or entirely outside each of its conditions."""
    conditions: list[dict[Ranges, None]] = [{} for _ in graph.chars]
    for source, target, behind, ahead in arrows:
        if behind and source >= 0:
            conditions[source][behind[0]] = None
        if ahead and target >= 0:
            conditions[target][ahead[0]] = None
    parts = []
    for (_, ranges, _), wanted in zip(graph.chars, conditions, strict=True):
        split = [ranges]
        for condition in wanted:
            outside = complement(condition)
            split = [part for each in split for part in (common(each, condition), common(each, outside)) if part]
        parts.append(split)
    return parts


def _placed(arrow: _Raw, sets: list[Ranges], numbers: list[list[int]]) -> Arrow | None:
    source, target, behind, ahead = arrow
    sources = _that_meet(behind, numbers[source], sets) if source >= 0 else ()
    targets = _that_meet(ahead, numbers[target], sets) if target >= 0 else ()
    if (source >= 0 and not sources) or (target >= 0 and not targets):
        return None
    begins, ends = source < 0, target < 0
    return Arrow(sources, targets, behind if begins else None, ahead if ends else None, begins, ends)


def _that_meet(condition: Condition | None, numbers: list[int], sets: list[Ranges]) -> tuple[int, ...]:
    return tuple(number for number in numbers if condition is None or common(sets[number], condition[0]))


def _both(one: Condition | None, other: Condition | None) -> Condition | None:
    if one is None or other is None:
        return one or other
    return common(one[0], other[0]), one[1] and other[1]
