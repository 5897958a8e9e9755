"""How far a text is decided, and what is shown of it."""

from __future__ import annotations

from typing import NamedTuple

from streaming.moderation.folding import ATTACHED
from streaming.moderation.found import NEVER
from streaming.moderation.masking import REST_OF_NUMBER, Rendering, takes_along
from streaming.moderation.plan import Plan
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.regex_states import State
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import NONE, SWALLOWED, Decided, Window


class Rest(NamedTuple):
    """The rest of a match that was cut at ``max_span``: the state from which it continues, and its spelling.

    It goes on while the state has one of the ``positions``, those that the rule acts on.
    """

    state: State
    spelling: Spelling
    positions: int
    rank: int


class Output:
    """Shows one text, and acts on the matches that count, from left to right."""

    def __init__(self, plan: Plan, window: Window, mask: str) -> None:
        self._plan = plan
        self._window = window
        self._rendering = Rendering(window, mask)
        self.shown = 0
        """How much of the window is decided."""
        self.swallows = False
        """Whether ignored characters after the last match are removed with it."""
        self.rest: Rest | None = None
        self._known = NEVER  # how much text had arrived when a block ended it
        self._end = NEVER  # where the block ended it
        self._is_final = False

    def finish(self, end: int = NEVER, known: int = NEVER) -> None:
        """Takes note that the text has ended, or that a block ended it which was known after ``known`` characters."""
        self._end, self._known, self._is_final = end, known, True

    @property
    def is_even(self) -> bool:
        """Whether all text before the window, and none of it, is decided, and nothing that was decided goes on."""
        if self.shown or self.rest:
            return False
        return not self.swallows or not (self._window.raw or self._rendering.removes_number)

    def rest_from(self) -> int:
        """The offset from which on the text may be the rest of a cut match."""
        if not self.rest:
            return NEVER
        spelling = self._window.current(self.rest.spelling)
        return spelling.begin(spelling.index(self.shown))

    def show(self, end: int, decided: list[Decided]) -> None:
        """Decides that there is no match in the text up to ``end``."""
        if end > self.shown and self.swallows:
            self._swallow(end, decided)
        if end > self.shown:
            offset, text = self._window.offset, self._window.raw[self.shown : end]
            decided.append(Decided(text, offset + self.shown, offset + end, NONE, text))
            self.shown = end
            if self.rest and _has_words(text):
                self.rest = None

    def _swallow(self, end: int, decided: list[Decided]) -> None:
        """Removes ignored characters that belong to the match before them."""
        offset = self._window.offset
        rest = REST_OF_NUMBER if self._rendering.removes_number else ATTACHED
        run = rest.match(self._window.raw, self.shown, end)
        if run and run[0]:
            decided.append(Decided(run[0], offset + self.shown, offset + run.end(), SWALLOWED, ""))
            self.shown = run.end()
        if self.shown < end:
            self.swallows = self._rendering.removes_number = False

    def act(self, match: Match, bound: int, decided: list[Decided]) -> None:
        window = self._window
        raw, offset = window.raw, window.offset
        start, stop, acted = match.start, -match.minus_end, match
        rule, spelling = self._plan.rules[match.rank], window.spellings[match.spelling]
        regexes, self.rest = self._plan.regexes.get(match.rank), None
        if regexes and (rule.group or regexes.positions.has_cut):
            place, inside = self._place(match, spelling, regexes)
            acted = match._replace(start=spelling.begin(inside[0]), minus_end=-spelling.end(inside[1]))
            if inside[1] == place[1]:
                self.rest = self._rest_of(match, spelling, regexes, place)
        sent, after = window.sent_here, -acted.minus_end
        kept = self._rendering.kept
        shown = kept(raw[max(start, sent) : acted.start]) + self._rendering.shown(rule, acted)
        shown += kept(raw[max(after, sent) : stop])
        decided.append(Decided(raw[start:stop], offset + start, offset + stop, match.rank, shown))
        self.shown = stop
        self.swallows = takes_along(spelling) or self._rendering.removes_number
        if self.rest:
            self.go_on(bound, decided)

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

    def _rest_of(self, match: Match, spelling: Spelling, regexes: Regexes, place: tuple[int, int]) -> Rest | None:
        """What may follow a match that was cut at ``max_span``; None if nothing can."""
        state = regexes.state_at_limit(spelling.chars, *place, spelling.before)
        if state is None:
            return None
        in_group = self._plan.rules[match.rank].group > 0
        wanted = regexes.positions.of_rank(match.rank, in_group=in_group)
        return Rest(state, spelling, wanted, match.rank) if state.positions & wanted else None

    def go_on_after(self, certain: int, bound: int, decided: list[Decided]) -> bool:
        """The same after characters that its reading leaves out, if they end by ``certain``, before any other match.

        Returns whether more is decided.
        """
        before, at = self.shown, self.rest_from()
        if not self.rest or at > min(certain, bound):
            return False
        self.show(at, decided)
        if self.rest:
            self.go_on(bound, decided)
        return self.shown > before

    def _searched(self, spelling: Spelling) -> str:
        """The symbols of a spelling in which matches are found: those before a block."""
        if self._known == NEVER:
            return spelling.chars
        stop = spelling.end_of_known(self._end, self._known, self._window.raw)
        return spelling.chars[: spelling.index_of_end(stop)]

    def _incomplete_escape(self, spelling: Spelling, bound: int) -> int:
        """The length of an escape in JSON that goes on: it is masked as a whole, though exact rules read its signs."""
        json = self._window.json
        if json is None or not spelling.is_raw or self._is_final or self._known < NEVER:
            return 0
        return len(json.begun_escape(self._window.raw[:bound]))

    def go_on(self, bound: int, decided: list[Decided]) -> None:
        """Applies the rule to the continuation of a match that was cut at ``max_span``, up to where a block begins.

        It stops at characters that this reading leaves out, where matches of other readings may begin. It may go on
        after them, unless there was one, or there were words.
        """
        rest, window = self.rest, self._window
        assert rest  # noqa: S101 (the callers check it)
        state, own, wanted, rank = rest
        spelling = self._window.current(own)
        alive = True
        if self._known < NEVER:
            bound = spelling.end_of_known(bound, self._known, window.raw)
        size = spelling.index_of_end(bound) - self._incomplete_escape(spelling, bound)
        start = at = spelling.index(self.shown)
        while alive and at < size and spelling.begin(at) <= (spelling.end(at) if at > start else self.shown):
            after = state[spelling.chars[at]]
            alive = bool(after.positions & wanted)
            if alive:
                state, at = after, at + 1
        if at > start:
            offset, stop = window.offset, spelling.end(at)
            match = Match(self.shown, -stop, rank, spelling.number)
            shown = self._rendering.shown(self._plan.rules[rank], match, is_rest=True)
            text = window.raw[self.shown : stop]
            decided.append(Decided(text, offset + self.shown, offset + stop, rank, shown, is_rest=True))
            self.shown = stop
            self.swallows = takes_along(spelling) or self._rendering.removes_number
        self.rest = Rest(state, own, wanted, rank) if alive else None


def _has_words(text: str) -> bool:
    """Whether a text that a reading leaves out is more than signs."""
    return any(map(str.isalnum, text))
