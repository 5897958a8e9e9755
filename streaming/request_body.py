"""Request bodies, with the same limits on length and time under every server.

Django reads the whole body before it calls a view. This app's views check access and method first: they get a body
that is still arriving (``IncomingBody`` in the ASGI scope), and read it themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.urls import Resolver404, resolve

from streaming import conf
from streaming.errors import BadRequest
from streaming.problems import problem_of, renderer_at
from streaming.request_target import in_origin_form, with_script_name
from streaming.requests import BODY_IN_SCOPE

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

LINGERING_SECONDS = 2.0
"""How long the rest of an unwanted body is read and discarded: a client that still sends when the connection closes
often loses the response too (RFC 9112, section 9.6)."""

SMALL_BYTES = 64_000
"""The rest of a body up to this size is read, instead of closing the connection."""

SLOW = "the body of the request paused for more than {seconds:g} s"


class IncomingBody:
    """One request's body: an async iterable of bytes, and the application's ``receive`` and ``send``.

    BadRequest with 413 if it is longer than ``limit``, with 408 if it pauses for too long; ConnectionResetError if the
    client disconnects before its end.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.limit = conf.max_body_bytes()
        self.declared_length = _declared_length(scope)
        """The Content-Length in bytes; None without one."""
        self.size = 0
        """Bytes received so far."""
        self.refusal: BadRequest | None = None
        """Why reading it failed. The error that reaches the view may only say that relaying the body failed."""
        self.response_started = False
        self._is_http1 = scope.get("http_version", "1.1").startswith("1")
        self._receive, self._send = receive, send
        self._reading = asyncio.Lock()
        self._first: dict[str, Any] | None = None
        self._complete, self._unread = asyncio.Event(), asyncio.Event()
        self._is_left_to_view = self._reading_began = False

    def check_declared_length(self) -> None:
        """BadRequest if the declared_length length is more than the limit."""
        if self.declared_length is not None and self.declared_length > self.limit:
            raise too_large(self.limit)

    async def exists(self, scope: Scope) -> bool:
        """Whether the request has a body. In HTTP/2 no header says so: the first message does (``more_body``)."""
        if self.declared_length is not None or any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return self.declared_length != 0
        if self._is_http1:
            return False
        self._first = await self._next()
        return bool(self._first.get("body") or self._first.get("more_body"))

    def leave_to_view(self) -> None:
        self._is_left_to_view = True
        self._sent_empty_body = False

    async def receive(self) -> dict[str, Any]:
        """ASGI's ``receive``. Where the view reads the body itself, Django gets an empty one."""
        if not self._is_left_to_view:
            return await self._receive_form()
        if not self._sent_empty_body:
            self._sent_empty_body = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._unread.wait()
        while self._has_more:
            # Ignored: a long response may go on while the unread rest of the body pauses.
            with suppress(BadRequest):
                if (message := await self._next())["type"] == "http.disconnect":
                    return message
        return await self._receive()

    async def _receive_form(self) -> dict[str, Any]:
        """A form that is too long is cut off here: FormSizeMiddleware then refuses it with a page."""
        if self.refusal:
            await self._complete.wait()
        if not self._has_more:
            return await self._receive()
        try:
            return await self._next_within_limits()
        except BadRequest as refusal:
            if refusal.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            self.refusal = refusal
            return {"type": "http.request", "body": b"", "more_body": False}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._reading_began = True
        try:
            while self._has_more:
                message = await self._next_within_limits()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client disconnected before the end of its request")
                if message.get("body"):
                    yield message["body"]
        except BadRequest as refusal:
            self.refusal = refusal
            raise
        finally:
            self._unread.set()  # ``receive`` now waits for the rest, and for the disconnect

    async def read(self) -> bytes:
        """The whole body."""
        async with aclosing(cast("Any", aiter(self))) as chunks:
            return b"".join([chunk async for chunk in chunks])

    @property
    def _has_more(self) -> bool:
        return self._first is not None or not self._complete.is_set()

    async def _next_within_limits(self) -> dict[str, Any]:
        self.check_declared_length()
        message = await self._next()
        if self.size > self.limit:
            raise too_large(self.limit)
        return message

    async def _next(self) -> dict[str, Any]:
        if (message := self._first) is not None:
            self._first = None
            return message
        seconds = conf.body_idle_seconds()
        async with self._reading:
            if self._complete.is_set():
                return {"type": "http.request", "body": b"", "more_body": False}
            try:
                async with asyncio.timeout(seconds):
                    message = await self._receive()
            except TimeoutError as error:
                raise BadRequest(SLOW.format(seconds=seconds), HTTPStatus.REQUEST_TIMEOUT) from error
            self.size += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                self._complete.set()
            return message

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI's ``send``. A response that completes before the request's body closes the connection cleanly."""
        if message["type"] == "http.response.start":
            self.response_started = True
            if not self._reading_began and (self.declared_length or SMALL_BYTES) < SMALL_BYTES:
                await self._discard_rest(LINGERING_SECONDS)
            if self._is_http1 and not self._complete.is_set():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif self._is_http1 and not self._complete.is_set() and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._discard_rest(LINGERING_SECONDS)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _discard_rest(self, seconds: float) -> None:
        with suppress(TimeoutError, BadRequest):
            async with asyncio.timeout(seconds):
                while self._has_more:
                    await self._next()


def too_large(limit: int) -> BadRequest:
    return BadRequest(f"the body is longer than {limit:,} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _declared_length(scope: Scope) -> int | None:
    values = {value.strip() for name, value in scope["headers"] if name == b"content-length"}
    # Servers reject non-numeric and contradictory lengths.
    return int(values.pop()) if len(values) == 1 else None


def _limits_forms() -> bool:
    """Whether the project wants its forms limited: only with FormSizeMiddleware can they be refused."""
    return "streaming.middleware.FormSizeMiddleware" in settings.MIDDLEWARE


def _view_reads_body(path: str) -> bool:
    """Whether a view of this app reads the body while it arrives; Django reads it before it calls any other view."""
    try:
        return bool(getattr(resolve(path).func, "reads_its_body", False))
    except Resolver404:
        return _limits_forms()  # nothing reads it


def _form_limit(path: str) -> int:
    """The limit for a body that Django reads before it calls the view."""
    match = resolve(path)
    # Admin pages other than the login require a login: FormSizeMiddleware checks who it is.
    return conf.max_body_bytes() if match.app_name == "admin" and match.url_name != "login" else conf.FORM_BYTES


async def limit_body(application: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Calls a Django application with a body within the limits; otherwise responds with 413 or 408 (RFC 9110).

    A head that servers read in different ways is refused too: 400 or 501 (RFC 9112).
    """
    body = IncomingBody(scope, receive, send)
    path = _path(scope)
    try:
        _refuse_transfer_codings(scope)
        scope = with_script_name(in_origin_form(scope))
        path = _path(scope)
        view_reads_body = _view_reads_body(path)
        if not (view_reads_body or _limits_forms()):
            await application(scope, receive, send)
            return
        if not await body.exists(scope):
            await application(scope, body.receive if body._first else receive, send)
            return
        scope[BODY_IN_SCOPE] = body
        if view_reads_body:
            body.check_declared_length()
            body.leave_to_view()
        else:
            body.limit = _form_limit(path)
        await application(scope, body.receive, body.send)
    except BadRequest as refusal:
        if body.response_started:
            raise
        await _refuse(path, refusal, body.send)


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(get_script_prefix(scope)) or "/"


def _refuse_transfer_codings(scope: Scope) -> None:
    """BadRequest with 501 for a transfer coding that is not understood (RFC 9112, section 6.1).

    Servers only decode ``chunked``. Some pass on what is below it all the same: compressed bytes that no longer say so.
    """
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        raise BadRequest("the only Transfer-Encoding understood is chunked", HTTPStatus.NOT_IMPLEMENTED)


async def _refuse(path: str, refusal: BadRequest, send: Send) -> None:
    response = renderer_at(path)(problem_of(refusal))
    headers = [(key.encode(), value.encode("latin-1")) for key, value in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
