"""The registry of open streams, and how they are stopped."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from functools import partial

import pytest

from streaming import registry
from streaming.errors import GoingDown


class Stream:
    def __init__(self, *, heeds: bool = True) -> None:
        self.is_open = True
        self.reasons: list[str] = []
        self._heeds = heeds

    def stop(self, reason: str) -> None:
        self.reasons.append(reason)
        if self._heeds:
            asyncio.get_running_loop().call_later(0.02, self.close)

    def close(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def a_registry_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_streams", type(registry._streams)())
    monkeypatch.setattr(registry, "_draining", False)
    monkeypatch.setattr(registry, "_is_refusing", False)
    return iter([None])


def test_counts_the_open_streams() -> None:
    one, two = registry.watch(Stream()), registry.watch(Stream())
    assert registry.count_open() == 2

    one.close()

    assert registry.count_open() == 1
    assert two.is_open


def test_forgets_a_stream_without_references() -> None:
    registry.watch(Stream())
    gc.collect()

    assert registry.count_open() == 0


@pytest.mark.usefixtures("virtual_time")
async def test_a_drain_stops_every_stream() -> None:
    streams = [registry.watch(Stream()) for _ in range(3)]

    assert await registry.drain() == 0

    assert [stream.reasons for stream in streams] == [["drained"]] * 3


@pytest.mark.usefixtures("virtual_time")
async def test_a_drain_returns_the_number_of_streams_that_did_not_end_in_time() -> None:
    streams = [registry.watch(Stream(heeds=number < 2)) for number in range(3)]

    assert await registry.drain(grace=0.1) == 1
    assert streams[2].is_open


async def test_a_stream_that_begins_during_a_drain_is_stopped_at_once() -> None:
    await registry.drain()

    late = registry.watch(Stream())

    assert late.reasons == ["drained"]


@pytest.mark.usefixtures("virtual_time")
class TestARequestWithoutAResponse:
    async def test_has_until_then_to_get_one(self) -> None:
        clock = asyncio.get_running_loop().time
        before = clock()
        ready = [asyncio.create_task(registry.answered(partial(asyncio.sleep, seconds, seconds))) for seconds in (1, 5)]
        await asyncio.sleep(0)

        await registry.refuse_unanswered(before + 3)

        assert await ready[0] == 1
        with pytest.raises(GoingDown):
            await ready[1]
        assert clock() - before < 5

    async def test_is_not_waited_for_if_there_is_none(self) -> None:
        before = asyncio.get_running_loop().time()

        await registry.refuse_unanswered(before + 3)

        assert asyncio.get_running_loop().time() == before

    async def test_gets_one_that_takes_no_time_even_if_it_arrives_later(self) -> None:
        await registry.refuse_unanswered(0)

        assert await registry.answered(partial(asyncio.sleep, 0.1, "here")) == "here"
        with pytest.raises(GoingDown):
            await registry.answered(partial(asyncio.sleep, 5))
