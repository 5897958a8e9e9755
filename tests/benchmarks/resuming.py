"""What it costs that a stream outlives its connection: one command, one run.

    uv run --group dev tests/benchmarks/resuming.py

cost      µs of CPU an event, with the journal off, in memory and in Redis: 200 streams of 20 events a second
join      from asking for a stream of 5,000 events to its first bytes, in this worker and in another one
viewers   1,000 clients of one stream at a real uvicorn: how far each is behind the first, and Redis's connections
stalled   memory while clients of an endless stream read nothing, in the driver's worker and in another one
kept      memory of 1,000 kept streams
storm     no measurement, a simulation: 100,000 clients that come back after a deploy, with and without jitter

Naming some of them runs those alone; ``--quick`` is a small run that only shows that the program works.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ssesite.settings")
os.environ.setdefault("SECRET_KEY", "of a benchmark")

import psutil
from redis import Redis

from streaming.journal import Journal, Limits, MemoryJournal, StreamInfo
from streaming.journal.redis import RedisJournal
from tests.conftest import Connection, ScriptedUpstream, Site, manage, read_until
from tests.redis_server import RedisServer

EVENT = b'id: 0123456789abcdef0123456789abcdef:1234\ndata: {"delta": "four"}\n\n'


def nothing(reason: str) -> None: ...


async def cost(server: RedisServer, *, streams: int, seconds: float) -> None:
    print(f"\ncost: µs of CPU an event ({streams} streams of 20 events a second)")
    off = await _paced(None, streams, seconds)
    print(f"  off     {off:6.1f}  (the loop that paces them)")
    for name, journal in (("memory", MemoryJournal(Limits())), ("redis", RedisJournal(server.url, Limits()))):
        spent = await _paced(journal, streams, seconds)
        print(f"  {name:7} {spent:6.1f}  the journal's own: {spent - off:5.1f}")
        await journal.close()


async def _paced(journal: Journal | None, streams: int, seconds: float) -> float:
    logs = [await journal.open(StreamInfo(f"{n:032x}"), nothing) for n in range(streams)] if journal else []
    events = 0
    end = time.monotonic() + seconds

    async def stream(number: int) -> None:
        nonlocal events
        await asyncio.sleep(number / streams / 20)
        due = time.monotonic()
        while due < end:
            if logs:
                logs[number].append(EVENT, 1)
            events += 1
            due += 0.05
            await asyncio.sleep(max(0, due - time.monotonic()))

    before = time.process_time()
    await asyncio.gather(*map(stream, range(streams)))
    return (time.process_time() - before) / events * 1e6


async def join(server: RedisServer, *, times: int) -> None:
    print("\njoin: ms until the first bytes of a stream of 5,000 events")
    memory = MemoryJournal(Limits())
    here, elsewhere = (RedisJournal(server.url, Limits()) for _ in range(2))
    cases = [("memory", memory, memory), ("redis, this worker", here, here), ("redis, another worker", here, elsewhere)]
    for name, driver, reader in cases:
        spent = list[float]()
        for _ in range(times):
            log = await driver.open(StreamInfo(os.urandom(16).hex()), nothing)
            for _ in range(5_000):
                log.append(EVENT, 1)
            while driver.state().get("unstored"):  # noqa: ASYNC110 (what it waits for has no event)
                await asyncio.sleep(0.01)
            began = time.perf_counter()
            following = await reader.follow(log.info.id)
            await following.read()
            spent.append(time.perf_counter() - began)
            following.close()
            log.end("stop")
        print(f"  {name:22} p50 {statistics.median(spent) * 1e3:6.2f}   most {max(spent) * 1e3:6.2f}")
    await asyncio.gather(here.close(), elsewhere.close())


async def viewers(server: RedisServer, *, count: int, seconds: float) -> None:
    print(f"\nviewers: ms behind the first, of {count} clients of one stream")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert manage(folder, "migrate", "-v0").returncode == 0
        env = {"REDIS_URL": server.url, "STREAMING_GRACE": "60"}
        sites = [Site(_made(folder / worker, folder), SERVERS["uvicorn"], **env) for worker in ("one", "two")]
        try:
            for where, site in (("the driver's worker", sites[0]), ("another worker", sites[1])):
                late, cpu = await asyncio.to_thread(_watched, sites[0], site, count, seconds)
                with Redis.from_url(server.url) as redis:
                    used = len(redis.client_list()) - 1
                p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
                print(f"  in {where:20} p50 {p50:6.1f}   p99 {p99:6.1f}   {cpu:5.1f} µs of CPU for each viewer's event")
                print(f"  {'':23} Redis connections of both workers: {used}")
        finally:
            for site in sites:
                site.stop()


def _made(folder: Path, migrated: Path) -> Path:
    folder.mkdir()
    (folder / "db.sqlite3").write_bytes((migrated / "db.sqlite3").read_bytes())
    return folder


class Watched(NamedTuple):
    late: list[float]
    """Milliseconds that each event came later to each viewer than to the first of them, sorted."""
    cpu: float
    """Microseconds of the site's CPU for each event of each viewer."""


def _watched(driver: Site, site: Site, count: int, seconds: float) -> Watched:
    """Reads with epoll and nothing else, so that what is measured is the site and not its clients."""
    first = driver.connect("GET /stream?interval=0.2&step=1&document=handbook")
    found = re.search(rb"(?i)content-location: (\S+)", read_until(first, b"\r\n\r\n"))
    assert found
    viewers = dict[int, socket.socket]()
    for _ in range(count):
        viewer = site.connect(f"GET {found[1].decode()}?after=0")
        read_until(viewer, b"\r\n\r\n")
        viewers[viewer.fileno()] = viewer
    first.setblocking(False)
    _read_for(1, viewers, first)
    before = sum(site.ps.cpu_times()[:2])
    arrivals = _read_for(seconds, viewers, first)
    spent = sum(site.ps.cpu_times()[:2]) - before
    for connection in (first, *viewers.values()):
        connection.close()
    late = sorted((moment - min(each)) * 1e3 for each in arrivals if len(each) == count for moment in each)
    return Watched(late, spent / sum(map(len, arrivals)) * 1e6)


def _read_for(seconds: float, viewers: dict[int, socket.socket], first: socket.socket) -> list[list[float]]:
    """For each event, the moments at which the viewers had it."""
    arrivals: dict[bytes, list[float]] = {}
    end = time.perf_counter() + seconds
    with select.epoll() as ready:
        for descriptor in viewers:
            ready.register(descriptor, select.EPOLLIN)
        while time.perf_counter() < end:
            for descriptor, _ in ready.poll(0.05):
                data, moment = viewers[descriptor].recv(65536), time.perf_counter()
                for number in re.findall(rb"id: \w+:(\d+)", data):
                    arrivals.setdefault(number, []).append(moment)
            with suppress(BlockingIOError):
                first.recv(65536)
    return list(arrivals.values())


SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--port", "{port}", "--no-access-log", "ssesite.asgi:application"],
    "daphne": ["-m", "daphne", "-p", "{port}", "--access-log", "/dev/null", "ssesite.asgi:application"],
}


def stalled(server: RedisServer, *, seconds: float) -> None:
    print(f"\nstalled: MB of memory at first, after 2 s and after {seconds + 2:g} s of a stream that nobody reads")
    upstream = ScriptedUpstream()
    upstream.script = _never_stop
    env = {"REDIS_URL": server.url, "UPSTREAM_URL": upstream.url, "STREAMING_ACCESS": "public"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert manage(folder, "migrate", "-v0").returncode == 0
        for server_name, command in SERVERS.items():
            sites = [Site(_made(folder / f"{server_name}-{n}", folder), command, **env) for n in range(2)]
            try:
                for where, samples in zip(("driver", "other"), _stalled(*sites, seconds), strict=True):
                    print(f"  {server_name:8} {where:8} {'  '.join(f'{sample / 1e6:6.1f}' for sample in samples)}")
            finally:
                for site in sites:
                    site.stop()
    upstream.stop()


async def _never_stop(connection: Connection) -> None:
    await connection.begin()
    while True:
        await connection.send(b'data: {"delta": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n\n' * 100)


def _stalled(driver: Site, other: Site, seconds: float) -> list[list[int]]:
    for site in (driver, other):  # warm
        read_until(site.connect("GET /stream?interval=0\nConnection: close"), b"done")
    samples = [[site.ps.memory_info().rss] for site in (driver, other)]
    first = driver.connect("POST /transfer", b"{}")
    found = re.search(rb"(?i)content-location: (\S+)", read_until(first, b"\r\n\r\n"))
    assert found
    joined = [site.connect(f"GET {found[1].decode()}?after=0") for site in (driver, other) for _ in range(10)]
    for pause in (2, seconds):
        time.sleep(pause)
        for site, series in zip((driver, other), samples, strict=True):
            series.append(site.ps.memory_info().rss)
    for connection in (first, *joined):
        connection.close()
    return samples


async def kept(*, count: int) -> None:
    journal = MemoryJournal(Limits())
    before = psutil.Process().memory_info().rss
    for number in range(count):
        log = await journal.open(StreamInfo(f"{number:032x}"), nothing)
        for index in range(500):
            log.append(EVENT.replace(b"1234", b"%d" % index), 1)
        log.end("stop")
    grown = (psutil.Process().memory_info().rss - before) / count / 1024
    print(
        f"\nkept: {count} streams of 500 events: {grown:.1f} KiB each, {journal.bytes / count / 1024:.1f} of them data"
    )


def storm(*, clients: int = 100_000, capacity: int = 2_000) -> None:
    """A worker takes ``capacity`` joins a second; who is not served in 10 s is cut and comes back again."""
    print(f"\nstorm: {clients:,} clients come back after a deploy to what takes {capacity:,} joins a second")
    for name, delay in (
        ("retry: 2000, all alike", lambda dice, attempt: 2.0),
        ("retry: 2000, +-50 %", lambda dice, attempt: dice.uniform(1, 3)),
        ("full jitter, doubled to 30 s", lambda dice, attempt: dice.uniform(0, min(30.0, 2.0 * 2**attempt))),
        ("spread over 60 s by the server", lambda dice, attempt: dice.uniform(0, 60)),
    ):
        requests, peak, seconds, slowest = _stormed(clients, capacity, delay)
        each = f"{requests / clients:5.2f} requests each"
        print(f"  {name:32} {each}   peak {peak:7,}/s   all back after {seconds:3} s, 99 % after {slowest:3} s")


Delay = Callable[[random.Random, int], float]


def _stormed(clients: int, capacity: int, delay: Delay, patience: int = 10) -> tuple[int, int, int, int]:
    dice = random.Random(1)
    due: dict[int, list[int]] = {}  # second: how often each of those who ask then has asked
    for _ in range(clients):
        due.setdefault(int(delay(dice, 0)), []).append(1)
    requests, back, second, peak = 0, list[int](), 0, 0
    waiting = list[tuple[int, int]]()  # since when, how often
    while len(back) < clients:
        arriving = due.pop(second, [])
        requests, peak = requests + len(arriving), max(peak, len(arriving))
        waiting += [(second, attempt) for attempt in arriving]
        back += [second] * len(waiting[:capacity])
        waiting = waiting[capacity:]
        for _, attempt in [each for each in waiting if second - each[0] >= patience]:
            due.setdefault(second + 1 + int(delay(dice, attempt)), []).append(attempt + 1)
        waiting = [each for each in waiting if second - each[0] < patience]
        second += 1
    return requests, peak, second, back[len(back) * 99 // 100]


PARTS = ("cost", "join", "viewers", "stalled", "kept", "storm")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    parts, quick = arguments.parts or PARTS, arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            if "cost" in parts:
                await cost(server, streams=20 if quick else 200, seconds=0.5 if quick else 5)
            if "join" in parts:
                await join(server, times=2 if quick else 20)
            if "viewers" in parts:
                await viewers(server, count=50 if quick else 1_000, seconds=1 if quick else 6)
            if "stalled" in parts:
                await asyncio.to_thread(stalled, server, seconds=1 if quick else 20)
            if "kept" in parts:
                await kept(count=50 if quick else 1_000)
            if "storm" in parts:
                storm(clients=1_000 if quick else 100_000, capacity=100 if quick else 2_000)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
