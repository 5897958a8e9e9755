"""Event streams and relays, iterated directly and sent through Django's ASGI handler."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory
from django.urls import path

from streaming import responses, sse, upstreams
from streaming.answer import AnswerModeration
from streaming.formats import Delta, Failure, Part
from streaming.live_stream import LiveStream
from streaming.moderation import Rule, RuleSet
from streaming.relay import Relay, TextChunks
from streaming.responses import EventStreamResponse, RelayResponse
from streaming.sse import Message
from streaming.upstreams.headers import SHUT_IN
from tests.conftest import DEADLINE


class Source:
    """Returns these texts, waits for each Event among them, raises each exception, and records whether it is closed.

    A read that is cancelled loses nothing: the next one waits for the same.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._waits_for: asyncio.Event | None = None
        self.given = 0
        self.closed = asyncio.Event()

    async def read(self) -> bytes:
        while True:
            if self._waits_for:
                await self._waits_for.wait()
                self._waits_for = None
            match next(self._items, ""):
                case asyncio.Event() as event:
                    self._waits_for = event
                case Exception() as error:
                    raise error
                case text:
                    self.given += bool(text)
                    return str(text).encode()

    def close(self, *, linger: bool = False) -> None:
        self.closed.set()


class Plain:
    """A writer whose messages are the texts themselves."""

    def begin(self) -> list[Message]:
        return []

    def write(self, part: Part) -> list[Message]:
        match part:
            case Delta(text):
                return [Message(text)]
            case Failure():
                return self.final_messages("error", part)
        return []

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        return [Message(f"{reason} {failure.status} {failure.detail}" if failure else reason, "done")]


def stream_from(source: Any, **more: Any) -> EventStreamResponse:
    request = AsyncRequestFactory().get("/somewhere")
    relay = more.pop("relay", None) or Relay(TextChunks(), None, Plain())
    return EventStreamResponse(
        request, LiveStream(source, relay, label="GET /somewhere"), **{"heartbeat": 30.0, **more}
    )


def forever() -> asyncio.Event:
    return asyncio.Event()


async def begun(response: EventStreamResponse | RelayResponse) -> AsyncGenerator[bytes]:
    """The chunks after the empty one that sends the head."""
    stream = aiter(response)
    assert await anext(stream) == b""
    return stream


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 (what it waits for has no event)
            await asyncio.sleep(0)


async def all_of(response: EventStreamResponse | RelayResponse) -> bytes:
    return b"".join([chunk async for chunk in response])


def endless() -> Iterable[str]:
    while True:
        yield "x" * 1000


class TestAnEventStream:
    async def test_has_the_headers_that_keep_it_flowing(self) -> None:
        response = stream_from(Source([]))

        assert {key: response[key] for key in responses.HEADERS} == responses.HEADERS
        assert response["X-Accel-Buffering"] == "no"
        assert "Connection" not in response

    async def test_sends_the_data_of_its_source_and_ends_with_it(self) -> None:
        source = Source(["a", "b", "c"])

        assert await all_of(stream_from(source)) == b"data: a\n\ndata: b\n\ndata: c\n\n"
        assert source.closed.is_set()

    async def test_sends_the_head_before_its_source_has_data(self) -> None:
        source = Source([forever()])

        async with aclosing(aiter(stream_from(source))) as chunks:
            assert await anext(chunks) == b""

    async def test_sends_each_chunk_at_once(self) -> None:
        source = Source(["a", forever()])

        async with aclosing(await begun(stream_from(source))) as chunks:
            assert await anext(chunks) == b"data: a\n\n"

    async def test_does_not_read_its_source_while_a_send_waits(self) -> None:
        source = Source(endless())

        async with aclosing(await begun(stream_from(source))) as chunks:
            await anext(chunks)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert source.given == 1

        assert source.closed.is_set()

    async def test_yields_to_the_event_loop_even_if_source_and_server_never_wait(self) -> None:
        source = Source(endless())

        async with counted_turns() as turns, aclosing(aiter(stream_from(source))) as chunks:
            async for _ in chunks:
                if source.given > 1000:
                    break

            assert turns() >= 10

    async def test_yields_to_the_event_loop_between_slices_of_a_long_text(self) -> None:
        moderation = AnswerModeration(RuleSet([Rule(1, "darn")]))
        relay = Relay(TextChunks(), moderation, Plain())

        async with counted_turns() as turns:
            await all_of(stream_from(Source(["oh darn it, " * 10_000]), relay=relay))

            assert turns() >= 20

    async def test_never_blocks_the_event_loop_for_long_with_a_megabyte_at_once(self) -> None:
        moderation = AnswerModeration(RuleSet([Rule(number, f"word{number}") for number in range(1000)]))

        async def longest_wait() -> float:
            longest, before = 0.0, time.process_time()

            async def beat() -> None:
                nonlocal longest, before
                while True:
                    await asyncio.sleep(0)
                    longest, before = max(longest, time.process_time() - before), time.process_time()

            other = asyncio.create_task(beat())
            relay = Relay(TextChunks(), moderation, Plain())
            await all_of(stream_from(Source(["a wordy text, " * 75_000]), relay=relay))
            other.cancel()
            return longest

        # Of processor time: the machine may have other things to do. A busy one needs more now and then; only what is
        # long each time is the code's own.
        for _ in range(5):
            if (longest := await longest_wait()) < 0.15:
                break
        assert longest < 0.15

    async def test_sends_nothing_while_all_text_is_held(self) -> None:
        relay = Relay(TextChunks(), AnswerModeration(RuleSet([Rule(1, "abc")])), Plain())

        chunks = [chunk async for chunk in stream_from(Source(["a", "b", "d"]), relay=relay)]

        assert chunks == [b"", b"data: abd\n\n"]


@asynccontextmanager
async def counted_turns() -> AsyncGenerator[Callable[[], int]]:
    """Counts how often another task runs meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    yield lambda: turns
    other.cancel()


class TestAHeartbeat:
    async def test_is_sent_after_each_silent_period(self) -> None:
        go_on = asyncio.Event()
        stream = await begun(stream_from(Source(["a", go_on, "b"]), heartbeat=0.02))

        chunks = [await anext(stream) for _ in range(4)]
        go_on.set()
        rest = [chunk async for chunk in stream]

        # On a busy machine a silent period may be over before the first data is read.
        assert sorted(chunks) == [*[b": keep-alive\n"] * 3, b"data: a\n\n"]
        assert b"".join(rest).replace(b": keep-alive\n", b"") == b"data: b\n\n"

    async def test_is_a_comment_line(self) -> None:
        stream = await begun(stream_from(Source([forever()]), heartbeat=0.01))

        beat = await anext(stream)

        assert sse.Parser().feed(beat) == []
        assert (beat.startswith(b":"), beat.count(b"\n")) == (True, 1)
        await stream.aclose()

    async def test_is_15_seconds_by_default(self) -> None:
        assert responses.HEARTBEAT == 15

    async def test_is_postponed_by_data_without_a_timer_for_each_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, timers = asyncio.get_running_loop(), []
        call_at = loop.call_at
        monkeypatch.setattr(loop, "call_at", lambda *args, **more: (timers.append(args), call_at(*args, **more))[1])

        await all_of(stream_from(Source(map(str, range(1000)))))

        assert len(timers) == 1

    async def test_loses_no_data_that_arrives_at_the_same_time(self) -> None:
        ticks = [asyncio.Event() for _ in range(50)]
        source = Source(item for number, tick in enumerate(ticks) for item in (tick, str(number)))
        loop = asyncio.get_running_loop()
        for number, tick in enumerate(ticks):
            loop.call_later(0.005 * (number + 1), tick.set)

        got = await all_of(stream_from(source, heartbeat=0.005))

        assert [message.data for message in sse.Parser().feed(got)] == [str(number) for number in range(50)]


class TestAStreamThatIsStopped:
    async def test_sends_ready_data_and_then_the_reason(self) -> None:
        source = Source(["a", forever()])
        response = stream_from(source)
        stream = await begun(response)
        await anext(stream)
        assert response.is_open

        response.stop("drained")
        rest = [chunk async for chunk in stream]

        assert b"".join(rest) == b"event: done\ndata: drained\n\n"
        assert source.closed.is_set()
        assert not response.is_open

    async def test_stops_waiting_at_once(self) -> None:
        response = stream_from(Source([forever()]))
        reading = asyncio.create_task(all_of(response))
        await until(lambda: response.is_open)

        response.stop("drained")

        assert await asyncio.wait_for(reading, DEADLINE) == b"event: done\ndata: drained\n\n"

    async def test_before_it_began_sends_only_the_reason(self) -> None:
        source = Source(["a"])
        response = stream_from(source)

        response.stop("drained")

        assert await all_of(response) == b"event: done\ndata: drained\n\n"
        assert source.given == 0
        assert source.closed.is_set()

    async def test_twice_keeps_the_first_reason(self) -> None:
        response = stream_from(Source(["a", forever()]))
        stream = await begun(response)
        await anext(stream)

        response.stop("stopped")
        response.stop("drained")

        assert [chunk async for chunk in stream] == [b"event: done\ndata: stopped\n\n"]


class TestAnException:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (upstreams.Silent("x", "was silent for 60 s"), "error 504 the upstream 'x' was silent for 60 s"),
            (upstreams.Broken("x", "broke off"), "error 502 the upstream 'x' broke off"),
            (sse.StreamError("it is no event stream"), "error 502 it is no event stream"),
            (ValueError("a secret"), "error 500 the server failed; see its log"),
        ],
    )
    async def test_becomes_the_last_message(self, error: Exception, said: str, log_text: Callable[[], str]) -> None:
        source = Source(["a", error])

        got = await all_of(stream_from(source))

        assert got == f"data: a\n\nevent: done\ndata: {said}\n\n".encode()
        assert source.closed.is_set()
        assert f"GET /somewhere ended (error: {said[10:]})" in log_text()

    async def test_that_is_unexpected_is_logged_with_its_traceback(self, log_text: Callable[[], str]) -> None:
        await all_of(stream_from(Source([ValueError("a secret")])))

        assert "GET /somewhere failed" in log_text()
        assert "ValueError: a secret" in log_text()

    async def test_in_moderation_ends_the_stream_with_an_error_and_sends_no_more_text(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moderation = AnswerModeration(RuleSet([Rule(1, "darn")]))
        relay = Relay(TextChunks(), moderation, Plain())
        monkeypatch.setattr(moderation, "feed", Mock(side_effect=ZeroDivisionError))

        got = await all_of(stream_from(Source(["a", "b"]), relay=relay))

        assert got == b"event: done\ndata: error 500 the server failed; see its log\n\n"

    async def test_in_closing_a_source_is_logged_and_not_raised(
        self, log_text: Callable[[], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = Source(["a"])
        monkeypatch.setattr(source, "close", Mock(side_effect=OSError("no route")))
        response = stream_from(source)

        assert await all_of(response) == b"data: a\n\n"
        assert "could not be closed" in log_text()
        assert "ended (stop)" in log_text()
        assert not response.is_open


async def test_the_end_of_a_stream_is_logged_with_its_figures(log_text: Callable[[], str]) -> None:
    await all_of(stream_from(Source(["a", "b"])))

    assert re.search(r"GET /somewhere ended \(stop\) after \d+\.\d s, 2 messages, 18 bytes", log_text())


class TestAClientThatDisconnects:
    async def test_closes_the_source_and_the_upstream(self, log_text: Callable[[], str]) -> None:
        source = Source(["a", forever()])
        response = stream_from(source)

        async with aclosing(await begun(response)) as stream:
            await anext(stream)

        assert source.closed.is_set()
        assert not response.is_open
        assert "ended (left)" in log_text()

    async def test_before_the_first_byte_closes_the_upstream(self) -> None:
        source = Source(["a"])

        stream_from(source).close()

        await asyncio.wait_for(source.closed.wait(), DEADLINE)
        assert source.given == 0

    async def test_can_be_reported_by_django_twice(self) -> None:
        source = Source(["a"])
        response = stream_from(source)
        await all_of(response)

        response.close()
        response.close()

        assert source.closed.is_set()

    @pytest.mark.parametrize("turns", range(12))
    @pytest.mark.parametrize("times", [1, 2])
    async def test_at_any_time_with_one_or_two_cancellations_closes_everything(
        self, turns: int, times: int, log_text: Callable[[], str]
    ) -> None:
        source = Source(["a", "b", forever()])
        response = stream_from(source, heartbeat=0.001)

        async def send_all() -> None:
            async with aclosing(aiter(response)) as stream:
                async for _ in stream:
                    await asyncio.sleep(0)  # the server's send

        task = asyncio.create_task(send_all())
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        response.close()  # as Django does at the end of each request

        await asyncio.wait_for(source.closed.wait(), DEADLINE)
        assert not response.is_open

    async def test_during_a_heartbeat_is_noticed(self) -> None:
        """Both cancel the same wait: the one of the heartbeat is taken back, the other goes on."""
        source = Source([forever()])
        response = stream_from(source, heartbeat=1000)

        async def send_all() -> None:
            async with aclosing(aiter(response)) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(send_all())
        await until(lambda: response._stream._wait._task)
        response._stream._wait.interrupt()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)
        assert source.closed.is_set()


class Server:
    """An ASGI server for one request: it accepts what is sent, blocks or fails, and can report a disconnect."""

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
    async def test_a_stream_arrives_completely(self, serve: Callable[..., Awaitable[None]]) -> None:
        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(Source(["a", "b"]))

        server = Server()
        await serve(server, view)

        assert server.body == b"data: a\n\ndata: b\n\n"
        assert server.sent[-1].get("more_body", False) is False

    @pytest.mark.parametrize("items", [["a", "b"], endless()], ids=["idle", "endless"])
    async def test_a_client_that_disconnects_while_a_send_waits_closes_the_source(
        self, serve: Callable[..., Awaitable[None]], items: Iterable[Any]
    ) -> None:
        source = Source(items)

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server(blocks_at="http.response.body")
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.waiting.wait(), DEADLINE)
        server.left.set()

        async with asyncio.timeout(DEADLINE):
            await task
            await source.closed.wait()

    async def test_a_client_that_disconnects_from_an_idle_stream_closes_the_source(
        self, serve: Callable[..., Awaitable[None]]
    ) -> None:
        source = Source(["a", forever()])

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server()
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.got.wait(), DEADLINE)
        server.left.set()

        async with asyncio.timeout(DEADLINE):
            await task
            await source.closed.wait()

    async def test_a_send_that_fails_closes_the_source(self, serve: Callable[..., Awaitable[None]]) -> None:
        source = Source(endless())

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        with suppress(ConnectionResetError):
            await serve(Server(fails_at="http.response.body"), view)

        async with asyncio.timeout(DEADLINE):
            await source.closed.wait()

    async def test_a_client_that_disconnects_before_the_head_is_sent_closes_the_upstream(
        self, serve: Callable[..., Awaitable[None]]
    ) -> None:
        source = Source(["a"])

        async def view(request: HttpRequest) -> HttpResponseBase:
            return stream_from(source)

        server = Server(blocks_at="http.response.start")
        task = asyncio.create_task(serve(server, view))
        await asyncio.wait_for(server.waiting.wait(), DEADLINE)
        server.left.set()

        async with asyncio.timeout(DEADLINE):
            await task
            await source.closed.wait()
        assert source.given == 0

    async def test_a_relay_keeps_repeated_headers(self, serve: Callable[..., Awaitable[None]]) -> None:
        async def view(request: HttpRequest) -> HttpResponseBase:
            return relay_of(["a", "b"], [("X-Two", "1"), ("x-two", "2"), ("Content-Type", "text/x"), *IN_LATIN_1])

        server = Server()
        await serve(server, view)

        headers = server.sent[0]["headers"]
        assert server.sent[0]["status"] == 206
        assert [value for key, value in headers if key.lower() == b"x-two"] == [b"1", b"2"]
        assert [value for key, value in headers if key.lower() == b"content-type"] == [b"text/x"]
        assert [value for key, value in headers if key.lower() == b"x-name"] == ["中".encode()] * 2
        assert server.body == b"ab"


IN_LATIN_1 = [("X-Name", "中".encode().decode("latin-1"))] * 2


class Upstream:
    """An UpstreamResponse without an upstream, with what RelayResponse uses."""

    name = "x"

    def __init__(self, source: Source, headers: list[tuple[str, str]], kind: str = "") -> None:
        self.status, self.reason, self.headers, self.kind = 206, "Partial", headers, kind
        self.read, self.close = source.read, source.close


def relay_of(chunks: Iterable[Any], headers: Iterable[tuple[str, str]] = (), kind: str = "") -> RelayResponse:
    source = Source(chunks)
    upstream: Any = Upstream(source, list(headers), kind)
    response = RelayResponse(AsyncRequestFactory().get("/proxy"), upstream)
    response.source = source  # type: ignore[attr-defined]
    return response


class TestARelay:
    async def test_passes_on_status_reason_and_bytes(self) -> None:
        response = relay_of(["a", "é"])

        assert (response.status_code, response.reason_phrase) == (206, "Partial")
        assert await all_of(response) == "aé".encode()

    async def test_does_not_guess_a_content_type(self) -> None:
        assert "Content-Type" not in relay_of([])

    async def test_is_sandboxed_in_addition_to_the_upstreams_policy(self) -> None:
        response = relay_of([], [("Content-Security-Policy", "default-src 'self'")])

        said = [value for key, value in response.items() if key.lower() == "content-security-policy"]
        assert said == ["default-src 'self'", "sandbox"]

    async def test_removes_connection_headers_and_the_upstreams_cookies(self) -> None:
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

        assert {key for key, _ in response.items()} == {"ETag", *(key for key, _ in SHUT_IN)}

    async def test_breaks_the_connection_when_the_upstream_does(self, log_text: Callable[[], str]) -> None:
        response = relay_of(["a", upstreams.Broken("x", "broke off")])

        with pytest.raises(upstreams.Broken):
            await all_of(response)

        assert "GET /proxy ended (error: the upstream 'x' broke off)" in log_text()
        assert response.source.closed.is_set()  # type: ignore[attr-defined]

    async def test_closes_the_upstream_when_the_client_disconnects(self, log_text: Callable[[], str]) -> None:
        response = relay_of(["a", "b"])

        async with aclosing(await begun(response)) as stream:
            await anext(stream)

        assert response.source.closed.is_set()  # type: ignore[attr-defined]
        assert "GET /proxy ended (left)" in log_text()

    @pytest.mark.parametrize("kind", ["text/event-stream", "application/zip"])
    async def test_that_is_stopped_breaks_the_connection(
        self, kind: str, log_text: Callable[[], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(responses, "BODY_GRACE", 0.01)
        response = relay_of(["a", forever()], kind=kind)
        stream = await begun(response)
        await anext(stream)

        response.stop("drained")
        with pytest.raises(upstreams.Broken, match="was cut off"):
            await asyncio.wait_for(anext(stream), DEADLINE)

        assert response.source.closed.is_set()  # type: ignore[attr-defined]
        assert not response.is_open
        assert "GET /proxy ended (drained)" in log_text()

    async def test_that_is_stopped_can_end_by_itself_first(self) -> None:
        response = relay_of(["a", "b"], kind="application/zip")
        stream = await begun(response)

        response.stop("drained")

        assert [chunk async for chunk in stream] == [b"a", b"b"]

    async def test_that_is_stopped_before_it_began_breaks_the_connection(self) -> None:
        response = relay_of(["a"], kind="text/event-stream")
        response.stop("drained")
        await asyncio.sleep(0.001)

        with pytest.raises(upstreams.Broken):
            await all_of(response)
