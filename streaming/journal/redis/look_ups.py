"""Looking up streams in Redis: all that are asked for at about the same time in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from streaming.journal.errors import StoreUnavailable
from streaming.redis_client import STORE_ERRORS


class Found(NamedTuple):
    meta: dict[bytes, bytes]
    """The stream's metadata; empty if there is no such stream."""
    is_alive: bool
    """Whether the worker that drives it is alive, as far as this one can tell."""


class LookUps:
    def __init__(self, find: Callable[[list[str]], Awaitable[list[Found]]]) -> None:
        self.task: asyncio.Task[None] | None = None
        self._find = find
        self._asked_for: dict[str, asyncio.Future[Found]] = {}

    async def find(self, stream: str) -> Found:
        """What Redis has of this stream. Raises what ``find`` raises, StoreUnavailable when the worker goes down."""
        if (asked := self._asked_for.get(stream)) is None:
            asked = self._asked_for[stream] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody may wait any more
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._find_all())
        return await asyncio.shield(asked)

    async def _find_all(self) -> None:
        asked: dict[str, asyncio.Future[Found]] = {}
        try:
            while self._asked_for:
                asked, self._asked_for = self._asked_for, {}
                try:
                    for future, found in zip(asked.values(), await self._find(list(asked)), strict=True):
                        future.set_result(found)
                except STORE_ERRORS as error:
                    for future in asked.values():
                        future.set_exception(error)
        finally:
            self.task = None
            for future in (*asked.values(), *self._asked_for.values()):
                if not future.done():
                    future.set_exception(StoreUnavailable("this worker is going down"))
