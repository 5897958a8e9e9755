"""All rules of one edition that are active at one time, and the rule sets compiled from them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from streaming import conf
from streaming.gc_pauses import no_long_pauses
from streaming.models import ModerationRule, ScopedRule
from streaming.moderation import Rule, RuleSet, compile_rule
from streaming.rule_fields import Direction

MANY_RULES = 5_000
"""From this number on, compiled rules are hidden from the garbage collector, whose pauses would stall streams."""


@dataclass(frozen=True, slots=True)
class ScopedRuleSet:
    """The compiled rules for one upstream and direction. ``version`` is the number of their edition."""

    version: int
    rule_set: RuleSet


Key = tuple[str, Direction, frozenset[str]]
"""The upstream, the direction, and of the audience what some rule mentions."""


@dataclass(slots=True)
class CompiledEdition:
    """All rules of one edition that are active at one time, and the rule sets compiled from them so far."""

    version: int
    rules: list[ScopedRule]
    since: datetime | None
    until: datetime | None
    """The last and the next time at which a rule starts or expires. ``since`` matters if the clock is set back."""
    mentioned: frozenset[str]
    """The labels of all audiences to which rules are limited."""
    as_of: float
    """The last time at which the database was known to hold these rules, of ``time.monotonic``."""
    read_at: datetime
    """When the rules began to be read: what was changed before that they have."""
    rule_sets: dict[Key, ScopedRuleSet] = field(default_factory=dict)
    base: CompiledEdition | None = None
    """The edition that this one differs from by ``changed``: the rules, each with whether it is enabled."""
    changed: Sequence[tuple[ScopedRule, bool]] = ()

    @property
    def has_very_many_rules(self) -> bool:
        return len(self.rules) >= MANY_RULES

    def key(self, upstream: str, direction: Direction, audience: frozenset[str]) -> Key:
        """What decides which rules apply: of the audience only what some rule mentions."""
        return upstream, direction, audience & self.mentioned

    def is_active_at(self, now: datetime) -> bool:
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


def new_edition(version: int, scoped: list[ScopedRule], now: datetime, as_of: float) -> CompiledEdition:
    """The edition of these rules, from which nothing is compiled yet."""
    active = [each for each in scoped if each.scope.is_active_at(now)]
    return CompiledEdition(version, active, *_unchanged_period(scoped, now), _mentioned(scoped), as_of, now)


def _unchanged_period(scoped: list[ScopedRule], now: datetime) -> tuple[datetime | None, datetime | None]:
    """The period around ``now`` in which the set of active rules does not change."""
    moments = [at for _, scope in scoped for at in (scope.valid_from, scope.valid_until) if at]
    if expired := ModerationRule.objects.last_expired(now):
        moments.append(expired)
    return max((at for at in moments if at <= now), default=None), min((at for at in moments if at > now), default=None)


def check_rules(rules: list[ScopedRule], previous: CompiledEdition | None) -> None:
    """Raise RuleError for the first rule that cannot be compiled: an edition is used as a whole or not at all."""
    known = {rule.id: rule for rule, _ in previous.rules} if previous else {}
    for rule, _ in rules:
        if known.get(rule.id) is not rule:
            compile_rule(rule)


def reuse_unchanged(scoped: Iterable[ScopedRule], previous: CompiledEdition | None) -> list[ScopedRule]:
    """The same rules, reusing equal objects of the previous edition: freeing a whole edition at once would stall."""
    known = {old.rule.id: old for old in previous.rules} if previous else {}
    pairs = ((known.get(new.rule.id), new) for new in scoped)
    return [old if old is not None and old == new else new for old, new in pairs]


def _mentioned(scoped: Iterable[ScopedRule]) -> frozenset[str]:
    return frozenset(label for _, scope in scoped for label in scope.only_for)


def compiled(edition: CompiledEdition, key: Key, previous: CompiledEdition | None) -> ScopedRuleSet:
    """The rule set of an edition for an upstream and direction. Where the same rules apply, it is the same object."""
    if key not in edition.rule_sets:
        rule_set = _with_changes(edition, edition.base, key) if edition.base else _of_rules(edition, key, previous)
        edition.rule_sets[key] = ScopedRuleSet(edition.version, rule_set)
    return edition.rule_sets[key]


def _of_rules(edition: CompiledEdition, key: Key, previous: CompiledEdition | None) -> RuleSet:
    rules = tuple(rule for rule, scope in edition.rules if scope.covers(*key))
    # As a list, since another thread may compile one for an edition that is in use.
    known = [scoped.rule_set for source in (edition, previous) if source for scoped in list(source.rule_sets.values())]
    return next((rule_set for rule_set in known if _has_rules(rule_set, rules)), None) or _compile(rules)


def _with_changes(edition: CompiledEdition, base: CompiledEdition, key: Key) -> RuleSet:
    now, removed = timezone.now(), [each.rule.id for each, _ in edition.changed]
    active = [each for each, enabled in edition.changed if enabled and each.scope.is_active_at(now)]
    added = [each.rule for each in active if each.scope.covers(*key)]
    return compiled(base, base.key(*key), None).rule_set.extended(added, removed)


def _compile(rules: tuple[Rule, ...]) -> RuleSet:
    rule_set = RuleSet(rules, mask=conf.mask())
    if len(rules) >= MANY_RULES:
        # Scanning so many long-lived objects would take the garbage collector 0.1 s and more, so it skips them from
        # now on (gc.freeze). Their reference cycles are broken by hand when the last stream has ended.
        gc.freeze()
        for plan in rule_set.plans:
            weakref.finalize(plan, _dismantle_later, plan.automata).atexit = False
    return rule_set


def _dismantle_later(automata: list[Any]) -> None:
    """In a new thread, because the last reference may be dropped on the event loop."""
    threading.Thread(target=_dismantle, args=(automata,), name="rulebook-dismantling", daemon=True).start()


def _dismantle(automata: list[Any]) -> None:
    with no_long_pauses():
        for automaton in automata:
            automaton.dismantle()


def extended(
    full: CompiledEdition, version: int, as_of: float, changed: list[tuple[ScopedRule, bool]]
) -> CompiledEdition:
    """An edition with some rules changed: only those are compiled. RuleError if one of them cannot be."""
    check_rules([each for each, enabled in changed if enabled], None)
    mentioned = full.mentioned | _mentioned(each for each, _ in changed)
    edition = CompiledEdition(version, full.rules, full.since, full.until, mentioned, as_of, full.read_at)
    edition.base, edition.changed = full, changed
    for key in list(full.rule_sets):
        compiled(edition, key, None)
    return edition


def _has_rules(rule_set: RuleSet, rules: tuple[Rule, ...]) -> bool:
    return len(rule_set.rules) == len(rules) and rule_set.rules == tuple(sorted(rules, key=lambda rule: -rule.priority))
