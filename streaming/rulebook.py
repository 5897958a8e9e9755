"""The compiled rules in force, swapped in whole: a stream keeps the edition it began with."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connections
from django.utils import timezone

from streaming import conf
from streaming.gc_pauses import no_long_pauses
from streaming.models import Direction, ModerationRule, ScopedRule, rules_changed
from streaming.moderation import Rule, RuleError, RuleSet, compile_rule

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""How long what the database said is taken for true: it is asked at most once in that time, and only for a stream."""


MANY_RULES = 5_000
"""From here on care is taken that compiling them does not hold up the streams that are open."""


@dataclass(frozen=True, slots=True)
class ScopedRuleSet:
    """The rules for one upstream and direction, compiled. ``version`` is the edition of the rules that they are of."""

    version: int
    rule_set: RuleSet


@dataclass(slots=True)
class CompiledEdition:
    """All rules of one edition that hold at one moment; what is compiled of them is compiled once."""

    version: int
    rules: list[ScopedRule]
    since: datetime | None
    until: datetime | None
    """When a rule began or ceased to hold last, and when one does next: a clock may be set back too."""
    rule_sets: dict[tuple[str, Direction], ScopedRuleSet] = field(default_factory=dict)

    def is_active_at(self, now: datetime) -> bool:
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class LoadError:
    """The rules of this edition cannot be compiled; an earlier one is in force."""

    version: int
    error: RuleError


class Rulebook:
    """The editions of one process. All its work is done in a thread of its own, one piece after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._edition: CompiledEdition | None = None
        self._asked = float("-inf")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rulebook")
        self.load_error: LoadError | None = None

    @property
    def version(self) -> int | None:
        """The edition in force in this process; None before the first is asked for."""
        return self._edition.version if self._edition else None

    async def current(self, upstream: str, direction: Direction) -> ScopedRuleSet:
        """The rules that hold now, as the database had them a second ago at the earliest.

        Compiled off the event loop and only when they have changed. While they cannot be compiled, or the database
        does not answer, the last good ones hold. RuleError or DatabaseError if there are none: no text goes out
        unmoderated.
        """
        edition = self._edition
        if edition and self._is_fresh(edition) and (rule_set := edition.rule_sets.get((upstream, direction))):
            return rule_set
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._look_up, upstream, direction)

    def current_now(self, upstream: str, direction: Direction) -> ScopedRuleSet:
        """The same for those who may wait."""
        return self._executor.submit(self._look_up, upstream, direction).result()

    async def refresh(self) -> None:
        """Learns of the last changes, if that was not done within the last second."""
        if self._edition is None or not self._is_fresh(self._edition):
            await asyncio.get_running_loop().run_in_executor(self._executor, self._refresh)

    def invalidate(self, *_: Any, **__: Any) -> None:
        """The rules have changed in this very process: the database is asked at once."""
        self._asked = float("-inf")

    def state(self) -> dict[str, Any]:
        """What there is to say of this process: the version in force, and what keeps a later one out."""
        error = {"version": self.load_error.version, "reason": str(self.load_error.error)} if self.load_error else None
        return {"version": self.version, "error": error}

    def _is_fresh(self, edition: CompiledEdition) -> bool:
        return self._clock() - self._asked < FRESH_SECONDS and edition.is_active_at(timezone.now())

    def _look_up(self, upstream: str, direction: Direction) -> ScopedRuleSet:
        with no_long_pauses():
            return _compiled(self._refreshed(), (upstream, direction), None)

    def _refresh(self) -> None:
        with no_long_pauses():
            self._refreshed()

    def _refreshed(self) -> CompiledEdition:
        before = self._edition
        if before and self._is_fresh(before):
            return before
        asked = self._clock()
        try:
            edition = self._load(before)
        except DatabaseError as error:
            if before is None:
                raise
            logger.warning("the database does not say whether the rules have changed: %s", error)
            edition = before
        finally:
            connections.close_all()  # one that is kept would be this thread's for ever
        self._edition, self._asked = edition, asked
        return edition

    def _load(self, before: CompiledEdition | None) -> CompiledEdition:
        """The edition as it has to be now; the one before if nothing has changed, or what has is no good."""
        now = timezone.now()
        # The version is read before the rules: rules that change in between are read again next time.
        version = ModerationRule.objects.version()
        known = self.load_error.version if self.load_error else before.version if before else None
        if before and version == known and before.is_active_at(now):
            return before
        scoped = reuse_unchanged(ModerationRule.objects.scoped_rules(now), before)
        edition = CompiledEdition(version, [each for each in scoped if each.is_active_at(now)], *_span(scoped, now))
        try:
            _check(scoped, before)
            for key in before.rule_sets if before else ():
                _compiled(edition, key, before)
        except RuleError as error:
            logger.error("the rules cannot be compiled, for %r: %s", error.rule, error)  # noqa: TRY400
            self.load_error = LoadError(version, error)
            if before is None:
                raise
            # Tried once; the next change may mend them.
            before.since, before.until = edition.since, edition.until
            return before
        self.load_error = None
        return edition


def _span(scoped: list[ScopedRule], now: datetime) -> tuple[datetime | None, datetime | None]:
    """From when until when the same rules hold as now."""
    moments = [at for each in scoped for at in (each.valid_from, each.valid_until) if at]
    if expired := ModerationRule.objects.last_expired(now):
        moments.append(expired)
    return max((at for at in moments if at <= now), default=None), min((at for at in moments if at > now), default=None)


def _check(rules: list[ScopedRule], before: CompiledEdition | None) -> None:
    """RuleError for the first that cannot be carried out: an edition comes into force as a whole, or not at all."""
    known = {each.rule.id: each.rule for each in before.rules} if before else {}
    for each in rules:
        if known.get(each.rule.id) is not each.rule:
            compile_rule(each.rule)


def reuse_unchanged(scoped: Iterable[ScopedRule], before: CompiledEdition | None) -> list[ScopedRule]:
    """The same, with the values of before where they are equal: to free all of one edition at once would take long."""
    known = {each.rule.id: each for each in before.rules} if before else {}
    found = ((known.get(each.rule.id), each) for each in scoped)
    return [old if old is not None and old == each else each for old, each in found]


def _compiled(edition: CompiledEdition, key: tuple[str, Direction], before: CompiledEdition | None) -> ScopedRuleSet:
    """What the edition says for an upstream and direction. Where the same rules hold, it is the same rule set."""
    if key not in edition.rule_sets:
        rules = tuple(each.rule for each in edition.rules if each.covers(*key))
        made = [known.rule_set for each in (edition, before) if each for known in each.rule_sets.values()]
        same = next((rule_set for rule_set in made if _has(rule_set, rules)), None)
        edition.rule_sets[key] = ScopedRuleSet(edition.version, _compile(rules) if same is None else same)
    return edition.rule_sets[key]


def _compile(rules: tuple[Rule, ...]) -> RuleSet:
    rule_set = RuleSet(rules, mask=conf.mask())
    if len(rules) >= MANY_RULES:
        # They are there to stay: the collector of cycles need never look at them, which would take it 0.1 s and more.
        # So they are taken apart when their last stream has ended.
        gc.freeze()
        for plan in rule_set.plans:
            weakref.finalize(plan, _dismantle_later, plan.automata).atexit = False
    return rule_set


def _dismantle_later(automata: list[Any]) -> None:
    """In a thread: whichever drops the last stream may be the event loop's."""
    threading.Thread(target=_dismantle, args=(automata,), name="rulebook-dismantling", daemon=True).start()


def _dismantle(automata: list[Any]) -> None:
    with no_long_pauses():
        for automaton in automata:
            automaton.dismantle()


def _has(rule_set: RuleSet, rules: tuple[Rule, ...]) -> bool:
    return len(rule_set.rules) == len(rules) and rule_set.rules == tuple(sorted(rules, key=lambda rule: -rule.priority))


_rulebook = Rulebook()
state = _rulebook.state
current = _rulebook.current
current_now = _rulebook.current_now
refresh = _rulebook.refresh
rules_changed.connect(_rulebook.invalidate)


def find_load_error(patience: float = 1.0) -> LoadError | None:
    """What keeps the last changes out of this process, if something does and it is known within so many seconds."""
    with suppress(TimeoutError, DatabaseError, RuleError):
        _rulebook._executor.submit(_rulebook._refresh).result(patience)
    return _rulebook.load_error
