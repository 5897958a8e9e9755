"""The site under each server, in front of the faulty upstream; raw readers; and what the process holds."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, Site, eventually, read_until
from tests.faults.upstream import BODIES, FaultyUpstream

APPLICATION = "tests.faults.counted_site:application"
SERVERS = {
    "daphne": ["-m", "daphne", "-p", "{port}", APPLICATION],
    "h11": ["-m", "uvicorn", "--http", "h11", "--port", "{port}", APPLICATION],
    "httptools": ["-m", "uvicorn", "--http", "httptools", "--port", "{port}", APPLICATION],
}

WITH_WORKERS = {
    "granian": ["-m", "granian", "--interface", "asgi", "--port", "{port}", APPLICATION],
    "gunicorn": ["-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", APPLICATION],
}
"""Servers whose process starts others, which answer."""


@dataclass(frozen=True)
class Counts:
    """What a process holds.

    ``objects``: those that the collector knows of; ``kept``: streams that have ended, for clients that come back;
    ``upstreams``: connections to the upstream.
    """

    objects: int
    kept: int
    tasks: int
    slots: int
    streams: int
    threads: int
    descriptors: int
    upstreams: int


class FaultySite(Site):
    """The site, and the upstream behind it."""

    upstream: FaultyUpstream

    def counts(self) -> Counts:
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            connection.sendall(b"GET /_counts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        inside = json.loads(answer.partition(b"\r\n\r\n")[2])
        return Counts(
            **inside, threads=self.ps.num_threads(), descriptors=self.ps.num_fds(), upstreams=self.upstream.open
        )

    def at_rest(self) -> Counts:
        """What is held when no stream is open, no slot is taken, and nothing is kept of those that ended."""
        seen: list[Counts] = []

        def is_at_rest() -> bool:
            seen.append(self.counts())
            return not (seen[-1].upstreams or seen[-1].slots or seen[-1].streams or seen[-1].kept)

        try:
            eventually(is_at_rest, "all that was going on has ended")
        except AssertionError:
            pytest.fail(f"something is still open: {seen[-1]}")
        return seen[-1]

    def comes_back_to(self, before: Counts) -> None:
        """Waits until nothing is held any more that was not held before."""

        def is_back() -> bool:
            now = self.counts()
            has_more = [
                name
                for name in ("tasks", "slots", "streams", "upstreams", "descriptors")
                if getattr(now, name) > getattr(before, name)
            ]
            return not has_more and now.threads <= before.threads + 24  # the pools have their threads by and by

        try:
            eventually(is_back, "what was opened is closed")
        except AssertionError:
            pytest.fail(f"before {before}, now {self.counts()}")


@pytest.fixture(scope="module")
def faulty_upstream() -> Iterator[FaultyUpstream]:
    upstream = FaultyUpstream()
    yield upstream
    upstream.stop()


def start_site(folder: Path, server: str, upstream: FaultyUpstream, **more: object) -> FaultySite:
    entries: dict[str, dict[str, object]] = {
        kind: {"URL": f"{upstream.url}/", "FORMAT": kind, "PROXY": True, **more} for kind in BODIES
    }
    entries["openai"]["MODELS"] = ["m"]
    env = {
        "STREAMING_UPSTREAMS": json.dumps(entries),
        "STREAMING_ACCESS": "public",
        # Whoever leaves does not come back here. What would be kept for them meanwhile is memory, and no leak.
        "STREAMING_GRACE": "0.2",
        "STREAMING_KEEP": "0.5",
    }
    site = FaultySite(folder, {**SERVERS, **WITH_WORKERS}[server], **env)
    site.upstream = upstream
    start_background_tasks(site)
    return site


def start_background_tasks(site: Site) -> None:
    """The first request starts those that then run as long as the process."""
    read_until(site.connect("GET /healthz\nConnection: close"), b"never")


@pytest.fixture(scope="module", params=SERVERS)
def faulty_site(
    request: pytest.FixtureRequest,
    migrated: Path,
    faulty_upstream: FaultyUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FaultySite]:
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = start_site(folder, request.param, faulty_upstream)
    yield site
    site.stop()


def request_for(address: str, kind: str, fault: str) -> bytes:
    """A request that makes the upstream of this kind fail so: ``cut-120``, ``reset-3``, ``endless-5``."""
    fault = f"fault={kind}-{fault}."
    if address == "/v1/chat/completions" or (kind == "openai" and address.startswith("/transfer")):
        fields = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], "user": fault}
        body = json.dumps(fields).encode()
        path = address if address.startswith("/v1") else f"{address}/{kind}"
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    else:
        body, head = b"", f"GET {address}/{kind}?{fault} HTTP/1.1\r\n"
    return f"{head}Host: localhost\r\nConnection: close\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Answer:
    """What a raw reader got. ``is_whole``: the body has the end that its framing promises."""

    status: int
    body: bytes
    is_whole: bool


async def ask(site: Site, request: bytes, deadline: float = DEADLINE) -> Answer:
    """The answer to raw bytes, read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(request)
        async with asyncio.timeout(deadline):
            return await _read_answer(reader)
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body, is_whole = b"", False
    try:
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            is_whole = await reader.readuntil(b"\r\n") == b"\r\n"
        elif b"content-length: " in head:
            body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            is_whole = True
        else:
            while piece := await reader.read(65536):
                body += piece
            is_whole = True
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        body += getattr(error, "partial", b"")
    return Answer(int(head.split()[1]), body, is_whole)


async def leave_after(site: Site, request: bytes, seconds: float) -> None:
    """Asks, and resets the connection a while later, whatever has come by then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request)
    reading = asyncio.ensure_future(reader.read(1 << 20))
    await asyncio.wait({reading}, timeout=seconds)
    reading.cancel()
    reading.add_done_callback(lambda done: done.cancelled() or done.exception())
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
