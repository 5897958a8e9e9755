"""The responses that stream: event streams, and relayed responses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Iterable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse

from streaming import upstreams
from streaming.interruptible_wait import Interrupted, InterruptibleWait
from streaming.log_lines import shorten_ids
from streaming.usage_meter import CLIENT_CLOSED_REQUEST, meter_of

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds without data after which a comment is sent: proxies close connections that are idle for 30 or 60 s."""

KEEP_ALIVE = b": keep-alive\n"
"""One line end only: some clients would dispatch an empty event after a blank line."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx
}

BODY_GRACE = 1.0
"""Seconds that a relayed body other than an event stream may still take at shutdown."""

TURN = 32
"""The number of chunks after which other tasks run, if neither the source nor the server ever waits."""


class Source(Protocol):
    """Where a stream's data comes from."""

    def read(self) -> Awaitable[bytes]:
        """The next data; b"" at the end. Cancelling it loses no data."""

    def close(self, *, linger: bool = False) -> None:
        """May be called more than once. ``linger``: wait a moment for the end of the body, which carries no more data,
        so that the connection can be reused."""


class Closable(Protocol):
    def close(self) -> None:
        """May be called more than once."""


def label_of(request: HttpRequest) -> str:
    """A stream's name in the log. Its id is shortened, since the id of an anonymous stream grants access to it."""
    return f"{request.method} {shorten_ids(quote(request.path))}"


class _StreamingResponse(StreamingHttpResponse):
    """Closes its source at the end, when the client leaves, and if the response is never sent.

    It logs its end, since the server's access log omits streams that their clients left.
    """

    def __init__(self, request: HttpRequest, closes: Closable) -> None:
        self._chunks = self._stream_chunks()
        super().__init__(self._chunks)
        self._request = request
        self._label = label_of(request)
        self._closes = closes
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None
        self._bytes = 0
        self._end_reason = "left"
        self.is_open = False

    def stop(self, reason: str) -> None:
        """Ends the stream, after the data that is ready."""
        raise NotImplementedError

    def __aiter__(self) -> AsyncGenerator[bytes]:
        # Django's __aiter__ would leave the generator to the garbage collector if a client leaves during a send.
        return self._chunks

    def close(self) -> None:
        super().close()
        if self._began is None:
            self._loop.call_soon_threadsafe(self._closes.close)

    async def _stream_chunks(self) -> AsyncGenerator[bytes]:
        """The chunks to send. The first is empty, so that the server sends the response head at once."""
        raise NotImplementedError
        yield b""

    async def _begin(self) -> None:
        self._began, self.is_open = time.monotonic(), True
        if has_begun := getattr(self._request, "_streaming_has_begun", None):
            has_begun()  # see limits.py
        # Otherwise the stream would hold a database connection for as long as it is open.
        await sync_to_async(connections.close_all)()

    def _end(self) -> None:
        """Closes everything, without waiting, so that it cannot be cancelled in between."""
        self.is_open = False
        try:
            self._closes.close()
        except Exception:
            logger.exception("the source of %s could not be closed", self._label)
        self._log_end(time.monotonic() - (self._began or time.monotonic()))

    def _log_end(self, seconds: float) -> None:
        logger.info("%s ended (%s) after %.1f s, %d bytes", self._label, self._end_reason, seconds, self._bytes)

    def has_header(self, header: str) -> bool:
        """Claims a Content-Encoding, so that GZipMiddleware and similar middleware do not compress the stream.

        A real header with "identity" would have this effect too, but must not be sent (RFC 9110, section 8.4.1).
        """
        return header.lower() == "content-encoding" or super().has_header(header)


class RelayResponse(_StreamingResponse):
    """Relays an upstream's response: its status, its end-to-end headers, its bytes."""

    def __init__(self, request: HttpRequest, upstream: upstreams.UpstreamResponse) -> None:
        super().__init__(request, upstream)
        self._wait = InterruptibleWait()
        self._stopped: str | None = None
        self._error, self._error_status = "", 0
        if meter := meter_of(request):
            meter.progress = self
        self._meter = meter
        self.status_code, self.reason_phrase = upstream.status, upstream.reason
        self._upstream = upstream
        del self["Content-Type"]  # Django's guess
        self._repeated = list[tuple[str, str]]()
        for key, value in upstreams.end_to_end(upstream.headers, upstream.status):
            if key in self:
                self._repeated.append((key, value))
            else:
                self[key] = value

    def items(self) -> Iterable[tuple[str, str]]:
        """The headers, including repeated ones, of which Django's mapping keeps only one."""
        return [*super().items(), *self._repeated]

    def stop(self, reason: str) -> None:
        """Breaks off: an event stream at once, since its client reconnects; another body after BODY_GRACE."""
        seconds = 0.0 if self._upstream.kind == "text/event-stream" else BODY_GRACE
        self._loop.call_later(seconds, self._break_off, reason)

    # --- Its progress, for the meter. What passes here is not read: there are no messages, characters and tokens.

    messages = held_chars = 0
    readers = 1
    chars = tokens = None

    @property
    def sent_bytes(self) -> int:
        return self._bytes

    def _break_off(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        self._wait.interrupt()
        self._upstream.close()  # a client that reads nothing any more would hold it open

    async def _stream_chunks(self) -> AsyncGenerator[bytes]:
        try:
            await self._begin()
            yield b""
            chunks = 0
            while not self._stopped and (chunk := await self._wait.wait(self._upstream.read)):
                if not self._bytes and self._meter:
                    self._meter.first_byte()
                self._bytes += len(chunk)
                yield chunk
                chunks += 1
                if chunks % TURN == 0:
                    await asyncio.sleep(0)
            if self._stopped:
                raise Interrupted  # noqa: TRY301 (the same as if it had been waiting)
            self._end_reason = "done"
        except (upstreams.UpstreamError, Interrupted) as error:
            # A body cannot report an error: the connection has to break, see streaming/serving.py.
            broken = upstreams.Broken(self._upstream.name, f"was cut off: {self._stopped}") if self._stopped else error
            if not self._stopped:
                self._error = error.for_log() if isinstance(error, upstreams.UpstreamError) else "interrupted"
                if self._meter:
                    self._meter.failed(error)
                is_late = isinstance(error, upstreams.Silent)
                self._error_status = HTTPStatus.GATEWAY_TIMEOUT if is_late else HTTPStatus.BAD_GATEWAY
            self._end_reason = self._stopped or f"error: {self._error}"
            raise broken from error
        finally:
            self._wait.close()
            self._end()

    def _log_end(self, seconds: float) -> None:
        if self._meter is None:
            super()._log_end(seconds)
            return
        reason = {"done": "stop"}.get(self._end_reason, self._end_reason)
        self._meter.end("error" if self._error else reason, self._error_status or self.status_code)

    def close(self) -> None:
        super().close()
        if self._began is None and self._meter:
            self._meter.end("left", CLIENT_CLOSED_REQUEST)


class OutgoingStream(Protocol):
    """The event stream that one client gets: see live_stream.py."""

    @property
    def is_over(self) -> bool: ...

    @property
    def end(self) -> str:
        """Why it is over, for the log; empty while it is not."""

    @property
    def is_logged(self) -> bool:
        """Whether its end has been logged already."""

    @property
    def messages(self) -> int:
        """How many messages were sent."""

    def begin(self) -> bytes:
        """The first data, which is available immediately."""

    def next(self, due: float) -> Awaitable[bytes]:
        """The next data. Empty if there is none by ``due`` (a time of the loop's clock), or if all is held back."""

    def stop(self, reason: str) -> None:
        """Ends it: ``next`` returns the final data."""

    def close(self) -> None:
        """The client has left, or has everything. May be called more than once."""


class EventStreamResponse(_StreamingResponse):
    """Sends a stream to one client. A comment goes out after ``heartbeat`` silent seconds."""

    def __init__(self, request: HttpRequest, stream: OutgoingStream, *, heartbeat: float = HEARTBEAT) -> None:
        super().__init__(request, stream)
        for key, value in HEADERS.items():
            self[key] = value
        self._stream = stream
        self._heartbeat = heartbeat

    def stop(self, reason: str) -> None:
        self._stream.stop(reason)

    async def _stream_chunks(self) -> AsyncGenerator[bytes]:
        stream, clock = self._stream, self._loop.time
        try:
            await self._begin()
            out = stream.begin()
            yield out
            chunks, self._bytes, due = 0, len(out), clock() + self._heartbeat
            while not stream.is_over:
                if out := await stream.next(due):
                    self._bytes += len(out)
                    yield out
                    due = clock() + self._heartbeat
                elif clock() >= due and not stream.is_over:
                    yield KEEP_ALIVE
                    due = clock() + self._heartbeat
                chunks += 1
                if chunks % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._end_reason = stream.end or "left"
            self._end()

    def _log_end(self, seconds: float) -> None:
        if self._stream.is_logged:
            return
        figures = (self._label, self._end_reason, seconds, self._stream.messages, self._bytes)
        logger.info("%s ended (%s) after %.1f s, %d messages, %d bytes", *figures)
