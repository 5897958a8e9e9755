"""Responses wait while their connection's buffer is full."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Gate:
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


def patched_handle_reply(original: Any) -> Any:
    def handle_reply(self: Any, message: dict[str, Any]) -> None:
        connected = not self.finished and self.channel is not None
        if connected and message.get("type") == "http.response.start" and self._gate is None:
            self._gate = Gate()
            self.registerProducer(self._gate, True)
            if (b"connection", b"close") in message.get("headers", ()):
                self.channel.persistent = False  # RFC 9112, section 9.6: the sender of "close" closes
        elif connected and message.get("type") == "http.response.body" and not message.get("more_body", False):
            self.unregisterProducer()
        original(self, message)

    return handle_reply


def patched_send(original: Any) -> Any:
    async def send(self: Any, protocol: Any, message: dict[str, Any]) -> None:
        await original(self, protocol, message)
        if gate := getattr(protocol, "_gate", None):
            await gate.pass_through()

    return send
