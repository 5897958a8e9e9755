"""What it costs to serve streams, beside others that do the same: one command, one run, ratios first.

    uv run --group dev --with uvicorn --with granian tests/benchmarks/serving.py

a) paced: 200 streams of 20 events a second through ``/transfer`` (10,000 rules) and ``/proxy`` on uvicorn, Daphne and
   granian, beside a plain Node relay and FastAPI with httpx-sse and sse-starlette, both without rules
b) chat: 50 such streams of OpenAI chunks through ``/v1/chat/completions``, beside Node and LiteLLM's proxy, both
   without rules
c) opening: CPU of opening and closing one request
d) idle: KiB and threads of 2,000 open streams that say nothing
e) burst: 100,000 events in one stream

Naming some of them runs those alone. ``--quick`` is a small run that only shows that the program works, ``--alone`` one
without the peers that have to be fetched.

CPU is that of the server's processes, as the kernel counts it. An event is late by the time from the upstream's write
to the reader's read.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
QUESTION = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}).encode()
SENT = re.compile(rb"@(\d{10,}) ")


SERVERS = {
    "uvicorn": [
        "-m",
        "uvicorn",
        "--port",
        "{port}",
        "--log-level",
        "error",
        "--no-access-log",
        "ssesite.asgi:application",
    ],
    "Daphne": ["-m", "daphne", "-v", "0", "-p", "{port}", "ssesite.asgi:application"],
    "granian": ["-m", "granian", "--interface", "asgi", "--port", "{port}", "--no-ws", "ssesite.asgi:application"],
}


@dataclass(frozen=True)
class Sizes:
    streams: int = 200
    chats: int = 50
    seconds: float = 10.0
    rate: float = 20.0
    rules: int = 10_000
    openings: int = 300
    idle: int = 2_000
    burst: int = 100_000
    alone: bool = False
    servers: tuple[str, ...] = tuple(SERVERS)


QUICK = Sizes(streams=5, chats=3, seconds=1.0, rules=100, openings=20, idle=20, burst=2_000)


@dataclass
class Server:
    """One of those compared: where it listens, and the process whose CPU counts, its children included."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    key: str = ""
    cpus: dict[int, float] = field(default_factory=dict)

    def family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        for each in self.family():
            with suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                self.cpus[each.pid] = times.user + times.system
        return sum(self.cpus.values())

    def memory(self) -> int:
        return sum(each.memory_full_info().uss for each in self.family())

    def threads(self) -> int:
        return sum(each.num_threads() for each in self.family())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, command: list[str], port: int, wait: float = 60.0, **env: str) -> Iterator[Server]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **env},
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + wait
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} does not listen: {' '.join(command)}")
            time.sleep(0.1)
        yield Server(name, port, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def paced_upstream(sizes: Sizes) -> Iterator[str]:
    command = [sys.executable, str(HERE / "paced_upstream.py"), str(sizes.seconds), str(sizes.rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def site(server: str, origin: str, sizes: Sizes, *, rules: int) -> Iterator[Server]:
    """This site with a database of its own, its rules in force, and an API key that may use the upstreams."""
    upstreams = {
        "default": {"URL": f"{origin}/native", "PROXY": True},
        "openai": {"URL": f"{origin}/v1", "FORMAT": "openai", "MODELS": ["m"]},
        "burst": {"URL": f"{origin}/native/burst/{sizes.burst}", "PROXY": True},
        "idle": {"URL": f"{origin}/native/idle", "PROXY": True},
    }
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(database(rules), f"{folder}/db.sqlite3")
        env = {
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "SECRET_KEY": "benchmark",
            "STREAMING_ACCESS": "public",
            "STREAMING_STREAMS_PER_ADDRESS": "0",
            "STREAMING_REQUESTS_PER_MINUTE": "0",
            "STREAMING_UPSTREAMS": json.dumps(upstreams),
        }
        port = free_port()
        command = [sys.executable, *(word.format(port=port) for word in SERVERS[server])]
        with running(f"on {server}", command, port, **env) as started:
            yield started


@functools.cache
def database(rules: int) -> Path:
    """A migrated database with so many rules, which match none of the text. Made once a run."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "SECRET_KEY": "benchmark"}
    env |= {"DJANGO_SETTINGS_MODULE": "ssesite.settings", "RULES": str(rules)}
    fill = (
        "import django, os, random; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from streaming.models import ModerationRule as Rule\n"
        "dice, letters = random.Random(1), 'abcdefghijklmnopqrstuvwxyz'\n"
        "words = {''.join(dice.choices(letters, k=dice.randint(6, 12))) for _ in range(int(os.environ['RULES']))}\n"
        "Rule.objects.bulk_create(Rule(pattern=word) for word in sorted(words))\n"
    )
    subprocess.run([sys.executable, "-c", fill], env=env, cwd=ROOT, check=True)
    return folder / "db.sqlite3"


@contextmanager
def node(origin: str) -> Iterator[Server]:
    port = free_port()
    executable = shutil.which("node") or "node"
    with running("plain Node", [executable, str(HERE / "relay.mjs"), origin, str(port)], port) as started:
        yield started


@contextmanager
def fastapi(origin: str) -> Iterator[Server]:
    port = free_port()
    packages = ["fastapi", "sse-starlette", "httpx", "httpx-sse", "uvicorn[standard]"]
    command = ["uv", "run", "--no-project", *(word for name in packages for word in ("--with", name))]
    command += ["python", str(HERE / "fastapi_relay.py"), origin, str(port)]
    with running("FastAPI, sse-starlette, httpx-sse", command, port, wait=180) as started:
        yield started


@contextmanager
def litellm(origin: str) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")  # JSON is YAML
        parameters = {"model": "openai/m", "api_base": f"{origin}/v1", "api_key": "x"}
        config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": parameters}]}))
        command = ["uv", "run", "--no-project", "--with", "litellm[proxy]", "litellm", "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        env = {"LITELLM_LOG": "ERROR", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
        with running("LiteLLM's proxy", command, port, wait=300, **env) as started:
            yield started


# --- reading


@dataclass
class Read:
    """What one reader saw: events, and each one's seconds from the upstream's write."""

    events: int = 0
    lateness: list[float] = field(default_factory=list)
    opened: float = 0.0


def request_bytes(method: str, path: str, body: bytes) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", "Accept: text/event-stream"]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


async def read_stream(port: int, path: str, body: bytes = b"") -> Read:
    read, began = Read(), time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(request_bytes("POST" if body else "GET", path, body))
    rest = b""
    while data := await reader.read(1 << 16):
        now = time.monotonic_ns()
        if not read.opened:
            assert data.startswith(b"HTTP/1.1 200"), data[:500]
            read.opened = time.monotonic() - began
        rest += data
        last = max((match.end() for match in SENT.finditer(rest)), default=0)
        sent = [int(number) for number in SENT.findall(rest)]
        read.lateness += [(now - moment) / 1e9 for moment in sent]
        read.events += len(sent)
        rest = rest[last:][-256:]
    writer.close()
    return read


async def read_many(port: int, path: str, body: bytes, count: int) -> list[Read]:
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(read_stream(port, path, body)))
        await asyncio.sleep(0.005)  # as readers come
    return await asyncio.gather(*tasks)


# --- what is measured

Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Paced:
    name: str
    micros: float
    lateness: list[float]
    opened: float


async def paced(server: Server, path: str, body: bytes, count: int) -> Paced:
    await read_many(server.port, path, body, 2)  # warm
    before = server.cpu()
    reads = await read_many(server.port, path, body, count)
    events = sum(read.events for read in reads)
    assert events, f"{server.name} {path} relayed nothing"
    lateness = sorted(late for read in reads for late in read.lateness)
    opened = statistics.median(read.opened for read in reads)
    return Paced(server.name, (server.cpu() - before) / events * 1e6, lateness, opened)


def paced_table(results: list[Paced]) -> str:
    basis = results[0].micros
    rows = [
        (
            each.name,
            f"{each.micros / basis:.1f}",
            f"{each.micros:.0f}",
            f"{quantile(each.lateness, 0.5) * 1e3:.1f}",
            f"{quantile(each.lateness, 0.99) * 1e3:.1f}",
            f"{each.opened * 1e3:.0f}",
        )
        for each in results
    ]
    return table(("", "CPU, times Node", "µs an event", "late ms, p50", "p99", "opened ms"), rows)


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def table(head: tuple[str, ...], rows: Rows) -> str:
    lines = [head, ("---", *("--:" for _ in head[1:])), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure_paced(sizes: Sizes, origin: str) -> str:
    results = []
    with node(origin) as peer:
        results.append(asyncio.run(paced(peer, "/native", b"", sizes.streams)))
    with optional(None if sizes.alone else fastapi(origin)) as peer:
        if peer:
            results.append(asyncio.run(paced(peer, "/native", b"", sizes.streams)))
    for name in sizes.servers:
        with optional(site(name, origin, sizes, rules=sizes.rules)) as started:
            for path in ("/transfer", "/proxy") if started else ():
                result = asyncio.run(paced(started, path, b"", sizes.streams))
                results.append(replace(result, name=f"`{path}` {result.name}"))
    return paced_table(results)


def measure_chat(sizes: Sizes, origin: str) -> str:
    path, results = "/v1/chat/completions", []
    with node(origin) as peer:
        results.append(asyncio.run(paced(peer, path, QUESTION, sizes.chats)))
    with optional(None if sizes.alone else litellm(origin)) as peer:
        if peer:
            results.append(asyncio.run(paced(peer, path, QUESTION, sizes.chats)))
    for name in [each for each in ("uvicorn", "Daphne") if each in sizes.servers]:
        with site(name, origin, sizes, rules=sizes.rules) as started:
            result = asyncio.run(paced(started, path, QUESTION, sizes.chats))
            results.append(replace(result, name=f"`/v1` {result.name}"))
    return paced_table(results)


def measure_opening(sizes: Sizes, origin: str) -> str:
    rows: Rows = []

    async def open_and_close(server: Server, path: str) -> float:
        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_bytes("GET", path, b""))
            assert (await reader.read(12)) == b"HTTP/1.1 200"
            if "idle" not in path:
                await reader.read()
            writer.close()

        for _ in range(20):
            await one()
        before = server.cpu()
        for _ in range(sizes.openings):
            await one()
        return (server.cpu() - before) / sizes.openings * 1e3

    for name in [each for each in ("uvicorn", "Daphne") if each in sizes.servers]:
        with site(name, origin, sizes, rules=sizes.rules) as started:
            spent = [asyncio.run(open_and_close(started, path)) for path in ("/healthz", "/transfer/idle")]
            rows.append((started.name, *(f"{each:.2f}" for each in spent)))
    return table(("ms of CPU a request", "`/healthz`", "`/transfer`, left after its first bytes"), rows)


def measure_idle(sizes: Sizes, origin: str) -> str:
    rows: Rows = []

    async def hold(server: Server, path: str) -> tuple[float, int]:
        async def one() -> asyncio.StreamWriter:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_bytes("GET", path, b""))
            assert (await reader.read(12)) == b"HTTP/1.1 200"
            return writer

        held = [await one() for _ in range(20)]  # what is made once
        before = server.memory()
        held += [await one() for _ in range(sizes.idle)]
        result = (server.memory() - before) / sizes.idle / 1024, server.threads()
        for writer in held:
            writer.close()
        return result

    for name in [each for each in ("uvicorn", "Daphne") if each in sizes.servers]:
        for path in ("/ping", "/transfer/idle"):
            with site(name, origin, sizes, rules=0) as started:
                kib, threads = asyncio.run(hold(started, path))
                rows.append((f"`{path.removesuffix('/idle')}` {started.name}", f"{kib:.0f}", str(threads)))
    return table((f"{sizes.idle:,} idle streams", "KiB each", "threads"), rows)


def measure_burst(sizes: Sizes, origin: str) -> str:
    rows: Rows = []

    async def all_of(server: Server, path: str) -> float:
        await read_stream(server.port, path)
        took = []
        for _ in range(3):
            began = time.monotonic()
            assert (await read_stream(server.port, path)).events == sizes.burst
            took.append(time.monotonic() - began)
        return statistics.median(took)

    with node(origin) as peer:
        basis = asyncio.run(all_of(peer, f"/native/burst/{sizes.burst}"))
        rows.append((peer.name, "1.0", f"{basis:.2f}"))
    for name in [each for each in ("uvicorn", "Daphne") if each in sizes.servers]:
        with site(name, origin, sizes, rules=sizes.rules) as started:
            spent = asyncio.run(all_of(started, "/transfer/burst"))
            rows.append((f"`/transfer` {started.name}", f"{spent / basis:.1f}", f"{spent:.2f}"))
    return table((f"{sizes.burst:,} events at once", "times Node", "seconds"), rows)


@contextmanager
def optional(server: Any) -> Iterator[Server | None]:
    """A peer that cannot be had here is left out, and said to be."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(server) if server else None
        except (RuntimeError, OSError) as error:
            print(f"left out: {str(error)[:200]}", file=sys.stderr)
            started = None
        yield started


PARTS = {
    "paced": measure_paced,
    "chat": measure_chat,
    "opening": measure_opening,
    "idle": measure_idle,
    "burst": measure_burst,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="some of them; all unless named")
    parser.add_argument("--quick", action="store_true", help="a small run that only shows that it works")
    parser.add_argument("--alone", action="store_true", help="without FastAPI and LiteLLM, which have to be fetched")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="which run this site")
    parser.add_argument("--rules", type=int, help="how many rules")
    options = parser.parse_args()
    sizes = replace(QUICK if options.quick else Sizes(), alone=options.alone, servers=tuple(options.servers))
    if options.rules is not None:
        sizes = replace(sizes, rules=options.rules)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with paced_upstream(sizes) as origin:
        for part in options.parts or PARTS:
            print(f"\n## {part}\n\n{PARTS[part](sizes, origin)}", flush=True)


if __name__ == "__main__":
    main()
