"""What counters promise, whichever store they use."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

POLL_SECONDS = 0.1
"""How often the first in a queue looks whether another worker has freed a slot. One of this worker it gets at once."""


class Rate(NamedTuple):
    """At most ``limit`` within ``seconds``, by the generic cell rate algorithm (ITU-T I.371): a bucket of ``limit``
    that refills evenly. After a full bucket one request is free every ``seconds / limit``."""

    key: str
    limit: int
    seconds: float


class Slots(NamedTuple):
    """At most ``limit`` are open at once."""

    key: str
    limit: int


Limit = Rate | Slots


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether all limits let a request pass. If not, nothing was counted."""

    refused_by: Limit | None
    retry_after: float
    """Seconds until it can pass; 0 if it did, or if nobody knows: a slot becomes free when a stream ends."""
    remaining: tuple[int, ...]
    """For each limit, how many more could pass now."""
    reset: tuple[float, ...]
    """For each limit, seconds until it is as if nothing had been counted; 0 for slots."""


class Counters(ABC):
    """Counts for one event loop. ``member`` identifies who takes a slot, and is unique."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Event]] = {}

    @abstractmethod
    async def admit(self, limits: Sequence[Limit], member: str) -> Admission:
        """Counts a request and takes its slots if every limit allows it, in one step; otherwise does nothing."""

    @abstractmethod
    async def try_take(self, slots: Slots, member: str, seconds: float) -> bool:
        """Takes a slot if one is free, and nobody else has been waiting for longer."""

    @abstractmethod
    def release(self, keys: Sequence[str], member: str) -> None:
        """Frees the slots, and the places in their queues. Does not wait; may be called again."""

    async def take(self, slots: Slots, member: str, seconds: float = 0) -> bool:
        """Takes a slot, or waits up to ``seconds`` for one, first come, first served. Cancelling leaves the queue."""
        queue = self._queues.setdefault(slots.key, deque())
        turn = asyncio.Event()
        queue.append(turn)
        has_taken = False
        try:
            has_taken = await self._wait_for_slot(slots, member, seconds, queue, turn)
        finally:
            queue.remove(turn)
            if not has_taken:
                self.release([slots.key], member)
            self._wake_first(slots.key)
        return has_taken

    async def _wait_for_slot(
        self, slots: Slots, member: str, seconds: float, queue: deque[asyncio.Event], turn: asyncio.Event
    ) -> bool:
        if (queue[0] is turn or seconds == 0) and await self.try_take(slots, member, seconds):
            return True
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            is_first = queue[0] is turn
            with suppress(TimeoutError):
                # Not wait_for, which loses a cancellation that comes together with the turn (before Python 3.12).
                async with asyncio.timeout(min(left, POLL_SECONDS) if is_first else left):
                    await turn.wait()
            turn.clear()
            if queue[0] is turn and await self.try_take(slots, member, seconds):
                return True
        return False

    def _wake_first(self, key: str) -> None:
        queue = self._queues.get(key)
        if queue:
            queue[0].set()
        else:
            self._queues.pop(key, None)

    @abstractmethod
    async def close(self) -> None:
        """Frees what this process holds."""
