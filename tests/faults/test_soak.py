"""Streams for minutes, readers that come and go, and upstreams that fail: what the process holds stays as it is."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from tests.conftest import eventually
from tests.faults.conftest import SERVERS, FaultySite, ask, leave_after, request_for, start_site
from tests.faults.upstream import FaultyUpstream, answer

CASES = [
    ("/transfer", "native"),
    ("/transfer", "text"),
    ("/transfer", "openai"),
    ("/proxy", "native"),
    ("/v1/chat/completions", "openai"),
]


@dataclass(frozen=True)
class Sample:
    """Of a process: resident bytes, objects, open descriptors, threads."""

    memory: int
    objects: int
    descriptors: int
    threads: int


def sample(site: FaultySite) -> Sample:
    """What is held when the garbage has been collected: the site lets that wait, so that no stream has to."""
    counts = site.counts()
    return Sample(site.ps.memory_info().rss, counts.objects, counts.descriptors, counts.threads)


PATIENCE = 120.0
"""Seconds for a whole answer: hundreds of readers, the upstream and the site share one machine."""


async def one_reader(site: FaultySite, dice: random.Random, end: float, stay: float) -> None:
    """Reads one stream after another: most of them for some ``stay`` seconds, some to their end, some faulty."""
    while time.monotonic() < end:
        address, kind = dice.choice(CASES)
        match dice.choices(["leave", "whole", "cut", "reset"], [6, 2, 1, 1])[0]:
            case "leave":
                seconds = min(dice.expovariate(1 / stay), max(end - time.monotonic(), 0))
                await leave_after(site, request_for(address, kind, "endless-200"), seconds)
            case "whole":
                await ask(site, request_for(address, kind, f"cut-{len(answer(kind))}"), PATIENCE)
            case how:
                at = dice.randrange(len(answer(kind)))
                await ask(site, request_for(address, kind, f"{how}-{at}"), PATIENCE)


async def read_for(site: FaultySite, readers: int, seconds: float, stay: float) -> None:
    end = time.monotonic() + seconds
    await asyncio.gather(*(one_reader(site, random.Random(number), end, stay) for number in range(readers)))


async def test_no_object_outlives_its_stream(faulty_site: FaultySite) -> None:
    await read_for(faulty_site, 20, 1, stay=0.3)
    before, accepted = await asyncio.to_thread(faulty_site.at_rest), faulty_site.upstream.accepted

    await read_for(faulty_site, 20, 2, stay=0.3)

    # A stream that was lost would leave a dozen at least: response, relay, source, log, and what these are made of.
    streams = faulty_site.upstream.accepted - accepted
    await asyncio.to_thread(
        eventually, lambda: faulty_site.at_rest().objects < before.objects + streams, f"{streams} streams left nothing"
    )
    assert streams > 20


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
async def test_memory_descriptors_and_threads_stay_flat(
    migrated: Path, tmp_path: Path, faulty_upstream: FaultyUpstream, server: str
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(migrated, folder)
    site = await asyncio.to_thread(start_site, folder, server, faulty_upstream)
    samples: list[Sample] = []
    try:
        reading = asyncio.create_task(read_for(site, 300, 600, stay=10))
        while not reading.done():
            await asyncio.wait({reading}, timeout=10)
            samples.append(await asyncio.to_thread(sample, site))
        await reading
        await asyncio.to_thread(eventually, lambda: faulty_upstream.open == 0, "the upstream is left")
        assert site.counts().slots == 0
    finally:
        await asyncio.to_thread(site.stop)

    # After the first third: by then pools and caches have what they need. The last sample is of readers who leave.
    first, last = samples[20:30], samples[-11:-1]
    for name in ("memory", "objects", "descriptors", "threads"):
        before, after = (median(getattr(each, name) for each in part) for part in (first, last))
        print(f"{server}: {name} {before:,.0f}, then {after:,.0f}")  # noqa: T201 (for the table in benchmarks)
        assert after <= before * 1.05, (name, before, after, samples)
