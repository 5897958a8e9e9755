"""The one place that knows Daphne's inside (4.2): what it lacks for long streams, added to its own classes.

* Back-pressure: ``send`` waits while the connection's buffer is full. Without it a reader that reads nothing makes
  the server keep all that is sent.
* ``abort``: a body that cannot be finished breaks the connection, so that nobody takes it for whole.
* An exception after the response has begun breaks the connection too. Daphne's own handler would raise in its
  housekeeping task, and stop that for good.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class _Gate:
    """Open while Twisted wants more. Its method names are those of Twisted's interface."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    async def pass_through(self) -> None:
        await self._open.wait()

    def pauseProducing(self) -> None:  # noqa: N802
        self._open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._open.set()

    stopProducing = resumeProducing  # noqa: N815 (the connection is gone: nothing waits for it)


def install() -> None:
    """Adds all of it, once, whichever way Daphne is started."""
    if hasattr(WebRequest, "_gate"):
        return
    WebRequest._gate = None
    WebRequest.handle_reply = _handle_reply(WebRequest.handle_reply)
    WebRequest.connectionLost = _connection_lost(WebRequest.connectionLost)
    WebRequest.handle_exception = _handle_exception(WebRequest.handle_exception)
    Server.handle_reply = _send(Server.handle_reply)


def abort(send: Any) -> bool:
    """Breaks the connection behind an ASGI ``send``. False if that is not Daphne's."""
    request = next(iter(send.args), None) if isinstance(send, partial) else None
    if not isinstance(request, WebRequest):
        return False
    _break(request)
    return True


def _break(request: Any) -> None:
    if request.channel is not None and not request.finished:
        request.channel.abortConnection() if hasattr(request.channel, "abortConnection") else request.loseConnection()


def _handle_reply(original: Any) -> Any:
    def handle_reply(self: Any, message: dict[str, Any]) -> None:
        connected = not self.finished and self.channel is not None
        if connected and message.get("type") == "http.response.start" and self._gate is None:
            self._gate = _Gate()
            self.registerProducer(self._gate, True)
        elif connected and message.get("type") == "http.response.body" and not message.get("more_body", False):
            self.unregisterProducer()
        original(self, message)

    return handle_reply


def _connection_lost(original: Any) -> Any:
    def connection_lost(self: Any, reason: Any) -> None:
        if self._gate is not None:
            self._gate.stopProducing()
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
