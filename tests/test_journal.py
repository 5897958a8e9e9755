"""The journal, in memory and in a real Redis, in the driver's worker and in another one."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from streaming.journal import (
    AlreadyClaimed,
    Gap,
    Journal,
    JournalFull,
    Limits,
    LogReader,
    MemoryJournal,
    StoreUnavailable,
    StreamInfo,
    StreamLog,
    UnknownStream,
)
from streaming.journal.log import BATCH_OVERHEAD
from streaming.journal.memory import LOG_OVERHEAD
from streaming.journal.redis import SEAL_JUMP, RedisJournal
from streaming.sse import Message, Parser, encode
from tests.conftest import DEADLINE, measured_delay
from tests.redis_server import RedisServer

Stops = list[str]


def event(number: int, text: str = "", **more: Any) -> bytes:
    return encode(Message(json.dumps({"delta": text or f"<{number}>", **more}), id=f"s:{number}"))


def events(first: int, last: int) -> bytes:
    return b"".join(map(event, range(first, last + 1)))


LAST_WORDS = encode(Message("{}", event="error", id="s:@")) + encode(Message("{}", event="done", id="s:@"))
LAST_WORDS = LAST_WORDS.replace(b"@", b"\0")


def new_stream(**fields: Any) -> StreamInfo:
    return StreamInfo(uuid.uuid4().hex, **{"last_words": LAST_WORDS, **fields})


def nothing(reason: str) -> None: ...


async def whole(reader: LogReader) -> bytes:
    """Everything until the end."""
    data = b""
    async with asyncio.timeout(DEADLINE):
        while piece := await reader.read():
            data += piece
    reader.close()
    return data


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"after {DEADLINE:g} s: {what}")


def text_of(data: bytes) -> str:
    return "".join(json.loads(message.data).get("delta", "") for message in Parser().feed(data))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def failing_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_failure(log_text: Callable[[], str]) -> Iterator[None]:
    """Fail if a background task has logged an error."""
    yield
    assert "the journal failed" not in log_text()


class Workers:
    """The journals of several workers: one drives the streams, the other reads them."""

    def __init__(self, kind: str, url: str) -> None:
        self._kind = kind
        self._url = url
        self._journals: list[Journal] = []

    def make(self, limits: Limits | None = None, **options: Any) -> Journal:
        limits = limits or Limits()
        journal = MemoryJournal(limits) if self._kind == "memory" else RedisJournal(self._url, limits, **options)
        self._journals.append(journal)
        return journal

    def pair(self, limits: Limits | None = None) -> tuple[Journal, Journal]:
        driver = self.make(limits)
        return driver, self.make(limits) if self._kind == "redis, in another worker" else driver

    async def close(self) -> None:
        for journal in self._journals:
            await journal.close()


KINDS = ["memory", "redis", "redis, in another worker"]


@asynccontextmanager
async def working(kind: str, server: RedisServer) -> AsyncIterator[Workers]:
    workers = Workers(kind, server.url)
    yield workers
    await workers.close()


@pytest.fixture(params=KINDS)
async def workers(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Workers]:
    async with working(request.param, redis_server) as workers:
        yield workers


class TestReading:
    async def test_gives_stored_events_and_then_new_ones(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(dialect="openai"), nothing)
        log.append(events(0, 2), 3)

        reader = await other.follow(log.info.id)
        first = b""
        while len(first) < len(events(0, 2)):
            first += await reader.read()
        log.append(events(3, 3), 1)
        log.append(events(4, 5), 2)
        log.end("stop")

        assert first == events(0, 2)
        assert await whole(reader) == events(3, 5)

    async def test_an_ended_stream_gives_all_its_events(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(dialect="openai"), nothing)
        for number in range(10):
            log.append(event(number), 1)
        log.end("stop")
        await until_stored(driver)

        assert await whole(await other.follow(log.info.id)) == events(0, 9)
        assert await whole(await other.follow(log.info.id, 7)) == events(8, 9)
        assert await whole(await other.follow(log.info.id, 9)) == b""

    async def test_waits_for_an_event_that_the_client_has_from_another_worker(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        log.append(events(0, 2), 3)

        reader = await other.follow(log.info.id, 4)
        log.append(events(3, 6), 4)
        log.end("stop")

        assert await whole(reader) == events(5, 6)

    async def test_that_is_cancelled_loses_nothing(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        reader = await other.follow(log.info.id, -1)
        data = b""

        for number in range(20):
            read = asyncio.ensure_future(reader.read())
            await asyncio.sleep(0)
            log.append(event(number), 1)
            if number % 2:
                await asyncio.sleep(0)
            read.cancel()
            (got,) = await asyncio.gather(read, return_exceptions=True)
            data += got if isinstance(got, bytes) else b""
        log.end("stop")

        assert data + await whole(reader) == events(0, 19)

    async def test_gives_several_readers_the_same_events(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        readers = [asyncio.create_task(whole(await other.follow(log.info.id, -1))) for _ in range(50)]

        for number in range(50):
            log.append(event(number), 1)
            await asyncio.sleep(0)
        log.end("stop")

        assert {*await asyncio.gather(*readers)} == {events(0, 49)}

    async def test_an_unknown_stream_is_refused(self, workers: Workers) -> None:
        _, other = workers.pair()

        for asked in (other.find("x"), other.follow("x"), other.stop("x")):
            with pytest.raises(UnknownStream):
                await asked

    @pytest.mark.parametrize("kind", KINDS)
    def test_gives_each_event_once_wherever_a_reader_joins_and_is_cut(
        self, kind: str, redis_server: RedisServer
    ) -> None:
        batches = st.lists(st.integers(1, 5), min_size=1, max_size=30)

        @settings(max_examples=40 if kind == "memory" else 12, deadline=None)
        @given(batches, st.lists(st.tuples(st.integers(0, 29), st.floats(0, 1)), max_size=8), st.data())
        def check(counts: list[int], joins: list[tuple[int, float]], data: st.DataObject) -> None:
            asyncio.run(self._joined(kind, redis_server, counts, joins))

        check()

    async def _joined(self, kind: str, server: RedisServer, counts: list[int], joins: list[tuple[int, float]]) -> None:
        ends = list(accumulate(counts))
        async with working(kind, server) as workers:
            driver, other = workers.pair()
            log = await driver.open(new_stream(), nothing)
            reading = []
            for index, (begin, end) in enumerate(pairwise([0, *ends])):
                for at, part in joins:
                    if at == index:
                        after = int(part * begin) - 1
                        reading.append((after, asyncio.create_task(whole(await other.follow(log.info.id, after)))))
                log.append(events(begin, end - 1), end - begin)
                await asyncio.sleep(0)
            log.end("stop")
            for after, task in reading:
                assert await task == events(after + 1, ends[-1] - 1)


async def until_stored(journal: Journal) -> None:
    await until(lambda: not journal.state().get("unstored"), "everything is stored")


class TestALateJoiner:
    async def test_gets_consecutive_deltas_as_one_message(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        for number in range(5_000):
            log.append(event(number, "twenty characters..."), 1)
        await until_stored(driver)

        reader = await other.follow(log.info.id)
        log.append(event(5_000, "live"), 1)
        log.end("stop")
        messages = Parser().feed(await whole(reader))

        assert text_of(b"".join(map(encode, messages))) == "twenty characters..." * 5_000 + "live"
        assert len(messages) <= 12
        assert messages[-1].id == "s:5000"

    async def test_gets_other_messages_in_their_order(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        begin = encode(Message("{}", event="connect", id="s:0", retry=2000))
        notice = encode(Message('{"action": "mask"}', event="moderation", id="s:3"))
        log.append(begin + event(1, "a") + event(2, "b") + notice + event(4, "c") + event(5, "d", channel="x"), 6)
        log.append(event(6, "e", channel="x") + encode(Message("{}", event="done", id="s:7")), 2)
        log.end("stop")
        await until_stored(driver)

        data = await whole(await other.follow(log.info.id))

        assert data == begin + event(2, "ab") + notice + event(4, "c") + event(6, "de", channel="x") + encode(
            Message("{}", event="done", id="s:7")
        )

    async def test_gets_only_the_last_snapshot(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        log.append(b"".join(encode(Message(json.dumps({"text": "x" * n}), id=f"s:{n}")) for n in range(5)), 5)
        log.end("stop")
        await until_stored(driver)

        assert await whole(await other.follow(log.info.id)) == encode(Message('{"text": "xxxx"}', id="s:4"))

    async def test_of_another_format_gets_the_same_bytes(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(dialect="openai"), nothing)
        log.append(b'data: {"choices": []}\n\ndata: [DONE]\n\n', 2)
        log.end("stop")
        await until_stored(driver)

        assert await whole(await other.follow(log.info.id)) == b'data: {"choices": []}\n\ndata: [DONE]\n\n'


class TestTheState:
    async def test_is_running_with_its_last_number_and_then_how_it_ended(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(owner="user:1", claim=uuid.uuid4().hex, fingerprint="f"), nothing)
        log.append(events(0, 3), 4)
        await until_stored(driver)
        running = await other.find(log.info.id)
        log.end("blocked")
        await until_stored(driver)
        ended = await other.find(log.info.id)

        assert (running.last, running.ended) == (3, "")
        assert (ended.last, ended.ended) == (3, "blocked")
        assert running.info == ended.info == log.info

    async def test_is_set_by_the_first_end_only(self, workers: Workers) -> None:
        driver, other = workers.pair()
        log = await driver.open(new_stream(), nothing)
        log.end("stopped")
        log.end("stop")
        await until_stored(driver)

        assert (await other.find(log.info.id)).ended == "stopped"


class TestStopping:
    async def test_reaches_the_driver_in_any_worker(self, workers: Workers) -> None:
        driver, other = workers.pair()
        stops = Stops()
        log = await driver.open(new_stream(), stops.append)

        await other.stop(log.info.id)

        await until(lambda: stops == ["stopped"], "the driver is notified")

    async def test_of_an_ended_stream_does_nothing(self, workers: Workers) -> None:
        driver, other = workers.pair()
        stops = Stops()
        log = await driver.open(new_stream(), stops.append)
        log.end("stop")
        await until_stored(driver)

        await other.stop(log.info.id)

        assert not stops


class TestAClaim:
    """An idempotency key stands for one stream, for whoever sends it again."""

    async def test_gives_the_stream_that_holds_the_key(self, workers: Workers) -> None:
        driver, other = workers.pair()
        info = new_stream(claim=uuid.uuid4().hex, fingerprint="of the body")
        await driver.open(info, nothing)

        with pytest.raises(AlreadyClaimed) as caught:
            await other.open(replace(info, id="another"), nothing)

        assert (caught.value.stream, caught.value.fingerprint) == (info.id, "of the body")
        with pytest.raises(UnknownStream):
            await other.find("another")

    async def test_finds_its_stream_for_whoever_knows_it(self, workers: Workers) -> None:
        driver, other = workers.pair()
        info = new_stream(claim=uuid.uuid4().hex)
        log = await driver.open(info, nothing)

        assert [await journal.claimed_by(info.claim) for journal in (driver, other)] == [info.id] * 2

        await driver.discard(log)
        for journal in (driver, other):
            with pytest.raises(UnknownStream):
                await journal.claimed_by(info.claim)

    async def test_of_several_concurrent_requests_is_won_by_one(self, workers: Workers) -> None:
        driver, other = workers.pair()
        claim = uuid.uuid4().hex

        opened = await asyncio.gather(
            *(journal.open(new_stream(claim=claim), nothing) for journal in [driver, other] * 10),
            return_exceptions=True,
        )

        logs = [each for each in opened if isinstance(each, StreamLog)]
        assert len(logs) == 1
        assert {each.stream for each in opened if isinstance(each, AlreadyClaimed)} == {logs[0].info.id}

    async def test_is_released_when_its_stream_fails_before_it_begins(self, workers: Workers) -> None:
        driver, other = workers.pair()
        info = new_stream(claim=uuid.uuid4().hex)
        log = await driver.open(info, nothing)
        waiting = await other.follow(info.id)

        await driver.discard(log)

        with pytest.raises(UnknownStream):
            await whole(waiting)
        await other.open(replace(info, id=uuid.uuid4().hex), nothing)
        with pytest.raises(UnknownStream):
            await other.find(info.id)

    async def test_is_released_although_the_heartbeat_has_just_looked_after_its_stream(
        self, redis_server: RedisServer
    ) -> None:
        async with working("redis, in another worker", redis_server) as workers:
            driver, other = workers.pair()
            assert isinstance(driver, RedisJournal)
            info = new_stream(claim=uuid.uuid4().hex)
            log = await driver.open(info, nothing)
            append, is_asked, may_go_on = driver._writer._append, asyncio.Event(), asyncio.Event()

            async def late(**options: Any) -> Any:
                is_asked.set()
                await may_go_on.wait()
                return await append(**options)

            driver._writer._append = late  # type: ignore[assignment]
            driver._writer.touch_silent()
            await is_asked.wait()

            await driver.discard(log)
            may_go_on.set()
            await until_stored(driver)

            with pytest.raises(UnknownStream):
                await other.find(info.id)
            await other.open(replace(info, id=uuid.uuid4().hex), nothing)


class TestNotices:
    async def test_are_seen_and_answered_by_other_workers(self, workers: Workers) -> None:
        one, other = workers.pair()
        assert await one.post(b"mine") == []
        ((worker, notice),) = await other.notices()

        await other.ask(worker, "stop it")

        assert notice == b"mine"
        assert await one.post(b"mine") == ["stop it"]
        assert await one.post(b"") == []
        assert await other.notices() == []


class TestBounds:
    async def test_a_slow_reader_slows_the_driver_down(self, workers: Workers) -> None:
        driver, other = workers.pair(Limits(stream_bytes=50_000))
        log = await driver.open(new_stream(dialect="openai"), nothing)
        slow, fast = await other.follow(log.info.id), await other.follow(log.info.id)
        reading = asyncio.create_task(whole(fast))
        # The readers of another worker are known a moment later.
        await until(lambda: log.readers, "the driver knows that somebody reads")

        number = 0
        while log.has_room:
            log.append(event(number), 1)
            number += 1
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        room = asyncio.create_task(log.until_room())
        await asyncio.sleep(0)
        assert not room.done()
        assert log.size < 60_000
        assert len(await slow.read()) > 0  # then it reads all
        rest = asyncio.create_task(whole(slow))
        async with asyncio.timeout(DEADLINE):
            await room
        log.append(event(number), 1)
        log.end("stop")

        assert await reading == events(0, number)
        assert (await rest).endswith(event(number))

    async def test_a_reader_that_claims_events_of_the_future_slows_nobody_down(self, workers: Workers) -> None:
        driver, other = workers.pair(Limits(stream_bytes=10_000))
        log = await driver.open(new_stream(dialect="openai"), nothing)
        ahead, reader = await other.follow(log.info.id, 999_999), await other.follow(log.info.id)
        reading = asyncio.create_task(whole(reader))
        await until(lambda: log.readers, "the driver knows that somebody reads")

        for number in range(2_000):
            async with asyncio.timeout(DEADLINE):
                await log.until_room()
            log.append(event(number), 1)
        log.end("stop")

        assert await reading == events(0, 1_999)
        assert await whole(ahead) == b""

    async def test_a_stream_longer_than_the_journal_cannot_be_read_from_its_beginning(self, workers: Workers) -> None:
        driver, other = workers.pair(Limits(stream_bytes=20_000))
        log = await driver.open(new_stream(), nothing)
        for number in range(2_000):
            log.append(event(number), 1)
        await until_stored(driver)

        assert log.size <= 20_000
        for after in (None, -1, 100):
            with pytest.raises(Gap):
                await other.follow(log.info.id, after)
        reader = await other.follow(log.info.id, 1_900)
        log.append(event(2_000), 1)
        log.end("stop")
        assert await whole(reader) == events(1_901, 2_000)

    async def test_the_smallest_journal_keeps_the_end_of_a_stream(self, workers: Workers) -> None:
        driver, other = workers.pair(Limits(stream_bytes=1))
        log = await driver.open(new_stream(), nothing)
        for number in range(3):
            log.append(event(number), 1)
        log.end("stop")
        await until_stored(driver)

        assert (await other.find(log.info.id)).ended == "stop"
        assert await whole(await other.follow(log.info.id, 1)) == event(2)

    async def test_the_stream_that_ended_first_is_discarded_first(self) -> None:
        overhead = LOG_OVERHEAD + BATCH_OVERHEAD + len(LAST_WORDS)
        journal = MemoryJournal(Limits(total_bytes=10_000 + 4 * overhead))
        logs = [await journal.open(new_stream(), nothing) for _ in range(4)]
        for log in logs[:3]:
            log.append(b"x" * 3_000, 1)
            log.end("stop")

        logs[3].append(b"x" * 3_000, 1)

        assert [log.info.id in journal for log in logs] == [False, True, True, True]
        assert journal.bytes == 9_000 + 3 * overhead

    @pytest.mark.parametrize("count", [0, 1, 100])
    @pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
    async def test_of_all_streams_are_those_of_memory_however_small_the_events_are(
        self, count: int, ended: bool
    ) -> None:
        journal, streams = MemoryJournal(Limits(total_bytes=1 << 40)), 200
        gc.collect()
        tracemalloc.start()
        for _ in range(streams):
            log = await journal.open(new_stream(last_words=LAST_WORDS + b"\n"), lambda _: None)
            for number in range(count):
                log.append(event(number), 1)
            if ended:
                log.end("stop")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert 0.75 < journal.bytes / held < 1.33
        await journal.close()
        assert journal.bytes == 0

    async def test_what_is_kept_of_an_ended_stream_weighs_little_more_than_its_events(self) -> None:
        journal = MemoryJournal(Limits())
        log = await journal.open(new_stream(), nothing)
        for number in range(5_000):
            log.append(event(number), 1)
        running = journal.bytes
        log.end("stop")

        assert journal.bytes < log.size * 1.02 < running
        for after in (-1, 0, 1_234, 4_998):
            assert await whole(log.reader(after)) == events(after + 1, 4_999)

    async def test_a_new_stream_is_refused_when_running_streams_use_all_space(self, workers: Workers) -> None:
        driver, _ = workers.pair(Limits(total_bytes=10_000))
        log = await driver.open(new_stream(), nothing)
        log.append(b"x" * 10_000, 1)

        with pytest.raises(JournalFull):
            await driver.open(new_stream(), nothing)

        log.end("stop")
        await driver.open(new_stream(), nothing)

    async def test_an_ended_stream_is_kept_for_the_retention_time(self) -> None:
        now = 0.0
        journal = MemoryJournal(Limits(keep=300), clock=lambda: now)
        log = await journal.open(new_stream(claim="c"), nothing)
        log.append(event(0), 1)
        now = 1_000.0
        assert (await journal.find(log.info.id)).last == 0  # running streams have time

        log.end("stop")
        now = 1_299.0
        reader = await journal.follow(log.info.id, -1)
        now = 1_300.0

        with pytest.raises(UnknownStream):
            await journal.find(log.info.id)
        assert journal.bytes == 0
        assert await whole(reader) == event(0)  # it had joined in time
        await journal.open(new_stream(claim="c"), nothing)

    async def test_an_ended_stream_is_kept_for_the_retention_time_in_redis_too(self, redis_server: RedisServer) -> None:
        async with working("redis", redis_server) as workers:
            journal = workers.make(Limits(keep=3))
            log = await journal.open(new_stream(claim=uuid.uuid4().hex), nothing)
            log.append(event(0), 1)
            log.end("stop")
            await until_stored(journal)
            assert await whole(await journal.follow(log.info.id, -1)) == event(0)

            async with asyncio.timeout(DEADLINE):
                with pytest.raises(UnknownStream):
                    while await journal.find(log.info.id):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def redis_workers(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Workers]:
    async with working("redis, in another worker", redis_server) as workers:
        yield workers


async def kill(journal: Journal) -> None:
    """Like SIGKILL: nothing more is written and nothing is released."""
    assert isinstance(journal, RedisJournal)
    await journal._cancel_tasks()
    await journal._connections.own.connection_pool.disconnect()
    await journal._connections.listener.connection_pool.disconnect()


BEAT = 0.5
"""Short, for tests in which a lease runs out; long enough for a machine that is busy."""


class TestADeadWorker:
    async def test_is_reported_to_every_reader_once(self, redis_workers: Workers) -> None:
        driver, *others = (redis_workers.make(beat=BEAT) for _ in range(3))
        log = await driver.open(new_stream(), nothing)
        log.append(events(0, 2), 3)
        await until_stored(driver)
        readers = [await other.follow(log.info.id, -1) for other in others for _ in range(2)]

        await kill(driver)
        began = time.monotonic()
        async with measured_delay() as delay:
            endings = await asyncio.gather(*map(whole, readers))
        seconds = time.monotonic() - began - delay()

        number = 2 + SEAL_JUMP
        last_words = LAST_WORDS.replace(b"\0", b"%d") % (number, number + 1)
        assert {*endings} == {events(0, 2) + last_words}
        assert seconds < 5 * BEAT + 5, "3.5 beats of the lease, and one to look; 5 s are for a machine that is busy"

    async def test_is_reported_to_later_readers(self, redis_workers: Workers) -> None:
        driver, other = redis_workers.make(beat=BEAT), redis_workers.make(beat=BEAT)
        log = await driver.open(new_stream(), nothing)
        log.append(events(0, 2), 3)
        await until_stored(driver)
        await kill(driver)
        await until_ended(other, log.info.id)

        # This one had more from the dead worker than was stored.
        ahead = await whole(await other.follow(log.info.id, 7))
        behind = await whole(await other.follow(log.info.id, 1))

        assert behind == event(2) + ahead
        assert [message.event for message in Parser().feed(ahead)] == ["error", "done"]
        assert (await other.find(log.info.id)).ended == "error"

    async def test_that_was_only_slow_can_no_longer_write(self, redis_workers: Workers) -> None:
        late, other = redis_workers.make(beat=BEAT), redis_workers.make(beat=BEAT)
        stops = Stops()
        log = await late.open(new_stream(), stops.append)
        log.append(events(0, 2), 3)
        await until_stored(late)
        reading = asyncio.create_task(whole(await other.follow(log.info.id, -1)))
        assert isinstance(late, RedisJournal)
        tasks = set(late._connections._tasks)
        for task in tasks:
            task.cancel()
        sealed = await reading

        log.append(event(3), 1)

        await until(lambda: stops == ["error"], "the driver is notified")
        assert await whole(await other.follow(log.info.id, -1)) == sealed


async def until_ended(journal: Journal, stream: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not (await journal.find(stream)).ended:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class TestRedis:
    async def test_gets_one_entry_for_all_events_within_25_ms(self, redis_workers: Workers, redis: Redis) -> None:
        driver = redis_workers.make()
        log = await driver.open(new_stream(), nothing)
        began = time.monotonic()
        for number in range(500):
            log.append(event(number), 1)
            await asyncio.sleep(0.0002)
        await until_stored(driver)
        seconds = time.monotonic() - began

        assert await redis.xlen(f"streams:{{{log.info.id}}}:log") <= seconds / 0.025 + 2

    async def test_is_used_over_three_connections_for_any_number_of_readers(
        self, redis_workers: Workers, redis: Redis
    ) -> None:
        driver, other = redis_workers.make(), redis_workers.make()
        before = len(await redis.client_list())
        logs = [await driver.open(new_stream(), nothing) for _ in range(20)]
        readers = await asyncio.gather(*(other.follow(log.info.id, -1) for log in logs for _ in range(20)))
        reading = [asyncio.create_task(whole(reader)) for reader in readers]
        for log in logs:
            log.append(event(0), 1)
        await asyncio.sleep(0)

        assert len(await redis.client_list()) - before <= 6

        for log in logs:
            log.end("stop")
        assert {*await asyncio.gather(*reading)} == {event(0)}

    async def test_gets_no_key_without_an_expiry(self, redis_workers: Workers, redis: Redis) -> None:
        driver, other = redis_workers.pair()
        log = await driver.open(new_stream(claim="c"), nothing)
        failed = await driver.open(new_stream(), nothing)
        log.append(event(0), 1)
        reader = await other.follow(log.info.id)
        await other.stop(log.info.id)
        await driver.discard(failed)
        await until_stored(driver)

        keys = await redis.keys("*")
        assert len(keys) >= 5
        assert all([await redis.ttl(key) > 0 for key in keys])
        reader.close()

    async def test_lets_the_first_events_expire_also_just_after_a_heartbeat(
        self, redis_workers: Workers, redis: Redis
    ) -> None:
        driver = redis_workers.make()
        assert isinstance(driver, RedisJournal)
        log = await driver.open(new_stream(), nothing)
        driver._writer.touch_silent()
        await until_stored(driver)

        log.append(event(0), 1)
        await until_stored(driver)

        assert await redis.ttl(f"streams:{{{log.info.id}}}:log") > 0, "nobody may be left to see to it"

    async def test_keeps_a_stream_that_is_silent_for_a_long_time(self, redis_workers: Workers, redis: Redis) -> None:
        driver = redis_workers.make(beat=BEAT)
        log = await driver.open(new_stream(), nothing)
        await redis.expire(f"streams:{{{log.info.id}}}:meta", 5)

        log.ttl_set_at -= 31  # type: ignore[attr-defined]

        async with asyncio.timeout(DEADLINE):
            while await redis.ttl(f"streams:{{{log.info.id}}}:meta") < 300:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def test_reports_readers_in_other_workers_to_the_driver(self, redis_workers: Workers) -> None:
        driver, other = redis_workers.pair()
        log = await driver.open(new_stream(), nothing)

        readers = [await other.follow(log.info.id) for _ in range(3)]
        await until(lambda: log.readers == 1, "they count as one")
        for reader in readers:
            reader.close()

        await until(lambda: log.readers == 0, "they have left")

    async def test_is_not_asked_any_more_for_a_stream_that_nobody_reads_after_all(self, redis_workers: Workers) -> None:
        driver, other = redis_workers.pair(Limits(stream_bytes=2_000))
        log = await driver.open(new_stream(), nothing)
        for number in range(100):
            log.append(event(number), 1)
        await until_stored(driver)
        assert isinstance(other, RedisJournal)

        leaving = asyncio.create_task(other.follow(log.info.id, 98))
        await asyncio.sleep(0)
        assert other._loading
        leaving.cancel()
        await until(lambda: not other._loading, "the stream is loaded")
        assert other.state()["followed"] == 0

        with pytest.raises(Gap):
            await other.follow(log.info.id)
        assert other.state()["followed"] == 0
        await until(lambda: log.readers == 0, "the driver knows that nobody reads")

    async def test_gives_a_stream_to_those_who_waited_with_one_that_left(self, redis_workers: Workers) -> None:
        driver, other = redis_workers.pair()
        log = await driver.open(new_stream(), nothing)
        log.append(event(0), 1)
        await until_stored(driver)
        leaving, waiting = (asyncio.create_task(other.follow(log.info.id, -1)) for _ in range(2))
        await asyncio.sleep(0)

        leaving.cancel()
        reader = await waiting
        log.append(event(1), 1)
        log.end("stop")

        assert await whole(reader) == events(0, 1)
        assert other.state()["followed"] == 0

    async def test_that_lost_its_data_gets_the_events_in_memory_again(
        self, redis_workers: Workers, redis: Redis
    ) -> None:
        driver, other = redis_workers.make(beat=BEAT), redis_workers.make(beat=BEAT)
        log = await driver.open(new_stream(), nothing)
        log.append(events(0, 4), 5)
        reading = asyncio.create_task(whole(await other.follow(log.info.id, -1)))
        await until_stored(driver)

        await redis.flushall()
        log.append(events(5, 9), 5)
        await until_stored(driver)
        later = asyncio.create_task(whole(await other.follow(log.info.id, 3)))
        log.end("stop")

        assert await later == events(4, 9)

        assert await reading == events(0, 9)

    async def test_that_evicted_a_part_of_a_stream_gets_the_events_in_memory_again(
        self, redis_workers: Workers, redis: Redis
    ) -> None:
        driver, other = redis_workers.make(beat=BEAT), redis_workers.make(beat=BEAT)
        log, bystander = await driver.open(new_stream(), nothing), await driver.open(new_stream(), nothing)
        texts = [str(number) * 100_000 for number in range(10)]  # more than are stored in one call
        for number, text in enumerate(texts[:5]):
            log.append(event(number, text), 1)
        reading = asyncio.create_task(whole(await other.follow(log.info.id, -1)))
        await until_stored(driver)

        await redis.delete(f"streams:{{{log.info.id}}}:meta")
        for number, text in enumerate(texts[5:], 5):
            log.append(event(number, text), 1)
        bystander.append(event(0), 1)
        bystander.end("stop")
        await until_stored(driver)
        later = asyncio.create_task(whole(await other.follow(log.info.id, 3)))
        log.end("stop")

        assert text_of(await later) == "".join(texts[4:])
        assert text_of(await reading) == "".join(texts)
        assert await whole(await other.follow(bystander.info.id)) == event(0)

    async def test_that_lost_its_data_reports_a_gap_for_events_not_in_memory(
        self, redis_workers: Workers, redis: Redis
    ) -> None:
        driver, other = redis_workers.pair(Limits(stream_bytes=2_000))
        log = await driver.open(new_stream(), nothing)
        for number in range(100):
            log.append(event(number), 1)
        await until_stored(driver)
        await redis.flushall()
        log.append(event(100), 1)
        await until_stored(driver)

        with pytest.raises(Gap):
            await other.follow(log.info.id)
        log.end("stop")
        assert await whole(await other.follow(log.info.id, 95)) == events(96, 100)


class TestAnUnavailableRedis:
    @pytest.mark.parametrize("away", ["stopped", "held up"])
    async def test_does_not_affect_readers_in_the_drivers_worker(self, failing_redis: RedisServer, away: str) -> None:
        async with working("redis, in another worker", failing_redis) as workers:
            driver, other = workers.make(beat=BEAT), workers.make(beat=BEAT)
            log = await driver.open(new_stream(), nothing)
            log.append(events(0, 4), 5)
            here = await driver.follow(log.info.id, -1)
            there = asyncio.create_task(whole(await other.follow(log.info.id, -1)))
            await until_stored(driver)

            failing_redis.stop() if away == "stopped" else failing_redis.hold_up()
            log.append(events(5, 6), 2)
            async with asyncio.timeout(DEADLINE):
                assert await here.read() == events(0, 6)
            await until(lambda: driver.state()["status"] == other.state()["status"] == "away", "it is noticed")

            # Who joins is refused at once; who read elsewhere is cut, and may come back.
            with pytest.raises(StoreUnavailable):
                await other.follow("anything")
            with pytest.raises(StoreUnavailable):
                await there
            new = await driver.open(new_stream(claim="c"), nothing)
            new.append(event(0), 1)

            failing_redis.start() if away == "stopped" else failing_redis.go_on()
            await until(lambda: driver.state()["status"] == other.state()["status"] == "ok", "it is back")
            log.append(event(7), 1)
            log.end("stop")
            new.end("stop")
            await until_stored(driver)
            assert await whole(await other.follow(log.info.id, 2)) == events(3, 7)
            assert await whole(await other.follow(new.info.id, -1)) == event(0)
            assert await whole(here) == event(7)

    async def test_has_no_stream_any_more_that_failed_meanwhile(self, failing_redis: RedisServer) -> None:
        async with working("redis, in another worker", failing_redis) as workers:
            driver, other = workers.make(beat=BEAT), workers.make(beat=BEAT)
            info = new_stream(claim="c")
            log = await driver.open(info, nothing)
            await other.start()
            failing_redis.stop()
            await until(lambda: driver.state()["status"] == other.state()["status"] == "away", "it is noticed")

            await driver.discard(log)
            failing_redis.start()
            await until(lambda: driver.state()["status"] == other.state()["status"] == "ok", "it is back")

            await until(lambda: not driver._writer._undeleted, "the stream is deleted")  # type: ignore[attr-defined]
            with pytest.raises(UnknownStream):
                await other.find(info.id)
            await other.open(replace(info, id="another"), nothing)

    async def test_frees_the_key_of_a_stream_that_failed_although_its_client_left_meanwhile(
        self, failing_redis: RedisServer
    ) -> None:
        async with working("redis", failing_redis) as workers:
            journal = workers.make(beat=BEAT)
            info = new_stream(claim="c")
            log = await journal.open(info, nothing)
            waiting = asyncio.create_task((await journal.follow(info.id)).read())

            failing_redis.hold_up()
            discarding = asyncio.create_task(journal.discard(log))
            await asyncio.sleep(0)  # it asks Redis
            discarding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await discarding

            async with asyncio.timeout(DEADLINE):
                with pytest.raises(UnknownStream):
                    await waiting
            assert journal.state()["running"] == 0
            failing_redis.go_on()
            await until(lambda: not journal._writer._undeleted, "the stream is deleted")  # type: ignore[attr-defined]
            await journal.open(replace(info, id="another"), nothing)

    async def test_does_not_fill_the_memory_with_streams_that_are_no_longer_kept(
        self, failing_redis: RedisServer
    ) -> None:
        async with working("redis", failing_redis) as workers:
            journal = workers.make(Limits(keep=0), beat=BEAT)
            await journal.start()
            failing_redis.stop()
            await until(lambda: journal.state()["status"] == "away", "it is noticed")

            for _ in range(3):
                log = await journal.open(new_stream(), nothing)
                log.append(event(0), 1)
                log.end("stop")

            await until(lambda: not journal.state()["unstored"], "they are forgotten")

    async def test_that_goes_away_while_two_requests_with_one_key_wait_lets_one_of_them_begin(
        self, failing_redis: RedisServer
    ) -> None:
        async with working("redis", failing_redis) as workers:
            journal = workers.make(beat=BEAT)
            await journal.start()
            failing_redis.hold_up()

            infos = [new_stream(claim="c") for _ in range(2)]
            opened = await asyncio.gather(*(journal.open(info, nothing) for info in infos), return_exceptions=True)

            (log,) = [each for each in opened if isinstance(each, StreamLog)]
            (refused,) = [each for each in opened if isinstance(each, AlreadyClaimed)]
            assert refused.stream == log.info.id
            failing_redis.go_on()
            await until(lambda: journal.state()["status"] == "ok", "it is back")
            log.append(event(0), 1)
            log.end("stop")
            await until_stored(journal)
            assert await whole(await journal.follow(log.info.id, -1)) == event(0)

    async def test_and_comes_back_empty_gets_again_what_is_in_memory_before_anybody_is_told_it_is_unknown(
        self, failing_redis: RedisServer
    ) -> None:
        async with working("redis, in another worker", failing_redis) as workers:
            driver, other = workers.make(beat=2 * BEAT), workers.make(beat=BEAT)
            info = new_stream(claim="c", fingerprint="f")
            log = await driver.open(info, nothing)
            log.append(events(0, 4), 5)
            await until_stored(driver)
            await other.find(log.info.id)

            failing_redis.stop()
            failing_redis.empty()
            await until(lambda: driver.state()["status"] == other.state()["status"] == "away", "it is noticed")
            log.append(events(5, 6), 2)
            failing_redis.start()
            await until(lambda: other.state()["status"] == "ok", "it is back")

            reader = await other.follow(log.info.id, 2)
            with pytest.raises(AlreadyClaimed):
                await other.open(replace(info, id="another"), nothing)
            log.end("stop")
            assert await whole(reader) == events(3, 6)
