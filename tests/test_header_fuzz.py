"""Any headers are relayed unchanged, except for those in the table of ``streaming/upstreams/headers.py``.

Made up by hypothesis, sent as raw bytes over real sockets, there and back.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming import upstreams
from streaming.responses import RelayResponse
from streaming.upstreams.headers import (
    DROPPED_FROM_RESPONSES,
    DROPPED_PREFIXES,
    LIVE,
    NEVER_FORWARDED,
    PRIVATE,
    SHUT_IN,
)

Lines = list[tuple[bytes, bytes]]

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TOKEN = st.text("!#$%&'*+-.^_`|~" + "abcXYZ019", min_size=1, max_size=12).map(str.encode)
KNOWN = st.sampled_from(
    [
        *sorted(NEVER_FORWARDED | PRIVATE | DROPPED_FROM_RESPONSES),
        *("Access-Control-Allow-Origin", "X-Accel-Redirect", "Cross-Origin-Opener-Policy", "WWW-Authenticate"),
        *("Content-Type", "ETag", "Vary", "Accept", "User-Agent", "X-Request-ID", "Link"),
        "Content-Security-Policy",
    ]
)
CASES = st.sampled_from([str, str.lower, str.upper, str.title])
# What frames the message is the subject of tests/test_framing.py.
FRAMING = {b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"content-encoding", b"host"}
NAMES = st.one_of(TOKEN, st.builds(lambda name, case: case(name).encode(), KNOWN, CASES)).filter(
    lambda name: name.lower() not in FRAMING
)
VISIBLE = bytes([*range(0x21, 0x7F)]).decode()
PRINTABLE = st.text(VISIBLE + " \t", max_size=30).map(lambda text: text.strip(" \t").encode())
OBS_TEXT = st.binary(max_size=12).map(lambda data: bytes(byte | 0x80 for byte in data))
UTF_8 = st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFFFF, categories=["L", "S"]), max_size=8).map(
    str.encode
)
LONG = st.integers(1, 60_000).map(lambda size: b"x" * size)
VALUES = st.one_of(
    PRINTABLE, st.just(b""), UTF_8, OBS_TEXT, st.builds(b"%b %b".__mod__, st.tuples(TOKEN, UTF_8)), LONG
).map(lambda value: value.strip(b" 	"))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
NAMED_BY_CONNECTION = st.lists(TOKEN, max_size=3)


class Echo:
    """An upstream that keeps its connection alive, remembers the head it got, and answers as the test configures it."""

    def __init__(self) -> None:
        self.head = b""
        self.answer = b""
        self.keeps_alive = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.head = await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\n" + self.answer + b"Content-Length: 2\r\n\r\nok")
                await writer.drain()
                if not self.keeps_alive:
                    break
        writer.close()


@pytest.fixture
def runner() -> Any:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def echo(runner: asyncio.Runner, settings: Any) -> Any:
    echo = Echo()
    server = runner.run(asyncio.start_server(echo.serve, "127.0.0.1", 0, limit=2**21))
    port = server.sockets[0].getsockname()[1]
    settings.STREAMING_UPSTREAMS = {
        "default": {"URL": f"http://127.0.0.1:{port}/base", "PROXY": True, "TIMEOUTS": {"head": 1}}
    }
    yield echo

    async def close() -> None:
        server.close()
        await upstreams.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    runner.run(close())


def asked_with(headers: Lines) -> HttpRequest:
    """A request as from an ASGI server: names in lower case, values as bytes."""
    request = AsyncRequestFactory().get("/proxy")
    request.scope["headers"] = [(name.lower(), value) for name, value in headers]
    request.scope["client"] = ("203.0.113.7", 5000)
    return request


async def relay(headers: Lines) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and the body that a client receives."""
    request = asked_with(headers)
    response = RelayResponse(request, await upstreams.relay("default", "", request, b""))
    return list(response.items()), b"".join([chunk async for chunk in response])


def lines_of(head: bytes) -> Lines:
    return [
        (name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:-2])
    ]


def as_sent(value: bytes) -> bytes:
    """The value as it is sent: UTF-8 unchanged, anything else decoded as ISO 8859-1."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value


@FUZZ
@given(HEADERS, NAMED_BY_CONNECTION)
def test_request_headers_are_relayed_except_for_those_in_the_table(
    echo: Echo, runner: asyncio.Runner, headers: Lines, named: list[bytes]
) -> None:
    sent = [*headers, (b"Connection", b", ".join(named)), *((name, b"1") for name in named)]

    runner.run(relay(sent))

    hidden = NEVER_FORWARDED | PRIVATE | {name.decode().lower() for name in named}
    expected = [(name.lower(), as_sent(value)) for name, value in sent if name.decode().lower() not in hidden]
    came = lines_of(echo.head)
    ours = {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
    assert [line for line in came if line[0].lower() not in ours] == expected
    assert sorted(name.lower() for name, _ in came if name.lower() in ours) == sorted(ours)
    assert dict(came)[b"X-Forwarded-For"] == b"203.0.113.7"


@FUZZ
@given(HEADERS, NAMED_BY_CONNECTION)
def test_response_headers_are_relayed_except_for_those_in_the_table(
    echo: Echo, runner: asyncio.Runner, headers: Lines, named: list[bytes]
) -> None:
    sent = [*headers, *((name, b"1") for name in named)]
    connection = [(b"Connection", b", ".join([b"keep-alive", *named]))]
    echo.answer = b"".join(b"%b: %b\r\n" % line for line in [*sent, *connection])

    came, body = runner.run(relay([]))

    hidden = DROPPED_FROM_RESPONSES | {"www-authenticate", *(name.decode().lower() for name in named)}
    expected = [
        (name.decode(), value.decode("latin-1"))
        for name, value in sent
        if (lower := name.decode().lower()) not in hidden and not lower.startswith(DROPPED_PREFIXES)
    ]
    live = any(
        name.lower() == "content-type" and value.partition(";")[0].strip().lower() in LIVE for name, value in expected
    )
    added = [("Content-Length", "2"), *SHUT_IN, *([("X-Accel-Buffering", "no")] if live else [])]
    assert sorted(came) == sorted([*expected, *added])
    for name in {name.lower() for name, _ in expected}:
        values = [value for key, value in came if key.lower() == name]
        assert values[: len(values)] == [value for key, value in [*expected, *added] if key.lower() == name]
    assert body == b"ok"


BROKEN = st.one_of(
    st.binary(max_size=20),
    st.builds(lambda name, value: name + b": " + value, TOKEN, st.binary(max_size=20)),
    st.builds(lambda name, value: name + b": " + value, st.binary(max_size=10), PRINTABLE),
    st.sampled_from([b" folded", b"X: a\r\n b", b"X : 1", b": 1", b"X", b"X: \0", b"X: a\rb", b"X: a\nY: b"]),
)


@FUZZ
@given(st.lists(BROKEN, min_size=1, max_size=3))
def test_a_response_with_invalid_headers_is_refused_or_repaired(
    echo: Echo, runner: asyncio.Runner, lines: list[bytes]
) -> None:
    echo.keeps_alive = False  # some of these have no end but this
    echo.answer = b"".join(line + b"\r\n" for line in lines)

    with suppress(upstreams.UpstreamError):
        came, _ = runner.run(relay([]))
        for name, value in came:
            assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
            assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)


@FUZZ
@given(st.lists(st.tuples(st.one_of(TOKEN, st.binary(max_size=6)), st.binary(max_size=12)), max_size=4))
def test_a_request_with_invalid_headers_is_refused_or_repaired(
    echo: Echo, runner: asyncio.Runner, headers: Lines
) -> None:
    """Servers refuse most of them; those that they accept do no harm."""
    with suppress(upstreams.BadPrompt):
        runner.run(relay(headers))
        for name, value in lines_of(echo.head):
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
