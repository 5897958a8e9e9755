"""Clients that reset their connections at any time leave nothing open."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.conftest import DEADLINE, eventually, read_until
from tests.faults.conftest import (
    SERVERS,
    WITH_WORKERS,
    Counts,
    FaultySite,
    ask,
    leave_after,
    request_for,
    start_site,
)
from tests.faults.upstream import FaultyUpstream, answer

LONGEST = 0.08
"""Seconds after which a reader leaves at the latest: on an idle machine that is long after the first bytes."""

CASES = [("/transfer", "native"), ("/transfer", "openai"), ("/proxy", "native"), ("/v1/chat/completions", "openai")]


async def leave_at_random(site: FaultySite, times: int, seed: int) -> None:
    dice, limit = random.Random(seed), asyncio.Semaphore(32)

    async def one(address: str, kind: str, seconds: float) -> None:
        async with limit:
            await leave_after(site, request_for(address, kind, "endless-5"), seconds)

    await asyncio.gather(*(one(*dice.choice(CASES), dice.uniform(0, LONGEST)) for _ in range(times)))


async def warmed_up(site: FaultySite) -> Counts:
    """The resources of the process when its thread pools are full and nothing is open."""
    await leave_at_random(site, 40, seed=0)
    return await asyncio.to_thread(site.at_rest)


@pytest.mark.parametrize("times", [150, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_cancelled_request_leaves_nothing_open(faulty_site: FaultySite, times: int) -> None:
    before = await warmed_up(faulty_site)

    await leave_at_random(faulty_site, times, seed=times)

    await asyncio.to_thread(faulty_site.comes_back_to, before)
    assert "Traceback" not in faulty_site.log


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_cancelled_request_frees_its_concurrency_slot(
    migrated: Path, tmp_path: Path, faulty_upstream: FaultyUpstream, server: str, times: int
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(migrated, folder)
    site = await asyncio.to_thread(start_site, folder, server, faulty_upstream, CONCURRENCY=8)
    try:
        before = await warmed_up(site)
        await leave_at_random(site, times, seed=times)
        await asyncio.to_thread(site.comes_back_to, before)
        assert (await asyncio.to_thread(site.at_rest)).slots == 0

        request = request_for("/transfer", "native", f"cut-{len(answer('native'))}")
        answers = await asyncio.gather(*(ask(site, request) for _ in range(8)))
        assert [got.status for got in answers] == [200] * 8
    finally:
        await asyncio.to_thread(site.stop)


@pytest.mark.parametrize("server", [*SERVERS, *WITH_WORKERS])
def test_open_streams_do_not_keep_the_server_from_going_down(
    migrated: Path, tmp_path: Path, faulty_upstream: FaultyUpstream, server: str
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(migrated, folder)
    site = start_site(folder, server, faulty_upstream)
    query = "?fault=native-endless-5."
    streams = {"/proxy/native" + query: b"again", "/transfer/native" + query: b"again", "/ping": b"data:"}
    try:
        with ExitStack() as stack:
            readers = [stack.enter_context(site.connect(f"GET {address}")) for address in streams]
            for reader, first in zip(readers, streams.values(), strict=True):
                assert first in read_until(reader, first)
            family = [site.ps, *site.ps.children(recursive=True)]

            site.process.send_signal(signal.SIGTERM)

            assert site.process.wait(DEADLINE) in (0, -signal.SIGTERM)
            assert not psutil.wait_procs(family, timeout=DEADLINE)[1]
            _, transferred, _ = (read_until(reader, b"\0") for reader in readers)
            assert b"event: done" in transferred  # its last words were sent
        assert "Fatal Python error" not in site.log
        eventually(lambda: faulty_upstream.open == 0, "the upstream is left")
    finally:
        site.stop()
