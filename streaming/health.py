"""Health of this worker: a status for load balancers, and details for staff."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, connections
from django.http import HttpRequest

from streaming import hit_log, registry, resumption, rulebook, usage_log
from streaming.caller import caller_of
from streaming.models import ModerationRule
from streaming.moderation import RuleError

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0
"""How long to wait for the database. Load balancers have short timeouts."""

CACHE_SECONDS = 1.0
"""How long a result is reused: anyone may ask, and should not cause database queries."""


class _DatabaseCheck:
    """Queries the database in a separate thread. While a query hangs, no second one is sent."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._query: Future[bool] | None = None
        self._result, self._checked_at = False, float("-inf")

    async def answers(self) -> bool:
        if time.monotonic() - self._checked_at < CACHE_SECONDS:
            return self._result
        if self._query is None or self._query.done():
            self._query = self._executor.submit(self._run_query)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._result = await asyncio.shield(asyncio.wrap_future(self._query))
        except TimeoutError:
            self._result = False
        self._checked_at = time.monotonic()
        return self._result

    def _run_query(self) -> bool:
        try:
            ModerationRule.objects.version()
        except DatabaseError as error:
            logger.warning("the database does not answer: %s", error)
            return False
        finally:
            connections.close_all()
        return True


_database = _DatabaseCheck()


async def state() -> tuple[str, str | None]:
    """The state, and a description of the problem for staff.

    ``ok``; ``degraded`` while the database is unavailable and the last known rules are used; ``unavailable`` without
    any rules.
    """
    if not await _database.answers():
        return "unavailable" if rulebook.state()["version"] is None else "degraded", "the database does not answer"
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await rulebook.refresh()
    except TimeoutError:  # very many rules are being compiled
        known = rulebook.state()["version"] is not None
        return "ok" if known else "unavailable", None if known else "the rules are still being compiled"
    except DatabaseError as error:
        return "unavailable", f"the rules cannot be read: {error}"
    except RuleError as error:
        return "unavailable", f"the rules cannot be applied: {error}"
    return "ok", None


async def details(problem: str | None) -> dict[str, Any]:
    """Details about this process."""
    problems = {"problem": problem} if problem else {}
    streams = {"streams": registry.count_open(), "journal": await resumption.state()}
    return {
        **problems,
        "pid": os.getpid(),
        "rules": rulebook.state(),
        **streams,
        "hits": hit_log.state(),
        "usage": usage_log.state(),
    }


async def is_for_staff(request: HttpRequest) -> bool:
    """Whether the request may see the details: it comes from logged-in staff, or with an API key of theirs."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            user = (await caller_of(request)).user
    except (DatabaseError, TimeoutError):
        return False
    return bool(user.is_active and user.is_staff)
