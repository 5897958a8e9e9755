"""The whole site under real servers and sockets: disconnects, slow clients, shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, copy_of, eventually, read_until

DELTA = b'data: {"delta": "%s"}\n\n'


class RelayingSite(Site):
    """In front of the upstream of all tests; each looks at what is logged in it."""

    logged_before = 0

    @property
    def news(self) -> str:
        """What it has logged in this test."""
        return self.log[self.logged_before :]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def shared(
    migrated: Path, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelayingSite]:
    folder = copy_of(migrated, tmp_path_factory.mktemp("relaying"))
    site = RelayingSite(folder, UPSTREAM_URL=upstream.url, UPSTREAM_PROXY="1", STREAMING_GRACE="0")
    yield site
    site.stop()


@pytest.fixture
def relaying(shared: RelayingSite, upstream: ScriptedUpstream) -> RelayingSite:
    """A site in front of the upstream, which streams leave with their client."""
    upstream.forget()
    eventually(lambda: not upstream.open, "the streams of the test before have ended")
    shared.logged_before = len(shared.log)
    return shared


async def speak_until_left(connection: Connection) -> None:
    await connection.begin()
    await connection.send(DELTA % b"hello")
    await connection.until_left()


async def never_stop(connection: Connection) -> None:
    await connection.begin()
    while True:
        await connection.send(DELTA % (b"x" * 10_000))


class TestAClientThatDisconnects:
    """Everything behind the client is closed, the upstream first, because it costs money."""

    @pytest.mark.parametrize("address", ["/transfer", "/proxy"])
    @pytest.mark.parametrize(
        ("request_line", "body"),
        [("GET", b""), ("POST", b'{"prompt": "hi"}')],
        ids=["after a GET", "after a POST with a body"],
    )
    def test_closes_the_upstream(
        self, relaying: RelayingSite, upstream: ScriptedUpstream, address: str, request_line: str, body: bytes
    ) -> None:
        upstream.script = speak_until_left
        reader = relaying.connect(f"{request_line} {address}\nContent-Type: application/json", body)
        assert b"hello" in read_until(reader, b"hello")

        reader.close()

        assert upstream.left.wait(DEADLINE)
        eventually(lambda: f"{request_line} {address} ended (left)" in relaying.news, "the end is logged")

    @pytest.mark.parametrize("address", ["/transfer", "/proxy"])
    def test_closes_the_upstream_while_a_send_waits(
        self, relaying: RelayingSite, upstream: ScriptedUpstream, address: str
    ) -> None:
        upstream.script = never_stop
        reader = relaying.connect(f"GET {address}")
        read_until(reader, b"xxx")
        eventually(lambda: stands_still(lambda: upstream_bytes(relaying)), "the server waits for the reader")

        reader.close()

        eventually(lambda: f"GET {address} ended (left)" in relaying.news, "the end is logged")
        eventually(lambda: not connections_to(relaying, upstream.port), "the upstream's connection is closed")

    def test_ends_a_stream_that_never_waits(self, relaying: RelayingSite) -> None:
        reader = relaying.connect("GET /stream?document=handbook&interval=0&step=1&mode=full")
        read_until(reader, b"data")

        reader.close()

        eventually(lambda: "GET /stream ended (left)" in relaying.news, "the end is logged")
        assert b"200 OK" in read_until(relaying.connect("GET /stream?interval=0\nConnection: close"), b"done")


def stands_still(figure: Callable[[], int]) -> bool:
    before = figure()
    threading.Event().wait(0.2)
    return figure() == before > 0


def upstream_bytes(site: Site) -> int:
    return int(site.ps.io_counters().read_chars)


def connections_to(site: Site, port: int) -> list[object]:
    return [c for c in site.ps.net_connections("tcp") if c.raddr and c.raddr.port == port and c.status == "ESTABLISHED"]


@pytest.mark.parametrize("address", ["/transfer", "/proxy"])
def test_a_client_that_reads_nothing_costs_no_memory(
    relaying: RelayingSite, upstream: ScriptedUpstream, address: str
) -> None:
    upstream.script = never_stop
    read_until(relaying.connect("GET /stream?interval=0\nConnection: close"), b"done")  # it is warm
    before = relaying.ps.memory_info().rss

    with relaying.connect(f"GET {address}") as reader:
        read_until(reader, b"xxx")
        eventually(lambda: stands_still(lambda: upstream_bytes(relaying)), "the server waits for the reader")
        grown = relaying.ps.memory_info().rss - before

    assert grown < 20e6


def test_an_upstream_that_dies_midstream_causes_an_error_event_in_a_transfer(
    relaying: RelayingSite, upstream: ScriptedUpstream
) -> None:
    async def die(connection: Connection) -> None:
        await connection.begin("200 OK", "Content-Length: 1000")
        await connection.send(DELTA % b"hello")

    upstream.script = die

    answer = read_until(relaying.connect("GET /transfer\nConnection: close"), b"never")

    assert b'{"delta": "hello"}' in answer
    assert b'event: error\ndata: {"status": 502, "title": "Bad Gateway"' in answer
    assert answer.endswith(b'event: done\ndata: {"reason": "error"}\n\n\r\n0\r\n\r\n')


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_an_upstream_that_dies_midstream_breaks_the_connection_of_a_proxy_request(
    relaying: RelayingSite, upstream: ScriptedUpstream, framing: str
) -> None:
    async def die(connection: Connection) -> None:
        await connection.begin("200 OK", framing)
        await connection.send(b"5\r\nhello\r\n" if "chunked" in framing else b"hello")

    upstream.script = die

    answer = read_until(relaying.connect("GET /proxy"), b"0\r\n\r\n")

    assert b"200 OK" in answer
    assert b"hello" in answer
    assert not answer.endswith(b"0\r\n\r\n")  # the connection closed with the body unfinished
    eventually(lambda: "ended (error: the upstream 'default' broke off" in relaying.news, "the end is logged")
    assert "Traceback" not in relaying.log
    # Daphne's housekeeping goes on: later readers that leave are still noticed.
    with relaying.connect("GET /ping") as reader:
        read_until(reader, b"connect")
    eventually(lambda: "GET /ping ended (left)" in relaying.news, "the server goes on")


PATIENT_DAPHNE = (
    "from ssesite import asgi; from streaming import serving, registry; from daphne.cli import CommandLineInterface;"
    "registry.drain.__defaults__ = (600.0,); serving.LAST_REQUESTS_SECONDS = 600.0; CommandLineInterface.entrypoint()"
)
"""It goes down only when every stream has ended by itself."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_shutdown_sends_every_stream_its_final_message(make_site: Callable[..., Site], number: int) -> None:
    site = make_site(["-c", PATIENT_DAPHNE, "-p", "{port}", "ssesite.asgi:application"])
    addresses = ["/stream", "/transfer"] * 4 + ["/ping"] * 2
    readers = [site.connect(f"GET {address}") for address in addresses]
    for reader in readers:
        read_until(reader, b"\n\n")

    site.process.send_signal(number)
    ends = [read_until(reader, b"\r\n0\r\n\r\n") for reader in readers]
    site.process.wait(DEADLINE)

    for address, end in zip(addresses, ends, strict=True):
        last = b"retry: 1000\n\n" if address == "/ping" else b'event: done\ndata: {"reason": "drained"}\n\n'
        assert end.endswith(last + b"\r\n0\r\n\r\n"), end
    assert site.process.returncode == 0
    assert "Traceback" not in site.log
    assert "Unclosed" not in site.log, "connections to upstreams are closed too"


def served_by(server: str, **constants: float) -> list[str]:
    """A command that serves the site, with these constants of serving.py."""
    set_them = "".join(f"serving.{name} = {value}; " for name, value in constants.items())
    if server == "daphne":
        run, arguments = "from daphne.cli import CommandLineInterface as it; it.entrypoint()", ["-p"]
    else:
        run, arguments = "import uvicorn; uvicorn.main()", ["--port"]
    imports = "from ssesite import asgi; from streaming import serving; "
    return ["-c", imports + set_them + run, *arguments, "{port}", "ssesite.asgi:application"]


CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}).encode()


def asking(site: Site, path: str, *headers: str) -> socket.socket:
    """A request that waits for the upstream."""
    body = CHAT if path.startswith("/v1") else b'{"prompt": "Hello"}'
    return site.connect("\n".join([f"POST {path}", "Content-Type: application/json", *headers]), body)


def in_front_of(upstream: ScriptedUpstream, **settings: object) -> str:
    """STREAMING_UPSTREAMS with this one, which is waited for."""
    entry = {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "MODELS": ["m"], "TIMEOUTS": {"head": 600, "queue": 600}}
    return json.dumps({"default": {**entry, **settings}})


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
class TestRequestsThatWaitForAnUpstreamAtAShutdown:
    def test_get_its_answer_if_it_comes_soon(
        self, make_site: Callable[..., Site], upstream: ScriptedUpstream, server: str
    ) -> None:
        may_answer = threading.Event()

        async def answer_late(connection: Connection) -> None:
            await asyncio.to_thread(may_answer.wait, DEADLINE)
            await connection.begin(kind="application/json")
            await connection.send(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}')

        upstream.script = answer_late
        patient = served_by(server, UNANSWERED_SECONDS=600, LAST_REQUESTS_SECONDS=600, SHUTDOWN_SECONDS=600)
        site = make_site(patient, STREAMING_UPSTREAMS=in_front_of(upstream))
        asked_before = len(upstream.requests)
        with asking(site, "/v1/chat/completions") as client, site.connect("GET /ping") as beside:
            read_until(beside, b"\n\n")
            eventually(lambda: len(upstream.requests) > asked_before, "the upstream is asked")

            site.process.terminate()
            read_until(beside, b"\r\n0\r\n\r\n")
            may_answer.set()
            answer = read_until(client, b"}]}")

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"content": "Hi"' in answer
        site.process.wait(DEADLINE)

    def test_are_told_otherwise_to_come_again_and_leave_no_task_behind(
        self, make_site: Callable[..., Site], upstream: ScriptedUpstream, server: str
    ) -> None:
        """CPython 3.11 crashes at exit in most of these cases if Django's tasks are still pending."""
        upstream.script = Connection.until_left
        hasty = served_by(server, UNANSWERED_SECONDS=0, LAST_REQUESTS_SECONDS=600, SHUTDOWN_SECONDS=600)
        site = make_site(hasty, STREAMING_UPSTREAMS=in_front_of(upstream, CONCURRENCY=15, PROXY=True))
        asked_before = len(upstream.requests)
        paths = ["/v1/chat/completions", "/transfer", "/proxy/default/chat/completions"] * 10
        with ExitStack() as stack:
            clients = [
                stack.enter_context(asking(site, path, f"Idempotency-Key: {number % 15}"))
                for number, path in enumerate(paths)
            ]
            # Some of them wait for the upstream, some for their turn, and some for another request with their key.
            eventually(lambda: len(upstream.requests) == asked_before + 15, "the upstream is asked")
            assert b"status" in read_until(site.connect("GET /healthz"), b"}"), "what was sent before has arrived"

            site.process.terminate()
            answers = [read_until(client, b"}") for client in clients]

            site.process.wait(DEADLINE)
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 503 Service Unavailable"}
        assert all(b"Retry-After: 1\r\n".lower() in answer.lower() for answer in answers)
        assert all(b"the server is being restarted: send the request again" in answer for answer in answers)
        assert b'"type": "server_error"' in answers[0]
        assert b'{"status": 503, "title": "Service Unavailable", "detail": "' in answers[1]
        assert "ended (error: the server went down)" in site.log
        assert "never retrieved" not in site.log
        assert "Traceback" not in site.log


def test_a_shutdown_does_not_wait_for_ever_for_what_cannot_be_closed(make_site: Callable[..., Site]) -> None:
    stuck = (
        "import asyncio; from ssesite import asgi; from streaming import serving, counters;"
        "serving.SHUTDOWN_SECONDS = 0.5; counters.close = asyncio.Event().wait;"
        "from daphne.cli import CommandLineInterface; CommandLineInterface.entrypoint()"
    )
    site = make_site(["-c", stuck, "-p", "{port}", "ssesite.asgi:application"])
    read_until(site.connect("GET /stream?interval=0\nConnection: close"), b"done")

    site.process.terminate()

    assert site.process.wait(DEADLINE) == 0
    assert "not everything was closed within 0.5 s" in site.log


def test_a_client_that_sends_nothing_does_not_keep_a_server_from_going_down(make_site: Callable[..., Site]) -> None:
    uvicorn = ["-m", "uvicorn", "--timeout-graceful-shutdown", "1", "--port", "{port}", "ssesite.asgi:application"]
    site = make_site(uvicorn, STREAMING_BODY_IDLE_SECONDS="600")
    head = "POST /transfer\nContent-Type: application/json\nContent-Length: 1000\nExpect: 100-continue"

    with site.connect(head) as client:
        assert b" 100 " in read_until(client, b"\r\n\r\n"), "the body is waited for"
        site.process.terminate()
        site.process.wait(DEADLINE)

    assert "timeout graceful shutdown exceeded" in site.log
    assert "Traceback" not in site.log


def test_a_server_that_tells_when_it_starts_and_ends_is_answered(make_site: Callable[..., Site]) -> None:
    """With ``--lifespan on`` uvicorn does not start without an answer; by default it logs that there was none."""
    uvicorn = ["-m", "uvicorn", "--lifespan", "on", "--port", "{port}", "ssesite.asgi:application"]
    site = make_site(uvicorn)
    reader = site.connect("GET /stream?interval=60")
    read_until(reader, b"\n\n")

    site.process.terminate()

    assert b'"reason": "drained"' in read_until(reader, b'"drained"}')
    site.process.wait(DEADLINE)
    assert "Application startup complete" in site.log
    assert "Application shutdown complete" in site.log
    assert "Traceback" not in site.log


def test_a_ctrl_c_that_the_server_ignores_ends_no_stream(make_site: Callable[..., Site]) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    site = make_site(["-c", ignoring, "-m", "daphne", "-p", "{port}", "ssesite.asgi:application"])

    with site.connect("GET /ping") as reader:
        read_until(reader, b"id: 0\n")
        site.process.send_signal(signal.SIGINT)
        assert b"id: 2\n" in read_until(reader, b"id: 2\n")


def test_a_websocket_is_refused_without_a_traceback(make_site: Callable[..., Site]) -> None:
    site = make_site()
    upgrade = (
        "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: " + "A" * 22 + "=="
    )

    with site.connect(f"GET /ping\n{upgrade}") as visitor:
        assert b" 403 " in read_until(visitor, b"\r\n")

    assert "Traceback" not in site.log


def test_500_idle_streams_use_few_threads_and_no_database_connection(make_site: Callable[..., Site]) -> None:
    site = make_site()
    with ExitStack() as stack:
        for number in range(500):
            address = "/transfer?interval=60" if number % 50 == 0 else "/ping"
            reader = stack.enter_context(site.connect(f"GET {address}"))
            assert b"200 OK" in reader.recv(65536)

        assert site.ps.num_threads() <= 20
        # What looks for new rules has it open for a moment.
        eventually(lambda: not [file for file in site.ps.open_files() if "db.sqlite3" in file.path], "none stays open")

    eventually(lambda: site.log.count("ended (left)") >= 500, "all are noticed to have left")


def test_a_body_reaches_the_upstream_of_a_proxy_whole(relaying: RelayingSite, upstream: ScriptedUpstream) -> None:
    bodies = []

    async def take(connection: Connection) -> None:
        bodies.append(await connection.body())
        await connection.begin("200 OK", "Content-Length: 2")
        await connection.send(b"ok")

    upstream.script = take
    body = os.urandom(5_000_000)

    answer = read_until(relaying.connect("PUT /proxy\nConnection: close", body), b"ok")

    assert b"200 OK" in answer
    assert bodies == [body]


SERVERS = {
    "runserver": ["manage.py", "runserver", "--noreload", "127.0.0.1:{port}"],
    "runserver with its reloader": ["manage.py", "runserver", "127.0.0.1:{port}"],
    "daphne": ["-m", "daphne", "-p", "{port}", "ssesite.asgi:application"],
}


@pytest.mark.parametrize("debug", ["0", "1"])
@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_serves_streams_and_static_files_under_every_server(
    make_site: Callable[..., Site], command: list[str], debug: str
) -> None:
    site = make_site(command, DEBUG=debug)

    stream = read_until(site.connect("GET /stream?interval=60"), b'"delta"')
    module = read_until(site.connect("GET /static/streaming/sse.js\nConnection: close"), b"never")
    admin = read_until(site.connect("GET /static/admin/css/base.css\nConnection: close"), b"never")

    assert b'"delta"' in stream
    assert b"200 OK" in module
    assert b"text/javascript" in module
    assert b"200 OK" in admin


def test_wrap_may_be_imported_before_django_is_set_up() -> None:
    """Whoever sorts the imports of a project's asgi.py puts it before the line that names the settings."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    subprocess.run([sys.executable, "-c", "from streaming.asgi import wrap"], env=env, check=True, timeout=DEADLINE)


def test_check_warns_when_daphne_is_not_first(tmp_path: object) -> None:
    code = (
        "from django.conf import settings; settings.INSTALLED_APPS.remove('daphne');"
        "import django; django.setup(); from django.core.management import call_command; call_command('check')"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "ssesite.settings", "SECRET_KEY": "x"}

    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=240, check=False
    )

    assert "streaming.W001" in run.stderr
