"""Which matches count, decided as early as can be: leftmost-longest, with blocks and allowances.

A plan is made of rules once; an engine carries it out on one text. Nearly always an engine only runs its automata over
the new text and learns that no match was met. When one was, it looks at its window: the text that is not decided, and
what before it could still matter.

What counts, for a whole text:

* A match that lies wholly inside an allowance does not count; an allowance consumes nothing.
* The block match that is known first ends the text with it, even inside another match. (It is known when it ends; a
  whole word, by the character after it. Of blocks that are known at once the leftmost counts, then the longest.)
* Of the others those count that begin before the block and have ended with it: leftmost, then longest, then of the
  least rank, one after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol, cast

from streaming.moderation.folding import fold_with_origin
from streaming.moderation.literals import Literals
from streaming.moderation.regexes import Regexes
from streaming.moderation.rules import Compiled
from streaming.moderation.scanning import (
    AllWords,
    Found,
    Live,
    LongestWords,
    Machine,
    ReachOfRegexes,
    ReachOfWords,
    RegexScanner,
)
from streaming.moderation.window import Decided, Match, Window


class Plan:
    """Rules with their ranks, as the automata that an engine runs. Immutable but for what the automata learn."""

    def __init__(self, rules: Iterable[tuple[int, Compiled]], max_span: int) -> None:
        rules = list(rules)
        self.max_span = max_span
        self.denying = _machines([r for r in rules if r[1].rule.action not in ("block", "allow")], max_span)
        self.blocking = _machines([r for r in rules if r[1].rule.action == "block"], max_span)
        self.allowing = _machines([r for r in rules if r[1].rule.action == "allow"], max_span)

    @property
    def automata(self) -> list[Literals | Regexes]:
        return [machine.automaton for machine in (*self.denying, *self.blocking, *self.allowing)]


def _machines(rules: list[tuple[int, Compiled]], max_span: int) -> tuple[Machine, ...]:
    machines = []
    for exact in (False, True):
        for whole_word in (False, True):
            alike = [r for r in rules if r[1].rule.exact is exact and r[1].rule.whole_word is whole_word]
            if words := [(r.word, rank) for rank, r in alike if r.word is not None]:
                machines.append(Machine(Literals(words, whole_word=whole_word), exact))
            if nodes := [(r.node, rank) for rank, r in alike if r.node is not None]:
                machines.append(Machine(Regexes(nodes, max_span, whole_word=whole_word), exact))
    return tuple(machines)


class _Allowances:
    """Where matches do not count; from ``live`` on that is not known yet."""

    def __init__(self, spans: Iterable[tuple[int, int]], live: int) -> None:
        spans = sorted(spans)
        self._starts = [start for start, _ in spans]
        self._reach = list(accumulate((end for _, end in spans), max))
        self.live = live

    def covers(self, match: Match) -> bool:
        before = bisect_right(self._starts, match.start)
        return before > 0 and self._reach[before - 1] >= -match.minus_end


class _FromLeft(Protocol):
    def first(self, least: int) -> Match | None:
        """The match that begins at ``least`` or after: leftmost, then longest. ``least`` only grows."""


def _longest(machine: Machine, window: Window) -> LongestWords | RegexScanner:
    if isinstance(machine.automaton, Literals):
        return LongestWords(machine.automaton, window, exact=machine.exact)
    return RegexScanner(machine.automaton, window, exact=machine.exact)


def _all(machine: Machine, window: Window) -> AllWords | RegexScanner:
    if isinstance(machine.automaton, Literals):
        return AllWords(machine.automaton, window, exact=machine.exact)
    return RegexScanner(machine.automaton, window, exact=machine.exact)


def _reach(machine: Machine, window: Window) -> ReachOfWords | ReachOfRegexes:
    if isinstance(machine.automaton, Literals):
        return ReachOfWords(machine.automaton, window, exact=machine.exact)
    return ReachOfRegexes(machine.automaton, window, exact=machine.exact)


class Engine:
    """Carries a plan out on one text. What is decided comes out in order, each character once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._window = window = Window()
        self._shown = 0  # how much of the window is decided
        self._block_from = 0  # where in the window a block that is not decided could begin
        self._denying = [_longest(machine, window) for machine in plan.denying]
        self._blocking = [_all(machine, window) for machine in plan.blocking]
        self._allowing = [_reach(machine, window) for machine in plan.allowing]
        self._watching = (*self._denying, *self._blocking)
        self.blocked = False

    @property
    def held(self) -> int:
        """Characters that are not decided."""
        return len(self._window.raw) - self._shown

    @property
    def fed(self) -> int:
        """Characters that have come."""
        return self._window.offset + len(self._window.raw)

    def feed(self, text: str) -> list[Decided]:
        folded, origin = fold_with_origin(text)
        self._window.append(text, folded, origin)
        met = may_grow = False
        for scanner in self._watching:
            if scanner.feed(text if scanner.exact else folded):
                met = True
            elif scanner.state.may_grow:
                may_grow = True
        if met:
            return self._decide()
        if may_grow or self._shown or self._allowing:
            return self._release()
        self._block_from = 0
        return self._window.take_all()

    def finish(self) -> list[Decided]:
        """What is not decided, now that nothing more comes."""
        if not self._window.raw:
            return []
        size = len(self._window.raw)
        allowed = self._allowed(final=True)
        block = self._first_block(allowed, final=True)
        if block is not None:
            return self._end_with(block, allowed)
        decided: list[Decided] = []
        self._take_matches(self._found_up_to(size), size, None, [], allowed, decided)
        self._show(size, decided)
        return decided

    def _release(self) -> list[Decided]:
        """What can be told without a match: only what could grow is held."""
        block = len(self._window.raw)
        for blocking in self._blocking:
            if blocking.state.may_grow:
                block = min(block, blocking.live(self._block_from).first(self._block_from))
        live = block
        for denying in self._denying:
            if denying.state.may_grow:
                live = min(live, denying.live(self._shown).first(self._shown))
        decided: list[Decided] = []
        self._show(live, decided)
        self._forget(block)
        return decided

    def _show(self, end: int, decided: list[Decided]) -> None:
        """Decides that no match is in the text up to ``end``."""
        if end > self._shown:
            offset = self._window.offset
            decided.append(Decided(self._window.raw[self._shown : end], offset + self._shown, offset + end, -1))
            self._shown = end

    def _forget(self, block_from: int) -> None:
        """Drops what can no longer matter from the window; ``block_from`` is where a block could begin."""
        window = self._window
        keep = min(block_from, self._shown)
        if self._allowing:
            # An allowance around a match that is not decided may have begun that much earlier.
            span = self._plan.max_span
            folded = max(window.index(keep, exact=False) - span, 0)
            keep = max(min(window.begin(folded, exact=False), keep - span), 0)
        window.drop(keep)
        self._shown -= keep
        self._block_from = block_from - keep

    def _decide(self) -> list[Decided]:
        """What a match that was met has decided."""
        size = len(self._window.raw)
        allowed = self._allowed(final=False)
        block = self._first_block(allowed, final=False)
        if block is not None and allowed.live > block.start:
            return self._end_with(block, allowed)
        bound = size if block is None else block.start
        for scanner in self._blocking:
            bound = min(bound, scanner.live(self._block_from).first(self._block_from))
        live = [scanner.live(self._shown) for scanner in self._denying]
        if min((each.first(self._shown) for each in live), default=bound) <= self._shown:
            return []  # the first character could still become part of a longer match
        decided: list[Decided] = []
        found = [scanner.found(self._shown) for scanner in self._denying if scanner.has_met]
        hold = self._take_matches(found, bound, block, live, allowed, decided)
        self._show(max(hold, self._shown), decided)
        self._forget(bound)
        for denying in self._denying:
            denying.forget(self._shown)
        for blocking in self._blocking:
            blocking.forget(self._block_from)
        return decided

    def _end_with(self, block: Match, allowed: _Allowances) -> list[Decided]:
        """The end of the text: what counts before the block, and the block."""
        window, decided = self._window, list[Decided]()
        self._take_matches(self._found_up_to(-block.minus_end), block.start, block, [], allowed, decided)
        self._show(block.start, decided)
        offset, end = window.offset, -block.minus_end
        decided.append(Decided(window.raw[self._shown : end], offset + block.start, offset + end, block.rank))
        self.blocked = True
        self._shown = len(window.raw)
        return decided

    def _found_up_to(self, end: int) -> list[Found]:
        """The matches in the text that is not decided, if it ends there."""
        return [Found(each.machine, self._window, self._shown, end, final=True) for each in self._denying]

    def _allowed(self, *, final: bool) -> _Allowances:
        window, size = self._window, len(self._window.raw)
        if final:
            found = (Found(each.machine, window, 0, size, final=True).candidates for each in self._allowing)
            return _Allowances(((match.start, -match.minus_end) for each in found for match in each), _NEVER)
        spans = [span for each in self._allowing for span in each.reach()]
        return _Allowances(spans, min((each.live(0).first(0) for each in self._allowing), default=_NEVER))

    def _first_block(self, allowed: _Allowances, *, final: bool) -> Match | None:
        """The block match that is known first, of those no allowance covers."""
        window, start = self._window, self._block_from
        best = cast("tuple[tuple[int, ...], Match] | None", None)
        for scanner in self._blocking:
            if final:
                matches: Iterable[Match] = Found(scanner.machine, window, start, len(window.raw), final=True).all()
            else:
                matches = scanner.all(start) if scanner.has_met else ()
            for match in matches:
                whole_word = scanner.machine.automaton.whole_word
                order = (window.known_at(match, exact=scanner.exact, whole_word=whole_word), *match)
                if (best is None or order < best[0]) and not allowed.covers(match):
                    best = (order, match)
        return best[1] if best else None

    def _take_matches(
        self,
        found: Sequence[_FromLeft],
        bound: int,
        block: Match | None,
        live: list[Live],
        allowed: _Allowances,
        decided: list[Decided],
    ) -> int:
        """Decides the matches that begin before ``bound`` as far as they are certain; from where on they are not.

        None counts that ends after a block. ``live`` is where matches could begin that are not complete.
        """
        window = self._window
        least, hold = self._shown, 0
        while True:
            match = None
            for each in found:
                first = each.first(least)
                if first is not None and (match is None or first < match):
                    match = first
            if match is None or match.start >= hold:
                # It only grows with what is decided, so it is asked for when it matters.
                hold = bound
                for each_live in live:
                    hold = min(hold, each_live.first(self._shown))
                if match is None or match.start >= hold:
                    return hold
            if allowed.covers(match):
                least = match.start + 1
                continue
            if allowed.live <= match.start or (block is not None and -match.minus_end > -block.minus_end):
                return match.start
            start, stop = match.start, -match.minus_end
            self._show(start, decided)
            offset = window.offset
            decided.append(Decided(window.raw[start:stop], offset + start, offset + stop, match.rank))
            self._shown = least = stop


_NEVER = 1 << 62
"""After every character."""
