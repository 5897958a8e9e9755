"""Which matches count, decided as early as can be: leftmost-longest, with blocks and allowances.

A plan is made of rules once; an engine carries it out on one text. Nearly always an engine only runs its automata over
the new text and learns that no match was met. When one was, it looks at its window: the text that is not decided, and
what before it could still matter.

What counts, for a whole text:

* A match that lies wholly inside an allowance does not count; an allowance consumes nothing.
* The block match that ends first ends the text with it, even inside another match. (A whole word that needs the next
  character to be known as one ends there; of blocks that end at once the leftmost counts, then the longest.)
* Of the others those count that begin before the block and have ended with it: leftmost, then longest, then of the
  least rank, one after the other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, cast

from streaming.moderation.folding import fold_with_origin, is_word_char
from streaming.moderation.literals import LiteralMatches, Literals
from streaming.moderation.literals import Node as LiteralState
from streaming.moderation.regexes import Regexes, RegexMatches
from streaming.moderation.regexes import State as RegexState
from streaming.moderation.rules import Compiled

Automaton = Literals | Regexes
State = LiteralState | RegexState


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One automaton, and which spelling of the text it reads: the folded one, or the text as it came."""

    automaton: Automaton
    exact: bool


class Plan:
    """Rules with their ranks, as the automata that an engine runs. Immutable but for what the automata learn."""

    def __init__(self, rules: Iterable[tuple[int, Compiled]], max_span: int) -> None:
        rules = list(rules)
        self.max_span = max_span
        self.denying = _machines([r for r in rules if r[1].rule.action not in ("block", "allow")], max_span)
        self.blocking = _machines([r for r in rules if r[1].rule.action == "block"], max_span)
        self.allowing = _machines([r for r in rules if r[1].rule.action == "allow"], max_span)
        self.watched = (*self.denying, *self.blocking)


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


class Decided(NamedTuple):
    """Text that is decided, and the rank of the rule that matched it; -1 if none did."""

    text: str
    start: int
    end: int
    rank: int


class Match(NamedTuple):
    """In window coordinates. The least of several is the one that counts."""

    start: int
    minus_end: int
    rank: int


class _Window:
    """Some text as it came, and folded, and which character of the one comes from which of the other."""

    def __init__(self) -> None:
        self.offset = 0  # characters of the text before it
        self.raw = ""
        self.folded = ""
        self._origin: list[int] | None = None  # for each folded character; None while they are the same
        self._before = ("", "")

    def append(self, text: str, folded: str, origin: list[int] | None) -> None:
        if origin is not None or self._origin is not None:
            if self._origin is None:
                self._origin = list(range(len(self.folded)))
            base = len(self.raw)
            self._origin += [base + index for index in (origin if origin is not None else range(len(folded)))]
        self.raw += text
        self.folded += folded

    def drop(self, count: int) -> None:
        """Forgets the first characters, but for the one that may join with the next to a word."""
        if not count:
            return
        folded = self.index(count, exact=False)
        self._before = (self.folded[folded - 1] if folded else self._before[0], self.raw[count - 1])
        self.offset += count
        self.raw = self.raw[count:]
        self.folded = self.folded[folded:]
        if self._origin is not None:
            self._origin = [index - count for index in self._origin[folded:]]
            if len(self.raw) == len(self.folded) and self._origin == list(range(len(self.raw))):
                self._origin = None

    def spelling(self, *, exact: bool) -> str:
        return self.raw if exact else self.folded

    def take_all(self) -> list[Decided]:
        """All of it as text without a match, and forgets it."""
        text, start = self.raw, self.offset
        if not text:
            return []
        self._before = (self.folded[-1:] or self._before[0], text[-1])
        self.offset = end = start + len(text)
        self.raw = self.folded = ""
        self._origin = None
        return [Decided(text, start, end, -1)]

    def last(self, match: Match, *, exact: bool) -> str:
        """The last character of a match, as it is spelled."""
        return self.spelling(exact=exact)[self.index(-match.minus_end, exact=exact) - 1]

    def is_one_to_one(self, *, exact: bool) -> bool:
        return exact or self._origin is None

    def index(self, at: int, *, exact: bool) -> int:
        """Where a character of the text, or what comes after it, stands in a spelling."""
        return at if exact or self._origin is None else bisect_left(self._origin, at)

    def begin(self, index: int, *, exact: bool) -> int:
        """The character of the text that one of a spelling comes from; at the spelling's end, the text's."""
        if exact or self._origin is None:
            return index
        return self._origin[index] if index < len(self._origin) else len(self.raw)

    def end(self, index: int, *, exact: bool) -> int:
        """Where the character of the text ends that the one before ``index`` comes from."""
        return index if exact or self._origin is None else self._origin[index - 1] + 1

    def before(self, index: int, *, exact: bool) -> str:
        """The character before one of a spelling."""
        return self.spelling(exact=exact)[index - 1] if index else self._before[exact]


class _Found:
    """The matches of one machine in a part of a window, asked for from left to right."""

    def __init__(self, machine: Machine, window: _Window, start: int, end: int, *, final: bool) -> None:
        self._window = window
        self._exact = exact = machine.exact
        self._base = window.index(start, exact=exact)
        text = window.spelling(exact=exact)[self._base : window.index(end, exact=exact)]
        before = window.before(self._base, exact=exact)
        self._matches: LiteralMatches | RegexMatches = machine.automaton.matches(text, before, final=final)
        self._least = 0
        self._next: Match | None = None
        # Of a folding that is not one to one, several matches may be of the same characters: the least comes first.
        one_to_one = window.is_one_to_one(exact=exact)
        self.candidates = self._longest_of_each() if one_to_one else iter(sorted(self.all()))

    def all(self) -> Iterator[Match]:
        for start in self._matches.starts(0):
            for end, rank in self._matches.ends(start):
                yield self._match(start, end, rank)

    def first(self, least: int) -> Match | None:
        """The leftmost and then longest that begins at ``least`` or after; ``least`` only grows."""
        if self._next is None or self._next.start < least:
            self._least = least
            self._next = next((match for match in self.candidates if match.start >= least), None)
        return self._next

    def _longest_of_each(self) -> Iterator[Match]:
        for start in self._matches.starts(0):
            if self._base + start >= self._least and (longest := self._matches.longest(start)) is not None:
                yield self._match(start, *longest)

    def _match(self, start: int, end: int, rank: int) -> Match:
        first = self._window.begin(self._base + start, exact=self._exact)
        return Match(first, -self._window.end(self._base + end, exact=self._exact), rank)


class _Allowances:
    """Where matches do not count, and from where on that is not known yet."""

    def __init__(self, machines: tuple[Machine, ...], window: _Window, *, final: bool) -> None:
        size = len(window.raw)
        found = sorted(m for machine in machines for m in _Found(machine, window, 0, size, final=final).candidates)
        self._starts = [match.start for match in found]
        self._reach = list(accumulate((-match.minus_end for match in found), max))
        self.live = size if final else min(_Live(machine, window, 0).first(0) for machine in machines)

    def covers(self, match: Match) -> bool:
        before = bisect_right(self._starts, match.start)
        return before > 0 and self._reach[before - 1] >= -match.minus_end


class _NoAllowances:
    live = 1 << 62

    def covers(self, match: Match) -> bool:
        return False


class _Live:
    """Where in a window, from ``start`` on, matches of one machine could begin that are not complete."""

    def __init__(self, machine: Machine, window: _Window, start: int) -> None:
        self._window = window
        self._exact = exact = machine.exact
        self._base = window.index(start, exact=exact)
        text = window.spelling(exact=exact)[self._base :]
        self._live = machine.automaton.live(text, window.before(self._base, exact=exact))

    def first(self, least: int) -> int:
        """The first that is ``least`` or more, or else the window's end; ``least`` only grows."""
        first = self._live.first(max(self._window.index(least, exact=self._exact) - self._base, 0))
        if first is None:
            return len(self._window.raw)
        return self._window.begin(self._base + first, exact=self._exact)


class Engine:
    """Carries a plan out on one text. What is decided comes out in order, each character once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._window = _Window()
        self._shown = 0  # how much of the window is decided
        self._block_from = 0  # where in the window a block that is not decided could begin
        self._states: list[State] = [machine.automaton.start for machine in plan.watched]
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
        for number, machine in enumerate(self._plan.watched):
            state = machine.automaton.run(self._states[number], text if machine.exact else folded)  # type: ignore[arg-type]
            self._states[number] = state
            if state.is_hit:
                met = True
            elif state.may_grow:
                may_grow = True
        if met:
            return self._decide(final=False)
        if may_grow or self._shown or self._plan.allowing:
            return self._release()
        self._block_from = 0
        return self._window.take_all()

    def finish(self) -> list[Decided]:
        return self._decide(final=True) if self._window.raw else []

    def _release(self) -> list[Decided]:
        """What can be told from the automata's states alone: no match was met, so only what could grow is held."""
        window, denying = self._window, len(self._plan.denying)
        live = block = len(window.raw)
        for number, state in enumerate(self._states):
            if not state.may_grow:
                continue
            machine = self._plan.watched[number]
            exact = machine.exact
            base = window.index(self._shown if number < denying else self._block_from, exact=exact)
            text = window.spelling(exact=exact)
            part = text[base:] if base else text
            held = machine.automaton.held(state, part, window.before(base, exact=exact))  # type: ignore[arg-type]
            if held:
                live = min(live, window.begin(len(text) - held, exact=exact))
                if number >= denying:
                    block = min(block, live)
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
        if self._plan.allowing:
            # An allowance around a match that is not decided may have begun that much earlier.
            span = self._plan.max_span
            folded = max(window.index(keep, exact=False) - span, 0)
            keep = max(min(window.begin(folded, exact=False), keep - span), 0)
        window.drop(keep)
        self._shown -= keep
        self._block_from = block_from - keep

    def _decide(self, *, final: bool) -> list[Decided]:
        window, plan = self._window, self._plan
        size = len(window.raw)
        allowed = _Allowances(plan.allowing, window, final=final) if plan.allowing else _NoAllowances()
        block = self._find_block(allowed, final=final)
        blocking = block is not None and allowed.live > block.start
        decided: list[Decided] = []
        if block is not None and blocking:
            self._take_matches(block.start, block, [], allowed, decided, final=True)
            self._show(block.start, decided)
            offset, end = window.offset, -block.minus_end
            text = window.raw[self._shown : end]
            decided.append(Decided(text, offset + block.start, offset + end, block.rank))
            self.blocked = True
            self._shown = size
            return decided
        block_live = size
        if not final:
            lives = (_Live(machine, window, self._block_from) for machine in plan.blocking)
            block_live = min((live.first(self._block_from) for live in lives), default=size)
        bound = min(block_live, block.start) if block is not None else block_live
        live = [_Live(machine, window, self._shown) for machine in plan.denying] if not final else []
        if min((each.first(self._shown) for each in live), default=bound) <= self._shown and not final:
            return []  # the first character could still become part of a longer match
        hold = self._take_matches(bound, block, live, allowed, decided, final=final)
        self._show(max(hold, self._shown), decided)
        self._forget(bound)
        self._restart()
        return decided

    def _find_block(self, allowed: _Allowances | _NoAllowances, *, final: bool) -> Match | None:
        """The block match that ends first, of those no allowance covers."""
        window, best = self._window, cast("tuple[tuple[int, ...], Match] | None", None)
        for machine in self._met(self._plan.blocking):
            for match in _Found(machine, window, self._block_from, len(window.raw), final=final).all():
                # A whole word is known as one by the character after it: among blocks that is where it ends.
                late = machine.automaton.whole_word and is_word_char(window.last(match, exact=machine.exact))
                order = (late - match.minus_end, *match)
                if (best is None or order < best[0]) and not allowed.covers(match):
                    best = (order, match)
        return best[1] if best else None

    def _take_matches(
        self,
        bound: int,
        block: Match | None,
        live: list[_Live],
        allowed: _Allowances | _NoAllowances,
        decided: list[Decided],
        *,
        final: bool,
    ) -> int:
        """Decides the matches that begin before ``bound`` as far as they are certain; from where on they are not.

        Where a block ends the text, none ends after it. ``live`` is where matches could begin that are not complete.
        """
        window = self._window
        end = -block.minus_end if block is not None and final else len(window.raw)
        found = [_Found(machine, window, self._shown, end, final=final) for machine in self._met(self._plan.denying)]
        least, hold = self._shown, 0
        while True:
            match = min([match for each in found if (match := each.first(least)) is not None], default=None)
            if match is None or match.start >= hold:
                # It only grows with what is decided, so it is asked for when it matters.
                hold = min([bound, *(each.first(self._shown) for each in live)])
                if match is None or match.start >= hold:
                    return hold
            if allowed.covers(match):
                least = match.start + 1
                continue
            undecided = allowed.live <= match.start or (block is not None and -match.minus_end > -block.minus_end)
            if undecided:
                return match.start
            start, stop = match.start, -match.minus_end
            self._show(start, decided)
            offset = window.offset
            decided.append(Decided(window.raw[start:stop], offset + start, offset + stop, match.rank))
            self._shown = least = stop

    def _met(self, machines: tuple[Machine, ...]) -> list[Machine]:
        """Those that have met a match in the text that is not decided."""
        states = zip(self._plan.watched, self._states, strict=True)
        return [machine for machine, state in states if machine in machines and state.is_hit]

    def _restart(self) -> None:
        """The states that the undecided text leads to."""
        window, denying = self._window, len(self._plan.denying)
        for number, machine in enumerate(self._plan.watched):
            automaton = machine.automaton
            # Regexes may be in a state that knows of too many beginnings: what they hold is told from the text.
            if isinstance(automaton, Literals) or self._states[number].is_hit:
                start = window.index(self._shown if number < denying else self._block_from, exact=machine.exact)
                text = window.spelling(exact=machine.exact)[start:]
                self._states[number] = automaton.run(automaton.start, text)  # type: ignore[arg-type]
