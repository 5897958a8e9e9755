"""This worker's connections to Redis, and whether Redis responds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from streaming.journal.errors import StoreUnavailable
from streaming.redis_client import STORE_ERRORS, client_with_one_connection

logger = logging.getLogger(__name__)

COMMAND_BEATS = 3.0
"""How long to wait for a response of Redis before it counts as unavailable, in heartbeats."""


class Connections:
    """One connection each: for this worker's own work, for what clients ask, and to listen.

    A crowd of clients must not delay the heartbeat, and that it waits does not mean that Redis is away.
    """

    def __init__(self, url: str, beat: float, on_back: Callable[[], None]) -> None:
        timeout = COMMAND_BEATS * beat
        self.own = client_with_one_connection(url, timeout, queue=timeout)
        self.requests = client_with_one_connection(url, timeout, queue=5 * timeout)
        self.listener = client_with_one_connection(url, timeout + beat, queue=timeout + beat)
        self.away_since: float | None = None
        self._beat = beat
        self._on_back = on_back
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_away(self) -> bool:
        """Whether Redis does not respond, as far as this worker knows."""
        return self.away_since is not None

    def set_away(self, error: Exception) -> None:
        if self.away_since is None:
            logger.error(
                "Redis does not respond (%s): running streams continue for their readers in this worker", error
            )
            self.away_since = time.monotonic()

    def set_back(self) -> None:
        if self.away_since is not None:
            logger.warning("Redis responds again after %.1f s", time.monotonic() - self.away_since)
            self.away_since = None
            self._on_back()

    async def answered(self, command: Any) -> Any:
        """The response of Redis. Raises StoreUnavailable at once while Redis is known to be unavailable."""
        if self.is_away:
            if asyncio.iscoroutine(command):
                command.close()
            raise StoreUnavailable("the store of streams does not respond")
        try:
            return await command
        except STORE_ERRORS as error:
            self.set_away(error)
            raise StoreUnavailable("the store of streams does not respond") from error

    async def quietly(self, work: Any) -> None:
        """Does the work; if it fails, that is logged."""
        try:
            await work
        except STORE_ERRORS as error:
            self.set_away(error)
        except Exception:
            logger.exception("the journal failed")
            await asyncio.sleep(self._beat)

    def in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(self.quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self, *others: asyncio.Task[Any] | None) -> None:
        """Cancels what runs in the background, and these tasks."""
        tasks = {*self._tasks, *filter(None, others)}
        while tasks:
            for task in tasks:
                task.cancel()
            # A cancellation can be mistaken for a timeout that happens at the same moment.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    async def close(self) -> None:
        await asyncio.gather(self.own.aclose(), self.requests.aclose(), self.listener.aclose())
