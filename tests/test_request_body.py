"""Request bodies on real servers: limits of length and time, and refusal before the body arrives."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from streaming.request_body import limit_body
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually, free_port, read_until

SERVERS = {
    "daphne": None,
    "uvicorn with h11": ["-m", "uvicorn", "--port", "{port}", "--http", "h11", "ssesite.asgi:application"],
    "uvicorn with httptools": ["-m", "uvicorn", "--port", "{port}", "--http", "httptools", "ssesite.asgi:application"],
}
FORM = "Content-Type: application/x-www-form-urlencoded"

MakeSite = Callable[..., Site]


LIMITS = {"STREAMING_MAX_BODY_BYTES": "100000", "STREAMING_BODY_IDLE_SECONDS": "2", "STREAMING_ACCESS": "public"}


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def served(request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with low limits, under each server in turn."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = Site(folder, request.param, **LIMITS)
    yield site
    site.stop()


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def opened(site: Site, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE)
    connection.sendall(data)
    return connection


def send_all(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send the pieces until all are sent or the connection is closed."""
    with suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


class TestABodyThatIsTooLong:
    @pytest.mark.parametrize("address", ["/healthz", "/proxy", "/transfer", "/nowhere"])
    def test_is_refused_by_its_announced_length_before_it_is_read(self, served: Site, address: str) -> None:
        with opened(served, head(f"POST {address}", "Content-Length: 100001", FORM)) as reader:
            answer = read_until(reader, b"}")

        assert status_of(answer) == 413
        assert b"the body is longer than 100,000 bytes" in answer

    def test_is_refused_in_the_format_of_its_address(self, served: Site) -> None:
        with opened(served, head("POST /v1/chat/completions", "Content-Length: 100001")) as reader:
            answer = read_until(reader, b"}}")

        assert status_of(answer) == 413
        message = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert message == "the body is longer than 100,000 bytes"

    @pytest.mark.parametrize("address", ["/proxy", "/transfer", "/v1/chat/completions", "/login/", "/admin/"])
    def test_that_is_not_announced_is_refused_at_the_limit(self, served: Site, address: str) -> None:
        with opened(served, head(f"POST {address}", "Transfer-Encoding: chunked", FORM)) as reader:
            chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
            sending = threading.Thread(target=send_all, args=(reader, itertools.repeat(chunk)))
            sending.start()
            answer = read_until(reader, b"\r\n\r\n")
            with suppress(OSError):
                reader.shutdown(socket.SHUT_RDWR)
            sending.join(DEADLINE)

        assert status_of(answer) == 413

    @pytest.mark.parametrize(("address", "limit"), [("/login/", b"64,000"), ("/admin/", b"100,000")])
    def test_is_refused_with_a_page_if_it_is_a_form(self, served: Site, address: str, limit: bytes) -> None:
        with opened(served, head(f"POST {address}", "Content-Length: 100001", FORM)) as reader:
            answer = read_until(reader, b"</html>")

        assert status_of(answer) == 413
        assert b"at most " + limit + b" bytes can be sent" in answer

    @pytest.mark.parametrize("times", [1500, 10_000])
    def test_is_not_read_as_a_second_request(self, served: Site, times: int) -> None:
        """What is left of a refused body is not taken for the next request on the connection."""
        smuggled = head("GET /ping") * times

        with opened(served, head("POST /login/", f"Content-Length: {len(smuggled)}")) as reader:
            last = head("GET /healthz", "Connection: close")
            sending = threading.Thread(target=send_all, args=(reader, iter([smuggled, last])))
            sending.start()
            answer = read_until(reader, b"never")
            sending.join(DEADLINE)

        assert status_of(answer) in (403, 413)
        assert b"text/event-stream" not in answer
        assert answer.count(b"HTTP/1.1") == (2 if times == 1500 else 1), "after a small body the connection goes on"

    def test_gets_no_100_continue(self, served: Site) -> None:
        with opened(served, head("POST /stream", "Content-Length: 30000000", "Expect: 100-continue")) as reader:
            assert status_of(read_until(reader, b"}")) == 413

    def test_of_acceptable_length_gets_100_continue(self, served: Site) -> None:
        body = b'{"interval": 0, "document": "poem"}'
        headers = [f"Content-Length: {len(body)}", "Content-Type: application/json", "Expect: 100-continue"]

        with opened(served, head("POST /stream", *headers)) as reader:
            assert read_until(reader, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            reader.sendall(body)
            assert b"200 OK" in read_until(reader, b"done")


def test_a_form_of_30_mb_blocks_no_stream_and_uses_no_memory(served: Site) -> None:
    before = served.ps.memory_info().rss
    # A busy machine makes a pause long now and then; only what is long each time is the server's own.
    for _ in range(5):
        if (longest := longest_pause_during_forms(served)) < 2:
            break

    assert longest < 2, "it was 3 to 11 s when forms were parsed before anybody asked for them"
    assert served.ps.memory_info().rss - before < 30e6


def longest_pause_during_forms(served: Site) -> float:
    """The longest time, in seconds, between two events of a stream while two forms of 30 MB arrive."""
    pair = b"a=b&" * 16_384
    with opened(served, head("GET /stream?interval=0.01&step=1&document=handbook")) as reader:
        read_until(reader, b"delta")
        gaps, ended = list[float](), threading.Event()

        def watch() -> None:
            while not ended.is_set():
                began = time.monotonic()
                if not reader.recv(65536):
                    return
                gaps.append(time.monotonic() - began)

        watching = threading.Thread(target=watch)
        watching.start()
        for framing in ("Content-Length: 31457280", "Transfer-Encoding: chunked"):
            pieces = itertools.repeat(pair, 480)
            if "chunked" in framing:
                pieces = (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            with opened(served, head("POST /healthz", framing, FORM)) as stranger:
                sending = threading.Thread(target=send_all, args=(stranger, iter(pieces)))
                sending.start()
                answer = read_until(stranger, b"}")
                with suppress(OSError):
                    stranger.shutdown(socket.SHUT_RDWR)
                sending.join(DEADLINE)
            assert status_of(answer) == (413 if "Length" in framing else 405)
        ended.set()
        watching.join(DEADLINE)
    return max(gaps)


def test_a_request_that_is_refused_anyway_is_refused_before_its_body_arrives(served: Site) -> None:
    for request, status in [("POST /ping", 405), ("PUT /healthz", 405), ("POST /nowhere", 404)]:
        with opened(served, head(request, "Content-Length: 99999")) as reader:
            assert status_of(read_until(reader, b"\r\n\r\n")) == status, request


class TestASlowSender:
    def test_of_a_body_gets_a_408(self, served: Site) -> None:
        addresses = ("/stream", "/proxy", "/v1/chat/completions", "/login/")
        readers = [opened(served, head(f"POST {at}", "Content-Length: 100", FORM) + b"a=") for at in addresses]

        for address, reader in zip(addresses, readers, strict=True):
            with reader:
                assert status_of(read_until(reader, b"never")) == 408, address

    def test_of_a_head_is_disconnected_by_daphne(self, make_site: MakeSite) -> None:
        site = make_site(STREAMING_HEAD_SECONDS="0.5")

        with opened(site, b"GET /ping HTTP/1.1\r\n") as reader, opened(site, b"") as silent:
            ended = threading.Event()

            def dribble() -> None:
                with suppress(OSError):
                    while not ended.wait(0.1):
                        reader.sendall(b"X-A: b\r\n")

            dribbling = threading.Thread(target=dribble)
            dribbling.start()
            for connection in (reader, silent):
                with suppress(ConnectionError):
                    assert connection.recv(100) == b""
            ended.set()
            dribbling.join(DEADLINE)

    def test_of_a_body_is_not_limited_by_the_time_for_the_head(self, make_site: MakeSite) -> None:
        site = make_site(STREAMING_HEAD_SECONDS="1.5")

        with site.connect("GET /ping") as reader:
            assert b"id: 2\n" in read_until(reader, b"id: 2\n")


def test_a_connection_stays_usable_after_a_small_unread_body(served: Site) -> None:
    with opened(served, head("POST /ping", "Content-Length: 4") + b"abcd" + head("GET /healthz")) as reader:
        answer = read_until(reader, b'"status"')
        answer += b"" if b'"ok"' in answer else read_until(reader, b'"ok"')

    assert answer.startswith(b"HTTP/1.1 405")
    assert b"HTTP/1.1 200 OK" in answer


def test_a_disconnect_is_noticed_although_the_body_was_never_read(served: Site) -> None:
    with opened(served, head("GET /ping", "Content-Length: 4") + b"abcd") as reader:
        read_until(reader, b"connect")

    eventually(lambda: "GET /ping ended (left)" in served.log, "the end is logged")


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_an_upload_is_streamed_to_the_upstream(
    make_site: MakeSite, upstream: ScriptedUpstream, command: list[str] | None
) -> None:
    came: list[bytes] = []

    async def take(connection: Connection) -> None:
        length = int(connection.headers.get("Content-Length", connection.headers.get("content-length", "0")))
        while sum(map(len, came)) < length:
            came.append(await connection.reader.read(65536))
        await connection.begin("200 OK", "Content-Length: 2")
        await connection.send(b"ok")

    upstream.script = take
    site = make_site(command, STREAMING_ACCESS="public", UPSTREAM_URL=upstream.url, UPSTREAM_PROXY="1")

    with opened(site, head("PUT /proxy", "Content-Length: 10") + b"first") as reader:
        eventually(lambda: b"".join(came) == b"first", "the first piece has arrived while the second is to come")
        reader.sendall(b"after")
        assert b"200 OK" in read_until(reader, b"ok")

    assert b"".join(came) == b"firstafter"


def test_a_response_continues_while_an_unread_body_pauses(make_site: MakeSite, upstream: ScriptedUpstream) -> None:
    go_on = threading.Event()

    async def answer_early(connection: Connection) -> None:
        await connection.begin("200 OK")
        await connection.send(b"data: 1\n\n")
        while not go_on.is_set():  # noqa: ASYNC110 (it is set in another thread)
            await asyncio.sleep(0.01)
        await connection.send(b"data: 2\n\n")

    upstream.script = answer_early
    more = {"STREAMING_BODY_IDLE_SECONDS": "2", "UPSTREAM_PROXY": "1"}
    site = make_site(STREAMING_ACCESS="public", UPSTREAM_URL=upstream.url, **more)

    with opened(site, head("POST /proxy", "Content-Length: 10") + b"first") as reader:
        assert b"data: 1" in read_until(reader, b"data: 1")
        reader.settimeout(3.0)  # more than the body may pause for
        with pytest.raises(TimeoutError):
            assert reader.recv(100) == b"more", "nothing comes, and the connection stays"
        go_on.set()
        reader.settimeout(DEADLINE)
        assert b"data: 2" in read_until(reader, b"data: 2")


class Http2:
    """A client of one HTTP/2 connection over TLS."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self._socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._flush()

    def request(self, method: str, path: str, *headers: tuple[str, str], ends: bool) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *headers], end_stream=ends)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room:
                self.h2.send_data(stream, data[:room], end_stream=ends and len(data) <= room)
                self._flush()
                data = data[room:]
            else:
                self._receive()

    def _flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def _receive(self) -> list[h2.events.Event]:
        data = self._socket.recv(65536)
        assert data, "the connection has gone"
        events = self.h2.receive_data(data)
        self._flush()
        return events

    def answer(self, stream: int) -> tuple[int, bytes, h2.events.Event]:
        """Status, body, and how the stream ended."""
        status, body = 0, b""
        while True:
            for event in self._receive():
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    return status, body, event

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, timeout=60)
    return folder


@pytest.fixture
def make_http2_site(make_site: MakeSite, certificate: Path) -> Callable[..., tuple[Site, Http2]]:
    def make(**env: str) -> tuple[Site, Http2]:
        port = free_port()
        endpoint = f"ssl:{port}:privateKey={certificate / 'key.pem'}:certKey={certificate / 'cert.pem'}"
        command = ["-m", "daphne", "-p", "{port}", "-e", endpoint.replace("{", "{{"), "ssesite.asgi:application"]
        site = make_site(command, **env)
        return site, Http2(port)

    return make


class TestOverHttp2:
    def test_a_body_needs_no_content_length(
        self, make_http2_site: Callable[..., tuple[Site, Http2]], upstream: ScriptedUpstream
    ) -> None:
        bodies = []

        async def take(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin("200 OK", "Content-Length: 2")
            await connection.send(b"ok")

        upstream.script = take
        _, client = make_http2_site(STREAMING_ACCESS="public", UPSTREAM_URL=upstream.url, UPSTREAM_PROXY="1")

        with closing(client):
            stream = client.request("POST", "/proxy", ends=False)
            client.send(stream, b"x" * 200_000, ends=True)
            status, body, _ = client.answer(stream)

        assert (status, body) == (200, b"ok")
        assert bodies == [b"x" * 200_000]

    def test_a_request_without_a_body_has_none(
        self, make_http2_site: Callable[..., tuple[Site, Http2]], upstream: ScriptedUpstream
    ) -> None:
        async def answer(connection: Connection) -> None:
            await connection.begin("200 OK", "Content-Length: 2")
            await connection.send(b"ok")

        upstream.script = answer
        _, client = make_http2_site(STREAMING_ACCESS="public", UPSTREAM_URL=upstream.url, UPSTREAM_PROXY="1")

        with closing(client):
            for method in ("POST", "GET", "DELETE"):
                assert client.answer(client.request(method, "/proxy", ends=True))[0] == 200

        for request in upstream.requests:
            assert "transfer-encoding" not in request.head.lower(), request.head

    def test_a_body_that_is_too_long_is_refused_and_reset(
        self, make_http2_site: Callable[..., tuple[Site, Http2]]
    ) -> None:
        site, client = make_http2_site(STREAMING_MAX_BODY_BYTES="100000", STREAMING_ACCESS="public")

        with closing(client):
            announced = client.request("POST", "/stream", ("content-length", "100001"), ends=False)
            assert client.answer(announced)[0] == 413
            unannounced = client.request("POST", "/stream", ends=False)
            client.send(unannounced, b"x" * 110_000)
            assert client.answer(unannounced)[0] == 413
            slow = client.request("GET", "/stream?interval=0&document=poem", ends=True)
            assert client.answer(slow)[0] == 200, "the connection goes on"

        assert "Traceback" not in site.log

    def test_a_slow_sender_is_disconnected(self, make_http2_site: Callable[..., tuple[Site, Http2]]) -> None:
        _, client = make_http2_site(STREAMING_BODY_IDLE_SECONDS="0.5")

        with closing(client):
            stream = client.request("POST", "/stream", ends=False)
            client.send(stream, b"{")
            assert client.answer(stream)[0] == 408

    def test_a_broken_relay_resets_its_stream_but_not_the_connection(
        self, make_http2_site: Callable[..., tuple[Site, Http2]], upstream: ScriptedUpstream
    ) -> None:
        """Without an error the client would take what has come for all there is (RFC 9113, section 8.1)."""

        async def cut(connection: Connection) -> None:
            await connection.begin("200 OK", "Transfer-Encoding: chunked")
            await connection.send(b"4\r\nhalf\r\n")  # and then nothing more: it is closed

        upstream.script = cut
        _, client = make_http2_site(STREAMING_ACCESS="public", UPSTREAM_URL=upstream.url, UPSTREAM_PROXY="1")

        with closing(client):
            status, body, end = client.answer(client.request("GET", "/proxy", ends=True))

            assert (status, body) == (200, b"half")
            assert isinstance(end, h2.events.StreamReset)
            assert end.error_code == h2.errors.ErrorCodes.INTERNAL_ERROR
            assert client.answer(client.request("GET", "/stream?interval=0&document=poem", ends=True))[0] == 200


async def test_forms_of_a_project_without_our_middleware_are_left_to_django(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
    scope = {"type": "http", "method": "POST", "path": "/admin/login/", "headers": [(b"content-length", b"99000000")]}
    calls = []

    async def application(*arguments: Any) -> None:
        calls.append(arguments)

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body is left alone")

    await limit_body(application, scope, receive, receive)

    assert calls == [(scope, receive, receive)]
