"""The compiled rules in force, swapped in whole: a stream keeps the snapshot that it began with."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connections
from django.utils import timezone

from streaming.models import Direction, ModerationRule, Standing, rules_changed
from streaming.moderation import Rule, RuleError, RuleSet, compile_rule

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""How long what the database said is taken for true: it is asked at most once in that time, and only for a stream."""


MANY_RULES = 5_000
"""From here on care is taken that compiling them does not hold up the streams that are open."""


SHORT_TURN = 0.0001
_TURN = sys.getswitchinterval()
_haste = threading.Lock()
_hasty = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rules for one upstream and direction, compiled. ``version`` is the edition of the rules that they are of."""

    version: int
    rule_set: RuleSet


@dataclass(slots=True)
class _Book:
    """All rules of one edition that hold at one moment; what is compiled of them is compiled once."""

    version: int
    standing: list[Standing]
    until: datetime | None
    """When a rule begins or ceases to hold next."""
    snapshots: dict[tuple[str, Direction], Snapshot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """The rules of this edition cannot be compiled; an earlier one is in force."""

    version: int
    error: RuleError


class Rulebook:
    """The books of one process. All its work is done in a thread of its own, one piece after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._book: _Book | None = None
        self._asked = float("-inf")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rulebook")
        self.trouble: Trouble | None = None

    @property
    def version(self) -> int | None:
        """The edition in force in this process; None before the first is asked for."""
        return self._book.version if self._book else None

    async def current(self, upstream: str, direction: Direction) -> Snapshot:
        """The rules that hold now, as the database had them a second ago at the earliest.

        Compiled off the event loop and only when they have changed. While they cannot be compiled, or the database
        does not answer, the last good ones hold. RuleError or DatabaseError if there are none: no text goes out
        unmoderated.
        """
        book = self._book
        if book and self._is_fresh(book) and (snapshot := book.snapshots.get((upstream, direction))):
            return snapshot
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._look_up, upstream, direction)

    def current_now(self, upstream: str, direction: Direction) -> Snapshot:
        """The same for those who may wait."""
        return self._executor.submit(self._look_up, upstream, direction).result()

    async def refresh(self) -> None:
        """Learns of the last changes, if that was not done within the last second."""
        if self._book is None or not self._is_fresh(self._book):
            await asyncio.get_running_loop().run_in_executor(self._executor, self._refresh)

    def doubt(self, *_: Any, **__: Any) -> None:
        """The rules have changed in this very process: the database is asked at once."""
        self._asked = float("-inf")

    def state(self) -> dict[str, Any]:
        """What there is to say of this process: the version in force, and what keeps a later one out."""
        trouble = {"version": self.trouble.version, "reason": str(self.trouble.error)} if self.trouble else None
        return {"version": self.version, "trouble": trouble}

    def _is_fresh(self, book: _Book) -> bool:
        if book.until is not None and book.until <= timezone.now():
            return False
        return self._clock() - self._asked < FRESH_SECONDS

    def _look_up(self, upstream: str, direction: Direction) -> Snapshot:
        with no_long_pauses():
            return _compiled(self._refreshed(), (upstream, direction), None)

    def _refresh(self) -> None:
        with no_long_pauses():
            self._refreshed()

    def _refreshed(self) -> _Book:
        before = self._book
        if before and self._is_fresh(before):
            return before
        asked = self._clock()
        try:
            book = self._load(before)
        except DatabaseError as error:
            if before is None:
                raise
            logger.warning("the database does not say whether the rules have changed: %s", error)
            book = before
        finally:
            connections.close_all()  # one that is kept would be this thread's for ever
        self._book, self._asked = book, asked
        return book

    def _load(self, before: _Book | None) -> _Book:
        """The book as it has to be now; the one before if nothing has changed, or what has is no good."""
        now = timezone.now()
        # The version is read before the rules: rules that change in between are read again next time.
        version = ModerationRule.objects.version()
        known = self.trouble.version if self.trouble else before.version if before else None
        if before and version == known and (before.until is None or now < before.until):
            return before
        standing = _known_again(ModerationRule.objects.standing(now), before)
        moments = [at for each in standing for at in (each.valid_from, each.valid_until) if at and at > now]
        book = _Book(version, [each for each in standing if each.holds_at(now)], min(moments, default=None))
        try:
            _check(standing, before)
            for key in before.snapshots if before else ():
                _compiled(book, key, before)
        except RuleError as error:
            logger.error("the rules cannot be compiled, for %r: %s", error.rule, error)  # noqa: TRY400
            self.trouble = Trouble(version, error)
            if before is None:
                raise
            # Tried once; the next change may mend them.
            before.until = book.until
            return before
        self.trouble = None
        return book


def _check(standing: list[Standing], before: _Book | None) -> None:
    """RuleError for the first that cannot be carried out: a book is good as a whole, or it is not opened."""
    known = {each.rule.id: each.rule for each in before.standing} if before else {}
    for each in standing:
        if known.get(each.rule.id) is not each.rule:
            compile_rule(each.rule)


def _known_again(standing: Iterable[Standing], before: _Book | None) -> list[Standing]:
    """The same, with the values of before where they are equal: to free all of one edition at once would take long."""
    known = {each.rule.id: each for each in before.standing} if before else {}
    found = ((known.get(each.rule.id), each) for each in standing)
    return [old if old is not None and old == each else each for old, each in found]


def _compiled(book: _Book, key: tuple[str, Direction], before: _Book | None) -> Snapshot:
    """What the book says for an upstream and direction. Where the same rules hold, it is the same rule set."""
    if key not in book.snapshots:
        rules = tuple(each.rule for each in book.standing if each.covers(*key))
        made = [snapshot.rule_set for each in (book, before) if each for snapshot in each.snapshots.values()]
        same = next((rule_set for rule_set in made if _has(rule_set, rules)), None)
        book.snapshots[key] = Snapshot(book.version, _compile(rules) if same is None else same)
    return book.snapshots[key]


def _compile(rules: tuple[Rule, ...]) -> RuleSet:
    rule_set = RuleSet(rules)
    if len(rules) >= MANY_RULES:
        # They are there to stay: the collector of cycles need never look at them, which would take it 0.1 s and more.
        # So they are taken apart when their last stream has ended.
        gc.freeze()
        for plan in rule_set.plans:
            weakref.finalize(plan, _dismantle_later, plan.automata).atexit = False
    return rule_set


@contextmanager
def no_long_pauses() -> Iterator[None]:
    """Lets the other threads run while this one makes, or frees, very many objects.

    The collector of cycles stops all threads while it looks through them: for up to 0.7 s where there are 100,000
    rules. So it rests. And the loop, which gives its turn away with each read and write of a socket, has it back
    after a tenth of a millisecond, not after five.
    """
    global _hasty
    with _haste:
        _hasty += 1
        if _hasty == 1:
            sys.setswitchinterval(SHORT_TURN)
            gc.disable()
    try:
        yield
    finally:
        with _haste:
            _hasty -= 1
            if not _hasty:
                gc.enable()
                sys.setswitchinterval(_TURN)


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
rules_changed.connect(_rulebook.doubt)


def find_trouble(patience: float = 1.0) -> Trouble | None:
    """What keeps the last changes out of this process, if something does and it is known within so many seconds."""
    with suppress(TimeoutError, DatabaseError, RuleError):
        _rulebook._executor.submit(_rulebook._refresh).result(patience)
    return _rulebook.trouble
