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
from typing import Any, NamedTuple, Protocol

from streaming.moderation.folding import ATTACHED
from streaming.moderation.found import NEVER, NO_ALLOWANCES, Allowances, Found, found_up_to
from streaming.moderation.loose_words import LooseWords
from streaming.moderation.masking import REST_OF_NUMBER, Rendering, takes_along
from streaming.moderation.plan import Plan, readings_of
from streaming.moderation.readings import Medium
from streaming.moderation.regex_automaton import Regexes, State
from streaming.moderation.scanning import (
    NOT_KNOWN,
    AllWords,
    LiteralScanner,
    Live,
    LongestWords,
    Machine,
    RegexScanner,
    RescanningScanner,
    Scanner,
)
from streaming.moderation.scanning_of_allowed import (
    ReachOfCheckedRegexes,
    ReachOfLooseWords,
    ReachOfRegexes,
    ReachOfWords,
)
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import NONE, SWALLOWED, Decided, Window
from streaming.moderation.word_automaton import Literals
from streaming.moderation.word_hits import WordHits


class _FromLeft(Protocol):
    def first(self, least: int) -> Match | None:
        """The leftmost, then longest match that begins at or after ``least``, which must never decrease."""


class _Rest(NamedTuple):
    """The rest of a match that was cut at ``max_span``: the state from which it continues, and its spelling.

    It goes on while the state has one of the ``positions``, those that the rule acts on.
    """

    state: State
    spelling: Spelling
    positions: int
    rank: int


class _Scanners(NamedTuple):
    replacing: list[Any]
    blocking: list[Any]
    exempting: list[Any]


class Engine:
    """Runs a plan on one text. Returns the decided text in order, each character once."""

    def __init__(self, plan: Plan, medium: Medium, mask: str) -> None:
        self._plan = plan
        self._window = window = Window(plan.keys(medium), medium)
        self._rendering = Rendering(window, mask)
        self._shown = 0  # how much of the window is decided
        self._block_from = 0  # where in the window an undecided block match could begin
        self._apart = _Scanners(
            _scanners(plan.replacing, window, (LongestWords, RegexScanner, RescanningScanner)),
            _scanners(plan.blocking, window, (AllWords, RegexScanner, RescanningScanner)),
            _scanners(plan.exempting, window, (ReachOfWords, ReachOfRegexes, ReachOfLooseWords)),
        )
        # The first scanner of each automaton leads: while the readings agree, the others follow it.
        leaders: dict[int, Scanner] = {}
        self._followers: list[tuple[Any, Any]] = []
        for scanner in (*self._apart.replacing, *self._apart.blocking, *self._apart.exempting):
            leader = leaders.setdefault(id(scanner.automaton), scanner)
            if leader is not scanner:
                self._followers.append((scanner, leader))
            scanner.removed = plan.removed
        self._leaders = list(leaders.values())
        self._together = _Scanners(*([s for s in each if leaders[id(s.automaton)] is s] for each in self._apart))
        self._use(self._together)
        for scanner in self._leaders:
            scanner.spelling = scanner.own.leader
        self._rest: _Rest | None = None
        self._known = NEVER  # how much text had arrived when a block ended it
        self._end = NEVER  # where the block ended it
        self._is_final = False
        self._may_skim = not plan.exempting
        self._looks_back = any(machine.looks_back for machine in plan.machines)
        self._swallows = False  # ignored characters after the last match are removed with it
        self.blocked = False
        self._hit_in = ""  # the text that was skimmed last, if it has a hit
        self._word_hits = WordHits(window, plan.rules, mask)

    @property
    def held(self) -> int:
        """The number of undecided characters."""
        return len(self._window.raw) - self._shown

    @property
    def undecided_text(self) -> str:
        return self._window.raw[self._shown :]

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
        if not window.may_skim(text):
            return self._skim_emphasis(text)
        for spelling in window.active:
            if not spelling.skim(text):
                return None
        keep = 0
        for scanner in self._watching:
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
        for scanner in self._watching:
            scanner.state = scanner.following
        self._swallows = False  # text that is skimmed has no ignored characters
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
        for scanner in self._watching:
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
        for scanner in self._watching:
            state = reduce(getitem, scanner.spelling.added, scanner.state)
            if state is not scanner.following:
                return None
            if (state.may_grow or scanner.spelling.opening) and scanner.held_after(state) != scanner.held:
                return None
        for scanner in self._watching:
            scanner.state = scanner.following
        self._swallows = False
        return window.skimmed(text, keep)

    def examine(self, text: str) -> list[Decided]:
        """Decides text that may have signs or matches."""
        window = self._window
        hit_in, self._hit_in = self._hit_in, ""
        if hit_in and hit_in == text:
            words = self._word_hits.decide(text, self._watching)
            if words is not None:
                self._swallows = self._word_hits.ends_text
                return words
        was_forked = window.is_forked
        window.append(text)
        if not window.is_forked:
            decided = self._look()
        else:
            if not was_forked:
                self._fork()
            decided = self._look()
            if not self.blocked and window.agree() and all(s.state is leader.state for s, leader in self._followers):
                self._join()
        self._may_skim = self._is_even()
        return decided

    def _is_even(self) -> bool:
        """Whether nothing is under way but matches that may have begun."""
        if self._window.is_forked or self._exempting or self._rest or self._shown or self._block_from:
            return False
        if self._swallows and (self._window.raw or self._rendering.removes_number):
            return False
        return all(each.is_even for each in self._window.active) and not any(each.has_met for each in self._watching)

    def _use(self, scanners: _Scanners) -> None:
        self._replacing, self._blocking, self._exempting = scanners
        self._watching = (*self._replacing, *self._blocking)

    def _fork(self) -> None:
        for scanner in self._leaders:
            scanner.spelling = scanner.own
        for scanner, leader in self._followers:
            scanner.follow(leader)
        self._use(self._apart)

    def _join(self) -> None:
        self._window.join()
        self._use(self._together)
        for scanner in self._leaders:
            scanner.join()

    def _look(self) -> list[Decided]:
        window = self._window
        met = may_grow = False
        start = added = after = None
        for scanner in self._watching:
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
        if may_grow or self._shown or self._exempting or self._swallows or self._rest or window.has_pending_signs:
            return self._release()
        self._block_from = 0
        return window.take_all()

    def finish(self) -> list[Decided]:
        """Decides the rest of the text. Called when the text has ended."""
        if not self._window.raw:
            return []
        size, self._is_final = len(self._window.raw), True
        self._window.finish()
        allowed = self._allowed(final=True)
        block = self._first_block(allowed, final=True)
        if block is not None:
            return self._end_with(block, allowed)
        decided: list[Decided] = []
        if self._rest:
            self._go_on(size, decided)
        found = self._found_up_to(size, NEVER, allowed)
        self._take_matches(found, size, None, [], allowed, decided)
        self._show(size, decided)
        return decided

    def _undecided_from(self) -> int:
        """The offset from which on the reading of the text is undecided and could matter."""
        return self._window.sign_from(self._plan.begins_in)

    def _rest_from(self) -> int:
        """The offset from which on the text may be the rest of a cut match."""
        if not self._rest:
            return NEVER
        spelling = self._current(self._rest.spelling)
        return spelling.begin(spelling.index(self._shown))

    def _current(self, spelling: Spelling) -> Spelling:
        """The spelling that is kept up to date for this one."""
        return spelling if self._window.is_forked else spelling.leader

    def _release(self) -> list[Decided]:
        """Decides text without a match: only what could be the start of a match is held."""
        block = self._undecided_from()
        for scanner in self._blocking:
            if scanner.state.may_grow or scanner.goes_on_with_open():
                block = min(block, scanner.live(self._block_from).first(self._block_from))
        decided: list[Decided] = []
        if self._rest:
            self._go_on(block, decided)
        live = min(block, self._rest_from())
        for scanner in self._replacing:
            if scanner.state.may_grow or scanner.goes_on_with_open():
                live = min(live, scanner.live(self._shown).first(self._shown))
        self._show(live, decided)
        self._forget(block)
        return decided

    def _show(self, end: int, decided: list[Decided]) -> None:
        """Decides that there is no match in the text up to ``end``."""
        if end > self._shown and self._swallows:
            self._swallow(end, decided)
        if end > self._shown:
            offset, text = self._window.offset, self._window.raw[self._shown : end]
            decided.append(Decided(text, offset + self._shown, offset + end, NONE, text))
            self._shown = end
            if self._rest and _has_words(text):
                self._rest = None

    def _swallow(self, end: int, decided: list[Decided]) -> None:
        """Removes ignored characters that belong to the match before them."""
        offset = self._window.offset
        rest = REST_OF_NUMBER if self._rendering.removes_number else ATTACHED
        run = rest.match(self._window.raw, self._shown, end)
        if run and run[0]:
            decided.append(Decided(run[0], offset + self._shown, offset + run.end(), SWALLOWED, ""))
            self._shown = run.end()
        if self._shown < end:
            self._swallows = self._rendering.removes_number = False

    def _act(self, match: Match, bound: int, decided: list[Decided]) -> None:
        window = self._window
        raw, offset = window.raw, window.offset
        start, stop, acted = match.start, -match.minus_end, match
        rule, spelling = self._plan.rules[match.rank], window.spellings[match.spelling]
        regexes, self._rest = self._plan.regexes.get(match.rank), None
        if regexes and (rule.group or regexes.positions.has_cut):
            place, inside = self._place(match, spelling, regexes)
            acted = match._replace(start=spelling.begin(inside[0]), minus_end=-spelling.end(inside[1]))
            if inside[1] == place[1]:
                self._rest = self._rest_of(match, spelling, regexes, place)
        sent, after = window.sent_here, -acted.minus_end
        kept = self._rendering.kept
        shown = kept(raw[max(start, sent) : acted.start]) + self._rendering.shown(rule, acted)
        shown += kept(raw[max(after, sent) : stop])
        decided.append(Decided(raw[start:stop], offset + start, offset + stop, match.rank, shown))
        self._shown = stop
        self._swallows = takes_along(spelling) or self._rendering.removes_number
        if self._rest:
            self._go_on(bound, decided)

    def _place(self, match: Match, spelling: Spelling, regexes: Regexes) -> tuple[tuple[int, int], tuple[int, int]]:
        """The indexes of the first symbol and the one after the last: of a match, and of what its rule acts on."""
        places = spelling.places(match)
        is_group = self._plan.rules[match.rank].group > 0
        if is_group or len(places) > 1:
            text, final = self._searched(spelling), self._is_final
            for place in places:
                within = regexes.positions.group_within(match.rank, text, place, spelling.before, final=final)
                if within is not None:
                    return place, within if is_group else place
        return places[0], places[0]

    def _rest_of(self, match: Match, spelling: Spelling, regexes: Regexes, place: tuple[int, int]) -> _Rest | None:
        """What may follow a match that was cut at ``max_span``; None if nothing can."""
        state = regexes.state_at_limit(spelling.chars, *place, spelling.before)
        if state is None:
            return None
        in_group = self._plan.rules[match.rank].group > 0
        wanted = regexes.positions.of_rank(match.rank, in_group=in_group)
        return _Rest(state, spelling, wanted, match.rank) if state.positions & wanted else None

    def _searched(self, spelling: Spelling) -> str:
        """The symbols of a spelling in which matches are found: those before a block."""
        if self._known == NEVER:
            return spelling.chars
        stop = spelling.end_of_known(self._end, self._known, self._window.raw)
        return spelling.chars[: spelling.index_of_end(stop)]

    def _go_on(self, bound: int, decided: list[Decided]) -> None:
        """Applies the rule to the continuation of a match that was cut at ``max_span``, up to where a block begins.

        Words that this reading leaves out end it, since they may be matches of their own.
        """
        rest, window = self._rest, self._window
        assert rest  # noqa: S101 (the callers check it)
        state, own, wanted, rank = rest
        spelling = self._current(own)
        alive = True
        if self._known < NEVER:
            bound = spelling.end_of_known(bound, self._known, window.raw)
        size = spelling.index_of_end(bound)
        start = at = spelling.index(self._shown)
        while alive and at < size:
            if _has_words(window.raw[spelling.end(at) if at > start else self._shown : spelling.begin(at)]):
                alive = False
                break
            after = state[spelling.chars[at]]
            alive = bool(after.positions & wanted)
            if alive:
                state, at = after, at + 1
        if at > start:
            offset, stop = window.offset, spelling.end(at)
            match = Match(self._shown, -stop, rank, spelling.number)
            shown = self._rendering.shown(self._plan.rules[rank], match, is_rest=True)
            text = window.raw[self._shown : stop]
            decided.append(Decided(text, offset + self._shown, offset + stop, rank, shown, is_rest=True))
            self._shown = stop
            self._swallows = takes_along(spelling) or self._rendering.removes_number
        self._rest = _Rest(state, own, wanted, rank) if alive else None

    def _forget(self, block_from: int) -> None:
        """Drops what can no longer matter from the window; ``block_from`` is where a block could begin."""
        window = self._window
        keep = min(block_from, self._shown)
        if self._exempting:
            # An allowance around an undecided match may have begun up to max_span symbols earlier.
            span = self._plan.max_span
            for spelling in window.active:
                keep = min(keep, spelling.begin(max(spelling.index(keep) - span, 0)))
            keep = max(keep, 0)
        window.drop(keep)
        self._shown -= keep
        self._block_from = block_from - keep if self._blocking else 0

    def _decide(self) -> list[Decided]:
        """The text decided by the matches that were found."""
        allowed = self._allowed(final=False)
        known_block = self._first_block(allowed, final=False)
        block = known_block[1] if known_block else None
        if known_block and known_block[1].start < allowed.live:
            return self._end_with(known_block, allowed)
        bound = self._undecided_from() if block is None else block.start
        for scanner in self._blocking:
            bound = min(bound, scanner.live(self._block_from).first(self._block_from))
        decided: list[Decided] = []
        if self._rest:
            self._go_on(bound, decided)
        live = [scanner.live(self._shown) for scanner in self._replacing]
        hold = min((each.first(self._shown) for each in live), default=bound)
        if min(hold, self._rest_from()) <= self._shown < len(self._window.raw):
            return decided  # the first character could still become part of a longer match
        found = [scanner.found(self._shown, allowed) for scanner in self._replacing if scanner.has_met]
        hold = self._take_matches(found, bound, block, live, allowed, decided)
        hold = min(hold, self._rest_from())
        self._show(max(hold, self._shown), decided)
        self._forget(bound)
        for scanner in self._replacing:
            scanner.forget(self._shown)
        for scanner in self._blocking:
            scanner.forget(self._block_from)
        return decided

    def _end_with(self, known_block: tuple[int, Match], allowed: Allowances) -> list[Decided]:
        """Decides the end of the text: the matches that count before the block, and the block itself."""
        self._known, block = known_block
        self._end, self._is_final = -block.minus_end, True
        window, decided = self._window, list[Decided]()
        if self._rest:
            self._go_on(block.start, decided)
        found = self._found_up_to(-block.minus_end, self._known, allowed)
        self._take_matches(found, block.start, block, [], allowed, decided)
        self._show(block.start, decided)
        offset, end = window.offset, -block.minus_end
        decided.append(Decided(window.raw[self._shown : end], offset + block.start, offset + end, block.rank, ""))
        self.blocked = True
        self._shown = len(window.raw)
        return decided

    def _found_up_to(self, end: int, known: int, allowed: Allowances) -> list[Found]:
        """The matches in the undecided text up to ``end``, as far as the first ``known`` characters decide them."""
        raw, removed, found = self._window.raw, self._plan.removed, []
        for scanner in self._replacing:
            spelling = scanner.spelling
            stop = spelling.end_of_known(end, known, raw) if known < NEVER else end
            found.append(found_up_to(scanner.automaton, spelling, (self._shown, stop), removed, allowed))
        return found

    def _allowed(self, *, final: bool) -> Allowances:
        if not self._exempting:
            return NO_ALLOWANCES
        size = len(self._window.raw)
        if final:
            removed = self._plan.removed
            found = (found_up_to(each.automaton, each.spelling, (0, size), removed).all() for each in self._exempting)
            return Allowances(((match.start, -match.minus_end) for each in found for match in each), NEVER)
        spans = [span for each in self._exempting for span in each.reach()]
        live = min(each.live(0).first(0) for each in self._exempting)
        return Allowances(spans, min(live, self._undecided_from()))

    def _first_block(self, allowed: Allowances, *, final: bool) -> tuple[int, Match] | None:
        """The block match that is known first, unless an allowance covers it, and how much text makes it known."""
        window, start = self._window, self._block_from
        best: tuple[int, Match] | None = None
        for scanner in self._blocking:
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
        least, hold = self._shown, 0
        while True:
            match = None
            for each in found:
                first = each.first(least)
                if first is not None and (match is None or first < match):
                    match = first
            if match is None or match.start >= hold:
                # It only grows as more is decided, so it is computed only when needed.
                hold = min(bound, *(each.first(self._shown) for each in live)) if live else bound
                if match is None or match.start >= hold:
                    return hold
            if allowed.covers(match):
                least = match.start + 1
                continue
            if allowed.live <= match.start or (block is not None and -match.minus_end > -block.minus_end):
                return match.start
            self._show(match.start, decided)
            self._act(match, bound, decided)
            least = self._shown


def _scanners(
    machines: Iterable[Machine],
    window: Window,
    kinds: tuple[type[LiteralScanner], type[RescanningScanner], type[RescanningScanner]],
) -> list[Any]:
    words, regexes, loose = kinds
    scanners: list[Any] = []
    for machine in machines:
        automaton = machine.automaton
        kind: type[Scanner] = words if isinstance(automaton, Literals) else regexes
        if isinstance(automaton, LooseWords):
            kind = loose
        elif regexes is ReachOfRegexes and isinstance(automaton, Regexes) and (automaton.check or automaton.overflows):
            kind = ReachOfCheckedRegexes
        scanners += [kind(automaton, window, window.by_key[key]) for key in readings_of(machine, window.medium)]
    return scanners


def _has_words(text: str) -> bool:
    """Whether a text that a reading leaves out is more than signs."""
    return any(map(str.isalnum, text))
