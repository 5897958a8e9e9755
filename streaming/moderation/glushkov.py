"""Glushkov position automata (1961): each set of symbols in a pattern is a position, a set of positions is an int."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streaming.moderation.char_sets import Ranges
from streaming.moderation.lookaround import Layout, lay_out
from streaming.moderation.regex_nodes import Alt, Chars, Look, Node, Repeat, Seq, has_group, has_look, max_length

_MAX_REACH = 1 << 16

_NEAR, _MANY_ARROWS, _MAX_SHIFTS = 256, 64, 64
"""The longest arrows that are handled by shifts, the least number of a length, and the most lengths."""


class Ending(NamedTuple):
    """A pattern's rank, its final positions, its lookahead positions, and all of its positions, as bit masks."""

    rank: int
    final: int
    after: int
    all: int


class Positions:
    """The symbols that each position reads, its successors, and the patterns that it ends.

    Position 0 reads nothing. It is the start of every pattern: its successors are the first positions of all patterns.
    """

    def __init__(self, patterns: Iterable[tuple[Node, int]], max_span: int) -> None:
        self._sets: list[Ranges] = [()]
        self._follow: list[int] = [0]
        self._reach: dict[str, int] = {}
        self.final = 0
        self.endings: list[Ending] = []  # sorted by rank, ascending
        # Contexts: positions that read the symbol before or after a match. Some also stand for the edge of the text.
        self._contexts: dict[tuple[Ranges, bool, int], int] = {}
        self.before = self.before_edge = self.after = self.after_edge = 0
        # For patterns with a group: the positions in it, and successors by preference. The first positions of each
        # rank's pattern have the context that they need before them, or 0.
        self._group = 0
        self._preferred: dict[int, list[int]] = {}
        self._begins: dict[int, list[tuple[int, int]]] = {}
        cut = 0
        for node, rank in sorted(patterns, key=lambda pattern: pattern[1]):
            begin = len(self._sets)
            after = self.after
            first, last = self._lay_out(node, rank)
            longest = max_length(node)
            if longest is None or longest > max_span:
                cut |= (1 << len(self._sets)) - (1 << begin)
            self._follow[0] |= first
            self.final |= last
            own = (1 << len(self._sets)) - (1 << begin)
            self.endings.append(Ending(rank, last, self.after & ~after, own))
        self.first = self._follow[0]
        self.grows = mask_of(p for p, follow in enumerate(self._follow) if follow and p)
        self.reads_on = mask_of(p for p, follow in enumerate(self._follow) if follow & ~self.after and p)
        self.final_edge = mask_of(p for p, follow in enumerate(self._follow) if follow & self.after_edge)
        self.forwards = _Arrows(self._follow)
        self.backwards = _Arrows(_reversed(self._follow))
        self._by_set: dict[Ranges, int] = {}
        for position, ranges in enumerate(self._sets):
            self._by_set[ranges] = self._by_set.get(ranges, 0) | 1 << position
        self._distances = self._measure()
        # Only these patterns can have a match longer than max_span.
        self.max_distance = max((self._distances[position] for position in bits_of(cut)), default=0)
        self.has_cut = cut != 0

    @property
    def count(self) -> int:
        return len(self._sets)

    @property
    def ranks(self) -> list[int]:
        return [ending.rank for ending in self.endings]

    # Laying out

    def _lay_out(self, node: Node, rank: int) -> tuple[int, int]:
        """Returns the first positions of a pattern, and the last ones that need no lookahead."""
        if has_look(node) or has_group(node):
            layout = lay_out(node)
            return self._connect_layout(layout, [self._new(ranges) for ranges in layout.sets], rank)
        _, first, last = self._place(node)
        return first, last

    def _new(self, ranges: Ranges) -> int:
        self._sets.append(ranges)
        self._follow.append(0)
        return 1 << (len(self._sets) - 1)

    def _context(self, ranges: Ranges, edge: bool, *, ahead: bool, rank: int) -> int:
        """Returns the context position, as a bit, that reads the symbol before or after a match."""
        key = (ranges, edge, rank if ahead else -1)
        if key not in self._contexts:
            self._contexts[key] = bit = self._new(ranges)
            if ahead:
                self.after |= bit
                self.after_edge |= bit if edge else 0
            else:
                self.before |= bit
                self.before_edge |= bit if edge else 0
        return self._contexts[key]

    def _connect_layout(self, layout: Layout, bits: list[int], rank: int) -> tuple[int, int]:
        """Connects the positions of a layout, which are given as bits."""
        self._group |= union(bits[number] for number in layout.group)
        first = last = 0
        for arrow in layout.arrows:
            sources = [bits[number] for number in arrow.sources]
            targets = [bits[number] for number in arrow.targets]
            if arrow.begins:
                context = self._context(*arrow.behind, ahead=False, rank=rank) if arrow.behind else 0
                first |= 0 if context else union(targets)
                self._connect(context, union(targets))
                if layout.group:
                    self._begins.setdefault(rank, []).extend((context, target) for target in targets)
            elif not arrow.ends:
                self._connect(union(sources), union(targets))
                for source in sources if layout.group else ():
                    self._preferred.setdefault(source, []).extend(targets)
            elif arrow.ahead:
                self._connect(union(sources), self._context(*arrow.ahead, ahead=True, rank=rank))
            else:
                last |= union(sources)
        return first, last

    def _place(self, node: Node) -> tuple[bool, int, int]:
        """Lays out a pattern. Returns whether it can be empty, its first positions and its last positions."""
        match node:
            case Chars(ranges):
                place = self._new(ranges)
                return False, place, place
            case Seq(items):
                return self._place_all(items)
            case Alt(items):
                places = [self._place(item) for item in items]
                firsts, lasts = (union(place[i] for place in places) for i in (1, 2))
                return any(place[0] for place in places), firsts, lasts
            case Repeat(item, least, most):
                return self._place_repeat(item, least, most)
            case Look():
                raise AssertionError("look-around is laid out otherwise")

    def _place_all(self, items: Iterable[Node]) -> tuple[bool, int, int]:
        empty, first, last = True, 0, 0
        for item in items:
            item_empty, item_first, item_last = self._place(item)
            self._connect(last, item_first)
            first |= item_first if empty else 0
            last = item_last | (last if item_empty else 0)
            empty = empty and item_empty
        return empty, first, last

    def _place_repeat(self, item: Node, least: int, most: int | None) -> tuple[bool, int, int]:
        # x{2,4} is laid out as x x (x x?)?, and x{2,} as x x+: each copy leads only to the next.
        if most == 0:
            return True, 0, 0
        copies = [self._place(item) for _ in range(most if most is not None else max(least, 1))]
        can_be_empty = copies[0][0]
        firsts, lasts, previous, through = 0, 0, 0, True
        for number, (_, first, last) in enumerate(copies):
            self._connect(previous, first)
            firsts |= first if through else 0
            # If a copy can be empty, the positions before it also lead to those after it.
            previous = last | (previous if can_be_empty else 0)
            through = through and can_be_empty
            if number + 1 >= least:
                lasts |= previous
        if most is None:
            self._connect(copies[-1][2], copies[-1][1])
        return can_be_empty or least == 0, firsts, lasts

    def _connect(self, sources: int, targets: int) -> None:
        for position in bits_of(sources):
            self._follow[position] |= targets

    def _measure(self) -> list[int]:
        """Returns, for each position with a successor, the least number of further symbols that a match needs.

        A match needs the symbol of its lookahead to be known, but that is not one of its own.
        """
        distance: dict[int, int] = {}
        reached, wave, steps = 0, self.backwards.step(self.after), 0
        while wave & ~reached or not steps:
            for position in bits_of(wave & ~reached):
                distance[position] = steps
            reached |= wave
            wave, steps = self.backwards.step(wave | (0 if steps else self.final)), steps + 1
        return [distance.get(position, 0) for position in range(len(self._follow))]

    # Queries

    def reads(self, symbol: str) -> int:
        """The positions that read this symbol."""
        found = self._reach.get(symbol)
        if found is None:
            if len(self._reach) >= _MAX_REACH:
                self._reach.clear()
            code = ord(symbol)
            sets = (mask for ranges, mask in self._by_set.items() if any(a <= code <= b for a, b in ranges))
            found = self._reach[symbol] = union(sets)
        return found

    def begins_with(self, symbol: str) -> bool:
        return bool(self.first_after(None) & self.reads(symbol))

    def first_after(self, before: str | None) -> int:
        """The first positions allowed after the symbol ``before`` (empty: at the start of the text; None: anywhere)."""
        if not self.before:
            return self.first
        return self.first | self.forwards.step(self.before if before is None else self.beside(before))

    def beside(self, before: str) -> int:
        """The lookbehind contexts that a symbol satisfies, or the start of the text if ``before`` is empty."""
        return self.reads(before) & self.before if before else self.before_edge

    def rank(self, positions: int) -> int:
        """The lowest rank of the patterns that end at these positions; -1 if there is none."""
        return next(self.ranks_of(positions), -1) if positions & self.final else -1

    def ranks_of(self, positions: int) -> Iterator[int]:
        """The ranks of the patterns that end at these positions, ascending."""
        return (ending.rank for ending in self.endings if positions & ending.final)

    def rank_after(self, positions: int) -> int:
        """The lowest rank of the patterns whose lookahead accepted the symbol just read; -1 if there is none."""
        return next(self.ranks_after(positions), -1) if positions & self.after else -1

    def ranks_after(self, positions: int) -> Iterator[int]:
        return (ending.rank for ending in self.endings if positions & ending.after)

    def rank_of_any(self, positions: int) -> int:
        """The lowest rank of the patterns that have any of these positions; -1 if there is none."""
        return next((ending.rank for ending in self.endings if positions & ending.all), -1)

    def at_edge(self, positions: int) -> int:
        """The lookahead contexts after these positions that the end of the text satisfies."""
        return self.forwards.step(positions & self.final_edge) & self.after_edge

    def distance(self, positions: int) -> int:
        """The least number of further symbols until a match ends, from those of the positions that have successors."""
        return min((self._distances[position] for position in bits_of(positions & self.grows)), default=1 << 30)

    def group_within(
        self, rank: int, text: str, place: tuple[int, int], before: str, *, final: bool
    ) -> tuple[int, int] | None:
        """The span of the group within a match of this rank's pattern, on its preferred path.

        The match itself if nothing in it is in the group; None if it is no match.
        """
        start, end = place
        before = text[start - 1] if start else before
        ways = self._ways(self._ending(rank), text, place, final=final)
        if not ways[0] & self.first_after(before):
            return None
        behind = self.beside(before) if self.before else 0
        choices = [target for context, target in self._begins.get(rank, ()) if not context or context & behind]
        inside: list[int] = []
        for at in range(start, end) if choices else ():
            choice = next(target for target in choices if target & ways[at - start])
            if choice & self._group:
                inside.append(at)
            choices = self._preferred.get(choice, [])
        return (inside[0], inside[-1] + 1) if inside else place

    def _ways(self, ending: Ending, text: str, place: tuple[int, int], *, final: bool) -> list[int]:
        """For each symbol of a match, the positions that read it on a path to the end of the match."""
        start, end = place
        edge = self.after_edge if final else 0
        back = ending.final | self.backwards.step(ending.after & (self.reads(text[end]) if end < len(text) else edge))
        ways = [0] * (end - start)
        for at in range(end - 1, start - 1, -1):
            ways[at - start] = back = back & self.reads(text[at])
            back = self.backwards.step(back)
        return ways

    def of_rank(self, rank: int, *, in_group: bool) -> int:
        """The positions of this rank's pattern, or those in its group, that read a symbol of a match."""
        own = self._ending(rank).all & ~self.after
        return own & self._group if in_group else own

    def _ending(self, rank: int) -> Ending:
        return next(ending for ending in self.endings if ending.rank == rank)


class _Arrows:
    """The successors of sets of positions.

    Most arrows lead to a neighbour, or as far as many others do, since the copies of what is repeated are alike. All
    arrows of one length are handled by one bit shift. The others are followed from one group of positions at a time.
    """

    def __init__(self, targets: list[int]) -> None:
        self._shifts: list[tuple[int, int]] = []  # how far, and the positions from which arrows lead so far
        rests = dict(enumerate(targets))
        for length in (1, -1, 0):
            self._take(length, rests)
        for length in _frequent_lengths(rests):
            self._take(length, rests)
        alike: dict[int, int] = {}  # the positions that lead to the same others
        for position, rest in rests.items():
            alike[rest] = alike.get(rest, 0) | 1 << position
        self._others = union(alike.values())
        # For each position, the targets, and all positions but those that lead to the same ones.
        self._targets = {1 << position: (rest, ~same) for rest, same in alike.items() for position in bits_of(same)}

    def _take(self, length: int, rests: dict[int, int]) -> None:
        """Moves the arrows of this length from ``rests`` to the shifts."""
        sources = [p for p, rest in rests.items() if p + length >= 0 and rest >> (p + length) & 1]
        for position in sources:
            rests[position] ^= 1 << (position + length)
        for position in [p for p, rest in rests.items() if not rest]:
            del rests[position]
        if sources:
            self._shifts.append((length, mask_of(sources)))

    def step(self, positions: int) -> int:
        out = 0
        for length, sources in self._shifts:
            if here := positions & sources:
                out |= here << length if length >= 0 else here >> -length
        others = positions & self._others
        while others:
            targets, rest = self._targets[others & -others]
            out |= targets
            others &= rest
        return out


def _frequent_lengths(targets: dict[int, int]) -> list[int]:
    """The lengths of many arrows: from each of these positions to its targets."""
    counts: Counter[int] = Counter()
    for position, mask in targets.items():
        near = mask >> max(position - _NEAR, 0) & ((1 << (2 * _NEAR + 1)) - 1)
        counts.update(target - min(position, _NEAR) for target in bits_of(near))
    return [length for length, count in counts.most_common(_MAX_SHIFTS) if count >= _MANY_ARROWS]


def bits_of(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def mask_of(positions: Iterable[int]) -> int:
    return union(1 << position for position in positions)


def union(masks: Iterable[int]) -> int:
    out = 0
    for mask in masks:
        out |= mask
    return out


def _reversed(follow: list[int]) -> list[int]:
    before = [0] * len(follow)
    for position, targets in enumerate(follow):
        for target in bits_of(targets):
            before[target] |= 1 << position
    return before
