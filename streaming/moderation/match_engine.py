"""Decides which matches count, as early as possible: leftmost, then longest, with block and allow rules.

An engine runs a plan on one text. Nearly always it only runs its automata over the new text and finds no match. If
there is one, it examines its window: the undecided text, and the text before it that may still matter.

These rules determine which matches count in a complete text:

* A match entirely inside an allowance (a match of an allow rule) does not count. It consumes no text.
* The block match that is known first ends the text, even inside another match. (A match is known once its last letter
  is decided; with whole words or lookahead, once the symbol after it is decided. If several block matches become known
  at the same time, the leftmost counts, then the longest.)
* Other matches count if they begin before the block and end no later than it. They are chosen one after another:
  leftmost, then longest, then lowest rank.
* What continues a match beyond ``max_span`` is acted on as well, but only up to the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import getitem
from typing import Protocol

from streaming.moderation.found import NEVER, NO_ALLOWANCES, Allowances, Found, found_up_to
from streaming.moderation.output import Output
from streaming.moderation.plan import Plan
from streaming.moderation.readings import Medium
from streaming.moderation.scanning import NOT_KNOWN, Live
from streaming.moderation.spelling import Match
from streaming.moderation.watching import Watch
from streaming.moderation.window import NONE, Decided, Window
from streaming.moderation.word_hits import WordHits


class _FromLeft(Protocol):
    def first(self, least: int) -> Match | None:
        """The leftmost, then longest match that begins at or after ``least``, which must never decrease."""


class Engine:
    """Runs a plan on one text. Returns the decided text in order, each character once."""

    def __init__(self, plan: Plan, medium: Medium, mask: str) -> None:
        self._plan = plan
        self._window = window = Window(plan.keys(medium), medium)
        self._block_from = 0  # where in the window an undecided block match could begin
        self._watch = Watch(plan, window)
        self._output = Output(plan, window, mask)
        self._may_skim = not plan.exempting
        self._overflows = any(getattr(machine.automaton, "overflows", False) for machine in plan.machines)
        self._looks_back = any(machine.looks_back for machine in plan.machines)
        self.blocked = False
        self._hit_in = ""  # the text that was skimmed last, if it has a hit
        self._word_hits = WordHits(plan, window, mask)

    @property
    def held(self) -> int:
        """The number of undecided characters."""
        return len(self._window.raw) - self._output.shown

    @property
    def undecided_text(self) -> str:
        return self._window.raw[self._output.shown :]

    @property
    def fed(self) -> int:
        """The number of characters fed so far."""
        return self._window.offset + len(self._window.raw)

    def let_go(self) -> None:
        """All text so far has left. A match that begins in it is acted on after it."""
        self._window.sent = self.fed

    def feed(self, text: str) -> list[Decided]:
        start = self._window.offset
        shown = self.skim(text)
        if shown is None:
            return self.examine(text)
        return [Decided(shown, start, start + len(shown), NONE, shown)] if shown else []

    def skim(self, text: str) -> str | None:
        """Decides text without matches, as nearly all is, and returns what may be shown now of all that is undecided.

        Returns None, and has changed nothing, if the text must be examined.
        """
        window = self._window
        self._hit_in = ""
        if not self._may_skim or not text:
            return None
        if self._overflows and len(window.raw) + len(text) >= self._plan.max_span:
            return None  # a match may begin and overflow in it, and not go on after it
        if not window.may_skim(text):
            return self._skim_emphasis(text)
        for spelling in window.active:
            if not spelling.skim(text):
                return None
        keep = 0
        for scanner in self._watch.acting:
            spelling = scanner.spelling
            scanner.following = state = reduce(getitem, spelling.added, scanner.state)
            if state.is_hit:
                self._hit_in = text
                return None
            if state.may_grow or spelling.opening:
                held = scanner.held_after(state)
                if held == NOT_KNOWN or held > len(window.raw) + len(text):
                    return None  # in the second case, a match has taken the beginning
                if held > keep:
                    keep = held
        for scanner in self._watch.acting:
            scanner.state = scanner.following
        self._output.swallows = False  # text that is skimmed has no ignored characters
        return window.skimmed(text, keep)

    def _skim_emphasis(self, text: str) -> str | None:
        """The same for text whose only signs are those of emphasis, if nothing is held from before the last of them."""
        window = self._window
        read = window.without_emphasis(text)
        if not read or (self._looks_back and read[-1] != text[-1]):
            return None
        for spelling in window.active:
            if not spelling.skim(text):
                return None
        after_signs = len(text) - max(map(text.rfind, "*`~")) - 1
        keep = 0
        for scanner in self._watch.acting:
            scanner.following = state = reduce(getitem, scanner.spelling.added, scanner.state)
            if state.is_hit:
                return None
            if state.may_grow or scanner.spelling.opening:
                scanner.held = scanner.held_after(state)
                if scanner.held == NOT_KNOWN or scanner.held >= after_signs:
                    return None
                keep = max(keep, scanner.held)
        for spelling in window.active:
            if not spelling.is_raw and not spelling.skim(read):
                return None
        for scanner in self._watch.acting:
            state = reduce(getitem, scanner.spelling.added, scanner.state)
            if state is not scanner.following:
                return None
            if (state.may_grow or scanner.spelling.opening) and scanner.held_after(state) != scanner.held:
                return None
        for scanner in self._watch.acting:
            scanner.state = scanner.following
        self._output.swallows = False
        return window.skimmed(text, keep)

    def examine(self, text: str) -> list[Decided]:
        """Decides text that may have signs or matches."""
        window = self._window
        hit_in, self._hit_in = self._hit_in, ""
        if hit_in and hit_in == text:
            words = self._word_hits.decide(text, self._watch.acting, self._watch.blocking)
            if words is not None:
                self._output.swallows = self._word_hits.ends_text
                return words
        was_forked, was_awake = window.is_forked, window.is_awake
        window.append(text)
        if not window.is_forked:
            decided = self._look()
        else:
            if not was_forked:
                self._watch.fork()
            if window.is_awake and not was_awake:
                self._watch.wake()
            decided = self._look()
            if not self.blocked and window.agree() and self._watch.agree():
                self._watch.join()
        self._may_skim = self._is_even()
        return decided

    def _is_even(self) -> bool:
        """Whether nothing is under way but matches that may have begun."""
        watch = self._watch
        if self._window.is_forked or watch.exempting or self._block_from or not self._output.is_even:
            return False
        return all(each.is_even for each in self._window.active) and not any(each.has_met for each in watch.acting)

    def _look(self) -> list[Decided]:
        window = self._window
        met = may_grow = False
        start = added = after = None
        for scanner in self._watch.acting:
            spelling = scanner.spelling
            # Scanners with the same state and the same new symbols reach the same state, which is computed only once.
            if scanner.state is not start or spelling.added != added:
                start, added = scanner.state, spelling.added
                after = reduce(getitem, added, start)
            if scanner.feed(after):
                met = True
            elif scanner.state.may_grow or (spelling.open and scanner.goes_on_with_open()):
                may_grow = True
        if met:
            return self._decide()
        if (
            may_grow
            or self._output.shown
            or self._watch.exempting
            or self._output.swallows
            or self._output.rest
            or window.has_pending_signs
        ):
            return self._release()
        self._block_from = 0
        return window.take_all()

    def finish(self) -> list[Decided]:
        """Decides the rest of the text. Called when the text has ended."""
        if not self._window.raw:
            return []
        size = len(self._window.raw)
        self._window.finish()
        self._output.finish()
        allowed = self._allowed(final=True)
        block = self._first_block(allowed, final=True)
        if block is not None:
            return self._end_with(block, allowed)
        decided: list[Decided] = []
        if self._output.rest:
            self._output.go_on(size, decided)
        found = self._found_up_to(size, NEVER, allowed)
        self._take_matches(found, size, None, [], allowed, decided)
        self._output.show(size, decided)
        return decided

    def _undecided_from(self) -> int:
        """The offset from which on the reading of the text is undecided and could matter."""
        return self._window.sign_from(self._plan.begins_in)

    def _release(self) -> list[Decided]:
        """Decides text without a match: only what could be the start of a match is held."""
        block = self._undecided_from()
        for scanner in self._watch.blocking:
            if scanner.state.may_grow or scanner.goes_on_with_open():
                block = min(block, scanner.live(self._block_from).first(self._block_from))
        decided: list[Decided] = []
        if self._output.rest:
            self._output.go_on(block, decided)
        live = block
        for scanner in self._watch.replacing:
            if scanner.state.may_grow or scanner.goes_on_with_open():
                live = min(live, scanner.live(self._output.shown).first(self._output.shown))
        if self._output.rest:
            live = self._release_with_rest(block, live, decided)
        self._output.show(live, decided)
        self._forget(block)
        return decided

    def _release_with_rest(self, block: int, live: int, decided: list[Decided]) -> int:
        """Decides text in which a match goes on that was cut. Returns the offset from which on nothing is certain."""
        while self._output.go_on_after(live, block, decided):
            live = block
            for scanner in self._watch.replacing:
                live = min(live, scanner.live(self._output.shown).first(self._output.shown))
        return min(live, self._output.rest_from())

    def _forget(self, block_from: int) -> None:
        """Drops what can no longer matter from the window; ``block_from`` is where a block could begin."""
        window = self._window
        keep = min(block_from, self._output.shown)
        if self._watch.exempting:
            # An allowance around an undecided match may have begun up to max_span symbols earlier.
            span = self._plan.max_span
            for spelling in window.active:
                keep = min(keep, spelling.begin(max(spelling.index(keep) - span, 0)))
            keep = max(keep, 0)
        window.drop(keep)
        self._output.shown -= keep
        self._block_from = block_from - keep if self._watch.blocking else 0

    def _decide(self) -> list[Decided]:
        """The text decided by the matches that were found."""
        allowed = self._allowed(final=False)
        known_block = self._first_block(allowed, final=False)
        block = known_block[1] if known_block else None
        if known_block and known_block[1].start < allowed.live:
            return self._end_with(known_block, allowed)
        bound = self._undecided_from() if block is None else block.start
        for scanner in self._watch.blocking:
            bound = min(bound, scanner.live(self._block_from).first(self._block_from))
        decided: list[Decided] = []
        if self._output.rest:
            self._output.go_on(bound, decided)
        live = [scanner.live(self._output.shown) for scanner in self._watch.replacing]
        hold = min((each.first(self._output.shown) for each in live), default=bound)
        if min(hold, self._output.rest_from()) <= self._output.shown < len(self._window.raw):
            return decided  # the first character could still become part of a longer match
        found = [scanner.found(self._output.shown, allowed) for scanner in self._watch.replacing if scanner.has_met]
        hold = self._take_matches(found, bound, block, live, allowed, decided)
        hold = min(hold, self._output.rest_from())
        self._output.show(max(hold, self._output.shown), decided)
        self._forget(bound)
        for scanner in self._watch.replacing:
            scanner.forget(self._output.shown)
        for scanner in self._watch.blocking:
            scanner.forget(self._block_from)
        return decided

    def _end_with(self, known_block: tuple[int, Match], allowed: Allowances) -> list[Decided]:
        """Decides the end of the text: the matches that count before the block, and the block itself."""
        known, block = known_block
        self._output.finish(-block.minus_end, known)
        window, decided = self._window, list[Decided]()
        if self._output.rest:
            self._output.go_on(block.start, decided)
        found = self._found_up_to(-block.minus_end, known, allowed)
        self._take_matches(found, block.start, block, [], allowed, decided)
        self._output.show(block.start, decided)
        offset, end = window.offset, -block.minus_end
        decided.append(
            Decided(window.raw[self._output.shown : end], offset + block.start, offset + end, block.rank, "")
        )
        self.blocked = True
        self._output.shown = len(window.raw)
        return decided

    def _found_up_to(self, end: int, known: int, allowed: Allowances) -> list[Found]:
        """The matches in the undecided text up to ``end``, as far as the first ``known`` characters decide them."""
        raw, removed, found = self._window.raw, self._plan.removed, []
        for scanner in self._watch.replacing:
            spelling = scanner.spelling
            stop = spelling.end_of_known(end, known, raw) if known < NEVER else end
            found.append(found_up_to(scanner.automaton, spelling, (self._output.shown, stop), removed, allowed))
        return found

    def _allowed(self, *, final: bool) -> Allowances:
        if not self._watch.exempting:
            return NO_ALLOWANCES
        reaches = [each.reach(final=final) for each in self._watch.exempting]
        live = NEVER
        if not final:
            live = min(self._undecided_from(), *(each.live(0).first(0) for each in self._watch.exempting))
        return Allowances(reaches, self._window.offset, live)

    def _first_block(self, allowed: Allowances, *, final: bool) -> tuple[int, Match] | None:
        """The block match that is known first, unless an allowance covers it, and how much text makes it known."""
        window, start = self._window, self._block_from
        best: tuple[int, Match] | None = None
        for scanner in self._watch.blocking:
            if final:
                span = start, len(window.raw)
                found = found_up_to(scanner.automaton, scanner.spelling, span, self._plan.removed, allowed)
                matches: Iterable[Match] = found.all()
            else:
                matches = scanner.all(start, allowed) if scanner.has_met else ()
            for match in matches:
                known = scanner.spelling.known_at(match, scanner.automaton.edges, window.raw)
                if (best is None or (known, match) < best) and not allowed.covers(match):
                    best = known, match
        return best

    def _take_matches(
        self,
        found: Sequence[_FromLeft],
        bound: int,
        block: Match | None,
        live: list[Live],
        allowed: Allowances,
        decided: list[Decided],
    ) -> int:
        """Decides the certain matches that begin before ``bound``. Returns the offset from which on none is certain.

        A match that ends after the block does not count. ``live`` has the possible starts of incomplete matches.
        """
        least, hold = self._output.shown, 0
        while True:
            match = None
            for each in found:
                first = each.first(least)
                if first is not None and (match is None or first < match):
                    match = first
            if match is None or match.start >= hold or self._output.rest:
                # It only grows as more is decided, so it is computed only when needed.
                hold = min(bound, *(each.first(self._output.shown) for each in live)) if live else bound
                certain = hold if match is None else min(hold, match.start)
                if self._output.rest and self._output.go_on_after(certain, bound, decided):
                    least = self._output.shown
                    continue
                if match is None or match.start >= hold:
                    return hold
            if allowed.covers(match):
                least = match.start + 1
                continue
            if allowed.live <= match.start or (block is not None and -match.minus_end > -block.minus_end):
                return match.start
            self._output.show(match.start, decided)
            self._output.act(match, bound, decided)
            least = self._output.shown
