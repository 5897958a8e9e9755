"""The one place that knows the internals of Daphne (4.2) and of Twisted below it. It patches what they lack:

* Request bodies reach the application while they arrive, with back-pressure. Daphne would collect each body first, and
  Twisted would parse forms. So a request is refused (for its size, sender or method) before its body is read. A
  response that is complete before the request's body ends the connection (HTTP/1.1) or resets the stream (HTTP/2).
* The head of a request has to arrive within STREAMING_HEAD_SECONDS.
* Back-pressure for responses: ``send`` waits while the connection's buffer is full. Otherwise the server would buffer
  everything for a client that does not read.
* ``abort`` breaks the connection of a response that cannot be finished, so that the client can tell it is incomplete.
* An exception after the response has begun breaks the connection too. Daphne's own handler would raise in its
  housekeeping task, which stops that task for good.
* At the end no task is left pending. Daphne only cancels its applications, and not all of those if a connection has
  none; CPython 3.11 may crash when it collects a pending task at exit.
* The header Daphne-Root-Path is ignored. The access log has no query strings, and stream ids are shortened in it.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web import http
from zope.interface import implementer

from streaming import conf
from streaming.log_lines import shorten_ids

access_logger = logging.getLogger("daphne.access")

Receive = Callable[[], Awaitable[dict[str, Any]]]

READ_AHEAD_BYTES = 64 * 1024
"""How much of a request's body is buffered before the application asks for it."""


@implementer(IPushProducer)
class _Gate:
    """Open while Twisted's buffer has room. The method names are those of Twisted's interface."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    async def pass_through(self) -> None:
        await self._open.wait()

    def pauseProducing(self) -> None:  # noqa: N802
        self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._open.set()

    stopProducing = resumeProducing  # noqa: N815 (the connection is lost: send must not wait)


class _ArrivingBody:
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


def install() -> None:
    """Applies all patches. Further calls do nothing."""
    if hasattr(WebRequest, "_gate"):
        return
    WebRequest._gate = WebRequest._arriving = None
    WebRequest.gotLength = _got_length(WebRequest.gotLength)
    WebRequest.handleContentChunk = _handle_content_chunk(WebRequest.handleContentChunk)
    WebRequest.requestReceived = _request_received(WebRequest.requestReceived)
    WebRequest.finish = _finish(WebRequest.finish)
    WebRequest.handle_reply = _handle_reply(WebRequest.handle_reply)
    WebRequest.connectionLost = _connection_lost(WebRequest.connectionLost)
    WebRequest.handle_exception = _handle_exception(WebRequest.handle_exception)
    Server.handle_reply = _send(Server.handle_reply)
    Server.log_action = _log_action(Server.log_action)
    Server.kill_all_applications = _end_all_tasks
    _limit_heads()
    if http.H2_ENABLED:
        _install_http2()


def request_behind(send: Any) -> Any:
    """Daphne's request object for an ASGI ``send``; None under another server."""
    request = next(iter(send.args), None) if isinstance(send, partial) else None
    return request if isinstance(request, WebRequest) else None


def arriving(receive: Receive, send: Any) -> Receive:
    """A ``receive`` that yields the body while it arrives; ``receive`` itself under another server."""
    request = request_behind(send)
    body: _ArrivingBody | None = request._arriving if request else None
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


def abort(send: Any) -> bool:
    """Breaks the connection of an ASGI ``send``. False under another server than Daphne."""
    if not (request := request_behind(send)):
        return False
    _break(request)
    return True


def _break(request: Any) -> None:
    channel = request.channel
    if channel is None or request.finished:
        return
    if _is_http1(channel):
        request.loseConnection()
    else:
        _reset_stream(channel._conn, channel.streamID)


def _reset_stream(connection: Any, stream_id: int) -> None:
    """Twisted itself aborts a stream with NO_ERROR, which clients take for a complete one (RFC 9113, section 8.1)."""
    from h2.errors import ErrorCodes

    connection.conn.reset_stream(stream_id, error_code=ErrorCodes.INTERNAL_ERROR)
    if connection._tryToWriteControlData():
        connection._requestDone(stream_id)


def _is_http1(channel: Any) -> bool:
    return isinstance(channel, http.HTTPChannel)


def _got_length(original: Any) -> Any:
    """HTTP/1.1 calls it when the head is complete. HTTP/2 calls it earlier: see ``_install_http2``."""

    def got_length(self: Any, length: int | None) -> None:
        channel: Any = self.channel
        if length == 0 or not _is_http1(channel):
            # 0 also for HTTP/2: Twisted would create a temporary file for the announced length.
            original(self, 0)
            return
        # streaming/request_body.py limits the time for a body. Twisted's own limit would disconnect a client that
        # reads a stream while it sends.
        channel._savedTimeOut = channel.setTimeout(None)
        _begin(self, channel._networkProducer, channel._command, channel._path, channel._version)
        send_continue = channel._send100Continue
        channel._send100Continue = lambda: setattr(self._arriving, "on_first_read", send_continue)

    return got_length


def _begin(request: Any, connection: Any, command: bytes, path: bytes, version: bytes) -> None:
    """Calls the application before the body has arrived."""
    request.content = io.BytesIO()
    request._arriving = _ArrivingBody(connection)
    request.requestReceived(command, path, version)
    request._arriving.has_begun = True


def _handle_content_chunk(original: Any) -> Any:
    def handle_content_chunk(self: Any, data: bytes) -> None:
        original(self, data) if self._arriving is None else self._arriving.feed(data)

    return handle_content_chunk


def _request_received(original: Any) -> Any:
    def request_received(self: Any, command: bytes, path: bytes, version: bytes) -> None:
        if self._arriving is not None and self._arriving.has_begun:
            self._arriving.complete()
            return
        self.requestHeaders.removeHeader(b"daphne-root-path")
        self._parsePOSTFormSubmission = False
        original(self, command, path, version)

    return request_received


def _finish(original: Any) -> Any:
    def finish(self: Any) -> None:
        if self._arriving is not None and not self._arriving.is_complete and self.channel is not None:
            self._arriving.abandon()
            channel: Any = self.channel
            if _is_http1(channel):
                # The rest of the body would be parsed as the next request.
                channel.persistent = False
                channel.dataReceived = channel.rawDataReceived = lambda data: None
        original(self)

    return finish


def _limit_heads() -> None:
    """Aborts connections whose request head takes too long; Twisted's own timeout restarts with every byte."""
    channel: Any = http.HTTPChannel
    channel._head_limit = None
    connection_made, data_received = channel.connectionMade, channel.dataReceived
    set_timeout, all_headers_received = channel.setTimeout, channel.allHeadersReceived

    def start(self: Any) -> None:
        if self._head_limit is None:
            self._head_limit = self.callLater(conf.head_seconds(), lambda: self.transport.abortConnection())

    def end(self: Any) -> None:
        if self._head_limit is not None and self._head_limit.active():
            self._head_limit.cancel()
        self._head_limit = None

    def connection_made_(self: Any) -> None:
        connection_made(self)
        start(self)

    def data_received_(self: Any, data: bytes) -> None:
        if not self.requests and not self._handlingRequest:
            start(self)
        data_received(self, data)

    def all_headers_received_(self: Any) -> None:
        end(self)
        all_headers_received(self)

    def set_timeout_(self: Any, seconds: float | None) -> Any:
        if seconds is None:  # the connection is lost, or switches to HTTP/2
            end(self)
        return set_timeout(self, seconds)

    channel.connectionMade, channel.dataReceived = connection_made_, data_received_
    channel.setTimeout, channel.allHeadersReceived = set_timeout_, all_headers_received_


def _install_http2() -> None:
    import h2.exceptions
    from twisted.web._http2 import H2Connection

    connection: Any = H2Connection
    request_received, request_done = connection._requestReceived, connection._requestDone

    def request_received_(self: Any, event: Any) -> None:
        request_received(self, event)
        stream = self.streams.get(event.stream_id)
        # Only the end of the stream says whether there is a body (RFC 9113, section 8.1).
        if stream is not None and event.stream_ended is None:
            _begin(stream._request, stream, stream.command, stream.path, b"HTTP/2")

    def request_done_(self: Any, stream_id: int) -> None:
        request = self.streams[stream_id]._request
        body = request._arriving
        request_done(self, stream_id)
        if request.finished and body is not None and not body.is_complete:
            # RFC 9113, section 8.1: NO_ERROR asks the client to stop sending the body; the response is complete.
            try:
                self.conn.reset_stream(stream_id, error_code=0)
                self._tryToWriteControlData()
            except h2.exceptions.ProtocolError:
                pass  # the stream is closed already

    connection._requestReceived, connection._requestDone = request_received_, request_done_


def _handle_reply(original: Any) -> Any:
    def handle_reply(self: Any, message: dict[str, Any]) -> None:
        connected = not self.finished and self.channel is not None
        if connected and message.get("type") == "http.response.start" and self._gate is None:
            self._gate = _Gate()
            self.registerProducer(self._gate, True)
            if (b"connection", b"close") in message.get("headers", ()):
                self.channel.persistent = False  # RFC 9112, section 9.6: the sender of "close" closes
        elif connected and message.get("type") == "http.response.body" and not message.get("more_body", False):
            self.unregisterProducer()
        original(self, message)

    return handle_reply


def _connection_lost(original: Any) -> Any:
    def connection_lost(self: Any, reason: Any) -> None:
        if self._gate is not None:
            self._gate.stopProducing()
        if self._arriving is not None:
            self._arriving.connection_lost()
        original(self, reason)

    return connection_lost


def _handle_exception(original: Any) -> Any:
    def handle_exception(self: Any, exception: BaseException) -> None:
        if self._response_started:
            _break(self)
        else:
            original(self, exception)

    return handle_exception


def _send(original: Any) -> Any:
    async def send(self: Any, protocol: Any, message: dict[str, Any]) -> None:
        await original(self, protocol, message)
        if gate := getattr(protocol, "_gate", None):
            await gate.pass_through()

    return send


LAST_TASKS_SECONDS = 1.0
"""How long the tasks of a loop may take to end when they are cancelled."""


def _end_all_tasks(_: Any) -> Any:
    """Twisted waits for the result before it closes the connections."""

    async def end() -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + LAST_TASKS_SECONDS
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and loop.time() < latest:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)

    return Deferred.fromFuture(asyncio.ensure_future(end()))


def _log_action(original: Any) -> Any:
    def log_action(self: Any, protocol: str, action: str, details: dict[str, Any]) -> None:
        path = str(details.get("path", "")).partition("?")[0]
        details = {**details, "path": shorten_ids(path)}
        if access_logger.handlers:  # configured in LOGGING: then it replaces Daphne's own file
            fields = {key: details[key] for key in ("client", "method", "path", "status", "size") if key in details}
            access_logger.info("%s %s", protocol, action, extra={"fields": fields})
        else:
            original(self, protocol, action, details)

    return log_action
