"""The streams that are open in this process: counts them, and stops them at shutdown."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar
from weakref import WeakSet


class Stoppable(Protocol):
    """An open stream that can be stopped."""

    @property
    def is_open(self) -> bool: ...

    def stop(self, reason: str) -> None: ...


S = TypeVar("S", bound=Stoppable)

# Weak, so that responses that are never sent vanish by themselves.
_streams: WeakSet[Stoppable] = WeakSet()
_draining = False


def watch(stream: S) -> S:
    """Registers a stream until it is garbage collected. During shutdown it is stopped immediately."""
    _streams.add(stream)
    if _draining:
        stream.stop("drained")
    return stream


def count_open() -> int:
    return sum(stream.is_open for stream in list(_streams))


async def drain(grace: float = 2.0) -> int:
    """Stops every stream and waits up to ``grace`` seconds. Returns how many are still open then."""
    global _draining
    _draining = True
    for stream in list(_streams):
        stream.stop("drained")
    end = asyncio.get_running_loop().time() + grace
    while (left := count_open()) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 (streams notify nobody)
        await asyncio.sleep(0.01)
    return left
