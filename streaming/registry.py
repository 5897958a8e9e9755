"""The streams that are open now: how many, and how to end them."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar
from weakref import WeakSet


class Stoppable(Protocol):
    """What can be watched: it is open for a while, and can be told to end."""

    @property
    def is_open(self) -> bool: ...

    def stop(self, reason: str) -> None: ...


S = TypeVar("S", bound=Stoppable)

# Weak, so that a response that was never sent needs nobody to take it off.
_streams: WeakSet[Stoppable] = WeakSet()
_draining = False


def watch(stream: S) -> S:
    """Puts a stream on the list; it leaves by itself. While the server goes down it is told so at once."""
    _streams.add(stream)
    if _draining:
        stream.stop("drained")
    return stream


def count_open() -> int:
    return sum(stream.is_open for stream in list(_streams))


async def drain(grace: float = 2.0) -> int:
    """Lets every stream say goodbye, ``grace`` seconds at most. How many have not by then is returned."""
    global _draining
    _draining = True
    for stream in list(_streams):
        stream.stop("drained")
    end = asyncio.get_running_loop().time() + grace
    while (left := count_open()) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 (they know no waiter)
        await asyncio.sleep(0.01)
    return left
