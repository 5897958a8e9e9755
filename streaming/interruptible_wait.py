"""A wait that ends at a moment, or when somebody ends it, and loses nothing of what was waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

NEVER = float("inf")


class Interrupted(Exception):
    """What was waited for has not come by the moment that was given, or the wait was ended before."""


class InterruptibleWait:
    """The waits of one stream, one after the other, each until a moment (of the event loop's clock) at most.

    ``asyncio.timeout`` sets a timer for each wait. Here there is one, which is looked at when it rings: a moment that
    was put off meanwhile has cost nothing. What is waited for is cancelled when the wait ends early, so it must be
    safe to cancel: the next call gives what this one would have given.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None  # while it waits
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER
        self._is_interrupting = False

    async def wait(self, act: Callable[[], Awaitable[T]], due: float = NEVER) -> T:
        """What ``act`` gives. Interrupted if it has not by ``due``, or ``interrupt`` was called."""
        self._due = due
        if due != NEVER and (self._timer is None or self._timer.when() > due):
            self._set_timer(due)
        self._task = asyncio.current_task()
        try:
            return await act()
        except asyncio.CancelledError:
            # Ours alone is taken back; one of whoever runs the stream, at the same moment, goes on.
            if self._is_interrupting and self._task and not self._task.uncancel():
                raise Interrupted from None
            raise
        finally:
            self._task, self._is_interrupting = None, False

    def interrupt(self) -> None:
        """Ends the wait that there is, if there is one."""
        if self._task and not self._is_interrupting:
            self._is_interrupting = True
            self._task.cancel()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, due: float) -> None:
        self.close()
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._due <= self._loop.time():
            self.interrupt()
        elif self._due != NEVER:
            self._set_timer(self._due)
