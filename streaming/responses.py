"""The answers that are not pages: event streams, and problems in the words of RFC 9457."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse

from streaming import sse, upstreams
from streaming.formats import Failure, FormatError

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""Seconds without a byte after which a comment is sent: proxies cut what is silent for 30 or 60."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "Content-Encoding": "identity",  # which keeps a compressing middleware or proxy off
    "X-Accel-Buffering": "no",  # nginx
}

FIRST_HEARTBEAT = 0.1
"""The same before the first byte: servers send the head of a response together with that."""

READY_BYTES = 64 * 1024
"""What may be ready and not yet taken by the server, before the source has to wait."""

CLOSING_SECONDS = 5.0
"""How long a source's own cleanup is waited for."""

Close = Callable[[], Awaitable[None]]
FinalMessages = Callable[[str, Failure | None], list[sse.Message] | bytes]
"""What a stream says when it ends otherwise than by itself: the reason, and what failed if something did."""


def problem(status: HTTPStatus | int, detail: str, **more: Any) -> JsonResponse:
    """An error before the first byte, as RFC 9457's ``application/problem+json``."""
    status = HTTPStatus(status)
    headers = more.pop("headers", None)
    return JsonResponse(
        {"status": status.value, "title": status.phrase, "detail": detail, **more},
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def openai_error(status: HTTPStatus | int, detail: str, **more: Any) -> JsonResponse:
    """An error before the first byte, in the shape that OpenAI's clients know. ``code`` is a word for programs."""
    status, errors = HTTPStatus(status), more.get("errors") or {}
    param = next(iter(errors)) if len(errors) == 1 else None
    error = {"message": detail, "type": _error_type(status), "param": param, "code": more.get("code")}
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
        case upstreams.Unknown():
            return _failure(HTTPStatus.NOT_FOUND, str(error))
        case upstreams.Outside() | upstreams.BadPrompt():
            return _failure(HTTPStatus.BAD_REQUEST, str(error))
        case upstreams.PostOnly():
            return _failure(HTTPStatus.METHOD_NOT_ALLOWED, str(error))
        case upstreams.Busy():
            return _failure(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case upstreams.Refused(status=400 | 413 | 415 | 422 | 429 as status):
            return _failure(HTTPStatus(status), str(error))  # the reader's to mend, not the operator's
        case upstreams.UpstreamError() | sse.StreamError() | FormatError():
            return _failure(HTTPStatus.BAD_GATEWAY, str(error))
    return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log tells more")


def _failure(status: HTTPStatus, detail: str) -> Failure:
    return Failure(status.value, status.phrase, detail)


class _ClosingResponse(StreamingHttpResponse):
    """Closes what it streams from: at the end, when the reader leaves, and if it is never sent at all.

    Its end is logged, since the server's access log does not mention a stream that its reader left.
    """

    def __init__(self, request: HttpRequest, chunks: AsyncGenerator[bytes], close: Close | None) -> None:
        self._stream = self._until_closed(chunks)
        super().__init__(self._stream)
        self._label = f"{request.method} {quote(request.path)}"
        self._close_source = close
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None
        self._bytes = 0
        self._why = "left"

    def __aiter__(self) -> AsyncGenerator[bytes]:
        # Django's own would leave the generator to the garbage collector when a reader leaves during a send.
        return self._stream

    async def _until_closed(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        self._began = time.monotonic()
        try:
            # A database handle held by an open stream would be held for as long as somebody reads.
            await sync_to_async(connections.close_all)()
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._bytes += len(chunk)
                    yield chunk
        finally:
            if self._close_source:
                await _settled(self._close_source())
            self._log_end(time.monotonic() - self._began)

    def _log_end(self, seconds: float) -> None:
        logger.info("%s ended (%s) after %.1f s, %d bytes", self._label, self._why, seconds, self._bytes)

    def close(self) -> None:
        super().close()
        if self._close_source and self._began is None:
            asyncio.run_coroutine_threadsafe(_settled(self._close_source()), self._loop)


class RelayResponse(_ClosingResponse):
    """Passes an upstream's answer on: its status, its end-to-end headers, its bytes."""

    def __init__(self, request: HttpRequest, upstream: upstreams.UpstreamResponse) -> None:
        super().__init__(request, self._relayed(upstream.chunks), upstream.aclose)
        self.status_code, self.reason_phrase = upstream.status, upstream.reason
        del self["Content-Type"]  # Django's guess
        self._repeated = list[tuple[str, str]]()
        # Were the answer a page, it would be one of this site's own; so it is shut in.
        for key, value in [*upstreams.end_to_end(upstream.headers), ("Content-Security-Policy", "sandbox")]:
            if key in self:
                self._repeated.append((key, value))
            else:
                self[key] = value

    def items(self) -> Iterable[tuple[str, str]]:
        """The headers, those that came more than once too: Django's own mapping holds one of each."""
        return [*super().items(), *self._repeated]

    async def _relayed(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
                    # A body that is always ready would keep the loop for itself once its reader has gone.
                    await asyncio.sleep(0)
            self._why = "done"
        except upstreams.UpstreamError as error:
            # There is no way to say it in the body: the connection has to break, see ssesite/asgi.py.
            self._why = f"error: {error}"
            raise


class EventStreamResponse(_ClosingResponse):
    """Sends batches of messages as they come, and closes their source when the reader leaves.

    What is ready together goes out as one chunk. No exception leaves it: it becomes what ``final_messages`` says. A
    comment goes out after ``heartbeat`` silent seconds. ``close`` closes what the batches come from, should the
    reader be gone before the first byte.
    """

    def __init__(
        self,
        request: HttpRequest,
        batches: AsyncGenerator[list[sse.Message]],
        *,
        final_messages: FinalMessages,
        close: Close | None = None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        super().__init__(request, self._chunks(), close)
        for key, value in HEADERS.items():
            self[key] = value
        self._batches = batches
        self._final_messages = final_messages
        self._heartbeat = heartbeat
        self._stopped: str | None = None
        self._error: Exception | None = None
        self._outbox = _Outbox()
        self._puller: asyncio.Task[None] | None = None
        self._messages = 0

    @property
    def is_open(self) -> bool:
        return self._puller is not None

    def stop(self, reason: str) -> None:
        """Ends the stream with its final messages; what is ready goes out before."""
        self._stopped = self._stopped or reason
        if self._puller:
            self._puller.cancel()

    async def _chunks(self) -> AsyncGenerator[bytes]:
        self._puller = asyncio.create_task(self._pull())
        self._puller.add_done_callback(lambda _: self._outbox.close())
        if self._stopped:
            self._puller.cancel()
        try:
            while (chunk := await self._next_chunk()) is not None:
                yield chunk
            if goodbye := self._goodbye():
                yield goodbye
        finally:
            self._puller.cancel()
            try:
                # wait() is its own shield: a second cancellation does not reach the source's cleanup.
                await asyncio.wait({self._puller}, timeout=CLOSING_SECONDS)
            finally:
                self._puller = None

    async def _pull(self) -> None:
        try:
            async with aclosing(self._batches):
                turns = 0
                async for batch in self._batches:
                    self._messages += len(batch)
                    await self._outbox.put(b"".join(map(sse.encode, batch)))
                    # A source that never waits would keep the loop for itself, and no reader could leave.
                    turns += 1
                    if turns % 32 == 0:
                        await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 (an exception that left the stream would hang its reader)
            self._error = error

    async def _next_chunk(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._heartbeat if self._bytes else min(FIRST_HEARTBEAT, self._heartbeat)):
                return await self._outbox.take()
        except TimeoutError:
            return b":\n\n"

    def _goodbye(self) -> bytes:
        """What is still to be said, when the source has ended."""
        if self._stopped:
            self._why = self._stopped
            return self._said(self._stopped, None)
        if not self._error:
            self._why = "done"
            return b""
        failure = failure_of(self._error)
        self._why = f"error: {failure.detail}"
        if failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s failed", self._label, exc_info=self._error)
        return self._said("error", failure)

    def _said(self, reason: str, failure: Failure | None) -> bytes:
        said = self._final_messages(reason, failure)
        return said if isinstance(said, bytes) else b"".join(map(sse.encode, said))

    def _log_end(self, seconds: float) -> None:
        said = (self._label, self._why, seconds, self._messages, self._bytes)
        logger.info("%s ended (%s) after %.1f s, %d messages, %d bytes", *said)


async def _settled(closing: Awaitable[None]) -> None:
    try:
        await closing
    except Exception:
        logger.exception("a source could not be closed")


class _Outbox:
    """What is ready to be sent: at most READY_BYTES and one batch, taken all at once."""

    def __init__(self) -> None:
        self._ready: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, data: bytes) -> None:
        self._ready.append(data)
        self._size += len(data)
        self._filled.set()
        if self._size >= READY_BYTES:
            self._emptied.clear()
            await self._emptied.wait()

    def close(self) -> None:
        self._closed = True
        self._filled.set()

    async def take(self) -> bytes | None:
        """All that is ready, as soon as something is; None after the last."""
        while not self._size:
            if self._closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        data = b"".join(self._ready)
        self._ready.clear()
        self._size = 0
        self._emptied.set()
        return data
