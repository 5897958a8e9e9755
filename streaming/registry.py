"""The streams that are open in this process, and the requests that wait for a response: how they end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from weakref import WeakSet

from streaming.errors import GoingDown
from streaming.interruptible_wait import NEVER, Interrupted, InterruptibleWait


class Stoppable(Protocol):
    """An open stream that can be stopped."""

    @property
    def is_open(self) -> bool: ...

    def stop(self, reason: str) -> None: ...


S = TypeVar("S", bound=Stoppable)
T = TypeVar("T")

# Weak, so that responses that are never sent vanish by themselves.
_streams: WeakSet[Stoppable] = WeakSet()
_unanswered = set[InterruptibleWait]()
_draining = _is_refusing = False

LATE_SECONDS = 0.5
"""How long a request may wait that arrives when others have been refused already."""


def is_draining() -> bool:
    """Whether this process is going down."""
    return _draining


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


async def answered(view: Callable[[], Awaitable[T]]) -> T:
    """The response of a view. GoingDown if it has none yet when ``refuse_unanswered`` loses patience."""
    wait = InterruptibleWait()
    _unanswered.add(wait)
    try:
        return await wait.wait(view, asyncio.get_running_loop().time() + LATE_SECONDS if _is_refusing else NEVER)
    except Interrupted:
        raise GoingDown from None
    finally:
        _unanswered.discard(wait)
        wait.close()


async def refuse_unanswered(latest: float) -> None:
    """Refuses the requests that have no response by then (a time of the loop's clock), and slow ones from then on."""
    global _is_refusing
    while _unanswered and asyncio.get_running_loop().time() < latest:  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0.01)
    _is_refusing = True
    for wait in _unanswered:
        wait.interrupt()
