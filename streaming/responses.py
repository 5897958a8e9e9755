"""The answers that are not pages: event streams, and problems in the words of RFC 9457."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse

from streaming import sse, upstreams
from streaming.formats import Failure, FormatError
from streaming.formats.errors import NO_FACTS, client_status
from streaming.interruptible_wait import Interrupted, InterruptibleWait
from streaming.relay import Relay

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds without a byte after which a comment is sent: proxies cut what is silent for 30 or 60."""

KEEP_ALIVE = b": keep-alive\n"
"""One line end: after a blank line some clients dispatch an event that is empty."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx
}

BODY_GRACE = 1.0
"""Seconds that a relayed body, which has an end, is given when the server goes down."""

TURN = 32
"""Chunks after which others have their turn, if neither the source nor the server ever waits."""


class Source(Protocol):
    """What a stream is read from."""

    def read(self) -> Awaitable[bytes]:
        """More of it; b"" at its end. To cancel it loses nothing."""

    def close(self, *, linger: bool = False) -> None:
        """More than once does no harm. ``linger``: its end, which says nothing more, may come within a moment, so
        that its connection can be used again."""


def problem(status: HTTPStatus | int, detail: str, **more: Any) -> JsonResponse:
    """An error before the first byte, as RFC 9457's ``application/problem+json``."""
    status = HTTPStatus(status)
    headers, facts = more.pop("headers", None), more.pop("facts", NO_FACTS)
    known = {key: value for key, value in (("code", facts.code), ("param", facts.param)) if value is not None}
    return JsonResponse(
        {"status": status.value, "title": status.phrase, "detail": detail, **known, **more},
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def openai_error(status: HTTPStatus | int, detail: str, **more: Any) -> JsonResponse:
    """An error before the first byte, in the shape that OpenAI's clients know. ``code`` is a word for programs.

    ``facts`` is what an upstream said of it, in words that may be shown.
    """
    status, errors = HTTPStatus(status), more.get("errors") or {}
    param = next(iter(errors)) if len(errors) == 1 else None
    facts = more.get("facts", NO_FACTS).public()
    error = {"message": detail, "type": _error_type(status), "param": param, "code": more.get("code"), **facts}
    headers = {"Cache-Control": "no-store", **(more.get("headers") or {})}
    return JsonResponse({"error": error}, status=status, headers=headers)


def _error_type(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"


def errors_at(request: HttpRequest) -> Callable[..., JsonResponse]:
    """How errors are said at this address: ``problem``, or ``openai_error`` where OpenAI's clients come."""
    return openai_error if f"{request.path_info}/".startswith("/v1/") else problem


def failure_of(error: Exception) -> Failure:
    """What an error is to a reader; the one place where a situation becomes a status."""
    match error:
        case upstreams.Silent():
            return _failure(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        case upstreams.Closed():
            return _failure(HTTPStatus.FORBIDDEN, str(error))
        case upstreams.Unknown():
            return _failure(HTTPStatus.NOT_FOUND, str(error))
        case upstreams.Outside() | upstreams.BadPrompt():
            return _failure(HTTPStatus.BAD_REQUEST, str(error))
        case upstreams.PostOnly():
            return _failure(HTTPStatus.METHOD_NOT_ALLOWED, str(error))
        case upstreams.Busy():
            return _failure(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case upstreams.Refused(status=status, facts=facts):
            status = HTTPStatus(client_status(status, facts))
            return Failure(status.value, status.phrase, str(error), facts)
        case upstreams.UpstreamError() | sse.StreamError() | FormatError():
            return _failure(HTTPStatus.BAD_GATEWAY, str(error))
    return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log tells more")


def _failure(status: HTTPStatus, detail: str) -> Failure:
    return Failure(status.value, status.phrase, detail)


class _StreamingResponse(StreamingHttpResponse):
    """Closes what it streams from: at the end, when the client leaves, and if it is never sent at all.

    Its end is logged, since the server's access log does not mention a stream that its client left.
    """

    def __init__(self, request: HttpRequest, source: Source) -> None:
        self._chunks = self._sent()
        super().__init__(self._chunks)
        self._label = f"{request.method} {quote(request.path)}"
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._wait = InterruptibleWait()
        self._stopped: str | None = None
        self._began: float | None = None
        self._bytes = 0
        self._why = "left"
        self.is_open = False

    def stop(self, reason: str) -> None:
        """Ends the stream; what is ready goes out before."""
        self._stopped = self._stopped or reason
        self._wait.interrupt()

    def __aiter__(self) -> AsyncGenerator[bytes]:
        # Django's own would leave the generator to the garbage collector when a client leaves during a send.
        return self._chunks

    def close(self) -> None:
        super().close()
        if self._began is None:
            self._loop.call_soon_threadsafe(self._source.close)

    async def _sent(self) -> AsyncGenerator[bytes]:
        """The chunks as they are sent: first an empty one, with which a server sends the head at once."""
        raise NotImplementedError
        yield b""

    async def _begin(self) -> None:
        self._began, self.is_open = time.monotonic(), True
        # A database handle held by an open stream would be held for as long as somebody reads.
        await sync_to_async(connections.close_all)()

    def _end(self, *, linger: bool = False) -> None:
        """Closes everything. It does not wait, so that no cancellation can come in between."""
        self.is_open = False
        self._wait.close()
        try:
            self._source.close(linger=linger)
        except Exception:
            logger.exception("the source of %s could not be closed", self._label)
        self._log_end(time.monotonic() - (self._began or time.monotonic()))

    def _log_end(self, seconds: float) -> None:
        logger.info("%s ended (%s) after %.1f s, %d bytes", self._label, self._why, seconds, self._bytes)

    def has_header(self, header: str) -> bool:
        """As Django's; GZipMiddleware and its like ask whether a response is encoded, and leave it alone if so.

        A header that says "identity" would keep them off too, but is not to be sent (RFC 9110, section 8.4.1).
        """
        return header.lower() == "content-encoding" or super().has_header(header)


class RelayResponse(_StreamingResponse):
    """Passes an upstream's answer on: its status, its end-to-end headers, its bytes."""

    def __init__(self, request: HttpRequest, upstream: upstreams.UpstreamResponse) -> None:
        super().__init__(request, upstream)
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
        """The headers, those that came more than once too: Django's own mapping holds one of each."""
        return [*super().items(), *self._repeated]

    def stop(self, reason: str) -> None:
        """Breaks it off: an event stream at once, since its client comes back; a body that has an end in a while."""
        seconds = 0.0 if self._upstream.kind == "text/event-stream" else BODY_GRACE
        self._loop.call_later(seconds, super().stop, reason)

    async def _sent(self) -> AsyncGenerator[bytes]:
        try:
            await self._begin()
            yield b""
            chunks = 0
            while not self._stopped and (chunk := await self._wait.wait(self._source.read)):
                self._bytes += len(chunk)
                yield chunk
                chunks += 1
                if chunks % TURN == 0:
                    await asyncio.sleep(0)
            if self._stopped:
                raise Interrupted  # noqa: TRY301 (the same as if it had been waiting)
            self._why = "done"
        except (upstreams.UpstreamError, Interrupted) as error:
            # There is no way to say it in the body: the connection has to break, see ssesite/asgi.py.
            broken = upstreams.Broken(self._upstream.name, f"was cut off: {self._stopped}") if self._stopped else error
            self._why = self._stopped or f"error: {error}"
            raise broken from error
        finally:
            self._end()


class EventStreamResponse(_StreamingResponse):
    """Sends what a relay makes of its source, and closes that when the client leaves.

    No exception leaves it: it becomes the relay's last message. A comment goes out after ``heartbeat`` silent seconds.
    """

    def __init__(self, request: HttpRequest, source: Source, relay: Relay, *, heartbeat: float = HEARTBEAT) -> None:
        super().__init__(request, source)
        for key, value in HEADERS.items():
            self[key] = value
        self._relay = relay
        self._heartbeat = heartbeat
        self._due = 0.0

    async def _sent(self) -> AsyncGenerator[bytes]:
        relay, clock = self._relay, self._loop.time
        try:
            await self._begin()
            out = b"" if self._stopped else relay.begin()
            yield out
            chunks, self._bytes, self._due = 0, len(out), clock() + self._heartbeat
            while not relay.is_over:
                if out := await self._next():
                    self._bytes += len(out)
                    yield out
                    self._due = clock() + self._heartbeat
                chunks += 1
                if chunks % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            if relay.is_over and self._why == "left":
                self._why = "done"
            relay.close()
            self._end(linger=relay.is_complete)

    async def _next(self) -> bytes:
        relay = self._relay
        if self._stopped:
            self._why = self._stopped
            return relay.stop(self._stopped)
        try:
            if relay.is_behind:
                await asyncio.sleep(0)
                return relay.resume()
            chunk = await self._wait.wait(self._source.read, self._due)
            return relay.feed(chunk) if chunk else relay.finish()
        except Interrupted:
            return b"" if self._stopped else KEEP_ALIVE
        except upstreams.UpstreamError as error:
            self._why = f"error: {error}"
            return relay.fail(failure_of(error))
        except Exception as error:  # noqa: BLE001 (an exception that left the stream would hang its client)
            return self._failed(error)

    def _failed(self, error: Exception) -> bytes:
        failure = failure_of(error)
        self._why = f"error: {failure.detail}"
        if failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s failed", self._label, exc_info=error)
        return self._relay.stop("error", failure)

    def _log_end(self, seconds: float) -> None:
        said = (self._label, self._why, seconds, self._relay.messages, self._bytes)
        logger.info("%s ended (%s) after %.1f s, %d messages, %d bytes", *said)
