"""What a request has opened ends with it, also where middleware loses the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory
from django.urls import path
from django.utils.decorators import async_only_middleware

from streaming import request_cleanup, upstreams
from streaming.request_cleanup import RequestScope
from streaming.responses import RelayResponse
from streaming.upstreams import sending
from tests.conftest import DEADLINE, Connection, ScriptedUpstream

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class TestAScope:
    def test_closes_its_resources_once_in_reverse_order(self) -> None:
        closed: list[str] = []
        scope = RequestScope()
        first, second = lambda: closed.append("first"), lambda: closed.append("second")

        for close in (first, second, first):
            scope.close_at_end(close)
        scope.close()
        scope.close()

        assert closed == ["second", "first"]

    def test_does_not_close_released_resources(self) -> None:
        closed: list[str] = []
        scope = RequestScope()
        close = lambda: closed.append("a")  # noqa: E731

        scope.close_at_end(close)
        scope.release(close)
        scope.release(close)
        scope.close()

        assert closed == []

    def test_closes_resources_at_once_that_are_added_after_the_request(self) -> None:
        closed: list[str] = []
        scope = RequestScope()
        scope.close()

        scope.close_at_end(lambda: closed.append("late"))

        assert closed == ["late"]

    def test_closes_the_other_resources_if_one_fails_to_close(self, log_text: Callable[[], str]) -> None:
        closed: list[str] = []
        scope = RequestScope()

        def fail() -> None:
            raise OSError("no route")

        for close in (lambda: closed.append("a"), fail, lambda: closed.append("b")):
            scope.close_at_end(close)
        scope.close()

        assert closed == ["b", "a"]
        assert "failed to close" in log_text()

    def test_does_not_exist_outside_a_request(self) -> None:
        request_cleanup.close_at_end(lambda: pytest.fail("nobody closes it"))


@async_only_middleware
def replacing(get_response: GetResponse) -> GetResponse:
    """Answers with something else, and forgets what it was given."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await get_response(request)
        return HttpResponse("something else")

    return middleware


@async_only_middleware
def failing(get_response: GetResponse) -> GetResponse:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await get_response(request)
        raise ValueError("a mistake in a middleware")

    return middleware


@async_only_middleware
def slow(get_response: GetResponse) -> GetResponse:
    """Still busy with the response when the client leaves."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        slow.waits.set()  # type: ignore[attr-defined]
        await asyncio.Event().wait()
        return response

    return middleware


@pytest.mark.parametrize("middleware", ["replacing", "failing", "slow"])
@pytest.mark.parametrize("connects", [True, False], ids=["stream", "relay"])
async def test_an_upstream_is_closed_whatever_a_middleware_does_with_the_response(
    settings: Any, upstream: ScriptedUpstream, middleware: str, connects: bool
) -> None:
    async def script(connection: Connection) -> None:
        await connection.begin()
        await connection.send(b"data: a\n\n")
        await connection.until_left()

    async def view(request: HttpRequest) -> HttpResponseBase:
        if connects:
            asked = AsyncRequestFactory().get("/transfer")
            return RelayResponse(request, await upstreams.connect("default", asked, b"", Lenient()))
        return RelayResponse(request, await upstreams.relay("default", "", request, b""))

    left = slow.waits = asyncio.Event()  # type: ignore[attr-defined]
    upstream.script = script
    settings.STREAMING_UPSTREAMS = {"default": {"URL": upstream.url, "PROXY": True, "CONCURRENCY": 1}}
    settings.MIDDLEWARE = [f"{__name__}.{middleware}"]
    settings.ROOT_URLCONF = (path("", view),)
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
    }
    async with asyncio.timeout(DEADLINE):
        with request_cleanup.request_scope():
            await ASGIHandler()(scope, receive, send)

    assert sending._open["default"] == 0
    assert await asyncio.to_thread(upstream.left.wait, DEADLINE)
    await upstreams.close()


class Lenient:
    """A guardrail without a rule."""

    async def moderate_prompt(self, fields: dict[str, Any]) -> None: ...

    def clean(self, words: str) -> str:
        return words
