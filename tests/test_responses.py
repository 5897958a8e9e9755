"""Event streams and relays, iterated in process and sent through Django to a server that blocks, fails or leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory
from django.urls import path

from streaming import responses, sse, upstreams
from streaming.formats import Failure, FormatError
from streaming.responses import EventStreamResponse, RelayResponse, failure_of, problem
from streaming.sse import Message

Batches = AsyncGenerator[list[Message]]


class Source:
    """Gives batches out, waits where an Event stands, raises an exception in its turn, and knows how it ended."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items
        self.given = 0
        self.closed = asyncio.Event()
        self.connection_closed = asyncio.Event()

    async def batches(self) -> Batches:
        try:
            for item in self._items:
                match item:
                    case asyncio.Event():
                        await item.wait()
                    case Exception():
                        raise item
                    case _:
                        self.given += 1
                        yield item if isinstance(item, list) else [Message(item)]
        finally:
            self.closed.set()

    async def aclose(self) -> None:
        self.connection_closed.set()


def say_goodbye(reason: str, failure: Failure | None) -> list[Message]:
    return [Message(f"{reason} {failure.status} {failure.detail}" if failure else reason, "done")]


def stream_from(source: Source, **more: Any) -> EventStreamResponse:
    request = AsyncRequestFactory().get("/somewhere")
    return EventStreamResponse(
        request, source.batches(), **{"final_messages": say_goodbye, "close": source.aclose, "heartbeat": 30.0, **more}
    )


def forever() -> asyncio.Event:
    return asyncio.Event()


async def all_of(response: EventStreamResponse | RelayResponse) -> bytes:
    return b"".join([chunk async for chunk in response])


def endless() -> Iterable[str]:
    while True:
        yield "x" * 1000


class TestAnEventStream:
    async def test_has_the_headers_that_keep_it_flowing(self) -> None:
        response = stream_from(Source([]))

        assert {key: response[key] for key in responses.HEADERS} == {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-cache, no-transform",
            "Content-Encoding": "identity",
            "X-Accel-Buffering": "no",
        }
        assert "Connection" not in response

    async def test_sends_what_its_source_gives_and_ends_with_it(self) -> None:
        source = Source(["a", [Message("b", "note", "7"), Message("c")]])

        assert await all_of(stream_from(source)) == b"data: a\n\nid: 7\nevent: note\ndata: b\n\ndata: c\n\n"
        assert source.closed.is_set()
        assert source.connection_closed.is_set()

    async def test_sends_each_batch_at_once(self) -> None:
        source = Source(["a", forever()])

        async with aclosing(aiter(stream_from(source))) as chunks:
            assert await anext(chunks) == b"data: a\n\n"

    async def test_sends_what_is_ready_together_as_one_chunk(self) -> None:
        source = Source(map(str, range(10_000)))

        chunks = [chunk async for chunk in stream_from(source)]

        assert b"".join(chunks) == b"".join(b"data: %d\n\n" % number for number in range(10_000))
        assert len(chunks) < 10_000 / 20

    async def test_lets_its_source_wait_while_nobody_takes_what_is_ready(self) -> None:
        source = Source(endless())

        async with aclosing(aiter(stream_from(source))) as chunks:
            await anext(chunks)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert source.given * 1000 < 2 * (responses.READY_BYTES + 1000)
            before = source.given
            for _ in range(3):
                await anext(chunks)
            assert source.given > before

        assert source.closed.is_set()

    async def test_gives_the_loop_a_turn_though_neither_source_nor_server_ever_waits(self) -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(count())
        source = Source(endless())
        async with aclosing(aiter(stream_from(source))) as chunks:
            async for _ in chunks:
                if source.given > 1000:
                    break
        other.cancel()

        assert turns >= 10

    async def test_says_nothing_in_a_batch_that_is_empty(self) -> None:
        assert await all_of(stream_from(Source([[], "a", []]))) == b"data: a\n\n"


class TestAHeartbeat:
    async def test_goes_out_after_each_silent_while(self) -> None:
        go_on = asyncio.Event()
        stream = aiter(stream_from(Source(["a", go_on, "b"]), heartbeat=0.02))

        chunks = [await anext(stream) for _ in range(4)]
        go_on.set()
        rest = [chunk async for chunk in stream]

        assert chunks == [b"data: a\n\n", *[b":\n\n"] * 3]
        assert b"".join(rest).replace(b":\n\n", b"") == b"data: b\n\n"

    async def test_is_no_message(self) -> None:
        stream = aiter(stream_from(Source([forever()]), heartbeat=0.01))

        assert sse.Parser().feed(await anext(stream)) == []
        await stream.aclose()

    async def test_does_not_wait_that_long_before_the_first_byte_with_which_the_head_goes_out(self) -> None:
        stream = aiter(stream_from(Source([forever()]), heartbeat=1000))

        async with asyncio.timeout(20):
            assert await anext(stream) == b":\n\n"
        await stream.aclose()

    async def test_is_15_seconds_by_default(self) -> None:
        assert responses.HEARTBEAT == 15

    async def test_does_not_lose_a_message_that_comes_with_it(self) -> None:
        ticks = [asyncio.Event() for _ in range(50)]
        source = Source(item for number, tick in enumerate(ticks) for item in (tick, str(number)))
        loop = asyncio.get_running_loop()
        for number, tick in enumerate(ticks):
            loop.call_later(0.005 * (number + 1), tick.set)

        got = await all_of(stream_from(source, heartbeat=0.005))

        assert [message.data for message in sse.Parser().feed(got)] == [str(number) for number in range(50)]


class TestAStreamThatIsStopped:
    async def test_sends_what_is_ready_and_then_says_why(self) -> None:
        source = Source(["a", forever()])
        response = stream_from(source)
        stream = aiter(response)
        await anext(stream)
        assert response.is_open

        response.stop("drained")
        rest = [chunk async for chunk in stream]

        assert b"".join(rest) == b"event: done\ndata: drained\n\n"
        assert source.closed.is_set()
        assert not response.is_open

    async def test_before_it_began_says_just_that(self) -> None:
        source = Source(["a"])
        response = stream_from(source)

        response.stop("drained")

        assert await all_of(response) == b"event: done\ndata: drained\n\n"
        assert source.given == 0
        assert source.connection_closed.is_set()

    async def test_twice_keeps_the_first_reason(self) -> None:
        response = stream_from(Source(["a", forever()]))
        stream = aiter(response)
        await anext(stream)

        response.stop("stopped")
        response.stop("drained")

        assert [chunk async for chunk in stream] == [b"event: done\ndata: stopped\n\n"]

    async def test_may_say_it_in_bytes_of_its_own(self) -> None:
        response = stream_from(Source([forever()]), final_messages=lambda *_: b"retry: 1000\n\n")
        response.stop("drained")

        assert await all_of(response) == b"retry: 1000\n\n"


class TestAnException:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (upstreams.Silent("x", "was silent for 60 s"), "error 504 the upstream 'x' was silent for 60 s"),
            (upstreams.Broken("x", "broke off"), "error 502 the upstream 'x' broke off"),
            (sse.StreamError("it is no event stream"), "error 502 it is no event stream"),
            (ValueError("a secret"), "error 500 the server failed; its log tells more"),
        ],
    )
    async def test_becomes_the_last_message(self, error: Exception, said: str, said_in_log: Callable[[], str]) -> None:
        source = Source(["a", error])

        got = await all_of(stream_from(source))

        assert got == f"data: a\n\nevent: done\ndata: {said}\n\n".encode()
        assert source.closed.is_set()
        assert f"GET /somewhere ended (error: {said[10:]})" in said_in_log()

    async def test_that_nobody_expected_is_logged_with_its_trace(self, said_in_log: Callable[[], str]) -> None:
        await all_of(stream_from(Source([ValueError("a secret")])))

        assert "GET /somewhere failed" in said_in_log()
        assert "ValueError: a secret" in said_in_log()

    async def test_of_the_connection_that_is_closed_is_logged_and_goes_no_further(
        self, said_in_log: Callable[[], str]
    ) -> None:
        async def fail() -> None:
            raise OSError("no route")

        assert await all_of(stream_from(Source(["a"]), close=fail)) == b"data: a\n\n"
        assert "a source could not be closed" in said_in_log()


async def test_the_end_of_a_stream_is_logged_with_what_it_was(said_in_log: Callable[[], str]) -> None:
    await all_of(stream_from(Source(["a", "b"])))

    assert "GET /somewhere ended (done) after 0.0 s, 2 messages, 18 bytes" in said_in_log()


class TestAReaderThatLeaves:
    async def test_closes_everything_behind_it(self, said_in_log: Callable[[], str]) -> None:
        source = Source(["a", forever()])
        response = stream_from(source)

        async with aclosing(aiter(response)) as stream:
            await anext(stream)

        assert source.closed.is_set()
        assert source.connection_closed.is_set()
        assert not response.is_open
        assert "ended (left)" in said_in_log()

    async def test_before_the_first_byte_closes_the_connection_behind(self) -> None:
        source = Source(["a"])

        stream_from(source).close()

        await asyncio.wait_for(source.connection_closed.wait(), 5)
        assert source.given == 0

    async def test_of_whom_django_tells_twice_is_no_trouble(self) -> None:
        source = Source(["a"])
        response = stream_from(source)
        await all_of(response)

        response.close()
        response.close()

        assert source.connection_closed.is_set()

    async def test_does_not_wait_for_ever_for_a_cleanup_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(responses, "CLOSING_SECONDS", 0.05)
        let_go = asyncio.Event()

        async def stubborn() -> Batches:
            try:
                yield [Message("a")]
                await forever().wait()
            finally:
                await let_go.wait()

        source = Source([])
        request = AsyncRequestFactory().get("/")
        response = EventStreamResponse(request, stubborn(), final_messages=say_goodbye, close=source.aclose)
        async with asyncio.timeout(5), aclosing(aiter(response)) as stream:
            await anext(stream)

        assert source.connection_closed.is_set()
        let_go.set()

    async def test_and_is_cancelled_twice_still_closes_everything(self, said_in_log: Callable[[], str]) -> None:
        sending, cleaning, let_go, cleaned = (asyncio.Event() for _ in range(4))

        async def slow_to_clean() -> Batches:
            try:
                yield [Message("a")]
                await forever().wait()
            finally:
                cleaning.set()
                await let_go.wait()
                cleaned.set()

        source = Source([])
        request = AsyncRequestFactory().get("/somewhere")
        response = EventStreamResponse(request, slow_to_clean(), final_messages=say_goodbye, close=source.aclose)

        async def send_all() -> None:
            async with aclosing(aiter(response)) as stream:
                async for _ in stream:
                    sending.set()
                    await forever().wait()  # the server's send

        task = asyncio.create_task(send_all())
        await asyncio.wait_for(sending.wait(), 5)
        task.cancel()
        await asyncio.wait_for(cleaning.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        let_go.set()

        await asyncio.wait_for(cleaned.wait(), 5)
        assert source.connection_closed.is_set()
        assert not response.is_open
        assert "ended (left)" in said_in_log()


class Server:
    """An ASGI server of one request: it takes what is sent, unless it blocks or fails, and can say who left."""

    def __init__(self, *, blocks_at: str = "", fails_at: str = "") -> None:
        self.sent: list[dict[str, Any]] = []
        self.got, self.waiting = asyncio.Event(), asyncio.Event()
        self.left = asyncio.Event()
        self._blocks_at, self._fails_at = blocks_at, fails_at
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == self._fails_at:
            raise ConnectionResetError("the peer is gone")
        if message["type"] == self._blocks_at:
            self.waiting.set()
            await forever().wait()
        if message.get("body"):
            self.got.set()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


@pytest.fixture
def serve(settings: Any) -> Callable[..., Awaitable[None]]:
    """Sends a view's response to a Server, through the whole of Django's handler."""

    async def serve(server: Server, view: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        settings.MIDDLEWARE = []
        settings.ROOT_URLCONF = (path("", view),)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
        }
        await ASGIHandler()(scope, server.receive, server.send)

    return serve


class TestSentThroughDjango:
    async def test_a_stream_arrives_whole(self, serve: Callable[..., Awaitable[None]]) -> None:
        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(Source(["a", "b"]))

        server = Server()
        await serve(server, view)

        assert server.body == b"data: a\n\ndata: b\n\n"
        assert server.sent[-1].get("more_body", False) is False

    @pytest.mark.parametrize("items", [["a", "b"], endless()], ids=["idle", "endless"])
    async def test_a_reader_that_leaves_while_a_send_waits_closes_the_source(
        self, serve: Callable[..., Awaitable[None]], items: Iterable[Any]
    ) -> None:
        source = Source(items)

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server(blocks_at="http.response.body")
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.waiting.wait(), 5)
        server.left.set()

        async with asyncio.timeout(5):
            await task
            await source.closed.wait()
            await source.connection_closed.wait()

    async def test_a_reader_that_leaves_an_idle_stream_closes_the_source(
        self, serve: Callable[..., Awaitable[None]]
    ) -> None:
        source = Source(["a", forever()])

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server()
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.got.wait(), 5)
        server.left.set()

        async with asyncio.timeout(5):
            await task
            await source.closed.wait()

    async def test_a_send_that_fails_closes_the_source(self, serve: Callable[..., Awaitable[None]]) -> None:
        source = Source(endless())

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        with suppress(ConnectionResetError):
            await serve(Server(fails_at="http.response.body"), view)

        async with asyncio.timeout(5):
            await source.closed.wait()
            await source.connection_closed.wait()

    async def test_a_reader_that_leaves_before_the_head_is_sent_closes_the_connection_behind(
        self, serve: Callable[..., Awaitable[None]]
    ) -> None:
        source = Source(["a"])

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server(blocks_at="http.response.start")
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.waiting.wait(), 5)
        server.left.set()

        async with asyncio.timeout(5):
            await task
            await source.connection_closed.wait()
        assert source.given == 0

    async def test_a_relay_has_each_header_as_often_as_it_came(self, serve: Callable[..., Awaitable[None]]) -> None:
        async def view(request: HttpRequest) -> HttpResponseBase:
            return relay_of([b"a", b"b"], [("X-Two", "1"), ("x-two", "2"), ("Content-Type", "text/x"), *IN_LATIN_1])

        server = Server()
        await serve(server, view)

        headers = server.sent[0]["headers"]
        assert server.sent[0]["status"] == 206
        assert [value for key, value in headers if key.lower() == b"x-two"] == [b"1", b"2"]
        assert [value for key, value in headers if key.lower() == b"content-type"] == [b"text/x"]
        assert [value for key, value in headers if key.lower() == b"x-name"] == ["中".encode()] * 2
        assert server.body == b"ab"


IN_LATIN_1 = [("X-Name", "中".encode().decode("latin-1"))] * 2


class Answer:
    """An upstream's answer without an upstream: what RelayResponse asks of one."""

    def __init__(self, chunks: AsyncGenerator[bytes], headers: list[tuple[str, str]]) -> None:
        self.status, self.reason, self.headers, self.chunks = 206, "Partial", headers, chunks
        self.closed = asyncio.Event()

    async def aclose(self) -> None:
        self.closed.set()


def relay_of(chunks: Iterable[Any], headers: Iterable[tuple[str, str]] = ()) -> RelayResponse:
    async def given() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    answer: Any = Answer(given(), list(headers))
    response = RelayResponse(AsyncRequestFactory().get("/proxy"), answer)
    response.answer = answer  # type: ignore[attr-defined]
    return response


class TestARelay:
    async def test_passes_status_reason_and_bytes_on(self) -> None:
        response = relay_of([b"a", b"", b"\xff"])

        assert (response.status_code, response.reason_phrase) == (206, "Partial")
        assert await all_of(response) == b"a\xff"

    async def test_guesses_no_content_type(self) -> None:
        assert "Content-Type" not in relay_of([])

    async def test_is_shut_in_a_sandbox_beside_what_the_upstream_says(self) -> None:
        response = relay_of([], [("Content-Security-Policy", "default-src 'self'")])

        said = [value for key, value in response.items() if key.lower() == "content-security-policy"]
        assert said == ["default-src 'self'", "sandbox"]

    async def test_strips_what_speaks_of_the_connection_and_the_upstreams_cookies(self) -> None:
        response = relay_of(
            [],
            [
                ("Connection", "close, X-Hop"),
                ("X-Hop", "1"),
                ("Keep-Alive", "5"),
                ("Transfer-Encoding", "chunked"),
                ("Set-Cookie", "a=b"),
                ("ETag", '"1"'),
            ],
        )

        assert {key for key, _ in response.items()} == {"ETag", "Content-Security-Policy"}

    async def test_breaks_when_the_upstream_does(self, said_in_log: Callable[[], str]) -> None:
        response = relay_of([b"a", upstreams.Broken("x", "broke off")])

        with pytest.raises(upstreams.Broken):
            await all_of(response)

        assert "GET /proxy ended (error: the upstream 'x' broke off)" in said_in_log()
        assert response.answer.closed.is_set()  # type: ignore[attr-defined]

    async def test_closes_the_upstream_when_its_reader_leaves(self, said_in_log: Callable[[], str]) -> None:
        response = relay_of([b"a", b"b"])

        async with aclosing(aiter(response)) as stream:
            await anext(stream)

        assert response.answer.closed.is_set()  # type: ignore[attr-defined]
        assert "GET /proxy ended (left)" in said_in_log()


class TestAProblem:
    async def test_is_json_in_the_words_of_rfc_9457(self) -> None:
        response = problem(404, "no such thing", extra=1, headers={"Allow": "GET"})

        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
        assert (response["Allow"], response["Cache-Control"]) == ("GET", "no-store")
        assert json.loads(response.content) == {
            "status": 404,
            "title": "Not Found",
            "detail": "no such thing",
            "extra": 1,
        }

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (upstreams.Unknown("x", "."), 404),
            (upstreams.Outside("x", "."), 400),
            (upstreams.BadPrompt("x", "."), 400),
            (upstreams.PostOnly("x", "."), 405),
            (upstreams.Unreachable("x", "."), 502),
            (upstreams.Broken("x", "."), 502),
            (upstreams.Silent("x", "."), 504),
            (upstreams.Refused("x", 429, "."), 429),
            (upstreams.Refused("x", 422, "."), 422),
            (upstreams.Refused("x", 401, "."), 502),
            (upstreams.Refused("x", 503, "."), 502),
            (FormatError("."), 502),
            (sse.StreamError("."), 502),
            (KeyError("."), 500),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
    )
    def test_has_a_status_for_every_situation(self, error: Exception, status: int) -> None:
        assert failure_of(error).status == status
