"""Applies all patches."""

from __future__ import annotations

from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.web import http

from streaming.daphne_patches.access_log import patched_log_action
from streaming.daphne_patches.arriving_bodies import (
    patched_finish,
    patched_got_length,
    patched_handle_content_chunk,
    patched_request_received,
)
from streaming.daphne_patches.back_pressure import patched_handle_reply, patched_send
from streaming.daphne_patches.breaking import patched_handle_exception
from streaming.daphne_patches.head_limit import limit_heads
from streaming.daphne_patches.http2 import install_http2
from streaming.daphne_patches.last_tasks import end_all_tasks


def install() -> None:
    """Applies all patches. Further calls do nothing."""
    if hasattr(WebRequest, "_gate"):
        return
    WebRequest._gate = WebRequest._arriving = None
    WebRequest.gotLength = patched_got_length(WebRequest.gotLength)
    WebRequest.handleContentChunk = patched_handle_content_chunk(WebRequest.handleContentChunk)
    WebRequest.requestReceived = patched_request_received(WebRequest.requestReceived)
    WebRequest.finish = patched_finish(WebRequest.finish)
    WebRequest.handle_reply = patched_handle_reply(WebRequest.handle_reply)
    WebRequest.connectionLost = patched_connection_lost(WebRequest.connectionLost)
    WebRequest.handle_exception = patched_handle_exception(WebRequest.handle_exception)
    Server.handle_reply = patched_send(Server.handle_reply)
    Server.log_action = patched_log_action(Server.log_action)
    Server.kill_all_applications = end_all_tasks
    limit_heads()
    if http.H2_ENABLED:
        install_http2()


def patched_connection_lost(original: Any) -> Any:
    def connection_lost(self: Any, reason: Any) -> None:
        if self._gate is not None:
            self._gate.stopProducing()
        if self._arriving is not None:
            self._arriving.connection_lost()
        original(self, reason)

    return connection_lost
