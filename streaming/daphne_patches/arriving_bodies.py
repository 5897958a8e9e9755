"""The bodies of requests, which reach the application while they arrive."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from streaming.daphne_patches.request_behind import is_http1, request_behind

Receive = Callable[[], Awaitable[dict[str, Any]]]

READ_AHEAD_BYTES = 64 * 1024
"""How much of a request's body is buffered before the application asks for it."""


class ArrivingBody:
    """The body of one request, from the connection to the application's ``receive``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        """The producer that can be paused: HTTP/1.1's transport, or HTTP/2's stream."""
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._changed = asyncio.Event()
        self.on_first_read: Callable[[], None] | None = None
        """Sends "100 Continue" (RFC 9110, section 10.1.1), once the application asks for the body."""
        self.has_begun = False
        """Whether the application has been called."""
        self.is_complete = self.is_lost = self.is_abandoned = self.was_read = False

    def feed(self, data: bytes) -> None:
        if self.is_abandoned:
            return
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size > READ_AHEAD_BYTES and not self._paused:
            self._paused = True
            self._connection.pauseProducing()

    def complete(self) -> None:
        self.is_complete = True
        self._changed.set()

    def connection_lost(self) -> None:
        self.is_lost = True
        self._changed.set()

    def abandon(self) -> None:
        """The response is complete: the rest of the body is discarded."""
        self.is_abandoned = True
        self._chunks.clear()
        self._resume()

    async def receive(self) -> dict[str, Any]:
        """The next ``http.request`` message; ``http.disconnect`` if the client leaves before the body's end."""
        if self.on_first_read:
            self.on_first_read()
            self.on_first_read = None
        while not (self._chunks or self.is_complete or self.is_lost):
            self._changed.clear()
            await self._changed.wait()
        if self.is_lost and not self.is_complete:
            return {"type": "http.disconnect"}
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._resume()
        self.was_read = self.is_complete
        return {"type": "http.request", "body": data, "more_body": not self.is_complete}

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._connection.resumeProducing()


def arriving(receive: Receive, send: Any) -> Receive:
    """A ``receive`` that yields the body while it arrives; ``receive`` itself under another server."""
    request = request_behind(send)
    body: ArrivingBody | None = request._arriving if request else None
    if body is None:
        return receive

    async def receive_arriving() -> dict[str, Any]:
        if not body.was_read:
            return await body.receive()
        # Daphne's own queue: an empty body, since Daphne collected none, and finally the disconnect.
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return receive_arriving


def patched_got_length(original: Any) -> Any:
    """HTTP/1.1 calls it when the head is complete. HTTP/2 calls it earlier: see ``install_http2``."""

    def got_length(self: Any, length: int | None) -> None:
        channel: Any = self.channel
        if length == 0 or not is_http1(channel):
            # 0 also for HTTP/2: Twisted would create a temporary file for the announced length.
            original(self, 0)
            return
        # streaming/request_body.py limits the time for a body. Twisted's own limit would disconnect a client that
        # reads a stream while it sends.
        channel._savedTimeOut = channel.setTimeout(None)
        begin(self, channel._networkProducer, channel._command, channel._path, channel._version)
        send_continue = channel._send100Continue
        channel._send100Continue = lambda: setattr(self._arriving, "on_first_read", send_continue)

    return got_length


def begin(request: Any, connection: Any, command: bytes, path: bytes, version: bytes) -> None:
    """Calls the application before the body has arrived."""
    request.content = io.BytesIO()
    request._arriving = ArrivingBody(connection)
    request.requestReceived(command, path, version)
    request._arriving.has_begun = True


def patched_handle_content_chunk(original: Any) -> Any:
    def handle_content_chunk(self: Any, data: bytes) -> None:
        original(self, data) if self._arriving is None else self._arriving.feed(data)

    return handle_content_chunk


def patched_request_received(original: Any) -> Any:
    def request_received(self: Any, command: bytes, path: bytes, version: bytes) -> None:
        if self._arriving is not None and self._arriving.has_begun:
            self._arriving.complete()
            return
        self.requestHeaders.removeHeader(b"daphne-root-path")
        self._parsePOSTFormSubmission = False
        original(self, command, path, version)

    return request_received


def patched_finish(original: Any) -> Any:
    def finish(self: Any) -> None:
        if self._arriving is not None and not self._arriving.is_complete and self.channel is not None:
            self._arriving.abandon()
            channel: Any = self.channel
            if is_http1(channel):
                # The rest of the body would be parsed as the next request.
                channel.persistent = False
                channel.dataReceived = channel.rawDataReceived = lambda data: None
        original(self)

    return finish
