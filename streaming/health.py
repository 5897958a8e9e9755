"""Whether this worker can do its work: for load balancers, and in more words for staff."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, connections
from django.http import HttpRequest

from streaming import api_keys, hit_log, registry, resumption, rulebook
from streaming.models import ModerationRule
from streaming.moderation import RuleError

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long the database is waited for: whoever asks for the site's health has limits of their own."""

FRESH_SECONDS = 1.0
"""How long an answer is taken for true: strangers may ask, and the database is not theirs."""


class _DatabaseCheck:
    """Asks the database in a thread of its own. While one question hangs, no second one is asked."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._asking: Future[bool] | None = None
        self._answer, self._answered = False, float("-inf")

    async def answers(self) -> bool:
        if time.monotonic() - self._answered < FRESH_SECONDS:
            return self._answer
        if self._asking is None or self._asking.done():
            self._asking = self._executor.submit(self._ask)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._answer = await asyncio.shield(asyncio.wrap_future(self._asking))
        except TimeoutError:
            self._answer = False
        self._answered = time.monotonic()
        return self._answer

    def _ask(self) -> bool:
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
    """The state, and what is wrong in words for staff.

    ``ok``; ``degraded`` while the database is away and streams are moderated with the rules that were known last;
    ``unavailable`` if there are none.
    """
    if not await _database.answers():
        return "unavailable" if rulebook.state()["version"] is None else "degraded", "the database does not answer"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await rulebook.refresh()
    except TimeoutError:  # very many rules are being compiled
        known = rulebook.state()["version"] is not None
        return "ok" if known else "unavailable", None if known else "the rules are still being compiled"
    except DatabaseError as error:
        return "unavailable", f"the rules cannot be read: {error}"
    except RuleError as error:
        return "unavailable", f"the rules cannot be carried out: {error}"
    return "ok", None


async def details(problem: str | None) -> dict[str, Any]:
    """What there is to say of this process."""
    told = {"problem": problem} if problem else {}
    streams = {"streams": registry.count_open(), "journal": await resumption.state()}
    return {**told, "rules": rulebook.state(), **streams, "hits": hit_log.state()}


async def is_for_staff(request: HttpRequest) -> bool:
    """Whether somebody asks who may know the details: staff who are logged in, or an API key of theirs."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            key = await api_keys.find(api_keys.key_in(request))
            user = key.owner if key else await request.auser()
    except (DatabaseError, TimeoutError):
        return False
    return bool(user.is_active and user.is_staff)
