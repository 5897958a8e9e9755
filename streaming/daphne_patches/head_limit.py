"""The head of a request has to arrive in time."""

from __future__ import annotations

from typing import Any

from twisted.web import http

from streaming import conf


def limit_heads() -> None:
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
