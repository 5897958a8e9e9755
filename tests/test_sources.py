"""Built-in sources: ticks, and documents that are played as streams."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import pytest

from streaming.sources import DOCUMENTS, Play, Playback, Ticks, read_document
from streaming.sse import Message, Parser

pytestmark = pytest.mark.usefixtures("virtual_time")


async def first(count: int, after: int | None = None, interval: float = 0) -> list[Message]:
    ticks, parser = Ticks(after, interval), Parser()
    return [message for _ in range(count) for message in parser.feed(await ticks.read())]


class TestTicks:
    async def test_begin_with_connect_and_count_from_0(self) -> None:
        messages = await first(4)

        assert [(message.event, message.id) for message in messages] == [
            ("connect", "-1"),
            ("message", "0"),
            ("message", "1"),
            ("message", "2"),
        ]

    async def test_begin_with_the_retry_time(self) -> None:
        assert (await Ticks().read()).startswith(b"retry: 10000\n")

    @pytest.mark.parametrize("after", [-1, 0, 41, 10**17])
    async def test_continue_after_the_last_event_id(self, after: int) -> None:
        messages = await first(3, after)

        assert [message.id for message in messages] == [str(after), str(after + 1), str(after + 2)]

    async def test_contain_the_time(self) -> None:
        for message in await first(3):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.data)

    async def test_keep_their_interval_with_a_slow_reader(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()

        ticks = Ticks(interval=0.2)
        while b"id: 2" not in await ticks.read():  # noqa: ASYNC110 (it plays the reader)
            await asyncio.sleep(0.15)  # a reader that is slow, but not slower than the beat

        assert clock() - began == pytest.approx(0.6)

    async def test_skip_a_missed_tick(self) -> None:
        ticks = Ticks(interval=0.01)
        await ticks.read()
        await asyncio.sleep(0.2)
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(4):
            await ticks.read()

        assert clock() - began == pytest.approx(0.03), "the first at once, and not four"


async def pieces(playback: Playback) -> list[str]:
    play, got = Play(playback), list[str]()
    while piece := await play.read():
        got.append(piece.decode())
    return got


class TestADocument:
    @pytest.mark.parametrize("document", DOCUMENTS)
    @pytest.mark.parametrize("step", [1, 30, 10_000])
    async def test_is_played_whole_in_steps_within_the_limit(self, document: str, step: int) -> None:
        got = await pieces(Playback(document, interval=0, step=step))

        assert "".join(got) == read_document(document)
        assert {1 <= len(piece) <= step for piece in got} == {True}

    async def test_is_cut_the_same_by_the_same_seed_only(self) -> None:
        one, same, other = [await pieces(Playback(interval=0, seed=seed)) for seed in (7, 7, 8)]

        assert one == same != other

    async def test_is_cut_differently_each_time_without_a_seed(self) -> None:
        assert await pieces(Playback(interval=0)) != await pieces(Playback(interval=0))

    async def test_begins_at_once_and_then_waits_between_pieces(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()

        play = Play(Playback(interval=0.1))
        await play.read()
        at_first = clock() - began
        await play.read()

        assert at_first == 0
        assert clock() - began == pytest.approx(0.1)

    @pytest.mark.parametrize("source", [Play(Playback(interval=0.3)), Ticks(interval=0.3)], ids=["play", "ticks"])
    async def test_keeps_its_interval_when_its_waits_are_interrupted(self, source: Play | Ticks) -> None:
        clock = asyncio.get_running_loop().time
        await source.read()
        began, waits = clock(), 0

        piece = b""
        while not piece:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):  # a heartbeat
                    piece = await source.read()
            waits += 1

        assert waits >= 15
        assert clock() - began == pytest.approx(0.3)

    def test_has_to_be_a_known_document(self) -> None:
        for name in ("", "../settings", "tour.md", "/etc/hostname"):
            with pytest.raises(KeyError):
                read_document(name)


def test_the_tour_shows_both_languages_and_every_construct() -> None:
    tour = read_document("tour")

    assert 2000 <= len(tour.encode()) <= 4096
    assert re.search(r"[\u4e00-\u9fff]", tour)
    for construct in ("# ", "\n## ", "\n- ", "\n1. ", "\n> ", "```", "](", "**", "`", "|"):
        assert construct in tour, construct
    assert re.search(r"\n +- ", tour), "a list in a list"


def test_one_document_is_long_and_there_are_three() -> None:
    assert len(DOCUMENTS) >= 3
    assert max(len(read_document(name).encode()) for name in DOCUMENTS) >= 20_000
