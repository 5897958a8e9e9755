"""Many regular expressions looked for at once, in time linear in the text.

Each character set of a pattern is a position (Glushkov, 1961), and a set of positions is the bits of one int, so that
a step is a handful of operations on whole sets. The steps that a text asks for are kept as states (a DFA that is made
as it is needed): where the same sets come again, a step is one look into a dict.

Three machines read the same positions:

* forwards, from every start at once: was a match met at all? This one runs over everything, in C;
* backwards, from the end: where could something begin that is not complete? All from there on is held;
* backwards, from every possible end: where does a match begin? Its sets also say which way forward leads to an end,
  so that the longest match is found in as many steps as it has characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import getitem

from streaming.moderation.folding import is_word_char
from streaming.moderation.literals import may_end
from streaming.moderation.nodes import Alt, Chars, Node, Range, Repeat, Seq, max_length

_MAX_STATES = 4096
_MAX_TRANSITIONS = 1 << 16


class Positions:
    """The positions of several patterns: what each reads, what it leads to, and what it ends."""

    def __init__(self, patterns: Iterable[tuple[Node, int]], max_span: int) -> None:
        # Position 0 reads nothing. It stands before every pattern, and leads to what begins one.
        self._sets: list[tuple[Range, ...]] = [()]
        self._follow: list[int] = [0]
        self._reach: dict[str, int] = {}
        self.final = 0
        self._ends: list[tuple[int, int]] = []  # (rank, final positions), the least rank first
        cut = 0
        for node, rank in sorted(patterns, key=lambda pattern: pattern[1]):
            before = len(self._sets)
            _, first, last = self._place(node)
            longest = max_length(node)
            if longest is None or longest > max_span:
                cut |= (1 << len(self._sets)) - (1 << before)
            self._follow[0] |= first
            self.final |= last
            self._ends.append((rank, last))
        self.first = self._follow[0]
        self.grows = _mask(p for p, follow in enumerate(self._follow) if follow and p)
        self.forwards = _Arrows(self._follow)
        self.backwards = _Arrows(_reversed(self._follow))
        self._by_set: dict[tuple[Range, ...], int] = {}
        for position, ranges in enumerate(self._sets):
            self._by_set[ranges] = self._by_set.get(ranges, 0) | 1 << position
        self._distances = self._measure()
        # Only of these patterns could a match be longer than the longest there may be.
        self.max_distance = max((self._distances[position] for position in _bits(cut)), default=0)
        self.has_cut = cut != 0

    def _place(self, node: Node) -> tuple[bool, int, int]:
        """Lays a pattern out. Whether it can be empty, the positions that begin it, and those that end it."""
        match node:
            case Chars(ranges):
                self._sets.append(ranges)
                self._follow.append(0)
                place = 1 << (len(self._sets) - 1)
                return False, place, place
            case Seq(items):
                return self._place_all(items)
            case Alt(items):
                places = [self._place(item) for item in items]
                firsts, lasts = (_union(place[i] for place in places) for i in (1, 2))
                return any(place[0] for place in places), firsts, lasts
            case Repeat(item, least, most):
                return self._place_repeat(item, least, most)

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
        # x{2,4} is laid out as x x (x x?)?, and x{2,} as x x+: each copy leads to the next one only.
        if most == 0:
            return True, 0, 0
        copies = [self._place(item) for _ in range(most if most is not None else max(least, 1))]
        can_be_empty = copies[0][0]
        firsts, lasts, previous, through = 0, 0, 0, True
        for number, (_, first, last) in enumerate(copies):
            self._connect(previous, first)
            firsts |= first if through else 0
            # A copy that can be empty lets what is before it go on to what is after.
            previous = last | (previous if can_be_empty else 0)
            through = through and can_be_empty
            if number + 1 >= least:
                lasts |= previous
        if most is None:
            self._connect(copies[-1][2], copies[-1][1])
        return can_be_empty or least == 0, firsts, lasts

    def _connect(self, sources: int, targets: int) -> None:
        for position in _bits(sources):
            self._follow[position] |= targets

    def _measure(self) -> list[int]:
        """For each position that can go on, how many more characters a match needs at least."""
        distance: dict[int, int] = {}
        reached, wave, steps = 0, self.backwards.step(self.final), 1
        while wave & ~reached:
            for position in _bits(wave & ~reached):
                distance[position] = steps
            reached |= wave
            wave, steps = self.backwards.step(wave), steps + 1
        return [distance.get(position, 0) for position in range(len(self._follow))]

    def reads(self, char: str) -> int:
        """The positions that read this character."""
        found = self._reach.get(char)
        if found is None:
            if len(self._reach) >= _MAX_TRANSITIONS:
                self._reach.clear()
            code = ord(char)
            sets = (mask for ranges, mask in self._by_set.items() if any(a <= code <= b for a, b in ranges))
            found = self._reach[char] = _union(sets)
        return found

    def rank(self, positions: int) -> int:
        """The least rank of the patterns that end there; -1 if none does."""
        if positions & self.final:
            return next(rank for rank, final in self._ends if positions & final)
        return -1

    def distance(self, positions: int) -> int:
        """How many more characters the nearest end is away, of the positions that can go on."""
        return min((self._distances[position] for position in _bits(positions & self.grows)), default=1 << 30)


class _Arrows:
    """What a set of positions leads to. Most lead to the next, the one before or themselves: these go all at once."""

    def __init__(self, targets: list[int]) -> None:
        self._up = self._down = self._loop = self._others = 0
        self._targets: dict[int, int] = {}
        for position, mask in enumerate(targets):
            here = 1 << position
            rest = mask
            for name, target in (("_up", here << 1), ("_down", here >> 1), ("_loop", here)):
                if rest & target:
                    setattr(self, name, getattr(self, name) | here)
                    rest &= ~target
            if rest:
                self._others |= here
                self._targets[here] = rest

    def step(self, positions: int) -> int:
        out = (positions & self._up) << 1 | (positions & self._down) >> 1 | positions & self._loop
        others = positions & self._others
        while others:
            lowest = others & -others
            out |= self._targets[lowest]
            others ^= lowest
        return out


class State(dict[str, "State"]):
    """A set of positions; ``state[char]`` is the next one, worked out when it is first asked for."""

    __slots__ = ("begins", "machine", "may_grow", "positions")

    is_hit = False

    def __init__(self, machine: _Machine, positions: int, begins: bool) -> None:
        self.machine = machine
        self.positions = positions
        self.begins = begins  # whether a pattern begins with one of them
        self.may_grow = positions != 0

    def __missing__(self, char: str) -> State:
        return self.machine.go(self, char)


class _Accepting(State):
    """A match was met: it leads to the machine's ``hit`` whatever follows."""

    __slots__ = ()
    is_hit = True

    def __getitem__(self, char: str) -> State:
        return self.machine.hit


class _Machine:
    """States by their positions, made as a text asks for them, and forgotten all at once when there are too many."""

    def __init__(self, places: Positions, start: int, step: Callable[[int, str], int], accepting: int = 0) -> None:
        self._step = step
        self._accepting = accepting
        self._first = places.first
        self._states: dict[int, State] = {}
        self._transitions = 0
        self.start = State(self, start, begins=False)
        self.hit: State = _Accepting(self, 0, begins=False)

    def go(self, state: State, char: str) -> State:
        positions = self._step(state.positions, char)
        if len(self._states) >= _MAX_STATES or self._transitions >= _MAX_TRANSITIONS:
            for old in self._states.values():
                old.clear()
            self.start.clear()
            self._states.clear()
            self._transitions = 0
        found = self._states.get(positions)
        if found is None:
            kind = _Accepting if positions & self._accepting else State
            found = self._states[positions] = kind(self, positions, begins=bool(positions & self._first))
        self._transitions += 1
        state[char] = found
        return found

    def dismantle(self) -> None:
        for state in [self.start, self.hit, *self._states.values()]:
            state.clear()
            del state.machine
        self._states.clear()


_END = -1
"""The positions after the end of a text, of which only the first step backwards knows what they are."""


class Regexes:
    """Patterns, each with the rank of its rule. A match is at most ``max_span`` characters long."""

    def __init__(self, patterns: Iterable[tuple[Node, int]], max_span: int, *, whole_word: bool = False) -> None:
        self.positions = places = Positions(patterns, max_span)
        self.max_span = max_span
        self.whole_word = whole_word
        first, final, grows, reads = places.first, places.final, places.grows, places.reads
        forwards, backwards = places.forwards.step, places.backwards.step

        def towards(ends: int) -> Callable[[int, str], int]:
            return lambda s, char: (ends if s == _END else backwards(s)) & reads(char)

        self._search = _Machine(places, 0, lambda s, char: (forwards(s) | first) & reads(char), final)
        self.match_start = _Machine(places, 1, lambda s, char: forwards(s) & reads(char)).start
        self._open = _Machine(places, _END, towards(grows))
        self._open_word = _Machine(places, _END, towards(grows | final))
        self._begin = _Machine(places, 0, lambda s, char: (backwards(s) | final) & reads(char))
        self.start = self._search.start

    def dismantle(self) -> None:
        """Frees the states, which refer to each other, once no text is looked at any more."""
        for machine in (self._search, self.match_start.machine, self._open, self._open_word, self._begin):
            machine.dismantle()

    def run(self, state: State, text: str) -> State:
        """The state after the text. ``is_hit`` tells whether a match was met, so that the text has to be looked at."""
        return reduce(getitem, text, state)

    def open_starts(self, text: str, least: int) -> list[int]:
        """Where matches could begin that can go on after the text, but for those it is too late for, ascending."""
        # A whole word that ends with the text is decided by the character that follows.
        pending = self.whole_word and bool(text) and is_word_char(text[-1])
        starts: list[int] = []
        state = (self._open_word if pending else self._open).start
        for at in range(len(text) - 1, max(len(text) - self.max_span, least) - 1, -1):
            state = state[text[at]]
            if not state.positions:
                break
            if state.begins:
                starts.append(at)
        starts.reverse()
        return starts

    def is_live(self, text: str, start: int, before: str) -> bool:
        """Whether one of ``open_starts`` is live indeed; ``before`` is the character before the text."""
        if not self.may_begin(text, start, before):
            return False
        length, places = len(text) - start, self.positions
        if not places.has_cut or length + places.max_distance <= self.max_span:
            return True
        # So near the longest match it matters how far the nearest end is.
        positions = reduce(getitem, text[start:], self.match_start).positions
        pending = self.whole_word and is_word_char(text[-1])
        if pending and positions & places.final and length <= self.max_span:
            return True
        return length + places.distance(positions) <= self.max_span

    def may_begin(self, text: str, start: int, before: str) -> bool:
        previous = text[start - 1] if start else before
        return not (self.whole_word and previous and is_word_char(previous) and is_word_char(text[start]))

    def matches(self, text: str, before: str, *, final: bool) -> RegexMatches:
        return RegexMatches(self, text, before, final=final)

    def trace(self, text: str) -> list[int]:
        """For each character the positions that read it on a way to an end within the text."""
        sets, state = [0] * len(text), self._begin.start
        for at in range(len(text) - 1, -1, -1):
            state = state[text[at]]
            sets[at] = state.positions
        return sets


class RegexMatches:
    """The matches in one text."""

    def __init__(self, regexes: Regexes, text: str, before: str, *, final: bool) -> None:
        self._regexes = regexes
        self._text = text
        self._before = before
        self._final = final
        self._ways = regexes.trace(text)

    def starts(self, least: int) -> Iterator[int]:
        """Where matches begin, ascending, from ``least`` on; of whole words, where they could."""
        first = self._regexes.positions.first
        return (at for at in range(least, len(self._text)) if self._ways[at] & first)

    def ends(self, start: int) -> Iterator[tuple[int, int]]:
        """(end, rank) of each match that begins at ``start``, the shortest first."""
        regexes, text, ways = self._regexes, self._text, self._ways
        if not regexes.may_begin(text, start, self._before):
            return
        places = regexes.positions
        positions = ways[start] & places.first
        for at in range(start, min(start + regexes.max_span, len(text))):
            if at > start:
                positions = places.forwards.step(positions) & ways[at]
            if not positions:
                return
            rank = places.rank(positions)
            if rank >= 0 and (not regexes.whole_word or may_end(text, at + 1, final=self._final)):
                yield at + 1, rank

    def longest(self, start: int) -> tuple[int, int] | None:
        best = None
        for best in self.ends(start):  # noqa: B007 (the last one is wanted)
            pass
        return best


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _mask(positions: Iterable[int]) -> int:
    return _union(1 << position for position in positions)


def _union(masks: Iterable[int]) -> int:
    out = 0
    for mask in masks:
        out |= mask
    return out


def _reversed(follow: list[int]) -> list[int]:
    before = [0] * len(follow)
    for position, targets in enumerate(follow):
        for target in _bits(targets):
            before[target] |= 1 << position
    return before
