"""The framing of relayed bodies: the announced length is the length that is sent.

RFC 9112, section 6.3: who counts a body otherwise than its neighbour can be made to read one client's request as the
body of another's. Raw bytes, on each server, to an upstream that counts as strictly as the RFC asks.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import BinaryIO

import pytest

from streaming.upstreams.body_length import WrongLengthError, announced_length, exactly, framed
from tests.conftest import DEADLINE, Site, eventually, read_until

SERVERS = {
    "daphne": None,
    "h11": ["-m", "uvicorn", "--http", "h11", "--port", "{port}", "ssesite.asgi:application"],
    "httptools": ["-m", "uvicorn", "--http", "httptools", "--port", "{port}", "ssesite.asgi:application"],
}


@dataclass
class RawRequest:
    """A request as a strict upstream read it from a connection."""

    connection: int
    head: bytes
    body: bytes = b""
    is_whole: bool = False


class RawUpstream:
    """Answers each request as soon as its head is there, and goes on to read the body that the head announced.

    So a connection is free to be used again before its body is through, as it is with servers that refuse early.
    """

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(self.accepted, peer), daemon=True).start()

    def _serve(self, number: int, peer: socket.socket) -> None:
        with peer, suppress(ConnectionError, EOFError), peer.makefile("rb") as stream:
            while head := self._read_head(stream):
                request = RawRequest(number, head)
                self.requests.append(request)
                peer.sendall(self.answer)
                if self.answer != RawUpstream.answer:
                    return  # some of those have no other end
                for piece in _body_of(head, stream):
                    request.body += piece
                request.is_whole = True

    def _read_head(self, stream: BinaryIO) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (line := stream.readline()):
                return b""
            head += line
        return head


def _body_of(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    headers = [line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:]]
    lengths = [value.strip() for name, value in headers if name == b"content-length"]
    codings = [value.strip() for name, value in headers if name == b"transfer-encoding"]
    assert len(lengths) + len(codings) <= 1, head
    assert codings in ([], [b"chunked"]), head
    if lengths:
        yield _read(stream, int(lengths[0]))
    while codings and (size := int(stream.readline() or b"0", 16)):
        yield _read(stream, size + 2)[:-2]
    if codings:
        stream.readline()


def _read(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (piece := stream.read1(size - len(data))):  # type: ignore[attr-defined]
            raise EOFError
        data += piece
    return data


@pytest.fixture(scope="module")
def raw_upstream() -> Iterator[RawUpstream]:
    upstream = RawUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module", params=SERVERS)
def relay(
    request: pytest.FixtureRequest,
    migrated: Path,
    raw_upstream: RawUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A site in front of the raw upstream, under each server in turn."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = Site(folder, SERVERS[request.param], UPSTREAM_URL=raw_upstream.url, UPSTREAM_PROXY="1")
    yield site
    site.stop()


def send(site: Site, data: bytes, *, leave: bool = False) -> bytes:
    """The status line of the response to raw bytes; empty if the client leaves after sending them."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE) as client:
        client.sendall(data)
        return b"" if leave else read_until(client, b"\r\n").partition(b"\r\n")[0]


NEXT = "GET /proxy/default/{} HTTP/1.1\r\nHost: localhost\r\nX-Secret: of-another-client\r\nConnection: close\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

REQUESTS = [
    (b"Content-Length: 5", b"hello"),
    (b"Transfer-Encoding: chunked", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"Content-Length: 3\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 200", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding:\r\n chunked", CHUNKS),
    (b"Content-Length:\r\n 200\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"Content-Length: 20\r\n 0\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"X-Fold: a\r\n Content-Length: 200\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"Content-Length : 200\r\nTransfer-Encoding: chunked", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding : chunked", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding: \x0bchunked", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding: gzip, chunked", CHUNKS),
    (b"Content-Length: 200\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNKS),
    (b"Content-Length: 5\r\nTransfer-Encoding: identity", b"hello"),
    (b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
    (b"Content-Length: 5, 5", b"hello"),
    (b"Content-Length: 5\r\nContent-Length: 200", b"hello"),
    (b"Content-Length: +5", b"hello"),
    (b"Content-Length: 0005", b"hello"),
    (b"Connection: content-length\r\nContent-Length: 5", b"hello"),
    (b"Connection: transfer-encoding\r\nContent-Length: 200\r\nTransfer-Encoding: chunked", CHUNKS),
]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(("framing", "body"), REQUESTS)
def test_a_request_body_is_relayed_with_its_framing_or_refused(
    relay: Site, raw_upstream: RawUpstream, framing: bytes, body: bytes, method: str
) -> None:
    raw_upstream.requests.clear()

    head = f"{method} /proxy/default/first HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    answer = send(relay, head + framing + b"\r\n\r\n" + body)
    after = send(relay, NEXT.format("next").encode())

    assert after == b"HTTP/1.1 200 OK"
    # By their paths: each has a connection of its own, which the upstream reads in a thread of its own.
    came = {request.head.partition(b" HTTP/1.1\r\n")[0]: request for request in raw_upstream.requests}
    assert b"GET /next" in came
    if first := came.pop(f"{method} /first".encode(), None):
        assert len(came) == len(raw_upstream.requests) - 1 == 1
        eventually(lambda: first.is_whole, "the upstream has all of the body")
        assert first.body == b"hello"
    else:
        assert answer.split()[1] in (b"400", b"501")


@pytest.mark.parametrize("path", ["/proxy/default/first", "/stream", "/login/", "/nowhere"])
@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "chunked, chunked", "gzip"])
def test_a_transfer_coding_that_is_not_understood_is_refused(
    relay: Site, raw_upstream: RawUpstream, coding: str, path: str
) -> None:
    raw_upstream.requests.clear()

    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n".encode()
    answer = send(relay, head + CHUNKS)

    assert answer.split()[1] in (b"400", b"501"), answer
    assert raw_upstream.requests == []


@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 200\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ids=["a length", "chunks"],
)
def test_a_client_that_disconnects_during_its_body_leaves_no_connection_open(
    relay: Site, raw_upstream: RawUpstream, sent: bytes
) -> None:
    raw_upstream.requests.clear()

    send(relay, b"POST /proxy/default/first HTTP/1.1\r\nHost: localhost\r\n" + sent, leave=True)
    for number in range(3):
        assert send(relay, NEXT.format(number).encode()) == b"HTTP/1.1 200 OK"

    heads = [request.head.partition(b" HTTP/1.1\r\n")[0] for request in raw_upstream.requests]
    assert [head for head in heads if head != b"POST /first"] == [b"GET /0", b"GET /1", b"GET /2"]
    cut = [request.connection for request in raw_upstream.requests if request.head.startswith(b"POST /first")]
    assert not [r for r in raw_upstream.requests if r.connection in cut and r.head.startswith(b"GET")]


RESPONSES = [
    (b"200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, b"hello"),
    (b"200 OK\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, b"hello"),
    (b"200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 200\r\n\r\n" + CHUNKS, b"hello"),
    (b"200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, b"hello"),
    (b"200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nContent-Length: five\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", b"hello"),
    (b"204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
    (b"204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    (b"304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    (b"205 Reset Content\r\nContent-Length: 0\r\n\r\n", b""),
]


@pytest.mark.parametrize(("sent", "body"), RESPONSES)
def test_a_response_has_the_announced_length_so_that_the_next_one_starts_after_it(
    relay: Site, raw_upstream: RawUpstream, sent: bytes, body: bytes
) -> None:
    client = HTTPConnection("127.0.0.1", relay.port, timeout=DEADLINE)

    raw_upstream.answer = b"HTTP/1.1 " + sent
    client.request("GET", "/proxy/default/first")
    first = client.getresponse()
    came = first.read()
    raw_upstream.answer = RawUpstream.answer
    client.request("GET", "/proxy/default/next")
    after = client.getresponse()

    assert first.status == 502 or (first.status, came) == (int(sent[:3]), body)
    assert (after.status, after.read()) == (200, b"ok")
    client.close()


class TestAnAnnouncedLength:
    @pytest.mark.parametrize(
        ("headers", "length"),
        [
            ([("Content-Length", "5")], 5),
            ([("content-length", " 5 ")], 5),
            ([("CONTENT-LENGTH", "0")], 0),
            ([("Content-Length", "5"), ("Content-Length", "5")], 5),
            ([("Content-Length", "5, 5")], 5),
            ([("Content-Length", "5, 6")], None),
            ([("Content-Length", "5"), ("Content-Length", "6")], None),
            ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], None),
            ([("Content-Length", "5"), ("transfer-encoding", "")], None),
            ([("Transfer-Encoding", "chunked")], None),
            ([], None),
            *(([("Content-Length", odd)], None) for odd in ("", "+5", "-5", "0x5", "5 0", "5.0", "٥", "5,", "9" * 19)),
        ],
    )
    def test_is_accepted_only_if_it_is_unambiguous(self, headers: list[tuple[str, str]], length: int | None) -> None:
        assert announced_length(headers) == length


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


CUTS = [[b"hello"], [b"", b"he", b"", b"llo", b""], [b"h", b"e", b"l", b"l", b"o"]]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_body_of_the_announced_length_is_relayed(cut: list[bytes]) -> None:
    assert [piece async for piece in exactly(5, pieces(*cut))] == cut


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("length", "words"), [(0, "longer than the 0"), (4, "longer than the 4"), (6, "1 bytes shor")])
async def test_a_body_of_another_length_fails_and_no_excess_byte_is_relayed(
    cut: list[bytes], length: int, words: str
) -> None:
    passed = b""
    with pytest.raises(WrongLengthError, match=words):
        async for piece in exactly(length, pieces(*cut)):
            passed += piece

    assert len(passed) <= length


def test_framing_headers_are_set_by_the_http_client_only() -> None:
    headers = [("Content-Length", "200"), ("X-A", "1"), ("transfer-encoding", "chunked")]

    assert framed(headers, b"hello") == ([("X-A", "1")], b"hello")
