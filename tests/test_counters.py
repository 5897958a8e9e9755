"""Counters: rates and slots, in memory and in a real Redis; with Redis two workers share them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from streaming.counters import Counters, MemoryCounters, Rate, Slots
from streaming.counters import redis as redis_counters
from streaming.counters.memory import MAX_RATES
from streaming.counters.redis import PREFIX, RedisCounters
from tests.conftest import DEADLINE
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["memory", "redis"])
async def two_workers(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Counters, Counters]]:
    """The counters of two workers; in memory there is only one."""
    if request.param == "memory":
        alone = MemoryCounters()
        yield alone, alone
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    with Redis.from_url(server.url) as redis:
        redis.flushall()
    workers = RedisCounters(server.url), RedisCounters(server.url)
    yield workers
    for worker in workers:
        await worker.close()


@pytest.fixture(autouse=True)
def redis_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away when it does not answer for a minute: on a busy machine it may take more than a second."""
    monkeypatch.setattr(redis_counters, "COMMAND_SECONDS", DEADLINE)


async def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


class TestARate:
    RATE = Rate("requests:key:1", 3, 3600)

    async def test_lets_its_number_pass_and_then_says_when_the_next_may(
        self, two_workers: tuple[Counters, Counters]
    ) -> None:
        one, other = two_workers

        passed = [await worker.admit([self.RATE], "m") for worker in (one, other, one)]
        refused = await other.admit([self.RATE], "m")

        assert [each.refused_by for each in passed] == [None] * 3
        assert [each.remaining for each in passed] == [(2,), (1,), (0,)]
        assert passed[2].reset[0] == pytest.approx(3600, abs=DEADLINE)
        assert refused.refused_by == self.RATE
        assert refused.retry_after == pytest.approx(1200, abs=DEADLINE), "a third of an hour for one of three"

    async def test_refills_evenly(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        rate = Rate("requests:key:1", 2, 0.2)
        passed, began = 0, time.monotonic()
        while passed < 7:
            assert time.monotonic() < began + DEADLINE, "what was used is refilled"
            passed += (await (one, other)[passed % 2].admit([rate], "m")).refused_by is None
            await asyncio.sleep(0.005)

        assert passed <= 2 + (time.monotonic() - began) / 0.1 + 1

    async def test_counts_each_key_for_itself(self, two_workers: tuple[Counters, Counters]) -> None:
        one, _ = two_workers
        for _number in range(3):
            await one.admit([self.RATE], "m")

        assert (await one.admit([Rate("requests:key:2", 3, 3600)], "m")).refused_by is None

    async def test_that_refuses_counts_nothing(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        narrow, wide = Rate("a", 1, 3600), Rate("b", 5, 3600)
        await one.admit([narrow, wide], "m")

        refused = [await other.admit([wide, narrow, Slots("c", 1)], f"m{number}") for number in range(5)]

        assert {each.refused_by for each in refused} == {narrow}
        assert (await one.admit([wide], "m")).remaining == (3,)
        assert (await one.admit([Slots("c", 1)], "n")).refused_by is None

    @pytest.mark.parametrize("limit", [1, 7, 600, 9973])
    async def test_lets_exactly_its_number_pass_at_once(self, limit: int) -> None:
        counters = MemoryCounters(clock=lambda: 1e9)
        rate = Rate("r", limit, 60)

        passed = [(await counters.admit([rate], "m")).refused_by is None for _ in range(limit + 3)]

        assert passed == [True] * limit + [False] * 3

    async def test_is_forgotten_when_it_is_full_again(self) -> None:
        now = [0.0]
        counters = MemoryCounters(clock=lambda: now[0])
        for number in range(MAX_RATES):
            await counters.admit([Rate(str(number), 1, 60)], "m")
        now[0] = 61

        await counters.admit([Rate("another", 1, 60)], "m")

        assert len(counters._full_at) == 1


class TestSlots:
    SLOTS = Slots("streams:key:1", 2)

    async def test_are_taken_until_they_are_released(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        await one.admit([self.SLOTS], "a")
        await other.admit([self.SLOTS], "b")
        assert (await one.admit([self.SLOTS], "c")).refused_by == self.SLOTS

        one.release([self.SLOTS.key], "a")
        one.release([self.SLOTS.key], "a")

        outcomes: list[bool] = []
        end = time.monotonic() + DEADLINE
        while not any(outcomes) and time.monotonic() < end:
            outcomes.append((await other.admit([self.SLOTS], "c")).refused_by is None)
        assert any(outcomes)
        assert (await one.admit([self.SLOTS], "d")).refused_by == self.SLOTS

    async def test_are_waited_for_in_turn(self, two_workers: tuple[Counters, Counters]) -> None:
        one, _ = two_workers
        slots, served = Slots("concurrency:llm", 1), list[int]()
        assert await one.take(slots, "first")

        async def wait(number: int) -> None:
            assert await one.take(slots, f"m{number}", DEADLINE)
            served.append(number)
            one.release([slots.key], f"m{number}")

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(wait(number)))
            await until(lambda number=number: len(one._queues.get(slots.key, ())) == number + 1, "it is in the queue")
        assert served == []
        one.release([slots.key], "first")
        await asyncio.gather(*tasks)

        assert served == [0, 1, 2, 3, 4]

    async def test_are_passed_on_between_workers(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        slots = Slots("concurrency:llm", 1)
        assert await one.take(slots, "a")
        waiting = asyncio.create_task(other.take(slots, "b", DEADLINE))
        await until(lambda: other._queues.get(slots.key), "it waits")
        await asyncio.sleep(0.05)  # and would have a slot by now if one were free
        assert not waiting.done()

        one.release([slots.key], "a")

        assert await waiting

    async def test_are_refused_after_the_wait(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        slots = Slots("concurrency:llm", 1)
        assert await one.take(slots, "a")

        assert not await other.take(slots, "b")
        assert not await other.take(slots, "b", 0.15)

    async def test_waiter_that_is_cancelled_leaves_the_queue(self, two_workers: tuple[Counters, Counters]) -> None:
        one, other = two_workers
        slots = Slots("concurrency:llm", 1)
        assert await one.take(slots, "a")
        leaving = [asyncio.create_task(worker.take(slots, f"b{n}", DEADLINE)) for n, worker in enumerate((one, other))]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        one.release([slots.key], "a")

        assert await other.take(slots, "c", DEADLINE), "nobody is before it"

    async def test_are_exact_under_a_crowd(self, two_workers: tuple[Counters, Counters]) -> None:
        slots, open_now, most = Slots("concurrency:llm", 3), 0, 0
        several = asyncio.Event()

        async def use(number: int) -> None:
            nonlocal open_now, most
            worker = two_workers[number % 2]
            assert await worker.take(slots, f"m{number}", DEADLINE)
            open_now += 1
            most = max(most, open_now)
            if open_now > 1:
                several.set()
            await asyncio.wait_for(several.wait(), DEADLINE)
            await asyncio.sleep(0.002)
            open_now -= 1
            worker.release([slots.key], f"m{number}")

        await asyncio.gather(*map(use, range(40)))

        assert 1 < most <= 3
        assert open_now == 0


class TestRedis:
    async def test_frees_the_slots_of_a_worker_that_died(
        self, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead, living = RedisCounters(redis_server.url, lease_seconds=3), RedisCounters(redis_server.url)
        slots = Slots("concurrency:dead", 1)
        assert await dead.take(slots, "a")
        with Redis.from_url(redis_server.url) as redis:
            key = redis_counters._key(slots.key)
            ends = redis.zscore(key, "a")
            await until(lambda: redis.zscore(key, "a") > ends, "a worker that lives renews its slots")
        assert not await living.take(slots, "b")

        assert dead._renewing
        dead._renewing.cancel()

        assert await living.take(slots, "b", DEADLINE)
        await living.close()
        await dead.close()

    async def test_keeps_nothing_for_ever(self, redis_server: RedisServer) -> None:
        counters = RedisCounters(redis_server.url)
        await counters.admit([Rate("r", 5, 60), Slots("s", 1)], "a")
        await counters.take(Slots("t", 1), "a")
        await counters.take(Slots("t", 1), "b", 0.05)

        with Redis.from_url(redis_server.url) as redis:
            kept = {key: redis.pttl(key) for key in redis.keys(PREFIX + "*")}

        assert len(kept) >= 3
        assert all(0 < ttl <= 61_000 for ttl in kept.values()), kept
        await counters.close()

    async def test_away_leaves_each_worker_to_count_for_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_text: Callable[[], str]
    ) -> None:
        monkeypatch.setattr(redis_counters, "AWAY_SECONDS", 0.2)
        server = RedisServer(tmp_path)
        counters = RedisCounters(server.url, lease_seconds=1)
        rate, slots = Rate("r", 2, 3600), Slots("s", 1)
        assert (await counters.admit([slots], "a")).refused_by is None
        server.stop()

        outcomes = [(await counters.admit([rate], "m")).refused_by for _ in range(3)]
        held = (await counters.admit([slots], "b")).refused_by

        assert outcomes == [None, None, rate]
        assert held == slots, "what it held before counts"
        assert log_text().count("Redis is away") == 1

        server.start()
        other = RedisCounters(server.url)
        end = time.monotonic() + DEADLINE
        while (await other.admit([slots], "c")).refused_by is None:
            other.release([slots.key], "c")
            assert time.monotonic() < end, "the slot is renewed when Redis is back"
            await counters.admit([Rate("again", 1000, 60)], "m")
            await asyncio.sleep(0.02)
        await counters.close()
        await other.close()
        server.stop()

    async def test_that_comes_back_gets_the_slots_that_were_taken_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_counters, "AWAY_SECONDS", 0.05)
        server, slots = RedisServer(tmp_path), Slots("s", 1)
        counters = RedisCounters(server.url, lease_seconds=1)
        server.stop()
        assert (await counters.admit([slots], "a")).refused_by is None

        server.start()
        with Redis.from_url(server.url) as redis:
            await until(lambda: redis.zscore(PREFIX + "s", "a"), "other workers count it")

        await counters.close()
        server.stop()

    async def test_that_hangs_holds_up_no_request_for_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_counters, "COMMAND_SECONDS", 0.2)
        server = RedisServer(tmp_path)
        counters = RedisCounters(server.url)
        server.hold_up()

        async with asyncio.timeout(DEADLINE):
            outcomes = await asyncio.gather(*(counters.admit([Rate("r", 9, 60)], "m") for _ in range(20)))

        assert sum(each.refused_by is None for each in outcomes) == 9
        server.go_on()
        await counters.close()
        server.stop()
