"""The response of an upstream: its head, and its body as it comes, under its limits of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from streaming import request_scope
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import READ_ERRORS, RawResponse
from streaming.upstreams.errors import Broken, Silent

LINGER_SECONDS = 0.05
"""How long an upstream that has said its last word may take to end its body, so that its connection can be used again.
Nobody waits for it meanwhile."""

FIRST_BYTE_SECONDS = 0.05
"""How long a response waits for its first byte: one that is cut right after its head is an error, not an answer."""

NEVER = float("inf")


class Body(Protocol):
    """The body of a response, as it comes."""

    def read(self) -> Awaitable[bytes]:
        """More of it; b"" at its end. To cancel it loses nothing."""

    def close(self, *, linger: bool = False) -> None:
        """Closes the connection; more than once does no harm. ``linger``: unless its end comes in a moment."""

    def detach(self) -> None:
        """It does not end with the request that opened it: from now on whoever calls this closes it."""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """An upstream that was asked. It is a Source.

    Of one that is slow to answer the head is what it should be, and the body begins with the wait for it.
    """

    name: str
    format: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: Body

    @property
    def kind(self) -> str:
        """The media type of its body, without parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def header(self, name: str) -> str:
        """The first value of a header, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def read(self) -> Awaitable[bytes]:
        return self.body.read()

    def close(self, *, linger: bool = False) -> None:
        self.body.close(linger=linger)

    def detach(self) -> None:
        """The connection does not end with the request that opened it: from now on whoever calls this closes it."""
        request_scope.release(self.body.close)
        self.body.detach()


class ResponseBody:
    """A body read straight from the connection's buffer, and the watch over it.

    An upstream that says nothing for ``idle`` seconds while it is waited for, or is not done within ``total``, is
    Silent. One timer serves both: it looks at the time when it rings, so that a chunk costs it nothing.
    """

    def __init__(self, upstream: UpstreamConfig, response: RawResponse, on_close: Callable[[], None]) -> None:
        self._upstream = upstream
        self._response = response
        self._content = response.content
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._first: bytes | None = None
        self._waiting_since = NEVER  # while more is waited for
        self._end = _later(self._loop.time(), upstream.timeouts.total)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        request_scope.close_at_end(self.close)
        self._check_limits()

    async def read_first(self) -> None:
        """Waits for the first byte, but not long. Broken if the body ends before it should, and before that byte."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_BYTE_SECONDS):
                self._first = await self.read()

    async def read(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._waiting_since == NEVER:
            self._waiting_since = self._loop.time()
        try:
            chunk = await self._content.readany()
        except READ_ERRORS as error:
            chunk = self._rest_before(error)
        self._waiting_since = NEVER
        if not chunk:
            self.close()
        return chunk

    def close(self, *, linger: bool = False) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._on_close()
        request_scope.release(self.close)
        if self._timer:
            self._timer.cancel()
        if linger and not self._content.at_eof():
            self._loop.call_later(LINGER_SECONDS, self._response.close)
        else:
            self._response.close()

    def detach(self) -> None:
        request_scope.release(self.close)

    def _rest_before(self, error: Exception) -> bytes:
        """What came before the connection broke off; the error is raised by the next call."""
        self._content.set_exception(None)  # type: ignore[arg-type]
        if rest := self._content.read_nowait():
            self._content.set_exception(error)
            return rest
        self.close()
        raise Broken(self._upstream.name, "broke off in the middle of its answer") from error

    def _check_limits(self) -> None:
        now, timeouts = self._loop.time(), self._upstream.timeouts
        due = min(self._end, _later(min(self._waiting_since, now), timeouts.idle))
        if due > now:
            self._timer = self._loop.call_at(due, self._check_limits) if due < NEVER else None
            return
        detail = (
            f"was not done within {timeouts.total:g} s" if now >= self._end else f"was silent for {timeouts.idle:g} s"
        )
        self._content.set_exception(Silent(self._upstream.name, detail))
        self.close()


def _later(moment: float, seconds: float | None) -> float:
    return NEVER if seconds is None else moment + seconds
