"""The compiled rules, replaced as a whole when they change: a stream keeps the edition it began with."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connections
from django.utils import timezone

from streaming.compiled_edition import (
    CompiledEdition,
    ScopedRuleSet,
    check_rules,
    compiled,
    extended,
    new_edition,
    reuse_unchanged,
)
from streaming.editions import rules_changed
from streaming.gc_pauses import no_long_pauses
from streaming.models import ModerationRule
from streaming.moderation import RuleError
from streaming.rule_fields import Direction

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
"""The database is asked for changes at most once in this time, and only when a stream needs the rules."""

READ_ATTEMPTS = 3
"""How often the rules are read again because they were changed meanwhile."""

LONGEST_WAIT = 0.008
"""Seconds for which a new stream waits for changed rules where there are very many."""

MAX_CHANGED = 1_000
"""Rules that are added to an edition while the next one is being compiled: what moderators change by hand."""

_CLOCKS_DIFFER = timedelta(seconds=2)
"""How much earlier a change may be dated by another worker's clock."""


@dataclass(frozen=True, slots=True)
class LoadError:
    """The rules of this edition cannot be compiled; an earlier edition stays in use."""

    version: int
    error: RuleError


class Rulebook:
    """Loads and compiles the rules of one process, one task at a time in a single thread of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._edition: CompiledEdition | None = None
        self._last_change = object()
        self._checked = (object(), float("-inf"))
        """The last change in this process that was known when the database was asked, and when that was."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rulebook")
        self.load_error: LoadError | None = None
        # Of very many rules whole editions are compiled in a thread of its own, while the last one is in use.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="rulebook-loader")
        self._loading: Future[None] | None = None
        self._asking_in: asyncio.AbstractEventLoop | None = None
        self._full: CompiledEdition | None = None
        self._in_use = threading.Lock()

    @property
    def version(self) -> int | None:
        """The edition in use in this process; None before the first is loaded."""
        return self._edition.version if self._edition else None

    def mentions(self, kind: str) -> bool:
        """Whether a rule may be limited to an audience of this kind."""
        return self._edition is None or any(label.startswith(f"{kind}:") for label in self._edition.mentioned)

    async def current(
        self, upstream: str, direction: Direction, audience: frozenset[str] = frozenset()
    ) -> ScopedRuleSet:
        """The active rules, at most FRESH_SECONDS behind the database.

        They are compiled off the event loop and only when they have changed. While they cannot be compiled, or the
        database is unavailable, the last good rules are used. RuleError or DatabaseError if there are none: no text is
        sent unmoderated.
        """
        edition = self._edition
        known = edition.rule_sets.get(edition.key(upstream, direction, audience)) if edition else None
        if edition and known and self._is_fresh(edition):
            return known
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._executor, self._rule_set_for, upstream, direction, audience)
        if known and self._has_very_many:
            # So many rules may take seconds: meanwhile those that were in use are.
            done, _ = await asyncio.wait([asked], timeout=LONGEST_WAIT)
            if not done:
                asked.add_done_callback(_logged_if_failed)
                return known
        rule_set = await asked
        self._ask_every_second(loop)
        return rule_set

    def _ask_every_second(self, loop: asyncio.AbstractEventLoop) -> None:
        """Looks for changes of very many rules before a stream needs them: it would begin without them."""
        if self._has_very_many and self._asking_in is not loop:
            self._asking_in = loop
            loop.call_later(FRESH_SECONDS, self._ask, loop)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._has_very_many:
            self._asking_in = None
            return
        asked = loop.run_in_executor(self._executor, self._refresh)
        asked.add_done_callback(_logged_if_failed)
        asked.add_done_callback(lambda _: loop.call_later(FRESH_SECONDS, self._ask, loop))

    def current_blocking(self, upstream: str, direction: Direction) -> ScopedRuleSet:
        """``current`` for synchronous code: blocks until the rules are compiled."""
        return self._executor.submit(self._rule_set_for, upstream, direction).result()

    async def refresh(self) -> None:
        """Load changed rules, unless that was done within the last FRESH_SECONDS."""
        if self._edition is None or not self._is_fresh(self._edition):
            await asyncio.get_running_loop().run_in_executor(self._executor, self._refresh)

    def invalidate(self, *_: Any, **__: Any) -> None:
        """The rules were changed in this process: query the database again on next use."""
        self._last_change = object()

    def state(self) -> dict[str, Any]:
        """The version in use in this process and the error that prevents a later one, for ``/healthz``."""
        failed = self.load_error
        error = {"version": failed.version, "reason": str(failed.error)} if failed else None
        return {"version": self.version, "error": error}

    @property
    def _has_very_many(self) -> bool:
        return self._edition is not None and self._edition.has_very_many_rules

    def _is_fresh(self, edition: CompiledEdition) -> bool:
        change, checked_at = self._checked
        is_fresh = change is self._last_change and self._clock() - checked_at < FRESH_SECONDS
        return is_fresh and edition.is_active_at(timezone.now())

    def _rule_set_for(
        self, upstream: str, direction: Direction, audience: frozenset[str] = frozenset()
    ) -> ScopedRuleSet:
        with no_long_pauses():
            edition = self._refreshed()
            return compiled(edition, edition.key(upstream, direction, audience), None)

    def _refresh(self) -> None:
        with no_long_pauses():
            self._refreshed()

    def _refreshed(self) -> CompiledEdition:
        previous = self._edition
        if previous and self._is_fresh(previous):
            return previous
        checked = self._last_change, self._clock()  # a change from now on may come too late for this answer
        try:
            if (full := self._full) and full.has_very_many_rules and previous:
                edition = self._with_changes(previous, full)
            else:
                self._full = edition = self._load(previous)
        except DatabaseError as error:
            if previous is None:
                raise
            logger.warning("cannot check whether the rules have changed: %s", error)
            edition = previous
        finally:
            connections.close_all()  # otherwise this thread would keep a connection open for ever
        self._checked = checked
        return self._use(edition)

    def _use(self, edition: CompiledEdition) -> CompiledEdition:
        """Use this edition, unless a later one is in use: two threads load them, and neither waits for the other."""
        with self._in_use:
            if self._edition is None or self._edition.as_of <= edition.as_of:
                self._edition = edition
            return self._edition

    def _with_changes(self, previous: CompiledEdition, full: CompiledEdition) -> CompiledEdition:
        """The last edition that was compiled as a whole, with what moderators have changed by hand since.

        The next one is compiled meanwhile, in a thread of its own.
        """
        as_of, now = time.monotonic(), timezone.now()
        version = ModerationRule.objects.version()
        for known in (full, previous):
            if known.version == version:
                known.as_of = as_of
        if full.version == version and full.is_active_at(now):
            return full
        failed = (error := self.load_error) is not None and error.version == version
        if failed and full.is_active_at(now):  # each version is tried only once
            previous.since, previous.until = full.since, full.until
            return previous
        try:
            unchanged = previous.version == version and previous.is_active_at(now)
            return previous if unchanged else self._extended(previous, full, version, as_of)
        finally:
            if self._loading is None or self._loading.done():  # last, because the two would slow each other down
                self._loading = self._loader.submit(self._load_fully)

    def _extended(
        self, previous: CompiledEdition, full: CompiledEdition, version: int, as_of: float
    ) -> CompiledEdition:
        changed = ModerationRule.objects.changed_since(full.read_at - _CLOCKS_DIFFER, MAX_CHANGED)
        if changed is None or not previous.is_active_at(timezone.now()):
            return previous
        if ModerationRule.objects.version() != version:  # lists and rules may not belong together: see _load
            return previous
        try:
            return extended(full, version, as_of, changed)
        except RuleError:  # the edition that is being compiled says so
            return previous

    def _load_fully(self) -> None:
        try:
            with no_long_pauses():
                self._full = self._load(self._full)
                self._use(self._full)
        except DatabaseError as error:
            logger.warning("cannot load the changed rules: %s", error)
        finally:
            connections.close_all()
            self.invalidate()  # what changed meanwhile is looked for at once

    def _load(self, previous: CompiledEdition | None) -> CompiledEdition:
        """The current edition; the previous one if nothing has changed, or if the change cannot be compiled."""
        known = error.version if (error := self.load_error) else previous.version if previous else None
        for _ in range(READ_ATTEMPTS):
            as_of, now = time.monotonic(), timezone.now()
            # Read the version before the rules: if rules change in between, they are read again next time.
            version = ModerationRule.objects.version()
            if previous and version == known and previous.is_active_at(now):
                return previous
            scoped = reuse_unchanged(ModerationRule.objects.scoped_rules(now), previous)
            if ModerationRule.objects.version() == version:
                break  # otherwise the lists may be those before a change, and their rules those after it
        edition = new_edition(version, scoped, now, as_of)
        try:
            check_rules(scoped, previous)
            for upstream, direction, audience in list(previous.rule_sets) if previous else ():
                compiled(edition, edition.key(upstream, direction, audience), previous)
        except RuleError as error:
            logger.error("the rules cannot be compiled, for %r: %s", error.rule, error)  # noqa: TRY400
            self.load_error = LoadError(version, error)
            if previous is None:
                raise
            # Try each version only once; the next change may fix it.
            previous.since, previous.until = edition.since, edition.until
            return previous
        self.load_error = None
        return edition


def _logged_if_failed(asked: asyncio.Future[Any]) -> None:
    if not asked.cancelled() and (error := asked.exception()):
        logger.warning("cannot check whether the rules have changed: %s", error)


_rulebook = Rulebook()
state = _rulebook.state
current = _rulebook.current
mentions = _rulebook.mentions
current_blocking = _rulebook.current_blocking
refresh = _rulebook.refresh
rules_changed.connect(_rulebook.invalidate)


def find_load_error(timeout: float = 1.0) -> LoadError | None:
    """The error that prevents the latest rules from being used, if there is one and it is known within ``timeout``."""
    with suppress(TimeoutError, DatabaseError, RuleError):
        _rulebook._executor.submit(_rulebook._refresh).result(timeout)
    return _rulebook.load_error
