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
    """Of a process: resident bytes, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


def sample(site: FaultySite) -> Sample:
    """What is held when the garbage has been collected: the site lets that wait, so that no stream has to."""
    site.counts()
    process = site.ps
    return Sample(process.memory_info().rss, process.num_fds(), process.num_threads())


async def one_reader(site: FaultySite, dice: random.Random, end: float) -> None:
    """Reads one stream after another: most of them for a while, some to their end, some of them faulty."""
    while time.monotonic() < end:
        address, kind = dice.choice(CASES)
        match dice.choices(["leave", "whole", "cut", "reset"], [6, 2, 1, 1])[0]:
            case "leave":
                stay = min(dice.expovariate(1 / 3), max(end - time.monotonic(), 0))
                await leave_after(site, request_for(address, kind, "endless-200"), stay)
            case "whole":
                await ask(site, request_for(address, kind, f"cut-{len(answer(kind))}"))
            case how:
                at = dice.randrange(len(answer(kind)))
                await ask(site, request_for(address, kind, f"{how}-{at}"))


@pytest.mark.parametrize(
    ("server", "streams", "seconds"),
    [("daphne", 20, 3), *(pytest.param(server, 300, 600, marks=pytest.mark.long) for server in SERVERS)],
)
async def test_memory_descriptors_and_threads_stay_flat(
    migrated: Path, tmp_path: Path, faulty_upstream: FaultyUpstream, server: str, streams: int, seconds: float
) -> None:
    folder = tmp_path / "site"
    shutil.copytree(migrated, folder)
    site = await asyncio.to_thread(start_site, folder, server, faulty_upstream)
    samples: list[Sample] = []
    try:
        end = time.monotonic() + seconds
        readers = [asyncio.create_task(one_reader(site, random.Random(number), end)) for number in range(streams)]
        while time.monotonic() < end:
            await asyncio.sleep(seconds / 60)
            samples.append(await asyncio.to_thread(sample, site))
        await asyncio.gather(*readers)
        await asyncio.to_thread(eventually, lambda: faulty_upstream.open == 0, "the upstream is left")
        assert site.counts().slots == 0
    finally:
        await asyncio.to_thread(site.stop)

    if seconds < 60:
        return  # too short to tell a leak from a cache
    # After the first third: by then pools and caches have what they need.
    first, last = samples[20:30], samples[-10:]
    for name in ("memory", "descriptors", "threads"):
        before, after = (median(getattr(each, name) for each in part) for part in (first, last))
        assert after <= before * 1.05, (name, before, after, samples)
