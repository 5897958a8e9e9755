"""An upstream's response: its head, and its body while it arrives, with timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from streaming import request_cleanup
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import READ_ERRORS, RawResponse
from streaming.upstreams.errors import Broken, Silent

LINGER_SECONDS = 0.05
"""How long the end of a body may take after a stream's last event, so that the connection can be reused. Nothing waits
for it."""

FIRST_BYTE_SECONDS = 0.05
"""How long to wait for the first byte, so that a response that is cut off right after its head becomes an error."""

NEVER = float("inf")


class Body(Protocol):
    """The body of a response, read while it arrives."""

    def read(self) -> Awaitable[bytes]:
        """The next bytes; b"" at the end. Cancelling it loses no data."""

    def close(self, *, linger: bool = False) -> None:
        """Closes the connection; may be called again. ``linger``: keeps it if the body ends within LINGER_SECONDS."""

    def detach(self) -> None:
        """The end of the current request no longer closes it: the caller does."""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """The head of a response, and its body. It is a Source.

    If the real head is late, this one is a placeholder, and the first read of the body waits for it.
    """

    name: str
    format: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: Body

    @property
    def kind(self) -> str:
        """The media type of the body, without parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def header(self, name: str) -> str:
        """The first value of a header; empty without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def read(self) -> Awaitable[bytes]:
        return self.body.read()

    def close(self, *, linger: bool = False) -> None:
        self.body.close(linger=linger)

    def detach(self) -> None:
        """The end of the current request no longer closes the connection: the caller does."""
        request_cleanup.release(self.body.close)
        self.body.detach()


class ResponseBody:
    """A body read directly from the connection's buffer, with timeouts.

    Silent if a read takes ``idle`` seconds, or the whole body ``total``. One timer serves both: it checks the time
    when it fires, so that a chunk costs nothing.
    """

    def __init__(self, upstream: UpstreamConfig, response: RawResponse, on_close: Callable[[], None]) -> None:
        self._upstream = upstream
        self._response = response
        self._content = response.content
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._first: bytes | None = None
        self._waiting_since = NEVER  # during a read
        self._end = _later(self._loop.time(), upstream.timeouts.total)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        request_cleanup.close_at_end(self.close)
        self._check_limits()

    async def read_first(self) -> None:
        """Waits briefly for the first byte. Broken if the connection breaks before it."""
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
        request_cleanup.release(self.close)
        if self._timer:
            self._timer.cancel()
        if linger and not self._content.at_eof():
            self._loop.call_later(LINGER_SECONDS, self._response.close)
        else:
            self._response.close()

    def detach(self) -> None:
        request_cleanup.release(self.close)

    def _rest_before(self, error: Exception) -> bytes:
        """The bytes before the connection broke; the next call raises the error."""
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
