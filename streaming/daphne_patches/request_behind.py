"""Daphne's request object, which Twisted made for HTTP/1.1 or HTTP/2."""

from __future__ import annotations

from functools import partial
from typing import Any

from daphne.http_protocol import WebRequest
from twisted.web import http


def request_behind(send: Any) -> Any:
    """Daphne's request object for an ASGI ``send``; None under another server."""
    request = next(iter(send.args), None) if isinstance(send, partial) else None
    return request if isinstance(request, WebRequest) else None


def is_http1(channel: Any) -> bool:
    return isinstance(channel, http.HTTPChannel)
