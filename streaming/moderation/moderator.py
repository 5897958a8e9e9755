"""Moderates text that arrives in pieces. Text is returned as early as possible and never revoked."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from itertools import accumulate
from typing import NamedTuple

from streaming.moderation.match_engine import Engine
from streaming.moderation.plan import Plan
from streaming.moderation.readings import MEDIA, Medium
from streaming.moderation.rule_messages import Remark
from streaming.moderation.rules import MAX_SPAN, Compiled, Rule, compile_rule
from streaming.moderation.window import NONE, Decided

MASK = "•"
"""Replaces each masked character. Unlike * and x, it has no meaning in Markdown, HTML and JSON."""


class Text(NamedTuple):
    """Text that may be shown, masks included."""

    text: str


class Hit(NamedTuple):
    """A match that counted: characters ``start`` to ``end`` of all the text that was fed.

    If the rule's action is block and the rule is not on trial, the hit ends the text: nothing after it is shown, and
    ``rule.replacement`` is the notice to the reader.
    """

    rule: Rule
    start: int
    end: int

    @property
    def changes_nothing(self) -> bool:
        """Whether the text is as if there were no hit: a flag, or any action of a rule on trial."""
        return self.rule.on_trial or self.rule.action == "flag"

    @property
    def ends_text(self) -> bool:
        return self.rule.action == "block" and not self.rule.on_trial


Outcome = Text | Hit


def check_mask(mask: str) -> None:
    """Raises ValueError with the reason if ``mask`` is not a valid mask."""
    if len(mask) != 1:
        raise ValueError("the mask is one character")
    if mask.isascii() or mask.isalnum() or mask.isspace() or unicodedata.category(mask)[0] in "CM":
        raise ValueError(f"{mask!r} is syntax in Markdown, HTML or JSON, or part of a word; take a sign such as • or █")


_STEP = 1 << 16
"""The distance between ranks, which leaves room for rules that are added later."""


class _Parts:
    """Compiled rules with their ranks, by plan.

    Flag rules and rules on trial neither hold back nor change text, so they have plans of their own; what is on trial
    does not even hide a flag. An allow rule in force counts in all of them, one on trial among the rules on trial.
    """

    def __init__(self, rules: list[tuple[int, Compiled]], base: RuleSet | None = None) -> None:
        in_force = [each for each in rules if not each[1].rule.on_trial]
        allowing = [each for each in in_force if each[1].rule.action == "allow"]
        self.acting = [each for each in in_force if each[1].rule.action != "flag"]
        flags = [each for each in in_force if each[1].rule.action == "flag"]
        self.flags = [*allowing, *flags] if flags or (base and base.flag_plan) else []
        on_trial = [each for each in rules if each[1].rule.on_trial]
        self.on_trial = [*allowing, *on_trial] if on_trial or (base and base.trial_plan) else []


class RuleSet:
    """Rules compiled once, for all streams. Raises RuleError, which names the rule, if a rule is invalid.

    ``warnings`` has a (rule, remark) for each rule that may behave differently than its author expects. ``max_span``
    is the length limit of a match, in symbols, at most 4,096. ``mask`` replaces each masked character.
    """

    def __init__(self, rules: Iterable[Rule], max_span: int = MAX_SPAN, mask: str = MASK) -> None:
        if not 1 <= max_span <= MAX_SPAN:
            raise ValueError(f"max_span is {max_span}; it may be 1 to {MAX_SPAN:,}")
        check_mask(mask)
        self.mask = mask
        # The lowest rank counts: the highest priority, then the first in order.
        self._compiled = tuple(sorted(rules, key=lambda rule: -rule.priority))
        self._added: tuple[Rule, ...] = ()
        self._gone: frozenset[int | str] = frozenset()
        self.max_span = max_span
        ranked = list(zip(range(_STEP, (len(self._compiled) + 1) * _STEP, _STEP), self._compiled, strict=True))
        self._ranks = {rule.id: rank for rank, rule in ranked}
        compiled = [(rank, compile_rule(rule, max_span)) for rank, rule in ranked]
        self.warnings: list[tuple[Rule, Remark]] = [
            (each.rule, each.warning) for _, each in compiled if each.warning is not None
        ]
        parts = _Parts(compiled)
        self.plan = Plan(parts.acting, max_span)
        self.flag_plan: Plan | None = Plan(parts.flags, max_span) if parts.flags else None
        self.trial_plan: Plan | None = Plan(parts.on_trial, max_span) if parts.on_trial else None

    def extended(self, added: Iterable[Rule], removed: Iterable[int | str] = ()) -> RuleSet:
        """This rule set with rules added, and rules removed by id: in a millisecond, however many rules there are.

        Use it until all rules have been compiled together. The result is the same with one exception: a rule with the
        same word as a removed rule takes effect only after that.
        """
        added = sorted(added, key=lambda rule: -rule.priority)
        gone = frozenset((*removed, *(rule.id for rule in added)))
        ranks = {rule_id: self._ranks[rule_id] for rule_id in gone if rule_id in self._ranks}
        compiled = []
        for number, rule in enumerate(added, 1):
            older = bisect_right(self._compiled, -rule.priority, key=lambda other: -other.priority)
            compiled.append((ranks.get(rule.id, older * _STEP) + number, compile_rule(rule, self.max_span)))
        extended = copy(self)
        extended._added, extended._gone = tuple(added), gone
        out = frozenset(ranks.values())
        parts = _Parts(compiled, self)
        extended.plan = Plan(parts.acting, self.max_span, self.plan, out)
        if self.flag_plan or parts.flags:
            extended.flag_plan = Plan(parts.flags, self.max_span, self.flag_plan, out)
        if self.trial_plan or parts.on_trial:
            extended.trial_plan = Plan(parts.on_trial, self.max_span, self.trial_plan, out)
        return extended

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules: those compiled together by priority, then those added."""
        if not self._gone:
            return self._compiled
        return (*(rule for rule in self._compiled if rule.id not in self._gone), *self._added)

    @property
    def plans(self) -> list[Plan]:
        """The compiled rules. A moderator keeps a reference to them."""
        return [self.plan, *self.recording_plans]

    @property
    def recording_plans(self) -> list[Plan]:
        """The plans of the rules that change nothing and are only reported."""
        return [plan for plan in (self.flag_plan, self.trial_plan) if plan]


class Moderator:
    """Moderates one text. The joined outcomes do not depend on how the text is cut into pieces.

    ``medium`` is the format of the text: ``markdown``, ``json`` or ``plain``.
    """

    def __init__(self, rule_set: RuleSet, medium: Medium = "plain") -> None:
        if medium not in MEDIA:
            raise ValueError(f"the medium is {medium!r}; it may be {', '.join(MEDIA)}")
        self._rules = rule_set.plan.rules
        self._engine = Engine(rule_set.plan, medium, rule_set.mask)
        self._recording = [(Engine(plan, medium, rule_set.mask), plan.rules) for plan in rule_set.recording_plans]
        self._sent = 0  # characters of the text that were released while they were undecided
        self._reported: list[Outcome] = []  # the hits in them

    @property
    def held(self) -> int:
        """The number of undecided characters that are held back."""
        return min(self._engine.held, self._engine.fed - self._sent) if self._sent else self._engine.held

    @property
    def undecided(self) -> int:
        """The number of undecided characters, with those that were released."""
        return self._engine.held

    @property
    def undecided_text(self) -> str:
        """The undecided characters, with those that were released."""
        return self._engine.undecided_text

    def feed(self, text: str) -> list[Outcome]:
        """The outcomes that are now certain. There are none after a block."""
        shown = self.skim(text)
        if shown is not None:
            return [Text(shown)] if shown else []
        engine = self._engine
        if engine.blocked:
            return []
        shown = engine.skim(text) if self._recording and not self._sent else None
        if shown is None:
            return self._outcomes(engine.examine(text))
        return [Text(shown), *self._recorded_in(shown)] if shown else []

    def skim(self, text: str) -> str | None:
        """Feeds a text, and returns what may be shown, if nothing else comes of it, as of nearly all text.

        Otherwise it returns None and feeds nothing.
        """
        if self._sent and self._engine.fed - self._engine.held >= self._sent:
            self._sent = 0
        return None if self._recording or self._sent else self._engine.skim(text)

    def feed_all(self, pieces: list[str]) -> list[list[Outcome]]:
        """The same outcomes as feeding the pieces one by one, for each piece, but in a single scan.

        Text is returned with the piece that contains it, a match with the piece that contains its end.
        """
        if self._engine.blocked:
            return [[] for _ in pieces]
        base, held = self._engine.fed, self._engine.held
        ends = list(accumulate(map(len, pieces), initial=base))[1:]
        decided = self._engine.feed("".join(pieces))
        if len(decided) == 1 and decided[0].rank == NONE and not held and not self._recording:
            return _passed(pieces, ends, decided[0])
        return [self._outcomes(group) for group in _by_piece(decided, ends)]

    def finish(self) -> list[Outcome]:
        """The remaining outcomes, once the text has ended and nothing more can become a match."""
        if self._engine.blocked:
            return []
        outcomes = self._outcomes(self._engine.finish())
        return outcomes if self._engine.blocked else [*outcomes, *self._recorded_to_the_end([])]

    def release(self) -> list[Outcome]:
        """The outcomes of the held text as if it were the end, although more may follow.

        If it turns out to be the beginning of a match, the rule's action applies to the rest of the match, so that the
        match is never shown whole.
        """
        if not self.held or self._engine.blocked:
            return []
        ending = copy(self)
        ending._engine = deepcopy(self._engine)
        ending._recording = [(deepcopy(engine), rules) for engine, rules in self._recording]
        outcomes = ending.finish()
        self._reported = [*self._reported, *(outcome for outcome in outcomes if isinstance(outcome, Hit))]
        self._sent = self._engine.fed
        self._engine.let_go()
        return outcomes

    def _outcomes(self, decided: list[Decided]) -> list[Outcome]:
        if self._sent:
            decided = [_after(self._sent, each) for each in decided]
            return [outcome for outcome in self._all_outcomes(decided) if outcome not in self._reported]
        return self._all_outcomes(decided)

    def _all_outcomes(self, decided: list[Decided]) -> list[Outcome]:
        if len(decided) == 1 and decided[0].rank == NONE and not self._recording and not self._sent:
            return [Text(decided[0].text)]
        outcomes: list[Outcome] = []
        for each in decided:
            if each.rank >= 0:
                rule = self._rules[each.rank]
                if rule.action == "block":
                    return [*outcomes, *self._recorded_to_the_end(decided), Hit(rule, each.start, each.end)]
                if not each.is_rest:
                    outcomes.append(Hit(rule, each.start, each.end))
            if each.shown:
                outcomes.append(Text(each.shown))
        return outcomes + self._recorded(decided) if self._recording else outcomes

    def _recorded(self, decided: list[Decided]) -> list[Outcome]:
        """The hits of rules that change nothing, in this text."""
        return self._recorded_in("".join(each.text for each in decided))

    def _recorded_in(self, text: str) -> list[Outcome]:
        return self._new(hit for engine, rules in self._recording for hit in _hits(engine.feed(text), rules))

    def _recorded_to_the_end(self, last: list[Decided]) -> list[Outcome]:
        """The hits of rules that change nothing, in the rest of the text."""
        hits = self._recorded(last)
        return hits + self._new(hit for engine, rules in self._recording for hit in _hits(engine.finish(), rules))

    def _new(self, hits: Iterable[Outcome]) -> list[Outcome]:
        """Those of these hits that no release has reported."""
        return [hit for hit in hits if hit not in self._reported]


def _hits(decided: list[Decided], rules: Mapping[int, Rule]) -> list[Outcome]:
    return [Hit(rules[each.rank], each.start, each.end) for each in decided if each.rank >= 0 and not each.is_rest]


def _after(sent: int, decided: Decided) -> Decided:
    """What is shown of a decided text of which the first ``sent`` characters of the whole text have left."""
    if decided.end <= sent:
        return decided._replace(shown="")
    if decided.rank == NONE and decided.start < sent:
        return decided._replace(shown=decided.text[sent - decided.start :])
    return decided


def _passed(pieces: list[str], ends: list[int], decided: Decided) -> list[list[Outcome]]:
    """The outcomes of pieces without a match, whose last characters may be held."""
    whole = bisect_right(ends, decided.end)
    groups: list[list[Outcome]] = [[Text(piece)] if piece else [] for piece in pieces[:whole]]
    for piece, end in zip(pieces[whole:], ends[whole:], strict=True):
        shown = piece[: max(decided.end - end + len(piece), 0)]
        groups.append([Text(shown)] if shown else [])
    return groups


def _by_piece(decided: list[Decided], ends: list[int]) -> list[list[Decided]]:
    """The decided text, split at the ends of the pieces."""
    groups: list[list[Decided]] = [[] for _ in ends]
    piece = 0
    for each in decided:
        start = each.start
        while (cut := ends[piece]) < each.end:
            if each.rank == NONE and cut > start:
                text = each.text[start - each.start : cut - each.start]
                groups[piece].append(Decided(text, start, cut, NONE, text))
                start = cut
            piece += 1
        if start > each.start:
            text = each.text[start - each.start :]
            groups[piece].append(Decided(text, start, each.end, NONE, text))
        else:
            groups[piece].append(each)
    return groups
