"""Do streams that are open notice that a hundred thousand rules are compiled beside them?

    uv run --group dev tests/benchmarks/reload.py

A hundred streams, each with a piece every 250 ms, are relayed by one Daphne while 100,000 words come into force: once
all of them, then twice after an edit of one, when a new stream begins. For each phase:

* the longest time for which the server's event loop had no turn, in processor time of the server's process, which other
  programs on the machine cannot change;
* how much later than it should be a piece of any stream came, which they can;
* how long the new stream waited for its first byte.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.conftest import Site, environment, manage

STREAMS, INTERVAL, WORDS = 100, 0.25, 100_000


def serve(port: int, path: Path) -> None:
    """Daphne with the site, and a line in a file whenever its loop had no turn for 5 ms."""
    from daphne.server import Server

    from ssesite.asgi import application

    async def watch_the_loop() -> None:
        with path.open("w", buffering=1) as lines:
            wall, cpu = time.monotonic(), time.process_time()
            while True:
                await asyncio.sleep(0.001)
                before, wall, cpu_before, cpu = wall, time.monotonic(), cpu, time.process_time()
                if wall - before > 0.005:
                    lines.write(f"{wall} {cpu - cpu_before}\n")

    tasks = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(watch_the_loop()))
        await application(scope, receive, send)

    Server(watched, endpoints=[f"tcp:port={port}:interface=127.0.0.1"]).run()


class Watch:
    """The gaps between the pieces of many streams."""

    def __init__(self, stalls: Path) -> None:
        self.gaps: list[float] = []
        self._stalls = stalls
        self._since = 0.0

    async def follow(self, port: int) -> None:
        reader, _writer = await begin(port, f"interval={INTERVAL}&step=4&document=handbook")
        await reader.readuntil(b"event: connect")
        last = None
        while await reader.read(65536):
            now = time.perf_counter()
            if last is not None:
                self.gaps.append(now - last)
            last = now

    def take(self) -> tuple[list[float], float]:
        """The gaps since it was last asked, and the longest that the loop had no turn."""
        gaps, self.gaps = sorted(self.gaps), []
        since, self._since = self._since, time.monotonic()
        lines = [line.split() for line in self._stalls.read_text("ascii").splitlines()]
        return gaps, max((float(cpu) for when, cpu in lines if float(when) > since), default=0.0)


async def begin(port: int, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /transfer?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return reader, writer  # which closes the connection when it is forgotten


def say(phase: str, taken: tuple[list[float], float], first_byte: float | None = None) -> None:
    gaps, stall = taken
    late = [round((gap - INTERVAL) * 1000) for gap in (gaps[len(gaps) // 2], gaps[int(len(gaps) * 0.99)], gaps[-1])]
    waited = f"; a new stream waited {first_byte:.2f} s" if first_byte is not None else ""
    lateness = f"median {late[0]} ms, p99 {late[1]}, longest {late[2]}"
    summary = f"loop blocked for {stall * 1000:.0f} ms at most; late by: {lateness}"
    print(f"{phase:<26} {summary}{waited}", flush=True)


def words() -> str:
    chance = random.Random(1)
    made: set[str] = set()
    while len(made) < WORDS:
        made.add("".join(chr(chance.randrange(0x4E00, 0x9FA5)) for _ in range(chance.choice((2, 2, 3, 4)))))
    return "\n".join(sorted(made))


async def measure(site: Site, folder: Path) -> None:
    watch = Watch(folder / "stalls")
    streams = [asyncio.create_task(watch.follow(site.port)) for _ in range(STREAMS)]
    await asyncio.sleep(4)
    watch.take()
    await asyncio.sleep(5)
    say("nothing else", watch.take())
    command = ["nice", sys.executable, str(ROOT / "manage.py"), "import_rules", str(folder / "words.txt")]
    process = await asyncio.create_subprocess_exec(*command, env=environment(site.folder), stdout=subprocess.DEVNULL)
    await process.wait()
    say("another process imports", watch.take())
    for phase in ("100,000 come into force", "one is edited", "one more is edited"):
        if "edited" in phase:
            code = "r = ModerationRule.objects.order_by('?')[0]; r.pattern += 'x'; r.save()"
            code = f"from streaming.models import ModerationRule; {code}"
            edit = [sys.executable, str(ROOT / "manage.py"), "shell", "-c", code]
            process = await asyncio.create_subprocess_exec(*edit, env=environment(site.folder))
            await process.wait()
            await asyncio.sleep(1.1)
        watch.take()
        began = time.perf_counter()
        reader, _writer = await begin(site.port, "interval=0&document=poem")
        await reader.readuntil(b"\r\n")
        waited = time.perf_counter() - began
        await asyncio.sleep(3)
        say(phase, watch.take(), waited)
    for stream in streams:
        stream.cancel()
    print(f"memory: {site.ps.memory_info().rss >> 20} MB")


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "words.txt").write_text(words(), "utf-8")
    manage(folder, "migrate", "-v0")
    command = [__file__, "{port}", str(folder / "stalls")]
    site = Site(folder, command)
    try:
        asyncio.run(measure(site, folder))
    finally:
        site.stop()
        shutil.rmtree(folder)


if len(sys.argv) > 1:
    serve(int(sys.argv[1]), Path(sys.argv[2]))
else:
    main()
