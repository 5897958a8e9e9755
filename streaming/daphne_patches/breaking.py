"""Breaks the connection of a response that cannot be finished."""

from __future__ import annotations

from typing import Any

from streaming.daphne_patches.http2 import reset_stream
from streaming.daphne_patches.request_behind import is_http1, request_behind


def abort(send: Any) -> bool:
    """Breaks the connection of an ASGI ``send``. False under another server than Daphne."""
    if not (request := request_behind(send)):
        return False
    break_connection(request)
    return True


def break_connection(request: Any) -> None:
    channel = request.channel
    if channel is None or request.finished:
        return
    if is_http1(channel):
        request.loseConnection()
    else:
        reset_stream(channel._conn, channel.streamID)


def patched_handle_exception(original: Any) -> Any:
    def handle_exception(self: Any, exception: BaseException) -> None:
        if self._response_started:
            break_connection(self)
        else:
            original(self, exception)

    return handle_exception
