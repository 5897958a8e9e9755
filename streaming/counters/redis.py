"""Counters that all workers share, in Redis or Valkey. While it is away each worker counts for itself.

Slots of a worker that died lapse after LEASE_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TypeVar

from streaming.counters import scripts
from streaming.counters.counters import Admission, Counters, Limit, Rate, Slots
from streaming.counters.memory import MemoryCounters, remaining
from streaming.redis_client import STORE_ERRORS, client_with_one_connection

logger = logging.getLogger(__name__)

PREFIX = "streams:count:"

LEASE_SECONDS = 15.0
"""How long a slot stays taken after its worker has died. A living one renews it three times as often."""

COMMAND_SECONDS = 1.0
"""How long to wait for Redis before each worker counts for itself."""

AWAY_SECONDS = 5.0
"""How long it is not asked again after a failure."""

MAX_RENEWED = 500
"""Slots renewed in one call, because Redis is blocked while a script runs."""

T = TypeVar("T")


class RedisCounters(Counters):
    def __init__(self, url: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__()
        self._lease = lease_seconds
        self._memory = MemoryCounters()
        """What this process itself holds."""
        self._away_until = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._tasks = set[asyncio.Task[None]]()
        self._redis = client_with_one_connection(url, COMMAND_SECONDS, queue=5 * COMMAND_SECONDS)
        self._admit, self._take, self._renew = map(
            self._redis.register_script, (scripts.ADMIT, scripts.TAKE, scripts.RENEW)
        )

    async def admit(self, limits: Sequence[Limit], member: str) -> Admission:
        args: list[str | int] = [member, self._lease_ms]
        for limit in limits:
            args += [limit.limit, int(limit.seconds * 1000) if isinstance(limit, Rate) else 0]
        answer = await self._asked(self._admit(keys=[_key(limit.key) for limit in limits], args=args))
        if answer is None:
            admission = await self._memory.admit(limits, member)
            if admission.refused_by is None:
                self._hold_slots(limits, member)  # other workers count them as soon as Redis is back
            return admission
        index, wait, *left = map(int, answer)
        if not index:
            self._hold_slots(limits, member)
        states = [
            (remaining(limit, ms / 1000), ms / 1000) if isinstance(limit, Rate) else (max(ms, 0), 0.0)
            for limit, ms in zip(limits, left, strict=True)
        ]
        numbers, resets = tuple(number for number, _ in states), tuple(seconds for _, seconds in states)
        return Admission(limits[index - 1] if index else None, wait / 1000, numbers, resets)

    async def try_take(self, slots: Slots, member: str, seconds: float) -> bool:
        key = _key(slots.key)
        args: list[str | int] = [member, slots.limit, self._lease_ms, int(seconds * 1000)]
        answer = await self._asked(self._take(keys=[key, f"{key}:queue"], args=args))
        if answer is None:
            has_taken = await self._memory.try_take(slots, member, seconds)
        else:
            has_taken = bool(answer)
        if has_taken:
            self._hold(slots.key, member)
        return has_taken

    def release(self, keys: Sequence[str], member: str) -> None:
        self._memory.release(keys, member)
        task = asyncio.get_running_loop().create_task(self._release(keys, member))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, keys: Sequence[str], member: str) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in map(_key, keys):
                pipeline.zrem(key, member)
                pipeline.zrem(f"{key}:queue", member)
            await self._asked(pipeline.execute())
        for key in keys:
            self._wake_first(key)

    def _hold_slots(self, limits: Sequence[Limit], member: str) -> None:
        for limit in limits:
            if isinstance(limit, Slots):
                self._hold(limit.key, member)

    def _hold(self, key: str, member: str) -> None:
        self._memory.hold(key, member)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew_held())

    async def _renew_held(self) -> None:
        while held := self._memory.held():
            for first in range(0, len(held), MAX_RENEWED):
                some = held[first : first + MAX_RENEWED]
                members = [member for _, member in some]
                await self._asked(self._renew(keys=[_key(key) for key, _ in some], args=[self._lease_ms, *members]))
                # What was freed meanwhile must not come back.
                for key, member in set(some) - set(self._memory.held()):
                    await self._asked(self._redis.zrem(_key(key), member))
            await asyncio.sleep(self._lease / 3)

    @property
    def _lease_ms(self) -> int:
        return int(self._lease * 1000)

    async def _asked(self, asking: Awaitable[T]) -> T | None:
        """The answer; None while Redis is away."""
        if time.monotonic() < self._away_until:
            if asyncio.iscoroutine(asking):
                asking.close()
            return None
        try:
            answer = await asking
        except STORE_ERRORS as error:
            if self._away_until == float("-inf"):
                logger.warning("Redis is away, so each worker counts limits for itself: %s", error)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return None
        self._away_until = float("-inf")
        return answer

    async def close(self) -> None:
        tasks = {*self._tasks, *([self._renewing] if self._renewing else [])}
        if self._renewing:
            self._renewing.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=COMMAND_SECONDS)
        for task in tasks:
            task.cancel()
        with suppress(*STORE_ERRORS):
            await self._redis.aclose()


def _key(key: str) -> str:
    return PREFIX + key
