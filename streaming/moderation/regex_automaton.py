"""Searches for many regular expressions at once, in time linear in the length of the text.

A set of positions is stored as the bits of one int, so a step takes a few operations on whole sets. The results are
cached as the states of a lazily built DFA: when the same set occurs again, a step is one dict lookup.

Three machines share the same positions:

* forwards, from every start at once: is there any match? This one runs over all text, in C;
* backwards, from the end of the text: where could an incomplete match begin? Everything from there on is held;
* backwards, from every possible end: where does a match begin? Its sets also tell which steps forward lead to an end,
  so the longest match is found in as many steps as it has symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import accumulate
from operator import getitem

from streaming.moderation.edges import Edges, Ending
from streaming.moderation.folding import moving_marks
from streaming.moderation.glushkov import Positions, union
from streaming.moderation.regex_nodes import Node
from streaming.moderation.regex_states import State, StateMachine
from streaming.moderation.shared import Shared
from streaming.moderation.validators import REACH, Beginnings, Check
from streaming.moderation.walks import Walks

_END = -1
"""Stands for the positions after the end of a text; the first step backwards determines what they are."""


class Regexes(Shared):
    """An automaton for patterns, each with the rank of its rule. A match has at most ``max_span`` symbols."""

    MUCH = 256
    """In symbols. A longer text is expensive to search for the starts of incomplete matches with each piece."""

    def __init__(
        self,
        patterns: Iterable[tuple[Node, int]],
        max_span: int,
        edges: Edges,
        check: Check | None = None,
        *,
        acts_on_group: bool = False,
        overflows: bool = False,
    ) -> None:
        self.check = check
        """What the part of a match that is acted on has to pass: its group, or all of it."""
        self.acts_on_group = acts_on_group
        self.overflows = overflows
        """Whether an incomplete match that reaches ``max_span`` symbols counts as a match."""
        self.positions = places = Positions(patterns, max_span)
        self.max_span = max_span
        # What is longer does not pass the check.
        is_short = check is not None and not check.beyond and not acts_on_group and not overflows
        self.longest = min(REACH, max_span) if is_short else max_span
        self.edges = edges
        first, final, grows, reads = places.first, places.final, places.grows, places.reads
        forwards, backwards, before = places.forwards.step, places.backwards.step, places.before
        ends = final | places.after

        def towards(ends: int) -> Callable[[int, str], int]:
            return lambda s, symbol: (ends if s == _END else backwards(s)) & reads(symbol)

        def back_from(last: int) -> Callable[[int, str], int]:
            return lambda s, symbol: ((last if s == _END else backwards(s)) | ends) & reads(symbol)

        self._search = StateMachine(
            places, places.before_edge, lambda s, symbol: (forwards(s) | first | before) & reads(symbol), ends
        )
        self._match = StateMachine(places, 1, lambda s, symbol: forwards(s) & reads(symbol))
        self._open = StateMachine(places, _END, towards(grows))
        self._open_or_final = StateMachine(places, _END, towards(grows | final))
        self._open_letter = StateMachine(places, _END, towards(grows | ends))
        self._begin = StateMachine(places, _END, back_from(0))
        self._begin_final = StateMachine(places, _END, back_from(places.final_edge))
        self._before = StateMachine(places, 0, lambda s, symbol: backwards(s) & reads(symbol))
        self.start = self._search.start

    @property
    def ranks(self) -> list[int]:
        return self.positions.ranks

    def dismantle(self) -> None:
        """Frees the states, which form reference cycles. Called when the automaton is no longer in use."""
        for machine in (
            *(self._search, self._match, self._open, self._open_or_final, self._open_letter),
            *(self._begin, self._begin_final, self._before),
        ):
            machine.dismantle()

    def start_after(self, before: str) -> State:
        """The initial state for a text that follows the symbol ``before``."""
        return self._search.state(self.positions.beside(before)) if self.positions.before else self.start

    def match_from(self, before: str) -> State:
        """The initial state for a match that begins directly after this symbol."""
        return self._match.state(1 | self.positions.beside(before)) if self.positions.before else self._match.start

    def begins_with(self, symbol: str) -> bool:
        return self.positions.begins_with(symbol)

    @cached_property
    def leading_mark(self) -> str:
        """A mark with which a match may begin, in the middle of a letter; empty if there is none."""
        return next(filter(self.begins_with, moving_marks()), "")

    def run(self, state: State, text: str) -> State:
        """The state after the text. Its ``is_hit`` tells whether there was a match, so the text must be examined."""
        return reduce(getitem, text, state)

    def goes_on_with(self, state: State, symbols: str) -> bool:
        """Whether a match begun before this state can continue, or is complete, after these further symbols."""
        places = self.positions
        for symbol in symbols:
            state = self._search.state(self._search.step(state.positions, symbol))
            if state.positions & (places.grows | places.final | places.after):
                return True
        return False

    def open_starts(self, text: str, least: int, before: str, *, or_final: bool, is_open: bool = False) -> list[int]:
        """The possible starts, ascending, of matches that can continue after the text within ``max_span``.

        ``or_final``: also those that end with the text if the next symbol permits it. ``is_open``: also those whose
        last symbol is only a lookahead, since an open letter may still become another symbol.
        """
        starts: list[int] = []
        places, size = self.positions, len(text)
        state = (self._open_letter if is_open else self._open_or_final if or_final else self._open).start
        stop = max(size - self.max_span - is_open, least)
        looks_back = places.before != 0
        for at in range(size - 1, stop - 1, -1):
            state = state[text[at]]
            if looks_back and state.positions & places.before and at + 1 < size and starts[-1:] != [at + 1]:
                starts.append(at + 1)
            if state.begins:
                starts.append(at)
            elif not state.positions:
                break
        else:
            if places.before and stop < size:
                previous = text[stop - 1] if stop else before
                wanted = places.backwards.step(state.positions) & places.beside(previous)
                if wanted and starts[-1:] != [stop]:
                    starts.append(stop)
        starts.reverse()
        return starts

    def waiting_starts(self, text: str, least: int, before: str) -> list[int]:
        """The starts of matches that end with the text if the next symbol permits it."""
        matches = RegexMatches(self, text, before, final=True)
        return [start for start in matches.starts() if start >= least and self._ends_at(matches, start, len(text))]

    def _ends_at(self, matches: RegexMatches, start: int, end: int) -> bool:
        return any(ending.end == end for ending in matches.ends(start))

    def live_starts(
        self, text: str, least: int, before: str, *, or_final: bool, is_open: bool = False
    ) -> Iterator[int]:
        """The starts, ascending, of matches that can really continue after the text; see ``open_starts``."""
        starts = self.open_starts(text, least, before, or_final=or_final, is_open=is_open)
        return (start for start in starts if self._is_live(text, start, before, or_final=or_final, is_open=is_open))

    def _is_live(self, text: str, start: int, before: str, *, or_final: bool, is_open: bool) -> bool:
        """Whether a match can really continue from one of ``open_starts``; ``before`` is the symbol before the text."""
        if not self.may_begin(text, start, before):
            return False
        length, places = len(text) - start, self.positions
        if self.overflows and length < self.max_span:
            return True
        if self.longest == self.max_span and (not places.has_cut or length + places.max_distance <= self.max_span):
            return True
        # This close to max_span, it matters how far away the nearest end is.
        state = self.run(self.match_from(text[start - 1] if start else before), text[start:])
        return length <= self.reach(state, or_final=or_final, is_open=is_open)

    def reach(self, state: State, *, or_final: bool, is_open: bool) -> int:
        """With how many symbols at most a match in this state can still continue; -1 if it cannot."""
        places, positions = self.positions, state.positions
        ends = (places.final if or_final else 0) | (places.after if is_open else 0)
        if not positions & (places.grows | ends):
            return -1
        if is_open and positions & places.after:
            return self.longest + 1
        if or_final and positions & places.final:
            return self.longest
        if not places.has_cut and self.longest == self.max_span:
            return self.longest
        if state.distance < 0:
            state.distance = places.distance(positions)
        return max(self.longest - state.distance, self.max_span - 1 if self.overflows else -1)

    def may_begin(self, text: str, start: int, before: str) -> bool:
        return self.edges.may_begin(text[start - 1] if start else before, text[start])

    def state_at_limit(self, text: str, start: int, end: int, before: str) -> State | None:
        """The state after a match, from which it may continue, if it has ``max_span`` symbols; else None."""
        if not self.positions.has_cut or end - start < self.max_span:
            return None
        return self.run(self.match_from(text[start - 1] if start else before), text[start:end])

    def overflow(self, text: str, start: int, before: str) -> int:
        """The lowest rank of the patterns still incomplete after ``max_span`` symbols; -1 if there is none."""
        if len(text) - start < self.max_span or not self.may_begin(text, start, before):
            return -1
        state = self.match_from(text[start - 1] if start else before)
        for symbol in text[start : start + self.max_span]:
            state = state[symbol]
            if not state.positions & self.positions.reads_on:
                return -1
        return self.positions.rank_of_any(state.positions & self.positions.reads_on)

    def any_overflow(self, text: str, before: str) -> bool:
        starts = range(len(text) - self.max_span + 1)
        return any(self.begins_with(text[at]) and self.overflow(text, at, before) >= 0 for at in starts)

    def leading_to(self, positions: Iterable[int]) -> State:
        """The state from which, going backwards, the positions are found that lead to these."""
        return self._before.state(union(positions))

    def matches(
        self, text: str, before: str, *, final: bool, failed: int = 0, beginnings: Sequence[Beginnings] = ()
    ) -> RegexMatches:
        """Its matches in a text. What ends with one of the first ``failed`` symbols is known to be none.

        ``beginnings`` are those of what begins with each symbol, if they are known.
        """
        return RegexMatches(self, text, before, final=final, failed=failed, beginnings=beginnings)

    def trace(self, text: str, *, final: bool) -> list[int]:
        """For each symbol, the positions that read it on a path to an end within the text."""
        start = (self._begin_final if final else self._begin).start
        sets = [state.positions for state in accumulate(reversed(text), getitem, initial=start)]
        sets.reverse()
        return sets[:-1]


class RegexMatches:
    """The matches in one text."""

    def __init__(
        self,
        regexes: Regexes,
        text: str,
        before: str,
        *,
        final: bool,
        failed: int = 0,
        beginnings: Sequence[Beginnings] = (),
    ) -> None:
        self._regexes = regexes
        self._beginnings = beginnings
        self._text = text
        self._before = before
        self._final = final
        self._failed = failed
        self._walks = Walks(self._positions_at)
        self._ways = [0] * len(text) if self._is_dull() else regexes.trace(text, final=final)

    def _is_dull(self) -> bool:
        """Whether it is known that nothing passes the check."""
        check = self._regexes.check
        if check is None or not self._beginnings:
            return check is not None and len(set(self._text)) < check.different
        return not any(
            each.longest == REACH or each.longest > self._failed - start for start, each in enumerate(self._beginnings)
        )

    def _firsts(self, at: int) -> int:
        """The first positions that a match could have at this index."""
        places = self._regexes.positions
        return places.first_after(self._text[at - 1] if at else self._before) if places.before else places.first

    def starts(self) -> Iterator[int]:
        """The starts of matches, ascending. For whole-word rules these are only candidates."""
        regexes, text = self._regexes, self._text
        return (
            at
            for at in range(len(text))
            if self._ways[at] & self._firsts(at) or (regexes.overflows and regexes.begins_with(text[at]))
        )

    def starts_beyond(self, start: int, end: int) -> Iterable[int]:
        """The starts from ``start`` to ``end`` of which a match may end after ``end``."""
        text = self._text[start:end]
        begins = accumulate(reversed(text), getitem, initial=self._regexes.leading_to(self._ways[end : end + 1]))
        positions = [state.positions for state in begins][:0:-1]
        return (at for at, possible in enumerate(positions, start) if possible & self._firsts(at))

    def ends(self, start: int) -> Iterator[Ending]:
        """The matches that begin at ``start``, shortest first. One end may occur twice: without and with lookahead."""
        is_complete = False
        for end, positions, ahead in self._ends_of(start):
            for ending in self._endings(start, end, positions, ahead):
                is_complete = True
                yield ending
        if not is_complete:
            yield from self._overflow(start)

    def fresh_ends(self, start: int) -> Iterator[Ending]:
        """The same, but for what ends like a match that was asked for before, and began before it.

        Two matches at the same positions have the same future, so the second one is not followed any further.
        """
        regexes = self._regexes
        if regexes.overflows or regexes.check:
            yield from self.ends(start)
            return
        if not regexes.may_begin(self._text, start, self._before):
            return
        limit = min(start + regexes.max_span, len(self._text))
        for at, positions in self._walks.walk(start, self._ways[start] & self._firsts(start) or None, limit):
            ahead = self._ahead(positions, at + 1) if regexes.positions.after else 0
            if positions & regexes.positions.final or ahead:
                yield from self._endings(start, at + 1, positions, ahead)

    def from_longest(self, start: int) -> Iterator[Ending]:
        """The matches that begin at ``start``, longest first."""
        is_complete = False
        for end, positions, ahead in reversed(list(self._ends_of(start))):
            for ending in self._endings(start, end, positions, ahead):
                is_complete = True
                yield ending
        if not is_complete:
            yield from self._overflow(start)

    def _overflow(self, start: int) -> Iterator[Ending]:
        regexes = self._regexes
        if regexes.overflows and (rank := regexes.overflow(self._text, start, self._before)) >= 0:
            yield Ending(start + regexes.max_span, rank)

    def _positions_at(self, positions: int, at: int) -> int | None:
        """The positions that follow these with the symbol at an index, on the way to an end; None if none does."""
        if at >= len(self._text):
            return None
        return self._regexes.positions.forwards.step(positions) & self._ways[at] or None

    def _ends_of(self, start: int) -> Iterator[tuple[int, int, int]]:
        """Where the patterns that begin at ``start`` end: the end, the positions there, and the lookahead met."""
        regexes, text, ways = self._regexes, self._text, self._ways
        if not regexes.may_begin(text, start, self._before):
            return
        places = regexes.positions
        positions = ways[start] & self._firsts(start)
        for at in range(start, min(start + self._reach(start), len(text))):
            if at > start:
                positions = places.forwards.step(positions) & ways[at]
            if not positions:
                return
            ahead = self._ahead(positions, at + 1) if places.after else 0
            if (positions & places.final or ahead) and at >= self._failed:
                yield at + 1, positions, ahead

    def _reach(self, start: int) -> int:
        """How many symbols a match that begins at ``start`` may have."""
        regexes = self._regexes
        if not regexes.check or regexes.acts_on_group:
            return regexes.max_span
        if self._beginnings:
            longest = self._beginnings[start].longest
            return regexes.max_span if longest == REACH else min(longest, regexes.max_span)
        return (
            regexes.max_span if regexes.check(self._text[start : start + REACH + 1]) else min(REACH, regexes.max_span)
        )

    def _ahead(self, positions: int, end: int) -> int:
        """The lookahead contexts after these positions that accept what follows."""
        places = self._regexes.positions
        if end < len(self._text):
            return places.forwards.step(positions) & places.reads(self._text[end]) & places.after
        return places.at_edge(positions) if self._final else 0

    def _endings(self, start: int, end: int, positions: int, ahead: int) -> Iterator[Ending]:
        places = self._regexes.positions
        if not self._regexes.edges.may_end(self._text, end, final=self._final):
            return
        rank = self._first_passing(places.ranks_of(positions), start, end)
        if rank >= 0:
            yield Ending(end, rank)
        looking = self._first_passing(places.ranks_after(ahead), start, end) if ahead else -1
        if looking >= 0 and looking != rank:
            yield Ending(end, looking, looks=True)

    def _first_passing(self, ranks: Iterator[int], start: int, end: int) -> int:
        """The first of the ranks whose match, or group in it, passes the check; -1 if there is none."""
        check = self._regexes.check
        if not check:
            return next(ranks, -1)
        if self._beginnings:
            return next(ranks, -1) if self._beginnings[start].passes(end - start) else -1
        if not self._regexes.acts_on_group:
            return next(ranks, -1) if check(self._text[start:end]) else -1
        return next((rank for rank in ranks if check(self._group(rank, start, end))), -1)

    def _group(self, rank: int, start: int, end: int) -> str:
        within = self._regexes.positions.group_within(rank, self._text, (start, end), self._before, final=self._final)
        return self._text[slice(*within)] if within else ""
