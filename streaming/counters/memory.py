"""Counters of one process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from streaming.counters.counters import Admission, Counters, Limit, Rate, Slots

MAX_RATES = 10_000
"""From this number on, rates that are as if nothing had been counted are dropped."""

TOLERANCE = 0.001
"""Seconds by which a request may be early, so that rounding refuses none."""


class MemoryCounters(Counters):
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._full_at: dict[str, float] = {}
        """By key of a rate: the theoretical arrival time, when the bucket is full again."""
        self._held: defaultdict[str, set[str]] = defaultdict(set)

    async def admit(self, limits: Sequence[Limit], member: str) -> Admission:
        refused_by, retry_after = None, 0.0
        for limit in limits:
            wait = self._wait_for(limit)
            if wait is not None and (refused_by is None or wait > retry_after):
                refused_by, retry_after = limit, wait
        for limit in limits if refused_by is None else ():
            self._count(limit, member)
        states = [self._state(limit) for limit in limits]
        return Admission(refused_by, retry_after, *_columns(states))

    async def try_take(self, slots: Slots, member: str, seconds: float) -> bool:
        return self.has_free(slots, member) and self.hold(slots.key, member)

    def has_free(self, slots: Slots, member: str) -> bool:
        held = self._held.get(slots.key, ())
        return member in held or len(held) < slots.limit

    def hold(self, key: str, member: str) -> bool:
        """Takes a slot whether or not one is free."""
        self._held[key].add(member)
        return True

    def held(self) -> list[tuple[str, str]]:
        """The key and the member of each slot that is taken."""
        return [(key, member) for key, members in self._held.items() for member in members]

    def release(self, keys: Sequence[str], member: str) -> None:
        for key in keys:
            if members := self._held.get(key):
                members.discard(member)
                if not members:
                    del self._held[key]
            self._wake_first(key)

    async def close(self) -> None:
        self._held.clear()

    def _wait_for(self, limit: Limit) -> float | None:
        """Seconds until this limit lets a request pass, 0 if nobody knows; None if it does now."""
        if isinstance(limit, Slots):
            return None if len(self._held.get(limit.key, ())) < limit.limit else 0.0
        wait = self._next_full_at(limit) - self._clock() - limit.seconds
        return wait if wait > TOLERANCE else None

    def _next_full_at(self, rate: Rate) -> float:
        now = self._clock()
        return max(self._full_at.get(rate.key, now), now) + rate.seconds / rate.limit

    def _count(self, limit: Limit, member: str) -> None:
        if isinstance(limit, Slots):
            self.hold(limit.key, member)
            return
        if len(self._full_at) >= MAX_RATES:
            now = self._clock()
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        self._full_at[limit.key] = self._next_full_at(limit)

    def _state(self, limit: Limit) -> tuple[int, float]:
        if isinstance(limit, Slots):
            return max(limit.limit - len(self._held.get(limit.key, ())), 0), 0.0
        reset = max(self._full_at.get(limit.key, 0.0) - self._clock(), 0.0)
        return remaining(limit, reset), reset


def remaining(rate: Rate, reset: float) -> int:
    return max(int((rate.seconds - reset + TOLERANCE) * rate.limit / rate.seconds), 0)


def _columns(states: list[tuple[int, float]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return tuple(number for number, _ in states), tuple(seconds for _, seconds in states)
