"""Bodies of requests, the same under every server: how long, how slow, and none read before its sender is let in.

Django reads a body whole before it calls a view. The views of this app check access and method first, so they are
handed a body that is still arriving (``IncomingBody`` in the scope), and read it themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, cast

from django.urls import Resolver404, resolve

from streaming import conf
from streaming.errors import BadRequest
from streaming.problems import problem_of, renderer_at
from streaming.requests import BODY_IN_SCOPE

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

LINGERING_SECONDS = 2.0
"""How long the rest of a body that nobody wants is read and thrown away: a client that is still sending when the
connection closes would often lose the answer too (RFC 9112, section 9.6)."""

SMALL_BYTES = 64_000
"""A body of which the rest is rather read than the connection closed."""

SLOW = "the body of the request paused for more than {seconds:g} s"


class IncomingBody:
    """One request's body: an async iterable of bytes, and the ``receive`` and ``send`` that an application gets.

    BadRequest with 413 once it is longer than ``limit``, with 408 when it pauses for too long; ConnectionResetError if
    the client leaves in the middle.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.limit = conf.max_body_bytes()
        self.announced = _announced_length(scope)
        """Bytes, as Content-Length says; None where nothing does."""
        self.size = 0
        """Bytes that have arrived."""
        self.refusal: BadRequest | None = None
        """Why it was refused. Who passes a body on may only learn that passing it on has failed."""
        self.response_started = False
        self._is_http1 = scope.get("http_version", "1.1").startswith("1")
        self._receive, self._send = receive, send
        self._reading = asyncio.Lock()
        self._first: dict[str, Any] | None = None
        self._complete, self._unread = asyncio.Event(), asyncio.Event()
        self._is_for_the_view = self._was_begun = False

    def check_announced(self) -> None:
        """BadRequest if the announced length is more than the limit."""
        if self.announced is not None and self.announced > self.limit:
            raise too_large(self.limit)

    async def exists(self, scope: Scope) -> bool:
        """Whether there is one. HTTP/2 has no header that says so: there the server does (``more_body``)."""
        if self.announced is not None or any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            return self.announced != 0
        if self._is_http1:
            return False
        self._first = await self._next()
        return bool(self._first.get("body") or self._first.get("more_body"))

    def leave_to_the_view(self) -> None:
        self._is_for_the_view = True
        self._told = False

    async def receive(self) -> dict[str, Any]:
        """As ASGI has it: for an application that reads the body, or for one that leaves it to a view."""
        if not self._is_for_the_view:
            return await self._receive_form()
        if not self._told:
            self._told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._unread.wait()
        while self._has_more:
            # An answer may go on for long while what nobody reads of the body pauses.
            with suppress(BadRequest):
                if (message := await self._next())["type"] == "http.disconnect":
                    return message
        return await self._receive()

    async def _receive_form(self) -> dict[str, Any]:
        """One that is too long ends where it is: streaming/middleware.py refuses it with a page."""
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
        self._was_begun = True
        try:
            while self._has_more:
                message = await self._next_within_limits()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client left in the middle of its request")
                if message.get("body"):
                    yield message["body"]
        except BadRequest as refusal:
            self.refusal = refusal
            raise
        finally:
            self._unread.set()  # what is still to come is waited for by ``receive``, and so is the client's leaving

    async def read(self) -> bytes:
        """All of it."""
        async with aclosing(cast("Any", aiter(self))) as chunks:
            return b"".join([chunk async for chunk in chunks])

    @property
    def _has_more(self) -> bool:
        return self._first is not None or not self._complete.is_set()

    async def _next_within_limits(self) -> dict[str, Any]:
        self.check_announced()
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
        """As ASGI has it. An answer that is complete before the body is closes the connection in good order."""
        if message["type"] == "http.response.start":
            self.response_started = True
            if not self._was_begun and (self.announced or SMALL_BYTES) < SMALL_BYTES:
                await self._throw_away(LINGERING_SECONDS)
            if self._is_http1 and not self._complete.is_set():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif self._is_http1 and not self._complete.is_set() and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._throw_away(LINGERING_SECONDS)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _throw_away(self, seconds: float) -> None:
        with suppress(TimeoutError, BadRequest):
            async with asyncio.timeout(seconds):
                while self._has_more:
                    await self._next()


def too_large(limit: int) -> BadRequest:
    return BadRequest(f"the body is longer than {limit:,} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _announced_length(scope: Scope) -> int | None:
    values = {value.strip() for name, value in scope["headers"] if name == b"content-length"}
    # Servers refuse what is no number, and lengths that differ.
    return int(values.pop()) if len(values) == 1 else None


def _form_limit(path: str) -> int | None:
    """How long a body may be that Django reads before the view; None where a view reads it, or nobody does."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    if getattr(match.func, "reads_its_body", False):
        return None
    # The lists of the admin are for those who have logged in: streaming/middleware.py asks who it is.
    return conf.max_body_bytes() if match.app_name == "admin" and match.url_name != "login" else conf.FORM_BYTES


async def limit_body(application: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Calls a Django application with a body that is within its limits; what is not is a 413 or a 408 (RFC 9110)."""
    body = IncomingBody(scope, receive, send)
    path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    try:
        if not await body.exists(scope):
            await application(scope, body.receive if body._first else receive, send)
            return
        scope[BODY_IN_SCOPE] = body
        if (limit := _form_limit(path)) is None:
            body.check_announced()
            body.leave_to_the_view()
        else:
            body.limit = limit
        await application(scope, body.receive, body.send)
    except BadRequest as refused:
        if body.response_started:
            raise
        await _refuse(path, refused, body.send)


async def _refuse(path: str, refused: BadRequest, send: Send) -> None:
    response = renderer_at(path)(problem_of(refused))
    headers = [(key.encode(), value.encode("latin-1")) for key, value in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": refused.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
