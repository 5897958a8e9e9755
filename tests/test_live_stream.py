"""A live stream with several clients: driving, leaving, returning and ending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from django.test import AsyncRequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import registry
from streaming.formats import NativeWriter
from streaming.joined_stream import JoinedStream
from streaming.journal import Limits, MemoryJournal, StreamInfo, StreamLog
from streaming.live_stream import LiveStream
from streaming.relay import Relay, TextChunks
from streaming.responses import EventStreamResponse
from streaming.sse import Message, Parser
from tests.conftest import DEADLINE


class Source:
    """A source that returns what is put into it; None is its end."""

    def __init__(self, texts: Iterable[str | None] = ()) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.reads = 0
        self.given = 0
        self.closed = 0
        for text in texts:
            self.put(text)

    def put(self, text: str | None) -> None:
        self._queue.put_nowait(text)

    async def read(self) -> bytes:
        assert not self.closed
        self.reads += 1
        try:
            assert self.reads == 1, "two read at once"
            text = await self._queue.get()
        finally:
            self.reads -= 1
        self.given += 1
        return (text or "").encode()

    def close(self, *, linger: bool = False) -> None:
        self.closed += 1


class Endless(Source):
    async def read(self) -> bytes:
        self.given += 1
        return b"x" * 100


class Stream:
    """One stream with its journal, created as in the views."""

    def __init__(self, source: Source, grace: float, limits: Limits) -> None:
        self.source = source
        self.journal = MemoryJournal(limits)
        self._grace = grace

    async def open(self) -> NativeWriter:
        writer = NativeWriter()
        self.id = writer.stream
        self.live: LiveStream | None = None
        self.log: StreamLog = await self.journal.open(StreamInfo(writer.stream), lambda reason: self.live.stop(reason))  # type: ignore[union-attr]
        return writer

    async def begin(self, opened: NativeWriter | None = None) -> EventStreamResponse:
        relay = Relay(TextChunks(), None, opened or await self.open())
        self.live = LiveStream(self.source, relay, self.log, label="a test", grace=self._grace)
        return response_of(self.live)

    async def join(self, after: int | None = None) -> EventStreamResponse:
        return response_of(JoinedStream(await self.journal.follow(self.id, after)))


def response_of(stream: Any) -> EventStreamResponse:
    return registry.watch(EventStreamResponse(AsyncRequestFactory().get("/x"), stream, heartbeat=60))


def new_stream(source: Source, grace: float = 60, **limits: Any) -> Stream:
    return Stream(source, grace, Limits(**limits))


class Client:
    """Reads a response as a client does and keeps what it received."""

    def __init__(self, response: EventStreamResponse, last_event_id: str = "") -> None:
        self._response = response
        self._chunks = aiter(response)
        self._parser = Parser(last_event_id)
        self.messages: list[Message] = []
        self.is_at_end = False

    async def read(self, until: Callable[[], object] = lambda: False) -> None:
        """Until this holds, or the end."""
        async with asyncio.timeout(DEADLINE):
            while not until() and not self.is_at_end:
                try:
                    self.messages += self._parser.feed(await anext(self._chunks))
                except StopAsyncIteration:
                    self.is_at_end = True

    async def read_text(self, text: str) -> None:
        await self.read(lambda: self.text == text)

    async def leave(self) -> None:
        await self._chunks.aclose()
        self._response.close()  # as Django does, at the end of each request
        await asyncio.sleep(0)

    @property
    def text(self) -> str:
        return "".join(json.loads(message.data).get("delta", "") for message in self.messages)

    @property
    def position(self) -> int:
        return int(self._parser.last_event_id.rpartition(":")[2] or -1)

    @property
    def reason(self) -> str:
        last = self.messages[-1]
        return str(json.loads(last.data)["reason"]) if last.event == "done" else ""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 (what it waits for has no event)
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})


class TestWithOneClient:
    async def test_uses_no_background_task(self) -> None:
        stream = new_stream(Source(["a", "b", None]))
        before = asyncio.all_tasks()
        client = Client(await stream.begin())

        await client.read_text("ab")
        assert asyncio.all_tasks() == before
        await client.read()

        assert (client.text, client.reason) == ("ab", "stop")
        assert stream.source.closed == 1

    async def test_stores_everything_that_was_sent(self) -> None:
        stream = new_stream(Source(["a", "b", None]))
        first = Client(await stream.begin())
        await first.read()

        later = Client(await stream.join(-1))
        await later.read()

        assert later.messages == first.messages
        assert (await stream.journal.find(stream.id)).ended == "stop"

    async def test_does_not_read_ahead_from_a_source_that_never_waits(self) -> None:
        stream = new_stream(Endless(), grace=0)
        client = Client(await stream.begin())
        await client.read(lambda: len(client.text) >= 1000)
        for _ in range(100):
            await asyncio.sleep(0)

        assert stream.source.given <= 11
        await client.leave()

    async def test_is_stopped_at_once_although_its_client_reads_nothing(self) -> None:
        stream = new_stream(Endless())
        stalled = Client(await stream.begin())
        await stalled.read(lambda: stalled.text != "")

        await stream.journal.stop(stream.id)

        await until(lambda: stream.source.closed)
        assert (await stream.journal.find(stream.id)).ended == "stopped"
        await stalled.read()
        assert stalled.reason == "stopped"

    async def test_ends_at_its_time_limit_although_its_client_reads_nothing(self, settings: Any) -> None:
        settings.STREAMING_MAX_STREAM_SECONDS = 0.1
        stream = new_stream(Endless())
        stalled = Client(await stream.begin())
        await stalled.read(lambda: stalled.messages)

        await until(lambda: stream.source.closed)

        await stalled.read()
        assert stalled.reason == "length"


class TestWithSeveralClients:
    async def test_sends_everything_to_each_client(self) -> None:
        stream = new_stream(Source(["a"]))
        first = Client(await stream.begin())
        await first.read_text("a")
        second = Client(await stream.join())
        await second.read_text("a")
        reading = [asyncio.create_task(client.read()) for client in (first, second)]

        for text in "bcd":
            stream.source.put(text)
            await asyncio.sleep(0)
        stream.source.put(None)
        await asyncio.gather(*reading)

        assert [client.text for client in (first, second)] == ["abcd", "abcd"]
        assert [client.reason for client in (first, second)] == ["stop", "stop"]
        assert stream.source.closed == 1

    async def test_a_stalled_client_does_not_hold_up_others_until_it_is_far_behind(self) -> None:
        stream = new_stream(Endless(), stream_bytes=20_000)
        slow = Client(await stream.begin())
        await slow.read(lambda: slow.text != "")
        fast = Client(await stream.join())
        reading = asyncio.create_task(fast.read())

        await until(lambda: not stream.log.has_room)
        given = stream.source.given
        for _ in range(100):
            await asyncio.sleep(0)
        assert stream.source.given <= given + 5
        assert 20_000 < stream.log.size < 25_000
        await slow.read(lambda: len(slow.text) > 30_000)
        assert stream.source.given > given

        await stream.journal.stop(stream.id)
        await asyncio.gather(reading, slow.read())
        assert slow.text == fast.text

    async def test_a_client_that_joined_before_the_stream_began_slows_it_down_too(self) -> None:
        stream = new_stream(Endless(), stream_bytes=20_000)
        opened = await stream.open()
        stalled = Client(await stream.join())
        fast = Client(await stream.begin(opened))
        reading = asyncio.create_task(fast.read())

        await until(lambda: not stream.log.has_room)
        for _ in range(100):
            await asyncio.sleep(0)
        assert stream.log.size < 25_000

        await stream.journal.stop(stream.id)
        await asyncio.gather(reading, stalled.read())
        assert (stalled.text, stalled.reason) == (fast.text, "stopped")

    async def test_a_client_that_joined_before_the_stream_began_keeps_it_running(self) -> None:
        stream = new_stream(Source(["a"]), grace=0)
        opened = await stream.open()
        second = Client(await stream.join())
        first = Client(await stream.begin(opened))
        await first.read_text("a")

        await first.leave()
        stream.source.put("b")
        stream.source.put(None)
        await second.read()

        assert (second.text, second.reason) == ("ab", "stop")

    async def test_a_stream_ends_at_its_time_limit_although_a_client_reads_nothing(self) -> None:
        stream = new_stream(Endless(), stream_bytes=20_000)
        stalled = Client(await stream.begin())
        await stalled.read(lambda: stalled.text != "")
        fast = Client(await stream.join())
        reading = asyncio.create_task(fast.read())
        await until(lambda: not stream.log.has_room and fast.position == stream.log.last)

        assert stream.live
        stream.live._ends_at = 0  # its time is over: the timer rings
        stream.live._wait.interrupt()
        await reading

        assert fast.reason == "length"
        assert stream.source.closed == 1
        await stalled.read()
        assert stalled.text == fast.text

    async def test_a_client_that_leaves_does_not_affect_the_others(self) -> None:
        stream = new_stream(Source(["a"]), grace=0)
        first = Client(await stream.begin())
        await first.read_text("a")
        second = Client(await stream.join())
        await second.read_text("a")

        await first.leave()
        stream.source.put("b")
        stream.source.put(None)
        await second.read()

        assert (second.text, second.reason) == ("ab", "stop")


class TestAStreamWithoutClients:
    async def test_continues_and_can_be_resumed(self) -> None:
        stream = new_stream(Source(["a"]))
        first = Client(await stream.begin())
        await first.read_text("a")
        await first.leave()
        stream.source.put("b")
        await until(lambda: stream.source.given == 2)

        back = Client(await stream.join(first.position))
        stream.source.put("c")
        stream.source.put(None)
        await back.read()

        assert first.text + back.text == "abc"
        assert back.reason == "stop"
        assert stream.source.closed == 1

    async def test_continues_even_before_its_first_byte(self) -> None:
        stream = new_stream(Source(["a", None]))

        (await stream.begin()).close()
        await until(lambda: stream.source.closed)

        back = Client(await stream.join())
        await back.read()
        assert (back.messages[0].event, back.text, back.reason) == ("connect", "a", "stop")

    async def test_is_abandoned_after_the_grace_period(self) -> None:
        stream = new_stream(Source(["a"]), grace=0.05)
        first = Client(await stream.begin())
        await first.read_text("a")

        await first.leave()
        await until(lambda: stream.source.closed)

        back = Client(await stream.join(first.position))
        await back.read()
        assert back.reason == "abandoned"

    async def test_is_closed_at_once_without_a_grace_period(self) -> None:
        stream = new_stream(Source(["a"]), grace=0)
        first = Client(await stream.begin())
        await first.read_text("a")

        await first.leave()

        assert stream.source.closed == 1
        assert (await stream.journal.find(stream.id)).ended == "abandoned"

    async def test_is_not_abandoned_after_a_client_returned(self) -> None:
        stream = new_stream(Source(["a"]), grace=2)
        first = Client(await stream.begin())
        await first.read_text("a")
        await first.leave()
        back = Client(await stream.join(first.position))
        reading = asyncio.create_task(back.read())

        await asyncio.sleep(2.1)
        stream.source.put("b")
        stream.source.put(None)
        await reading

        assert (back.text, back.reason) == ("b", "stop")

    async def test_waits_for_its_client_before_it_discards_unread_events(self) -> None:
        stream = new_stream(Endless(), stream_bytes=20_000)
        first = Client(await stream.begin())
        await first.read(lambda: len(first.text) >= 100)
        await first.leave()
        await until(lambda: not stream.log.has_room)

        back = Client(await stream.join(first.position))
        await back.read(lambda: len(back.text) >= 50_000)
        await stream.journal.stop(stream.id)
        await back.read()

        assert back.messages[0].id.endswith(f":{first.position + 1}")
        numbers = [int(message.id.rpartition(":")[2]) for message in back.messages]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


class TestAStop:
    @pytest.mark.parametrize("clients", [1, 2])
    async def test_reaches_every_client(self, clients: int) -> None:
        stream = new_stream(Source(["a"]))
        all_clients = [Client(await stream.begin())]
        await all_clients[0].read_text("a")
        all_clients += [Client(await stream.join()) for _ in range(clients - 1)]
        reading = [asyncio.create_task(client.read()) for client in all_clients]
        await asyncio.sleep(0)

        await stream.journal.stop(stream.id)
        await asyncio.gather(*reading)
        await stream.journal.stop(stream.id)

        assert {client.reason for client in all_clients} == {"stopped"}
        assert {client.text for client in all_clients} == {"a"}
        assert stream.source.closed == 1

    async def test_ends_a_stream_without_clients(self) -> None:
        stream = new_stream(Source(["a"]))
        first = Client(await stream.begin())
        await first.read_text("a")
        await first.leave()

        await stream.journal.stop(stream.id)
        await until(lambda: stream.source.closed)

        assert (await stream.journal.find(stream.id)).ended == "stopped"


class TestAShutdown:
    async def test_sends_clients_a_final_message_and_ends_streams_without_clients(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(registry, "_streams", type(registry._streams)())
        monkeypatch.setattr(registry, "_draining", False)
        read, left = new_stream(Source(["a"])), new_stream(Source(["a"]))
        clients = [Client(await stream.begin()) for stream in (read, left)]
        for client in clients:
            await client.read_text("a")
        await clients[1].leave()
        joined = Client(await read.join())
        reading = [asyncio.create_task(client.read()) for client in (clients[0], joined)]
        await until(lambda: registry.count_open() == 3)

        assert await registry.drain() == 0
        await asyncio.gather(*reading)

        assert [clients[0].reason, joined.reason] == ["drained", "drained"]
        assert (await left.journal.find(left.id)).ended == "drained"

    async def test_cuts_clients_of_other_workers_streams_which_resume_in_another_worker(self) -> None:
        stream = new_stream(Source(["a"]))
        client = Client(await stream.begin())
        await client.read_text("a")
        stream.log.is_driven_here = False
        response = await stream.join()
        joined = Client(response)
        reading = asyncio.create_task(joined.read())
        await until(lambda: joined.text == "a")

        response.stop("drained")
        await reading

        assert (joined.is_at_end, joined.reason) == (True, "")
        await client.leave()
        await stream.journal.stop(stream.id)
        await until(lambda: stream.source.closed)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["text", "read", "cut", "second", "turn"]), max_size=60),
    st.sampled_from([1 << 20, 1000]),
)
def test_a_client_that_is_cut_and_returns_at_any_time_gets_each_character_once(steps: list[str], size: int) -> None:
    asyncio.run(played(steps, size))


async def played(steps: list[str], size: int) -> None:
    stream = new_stream(Source(), stream_bytes=size)
    client = Client(await stream.begin())
    sent, got, others = "", "", list[asyncio.Task[str]]()

    async def read_whole() -> str:
        other = Client(await stream.join())
        await other.read()
        return other.text

    for number, step in enumerate(steps):
        match step:
            case "text":
                stream.source.put(f"<{number}>")
                sent += f"<{number}>"
            case "read":
                reading = asyncio.create_task(client.read())
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                # A read that is cancelled is a client that is gone.
                got, client = await cut(stream, client, got)
            case "cut":
                got, client = await cut(stream, client, got)
            case "second" if len(others) < 3 and size > 1000:
                others.append(asyncio.create_task(read_whole()))
        await asyncio.sleep(0)
    stream.source.put(None)
    await client.read()

    assert got + client.text == sent
    assert client.reason == "stop"
    assert [await other for other in others] == [sent] * len(others)
    async with aclosing(aiter(response_of(JoinedStream(await stream.journal.follow(stream.id, client.position))))):
        pass
    assert stream.source.closed == 1


async def cut(stream: Stream, client: Client, got: str) -> tuple[str, Client]:
    await client.leave()
    return got + client.text, Client(await stream.join(client.position), f":{client.position}")
