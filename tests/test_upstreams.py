"""Requests to upstreams: connections, failures, relaying and limits, with a scripted upstream."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import pytest
from django.core.signing import TimestampSigner
from django.http import HttpRequest
from django.test import AsyncRequestFactory

from streaming import formats, upstreams
from streaming.answer import AnswerModeration
from streaming.counters import counters
from streaming.live_stream import LiveStream
from streaming.moderation import RuleSet
from streaming.problems import problem_of
from streaming.relay import EventReader, Relay
from streaming.responses import EventStreamResponse
from streaming.upstreams import (
    Refused,
    Silent,
    Unreachable,
    UpstreamResponse,
    builtin,
    leaves_its_base,
    response,
    sending,
)
from streaming.upstreams.aiohttp_transport import causes
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, _answer_nothing, eventually, free_port

Configure = Callable[..., None]

pytestmark = pytest.mark.usefixtures("no_client_outlives_its_loop")


@pytest.fixture
def configure(settings: Any, upstream: ScriptedUpstream) -> Configure:
    """Makes the scripted upstream the default one: ``configure(FORMAT="openai")``."""

    def configure(path: str = "", **entry: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": upstream.url + path, "PROXY": True, **entry}}

    configure()
    return configure


def request(method: str = "GET", address: str = "/transfer", **more: Any) -> HttpRequest:
    headers = more.pop("headers", {})
    made = AsyncRequestFactory().generic(method, address, **more)
    scope = made.scope  # as a server would have it, repeated headers included
    scope["headers"] = [(key.lower().encode(), value.encode()) for key, value in _pairs(headers)]
    scope["client"] = ("203.0.113.7", 5000)
    for key, value in _pairs(headers):
        made.META[("HTTP_" + key.upper().replace("-", "_")).replace("HTTP_CONTENT_", "CONTENT_")] = value
    return made


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


class Lenient:
    """A guardrail that only masks certain words."""

    async def moderate_prompt(self, fields: dict[str, Any]) -> None:
        for message in [fields, *fields.get("messages", [])]:
            message.update({key: self.clean(value) for key, value in message.items() if isinstance(value, str)})
        if isinstance(prompts := fields.get("prompt"), list):
            fields["prompt"] = [self.clean(prompt) for prompt in prompts]

    def clean(self, words: str) -> str:
        return words.replace("darn", "••••")


async def connected(name: str = "default", body: bytes = b"", **more: Any) -> UpstreamResponse:
    return await upstreams.connect(name, request("POST" if body else "GET", **more), body, Lenient())


async def relayed(path: str = "", *, method: str = "GET", body: Any = b"", **more: Any) -> UpstreamResponse:
    return await upstreams.relay("default", path, request(method, "/proxy", **more), body)


async def all_of(answer: UpstreamResponse) -> bytes:
    data = b""
    while chunk := await answer.read():
        data += chunk
    return data


def answers(status: str, *headers: str, body: bytes = b"", kind: str = "text/event-stream") -> Any:
    async def script(connection: Connection) -> None:
        await connection.body()
        await connection.begin(status, *headers, kind=kind)
        await connection.send(body)

    return script


EVENT = b'data: {"delta": "a"}\n\n'


class TestABodyInAnUpstreamsOwnFormat:
    @pytest.mark.parametrize(
        ("body", "sent"),
        [
            (b'{"prompt": "a",  "n": 1.50}', b'{"prompt": "a",  "n": 1.50}'),
            (b'{"prompt": "darn", "prompt": "a"}', b'{"prompt": "a"}'),
            (b'"you darn"', b'"you \\u2022\\u2022\\u2022\\u2022"'),
            (b"you darn", "you ••••".encode()),
            (b'{"prompt": "darn"', '{"prompt": "••••"'.encode()),
        ],
    )
    async def test_arrives_as_the_rules_leave_it(
        self, upstream: ScriptedUpstream, configure: Configure, body: bytes, sent: bytes
    ) -> None:
        bodies: list[bytes] = []

        async def script(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin()
            await connection.send(EVENT)

        upstream.script = script
        await all_of(await connected(body=body))

        assert bodies == [sent]


class TestAQueryInAnUpstreamsOwnFormat:
    @pytest.mark.parametrize(
        ("query", "sent"),
        [("prompt=a%2Fdarn+b&c", "prompt=a%2F%E2%80%A2%E2%80%A2%E2%80%A2%E2%80%A2+b&c="), ("a=%2f&b", "a=%2f&b")],
    )
    async def test_arrives_as_the_rules_leave_it(
        self, upstream: ScriptedUpstream, configure: Configure, query: str, sent: str
    ) -> None:
        upstream.script = answers("200 OK")

        await all_of(await connected(address=f"/transfer?{query}"))

        assert upstream.requests[0].request_line == f"GET /?{sent} HTTP/1.1"


class TestConnecting:
    async def test_returns_bytes_as_they_arrive(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        go_on = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.send(b"one")
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))
            await connection.send(b"two")

        upstream.script = script

        answer = await connected()
        first = await answer.read()
        go_on.set()
        rest = [await all_of(answer)]

        assert (answer.status, answer.format) == (200, "native")
        assert (first, b"".join(rest)) == (b"one", b"two")

    async def test_sends_method_query_and_body_unchanged(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        bodies = []

        async def script(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin()

        upstream.script = script
        configure("/base/llm")

        body = '{"document":  "中"}'.encode()
        await all_of(await connected(body=body, address="/transfer?a=%2F&a=2&b", headers={"Content-Type": "a/b"}))

        (seen,) = upstream.requests
        assert seen.request_line == "POST /base/llm?a=%2F&a=2&b HTTP/1.1"
        assert seen.headers["Content-Type"] == "a/b"
        assert bodies == [body]

    @pytest.mark.parametrize(
        ("sent", "came"),
        [
            (b'{"prompt":  "you darn thing"}', b'{"prompt": "you \\u2022\\u2022\\u2022\\u2022 thing"}'),
            (b'{"prompt":  "you"}', b'{"prompt":  "you"}'),
            (b'["darn"]', b'["\\u2022\\u2022\\u2022\\u2022"]'),
            (b"darn", "••••".encode()),
        ],
    )
    async def test_changes_what_the_rules_change_in_a_body(
        self, upstream: ScriptedUpstream, configure: Configure, sent: bytes, came: bytes
    ) -> None:
        bodies = []

        async def script(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin()

        upstream.script = script

        await all_of(await connected(body=sent))

        assert bodies == [came]

    async def test_sends_three_of_the_clients_headers_and_those_of_the_settings(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")
        configure(HEADERS={"Authorization": "Bearer ours", "Accept-Language": "en"})

        await all_of(
            await connected(
                headers={
                    "Accept-Language": "zh",
                    "X-Request-ID": "r1",
                    "Cookie": "sessionid=s",
                    "Authorization": "Bearer theirs",
                    "User-Agent": "them",
                    "X-Forwarded-For": "203.0.113.1",
                    "Last-Event-ID": "7",
                }
            )
        )

        (seen,) = upstream.requests
        assert {key.lower(): value for key, value in seen.headers.items()} == {
            "host": f"127.0.0.1:{upstream.port}",
            "x-request-id": "r1",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "cache-control": "no-store",
            "authorization": "Bearer ours",
            "accept-language": "en",
        }

    @pytest.mark.parametrize(
        ("sent", "asked"),
        [
            ({"prompt": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}),
            ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "user", "content": "a"}]}),
            (
                {"prompt": "hi", "model": "theirs", "temperature": 0.5, "stream": False},
                {"messages": [{"role": "user", "content": "hi"}], "model": "theirs", "temperature": 0.5},
            ),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/chat/completions"])
    async def test_asks_an_openai_upstream_for_a_chat_completion(
        self, upstream: ScriptedUpstream, configure: Configure, path: str, sent: dict[str, Any], asked: dict[str, Any]
    ) -> None:
        bodies = []

        async def script(connection: Connection) -> None:
            bodies.append(json.loads(await connection.body()))
            await connection.begin()

        upstream.script = script
        configure(path, FORMAT="openai", MODEL="ours")

        await all_of(await connected(body=json.dumps(sent).encode(), address="/transfer?a=1"))

        assert upstream.requests[0].request_line == "POST /v1/chat/completions HTTP/1.1"
        counting = {"stream_options": {"include_usage": True}}
        assert bodies == [{"model": "ours", **asked, "stream": True, **counting}]

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"3",
            b"{}",
            b'{"prompt": ""}',
            b'{"prompt": 3}',
            b'{"messages": "hi"}',
            b"\xff",
            b'{"prompt": "a", "n": NaN}',
            b'{"prompt": "a", "n": -Infinity}',
            b'{"prompt": "a", "n": 1e999}',
        ],
    )
    async def test_sends_no_openai_request_without_a_prompt(
        self, upstream: ScriptedUpstream, configure: Configure, body: bytes
    ) -> None:
        configure(FORMAT="openai")

        with pytest.raises(upstreams.BadPrompt):
            await connected(body=body)

        assert upstream.requests == []

    async def test_sends_openai_requests_for_post_only(self, configure: Configure) -> None:
        configure(FORMAT="openai")

        with pytest.raises(upstreams.PostOnly):
            await connected()


class TestFailures:
    async def test_connection_refused(self, settings: Any, log_text: Callable[[], str]) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": f"http://127.0.0.1:{free_port()}"}}

        with pytest.raises(Unreachable, match="the upstream 'default' cannot be reached"):
            await connected()

        assert "the upstream 'default' cannot be reached: " in log_text()

    async def test_unknown_host(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://nowhere.invalid"}}

        with pytest.raises(Unreachable, match="cannot be reached"):
            await connected()

    async def test_connect_timeout(self, settings: Any) -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            settings.STREAMING_UPSTREAMS = {"default": {"URL": url, "TIMEOUTS": {"connect": 0.1}}}

            with pytest.raises(Silent, match=r"could not be connected to within 0\.1 s"):
                await connected()

    async def test_no_response(self, configure: Configure) -> None:
        configure(TIMEOUTS={"head": 0.05, "idle": 0.05})

        with pytest.raises(Silent, match=r"did not answer within 0\.05 s"):
            await connected()

    async def test_connection_closed_without_a_response(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            pass

        upstream.script = script

        with pytest.raises(Unreachable, match="closed the connection without an answer"):
            await connected()

    @pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\0" * 100])
    async def test_response_is_not_http(self, upstream: ScriptedUpstream, configure: Configure, answer: bytes) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(answer)

        upstream.script = script

        with pytest.raises(Unreachable, match="not in HTTP"):
            await connected()

    @pytest.mark.parametrize("head", [b"", b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/ev"])
    async def test_head_is_incomplete(self, upstream: ScriptedUpstream, configure: Configure, head: bytes) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(head)
            await connection.until_left()

        upstream.script = script
        configure(TIMEOUTS={"head": 0.1, "idle": 0.1})

        with pytest.raises(Silent, match=r"did not answer within 0\.1 s"):
            await relayed()
        await asyncio.to_thread(eventually, lambda: upstream.accepted and not upstream.open, "the connection is closed")

    async def test_head_arrives_byte_by_byte(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while True:
                await connection.send(b"x")
                await asyncio.sleep(0.005)

        upstream.script = script
        configure(TIMEOUTS={"head": 0.2})

        with pytest.raises(Silent, match=r"did not answer within 0\.2 s"):
            await relayed()
        await asyncio.to_thread(eventually, lambda: upstream.accepted and not upstream.open, "the connection is closed")

    @pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
    async def test_half_closed_connection(self, upstream: ScriptedUpstream, configure: Configure, framing: str) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin("200 OK", framing)
            await connection.send(b"5\r\nhello\r\n" if "chunked" in framing else b"hello")
            connection._writer.write_eof()
            await connection.until_left()

        upstream.script = script
        answer = await relayed()

        assert await answer.read() == b"hello"
        with pytest.raises(upstreams.Broken, match="broke off in the middle"):
            await answer.read()
        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    async def test_early_response_before_the_request_body_is_read(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin("413 Too Large", "Content-Length: 2")
            await connection.send(b"no")
            await connection.until_left()

        async def endless() -> AsyncGenerator[bytes]:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)

        upstream.script = script

        answer = await relayed(method="POST", body=endless(), headers={"Transfer-Encoding": "chunked"})

        assert (answer.status, await all_of(answer)) == (413, b"no")
        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    async def test_idle_timeout(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            # In one piece, so that nothing comes between the head and the first byte.
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\na")
            await connection.until_left()

        upstream.script = script
        configure(TIMEOUTS={"idle": 0.05})
        answer = await connected()

        assert await answer.read() == b"a"
        with pytest.raises(Silent, match=r"was silent for 0\.05 s"):
            await answer.read()
        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    async def test_total_timeout(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin()
            while True:
                await connection.send(b"a")
                await asyncio.sleep(0.005)

        upstream.script = script
        configure(TIMEOUTS={"total": 0.5, "idle": None})

        with pytest.raises(Silent, match=r"was not done within 0\.5 s"):
            await all_of(await connected())

    async def test_no_idle_timeout_if_it_is_turned_off(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", body=b"a")
        configure(TIMEOUTS={"idle": None})

        assert await all_of(await connected()) == b"a"

    @pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
    async def test_truncated_body(self, upstream: ScriptedUpstream, configure: Configure, framing: str) -> None:
        upstream.script = answers("200 OK", framing, body=b"5\r\nhello\r\n" if "chunked" in framing else b"hello")
        answer = await connected()
        got = b""

        with pytest.raises(upstreams.Broken, match="broke off in the middle"):
            while chunk := await answer.read():
                got += chunk

        assert got == b"hello"

    @pytest.mark.parametrize("status", ["400 Bad Request", "402 Pay", "429 Too Many", "503 Gone", "204 None"])
    async def test_error_status(self, upstream: ScriptedUpstream, configure: Configure, status: str) -> None:
        upstream.script = answers(status, "Content-Length: 0")

        with pytest.raises(Refused, match=f"answered {status}") as refused:
            await connected()

        assert refused.value.status == int(status[:3])

    @pytest.mark.parametrize(
        "body", [{"detail": "too many"}, {"error": {"message": "too many"}}, {"error": {"message": "too many", "x": 1}}]
    )
    async def test_error_status_with_a_reason(
        self, upstream: ScriptedUpstream, configure: Configure, body: dict[str, Any]
    ) -> None:
        upstream.script = answers("429 Slow Down", kind="application/problem+json", body=json.dumps(body).encode())

        with pytest.raises(Refused, match="answered 429 Slow Down: too many"):
            await connected()

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"error": 3}', b"{", b"x" * 100_000, b'{"detail": "' + b"x" * 999])
    async def test_error_status_with_an_invalid_reason(
        self, upstream: ScriptedUpstream, configure: Configure, body: bytes
    ) -> None:
        upstream.script = answers("500 Oops", kind="application/json", body=body)

        with pytest.raises(Refused, match=r"answered 500 Oops$"):
            await connected()

    async def test_unexpected_content_type(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", kind="text/html", body=b"<p>")

        with pytest.raises(Refused, match="answered with text/html instead of an event stream") as refused:
            await connected()

        assert refused.value.status == 502

    @pytest.mark.parametrize(
        ("answer", "kind", "cause"),
        [
            (b"", httpx.ReadError, aiohttp.ServerDisconnectedError),
            (b"SSH-2.0-OpenSSH_9.6\r\n", httpx.RemoteProtocolError, aiohttp.ClientResponseError),
        ],
    )
    async def test_arrives_as_an_exception_of_httpx_behind_which_is_that_of_its_transport(
        self, upstream: ScriptedUpstream, configure: Configure, answer: bytes, kind: Any, cause: Any
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(answer)

        upstream.script = script

        with pytest.raises(Unreachable) as failed:
            await connected()

        assert type(failed.value.__cause__) is kind
        assert isinstance(failed.value.__cause__.__cause__, cause)

    async def test_a_refused_connection_is_not_taken_for_one_that_took_too_long(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": f"http://127.0.0.1:{free_port()}"}}

        with pytest.raises(Unreachable) as failed:
            await connected()

        assert isinstance(failed.value.__cause__, httpx.ConnectError)
        assert any(isinstance(cause, ConnectionRefusedError) for cause in causes(failed.value))

    async def test_redirect(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("302 Found", f"Location: {upstream.url}/elsewhere")

        with pytest.raises(Refused, match="answered 302 Found"):
            await connected()

        assert len(upstream.requests) == 1

    async def test_unknown_upstream(self, configure: Configure) -> None:
        with pytest.raises(upstreams.Unknown, match="the upstream 'other' does not exist"):
            await connected("other")


class TestRelaying:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    async def test_passes_on_any_method(self, upstream: ScriptedUpstream, configure: Configure, method: str) -> None:
        upstream.script = answers("207 Multi", "X-A: 1", body=b"" if method == "HEAD" else b"ok")

        answer = await relayed(method=method)

        assert (answer.status, answer.reason) == (207, "Multi")
        assert await all_of(answer) == (b"" if method == "HEAD" else b"ok")
        assert upstream.requests[0].request_line == f"{method} / HTTP/1.1"

    @pytest.mark.parametrize(
        ("path", "query", "expected"),
        [
            ("", "", "/base"),
            ("a/b", "", "/base/a/b"),
            ("a%2Fb%20c/%E4%B8%AD", "x=%26&x=2&&y", "/base/a%2Fb%20c/%E4%B8%AD?x=%26&x=2&&y"),
            ("/etc//passwd", "", "/base//etc//passwd"),
            ("a;b=1,2/~c'()*!$", "", "/base/a;b=1,2/~c'()*!$"),
            ("%FF%7F", "%zz", "/base/%FF%7F?%zz"),
            ("./a", "", "/base/./a"),
            ("a", "long=" + "x" * 7000, "/base/a?long=" + "x" * 7000),
        ],
    )
    async def test_passes_on_the_raw_path_and_query(
        self, upstream: ScriptedUpstream, configure: Configure, path: str, query: str, expected: str
    ) -> None:
        upstream.script = answers("200 OK")
        configure("/base")

        await all_of(await relayed(path, QUERY_STRING=query))

        assert upstream.requests[0].request_line == f"GET {expected} HTTP/1.1"

    @pytest.mark.parametrize("query", ["a=\x7f", "x" * 70_000])
    async def test_passes_on_an_invalid_query(
        self, upstream: ScriptedUpstream, configure: Configure, query: str
    ) -> None:
        upstream.script = answers("200 OK")

        with suppress(upstreams.UpstreamError):
            await all_of(await relayed(QUERY_STRING=query))

    @pytest.mark.parametrize(
        "path",
        [
            "..",
            "../a",
            "a/../b",
            "%2e%2e/a",
            "a%2f..%2fb",
            "%252e%252e",
            "..%5ca",
            "a\\..\\b",
            "..;/a",
            "a/..;b=c",
            "%2e.%3bx/a",
        ],
    )
    async def test_never_requests_a_path_outside_the_upstreams_url(
        self, upstream: ScriptedUpstream, configure: Configure, path: str
    ) -> None:
        assert leaves_its_base(path)
        with pytest.raises(upstreams.Outside):
            await relayed(path)

        assert upstream.requests == []

    @pytest.mark.parametrize("path", ["", "a", "a..b/c", "...", "..a", ".", "http://elsewhere/", "@elsewhere"])
    async def test_no_path_chooses_another_host(
        self, upstream: ScriptedUpstream, configure: Configure, path: str
    ) -> None:
        upstream.script = answers("200 OK")
        assert not leaves_its_base(path)

        await all_of(await relayed(path))

        assert upstream.requests[0].headers["Host"] == f"127.0.0.1:{upstream.port}"

    async def test_passes_on_repeated_end_to_end_headers(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")

        await all_of(
            await relayed(
                headers=[
                    ("X-Two", "1"),
                    ("X-Two", "2"),
                    ("X-Name", "中"),
                    ("User-Agent", "them"),
                    ("Accept-Encoding", "br"),
                    ("If-None-Match", '"1"'),
                    ("Range", "bytes=0-1"),
                ]
            )
        )

        lines = [line.encode("latin-1").decode().lower() for line in upstream.requests[0].header_lines]
        expected = ["x-two: 1", "x-two: 2", "x-name: 中", "user-agent: them", "accept-encoding: br"]
        expected += ['if-none-match: "1"', "range: bytes=0-1"]
        assert [line for line in lines if not line.startswith(("host", "x-forwarded"))] == expected

    async def test_removes_connection_headers_and_private_headers(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")

        await all_of(
            await relayed(
                headers=[
                    ("Connection", "close, X-Hop"),
                    ("X-Hop", "1"),
                    ("Keep-Alive", "5"),
                    ("TE", "trailers"),
                    ("Upgrade", "h2c"),
                    ("Proxy-Authorization", "Basic x"),
                    ("Expect", "100-continue"),
                    ("Host", "testserver"),
                    ("Cookie", "sessionid=s; csrftoken=c; theirs=t"),
                    ("Authorization", "Bearer theirs"),
                    ("X-CSRFToken", "c"),
                    (upstreams.SIGNATURE_HEADER, upstreams.sign()),
                    ("Forwarded", "for=1.2.3.4"),
                ]
            )
        )

        seen = {line.partition(":")[0].lower() for line in upstream.requests[0].header_lines}
        assert seen == {"host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}

    async def test_sends_forwarded_headers(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK")

        await all_of(await relayed(headers={"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Host": "liar"}))

        headers = upstream.requests[0].headers
        assert headers["X-Forwarded-For"] == "203.0.113.7"
        assert headers["X-Forwarded-Proto"] == "http"
        assert headers["X-Forwarded-Host"] == "testserver"

    async def test_forwards_headers_in_the_settings_but_never_this_sites_cookies(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")
        configure(FORWARD=["Authorization", "Cookie"])

        await all_of(
            await relayed(
                headers={"Authorization": "Bearer x", "Cookie": "sessionid=s; theirs=t;  csrftoken=c; other=a=b"}
            )
        )

        assert upstream.requests[0].headers["authorization"] == "Bearer x"
        assert upstream.requests[0].headers["cookie"] == "theirs=t; other=a=b"

    @pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "api-key", "X-Goog-Api-Key"])
    async def test_does_not_forward_the_clients_api_key_unless_configured(
        self, upstream: ScriptedUpstream, configure: Configure, header: str
    ) -> None:
        upstream.script = answers("200 OK")

        for forward in ([], [header]):
            configure(FORWARD=forward)
            await all_of(await relayed(headers={header: "our-key"}))
            await all_of(await connected(headers={header: "our-key"}))
            configure(FORMAT="openai", FORWARD=forward)
            await all_of(await connected(body=PROMPT, headers={header: "our-key"}))

        sent = ["our-key" in request.head for request in upstream.requests]
        assert sent == [False] * 3 + [True] * 3

    async def test_a_transfer_forwards_the_configured_headers_too(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")
        configure(FORWARD=["Cookie", "OpenAI-Organization", "X-Name", "Accept", "Host", "Connection"])
        headers = {
            "Cookie": "sessionid=s; theirs=t",
            "OpenAI-Organization": "org-1",
            "X-Name": "中",
            "Accept": "text/html",
            "Host": "elsewhere.example",
            "Connection": "close",
            "X-Other": "o",
        }

        await all_of(await connected(headers=headers))

        lines = [line.encode("latin-1").decode() for line in upstream.requests[0].header_lines]
        assert {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines} == {
            "host": f"127.0.0.1:{upstream.port}",
            "cookie": "theirs=t",
            "openai-organization": "org-1",
            "x-name": "中",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "cache-control": "no-store",
        }

    async def test_headers_of_the_settings_replace_those_of_the_client(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK")
        configure(HEADERS={"Authorization": "Bearer ours", "User-Agent": "us"})

        await all_of(await relayed(headers={"Authorization": "Bearer theirs", "User-Agent": "them"}))

        assert upstream.requests[0].headers["Authorization"] == "Bearer ours"
        assert upstream.requests[0].headers["User-Agent"] == "us"

    async def test_returns_response_headers_byte_for_byte(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        name = "中é".encode()

        async def script(connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nX-Two: 1\r\nx-two: 2\r\nX-Name: " + name)
            await connection.send(b"\r\nX-Old: \xe9\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")

        upstream.script = script

        answer = await relayed()

        assert [(key, value.encode("latin-1")) for key, value in answer.headers] == [
            ("X-Two", b"1"),
            ("x-two", b"2"),
            ("X-Name", name),
            ("X-Old", b"\xe9"),
            ("Content-Encoding", b"gzip"),
            ("Content-Length", b"3"),
        ]
        assert await all_of(answer) == b"\x1f\x8b\x08"  # and nobody unpacked it

    @pytest.mark.parametrize("status", [301, 303, 307, 308])
    @pytest.mark.parametrize(
        "location", ["http://other.example/?a=%2F", "http://[", "http://x:port/", "//:1", "mailto:a", "http://é/é"]
    )
    async def test_passes_a_redirect_on_and_reads_nothing_into_where_it_leads(
        self, upstream: ScriptedUpstream, configure: Configure, status: int, location: str
    ) -> None:
        upstream.script = answers(f"{status} Elsewhere", f"Location: {location}", "Content-Length: 0")

        answer = await relayed()

        assert (answer.status, answer.header("Location")) == (status, location)
        assert len(upstream.requests) == 1
        answer.close()

    async def test_no_log_of_the_client_names_what_was_asked_for(
        self, upstream: ScriptedUpstream, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At INFO httpx has each request's URL; in a query stand prompts and keys."""
        upstream.script = answers("200 OK")

        with caplog.at_level("DEBUG"):
            await all_of(await connected(address="/transfer?key=secret"))

        assert upstream.requests[0].request_line == "GET /?key=secret HTTP/1.1"
        assert "secret" not in caplog.text

    @pytest.mark.parametrize("status", ["101 Switching Protocols", "099 Early", "600 Late", "999 Never"])
    async def test_refuses_a_response_that_has_only_an_informational_status(
        self, upstream: ScriptedUpstream, configure: Configure, status: str
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(f"HTTP/1.1 {status}\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".encode())
            await connection.until_left()

        upstream.script = script

        with pytest.raises(upstreams.UpstreamError) as refused:
            await relayed()

        assert problem_of(refused.value).status == 502
        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    @pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints", "199 Whatever"])
    async def test_waits_for_the_response_after_an_informational_status(
        self, upstream: ScriptedUpstream, configure: Configure, status: str
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(f"HTTP/1.1 {status}\r\nX-Early: 1\r\n\r\n".encode())
            await connection.begin("200 OK")

        upstream.script = script

        answer = await relayed()

        assert (answer.status, [value for key, value in answer.headers if key == "X-Early"]) == (200, [])
        await all_of(answer)

    @pytest.mark.parametrize("entry", [{}, {"PROXY": False}])
    async def test_needs_an_upstream_that_is_open_to_proxy(
        self, upstream: ScriptedUpstream, settings: Any, log_text: Callable[[], str], entry: dict[str, Any]
    ) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": upstream.url, **entry}}

        with pytest.raises(upstreams.Closed, match=r"the upstream 'default' is not open to /proxy$") as closed:
            await relayed()

        assert problem_of(closed.value).status == 403
        assert upstream.accepted == 0
        assert "STREAMING_UPSTREAMS['default'] would need 'PROXY': True" in log_text()

    @pytest.mark.parametrize("forward", [[], ["Authorization"]])
    async def test_passes_on_www_authenticate_only_if_authorization_is_forwarded(
        self, upstream: ScriptedUpstream, configure: Configure, forward: list[str]
    ) -> None:
        upstream.script = answers("401 Unauthorized", 'WWW-Authenticate: Basic realm="llm"')
        configure(FORWARD=forward)

        answer = await relayed()

        assert ("WWW-Authenticate" in dict(answer.headers)) == bool(forward)
        await all_of(answer)

    @pytest.mark.parametrize("length", [True, False], ids=["with its length", "in chunks"])
    async def test_passes_on_a_body_while_it_arrives(
        self, upstream: ScriptedUpstream, configure: Configure, length: bool
    ) -> None:
        bodies = []

        async def script(connection: Connection) -> None:
            bodies.append(await connection.body())
            await connection.begin()

        upstream.script = script

        async def body() -> AsyncGenerator[bytes]:
            yield b"ab"
            yield b"c"

        headers = {"Content-Type": "x/y", **({"Content-Length": "3"} if length else {"Transfer-Encoding": "chunked"})}
        await all_of(await relayed(method="PUT", body=body(), headers=headers))

        assert bodies == [b"abc"]
        assert upstream.requests[0].headers["content-type"] == "x/y"
        assert ("Content-Length" in {key.title() for key in upstream.requests[0].headers}) == length

    @pytest.mark.parametrize(
        ("announced", "words"), [("2", "longer than the 2 "), ("5", "2 bytes shorter than the 5 ")]
    )
    async def test_closes_the_connection_if_a_body_has_another_length(
        self, upstream: ScriptedUpstream, configure: Configure, announced: str, words: str
    ) -> None:
        upstream.script = _answer_nothing

        with pytest.raises(upstreams.BadPrompt, match=words):
            await relayed(method="PUT", body=pieces(b"ab", b"c"), headers={"Content-Length": announced})

        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    @pytest.mark.parametrize("announced", ["2", "5"])
    async def test_does_not_reuse_a_connection_after_a_body_of_another_length(
        self, upstream: ScriptedUpstream, configure: Configure, announced: str
    ) -> None:
        async def answer_early(connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await connection.until_left()

        upstream.script = answer_early

        for _ in range(2):
            with suppress(upstreams.BadPrompt):
                await all_of(
                    await relayed(method="PUT", body=pieces(b"ab", b"c"), headers={"Content-Length": announced})
                )

        await asyncio.to_thread(eventually, lambda: upstream.accepted == 2, "each had a connection of its own")
        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)


async def pieces(*data: bytes) -> AsyncGenerator[bytes]:
    for piece in data:
        yield piece


class TestConnections:
    async def keep_alive(self, connection: Connection) -> None:
        while True:
            await connection.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")
            connection.header_lines += (await connection.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")

    async def test_are_reused(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = self.keep_alive

        for _ in range(3):
            assert await all_of(await relayed()) == b"ok"

        assert upstream.accepted == 1

    async def test_carry_no_cookies_between_clients(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = self.keep_alive

        for _ in range(2):
            await all_of(await relayed())

        assert not [line for line in upstream.requests[0].header_lines if line.lower().startswith("cookie")]

    async def test_are_not_limited_in_number(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.send(b"a")
            await connection.until_left()

        upstream.script = script

        answers_ = await asyncio.gather(*(connected() for _ in range(150)))
        assert [await answer.read() for answer in answers_] == [b"a"] * 150

        for answer in answers_:
            answer.close()

    @pytest.mark.parametrize("how", ["once", "twice", "cancelled"])
    async def test_are_closed_when_abandoned(self, upstream: ScriptedUpstream, configure: Configure, how: str) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.send(b"a")
            await connection.until_left()

        upstream.script = script
        answer = await connected()
        if how == "cancelled":
            await answer.read()
            task = asyncio.ensure_future(answer.read())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        answer.close()
        if how == "twice":
            answer.close()

        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    async def test_are_closed_when_the_client_leaves_before_the_head_arrives(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def script(connection: Connection) -> None:
            loop.call_soon_threadsafe(asked.set)
            await connection.until_left()

        upstream.script = script
        task = asyncio.create_task(connected())
        await asyncio.wait_for(asked.wait(), DEADLINE)
        task.cancel()

        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)


class TestTheBuiltInUpstream:
    def of(self, settings: Any, server: Any, **headers: str) -> upstreams.UpstreamConfig:
        settings.STREAMING_UPSTREAMS = {}
        asked = request(headers=headers)
        asked.scope["server"] = server
        return upstreams.config_of("default", asked)

    @pytest.mark.parametrize(
        ("server", "url"),
        [(("127.0.0.1", 8001), "http://127.0.0.1:8001/stream"), (["::1", 8001], "http://[::1]:8001/stream")],
    )
    def test_is_the_stream_view_of_this_site(self, settings: Any, server: Any, url: str) -> None:
        built_in = self.of(settings, server)

        assert built_in.url == url
        assert built_in.format == "native"

    @pytest.mark.parametrize(
        ("allowed", "host"),
        [(["localhost", "x"], "localhost"), (["*"], "localhost"), ([".example.org"], "example.org"), ([], "localhost")],
    )
    def test_is_requested_with_an_allowed_host(self, settings: Any, allowed: list[str], host: str) -> None:
        settings.ALLOWED_HOSTS = allowed

        settings.STREAMING_UPSTREAMS = {}
        asked = request()
        asked.scope["server"] = ("127.0.0.1", 1)
        assert builtin.builtin_config(asked).headers["Host"] == host

    @pytest.mark.parametrize("server", [None, ("/run/site.sock", None)])
    def test_needs_a_port(self, settings: Any, server: Any) -> None:
        with pytest.raises(Unreachable, match="TCP port"):
            self.of(settings, server)


class TestTheSignature:
    def signed(self, value: str) -> bool:
        return upstreams.is_signed(AsyncRequestFactory().get("/stream", headers={upstreams.SIGNATURE_HEADER: value}))

    def test_is_verified(self) -> None:
        assert self.signed(upstreams.sign())

    @pytest.mark.parametrize("value", ["", "stream", "stream:x:y", "\xe9"])
    def test_cannot_be_guessed(self, value: str) -> None:
        assert not self.signed(value)

    def test_with_another_key_or_purpose_is_invalid(self, settings: Any) -> None:
        assert not self.signed(TimestampSigner(salt="another").sign("stream"))
        assert not self.signed(TimestampSigner(salt=builtin.__name__).sign("transfer"))
        value = upstreams.sign()
        settings.SECRET_KEY = "another"
        assert not self.signed(value)

    def test_is_valid_for_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        value = upstreams.sign()
        monkeypatch.setattr(builtin, "SIGNATURE_SECONDS", -1)

        assert not self.signed(value)


async def test_a_body_can_take_longer_than_the_timeout_for_the_head(
    configure: Configure, upstream: ScriptedUpstream
) -> None:
    bodies = []

    async def answer(connection: Connection) -> None:
        bodies.append(await connection.body())
        await connection.begin()

    async def slowly() -> AsyncGenerator[bytes]:
        for _ in range(8):
            await asyncio.sleep(0.4)  # the reader's own pace, twice as slow in all as the head's limit
            yield b"x"

    upstream.script = answer
    configure(TIMEOUTS={"head": 1.6})

    answered = await relayed(method="POST", body=slowly(), headers={"Transfer-Encoding": "chunked"})

    assert answered.status == 200
    assert bodies == [b"x" * 8]
    answered.close()


STREAM = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
PROMPT = b'{"prompt": "hi"}'


class TestAStreamThatIsSlowToBegin:
    """Its client gets the head and heartbeats meanwhile."""

    @pytest.fixture
    async def slow(self, upstream: ScriptedUpstream, configure: Configure) -> asyncio.Event:
        """The upstream answers when this is set."""
        go_on, loop = asyncio.Event(), asyncio.get_running_loop()

        async def script(connection: Connection) -> None:
            await connection.body()
            waiting = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))
            leaving = asyncio.create_task(connection.until_left())
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not connection.closed.is_set():
                await connection.begin()
                await connection.send(STREAM)

        upstream.script = script
        configure(FORMAT="openai", TIMEOUTS={"head": 0.02})
        return go_on

    async def test_is_returned_when_it_arrives(self, slow: asyncio.Event) -> None:
        answer = await connected(body=PROMPT)
        slow.set()

        assert (answer.status, answer.format) == (200, "openai")
        assert await all_of(answer) == STREAM

    async def test_is_closed_when_nobody_waits_for_it(self, slow: asyncio.Event, upstream: ScriptedUpstream) -> None:
        answer = await connected(body=PROMPT)
        await asyncio.to_thread(eventually, lambda: upstream.requests, "it was asked")

        answer.close()
        answer.close()

        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)
        assert sending._open["default"] == 0

    async def test_is_closed_when_its_client_leaves(self, slow: asyncio.Event, upstream: ScriptedUpstream) -> None:
        answer = await connected(body=PROMPT)
        reading = asyncio.create_task(all_of(answer))
        await asyncio.to_thread(eventually, lambda: upstream.requests, "it was asked")

        reading.cancel()
        await asyncio.wait({reading})
        answer.close()

        assert await asyncio.to_thread(upstream.left.wait, DEADLINE)

    async def test_has_the_idle_timeout_of_a_stream(self, slow: Any, configure: Configure) -> None:
        configure(FORMAT="openai", TIMEOUTS={"head": 0.02, "idle": 0.1})

        with pytest.raises(Silent, match=r"did not answer within 0\.1 s"):
            await all_of(await connected(body=PROMPT))

    async def test_can_be_refused_late(self, slow: asyncio.Event, upstream: ScriptedUpstream, configure: Any) -> None:
        async def refuse(connection: Connection) -> None:
            await connection.body()
            await asyncio.sleep(0.1)  # later than its reader is answered
            await connection.begin("500 Oops", kind="application/json")
            await connection.send(b'{"error": {"message": "too darn hot"}}')

        upstream.script = refuse

        with pytest.raises(Refused, match=r"answered 500 Oops: too •{4} hot"):
            await all_of(await connected(body=PROMPT))


class TestAnOpenAIUpstream:
    COMPLETION = b'{"object": "chat.completion",\n "choices": [{"index": 0, "message": {"content": "a"}}]}'

    async def test_can_answer_without_streaming(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", kind="application/json; charset=utf-8", body=self.COMPLETION)
        configure(FORMAT="openai")

        data = await all_of(await connected(body=PROMPT))

        assert data == b"data: " + self.COMPLETION.replace(b"\n", b" ") + b"\n\ndata: [DONE]\n\n"

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b'{"error": {"message": "no, darn"}}', r"not a chat completion: no, •{4}$"),
            (b'{"detail": "what?"}', "not a chat completion: what?"),
            (b"{}", "not a chat completion$"),
            (b"[]", "not a chat completion$"),
            (b"{", "not a chat completion$"),
            (b'{"choices": "darn"}', "not a chat completion$"),
        ],
    )
    async def test_cannot_answer_with_another_content_type(
        self, upstream: ScriptedUpstream, configure: Configure, body: bytes, words: str
    ) -> None:
        upstream.script = answers("200 OK", kind="application/json", body=body)
        configure(FORMAT="openai")

        with pytest.raises(Refused, match=words) as refused:
            await connected(body=PROMPT)

        assert refused.value.status == 502
        assert sending._open["default"] == 0

    async def test_cannot_answer_with_an_unlimited_body(
        self, upstream: ScriptedUpstream, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upstream.script = answers("200 OK", kind="application/json", body=b"{" + b" " * 5000)
        configure(FORMAT="openai")
        monkeypatch.setattr("streaming.upstreams.answers.MAX_COMPLETION_BYTES", 4096)

        with pytest.raises(Refused, match="more than 4,096 bytes of JSON"):
            await connected(body=PROMPT)


class TestConcurrency:
    async def test_is_limited(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.until_left()

        upstream.script = script
        configure(CONCURRENCY=2)
        first, second = await connected(), await connected()

        with pytest.raises(upstreams.Busy, match="already has 2 open streams"):
            await connected()
        first.close()
        first.close()
        third = await connected()
        with pytest.raises(upstreams.Busy):
            await connected()

        for answer in (second, third):
            answer.close()
        assert sending._open["default"] == 0

    async def test_can_be_waited_for(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.until_left()

        upstream.script = script
        configure(CONCURRENCY=1, TIMEOUTS={"queue": 20})
        first = await connected()
        leaving, waiting = (asyncio.create_task(connected()) for _ in range(2))
        while len(counters()._queues.get("upstream:default", ())) < 2:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        assert upstream.accepted == 1
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

        first.close()

        (await waiting).close()
        assert len(upstream.requests) == 2
        configure(CONCURRENCY=1, TIMEOUTS={"queue": 0.1})
        again = await connected()
        with pytest.raises(upstreams.Busy, match=r"none ended within 0\.1 s"):
            await connected()
        again.close()
        assert sending._open["default"] == 0

    @pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
    async def test_does_not_count_ended_streams(
        self, upstream: ScriptedUpstream, configure: Configure, status: str
    ) -> None:
        upstream.script = answers(status, "Content-Length: 0")
        configure(CONCURRENCY=1)

        for _ in range(3):
            with suppress(Refused):
                await all_of(await connected())

        assert sending._open["default"] == 0


async def until_it_has_ended(answer: UpstreamResponse) -> None:
    body: Any = answer.body
    body = getattr(body, "_body", body)
    async with asyncio.timeout(DEADLINE):
        while not body._content.at_eof():  # noqa: ASYNC110 (aiohttp has no event for it)
            await asyncio.sleep(0.001)


async def test_the_connection_is_reused_after_the_end_of_a_stream(
    upstream: ScriptedUpstream, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "LINGER_SECONDS", DEADLINE)

    async def script(connection: Connection) -> None:
        """Answers one request after the other on this connection."""
        while True:
            await connection.body()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            await connection.send(head + b"%x\r\n%s\r\n" % (len(STREAM), STREAM))
            await asyncio.sleep(0.005)  # as servers do that send the end of a body by itself
            await connection.send(b"0\r\n\r\n")
            await connection.reader.readuntil(b"\r\n\r\n")

    upstream.script = script
    configure(FORMAT="openai")

    for _ in range(3):
        answer = await connected(body=PROMPT)
        relay = Relay(EventReader(formats.OpenAIReader()), AnswerModeration(RuleSet([])), formats.OpenAIWriter("m"))
        sent = b"".join([chunk async for chunk in EventStreamResponse(request(), LiveStream(answer, relay))])
        assert sent.endswith(b"[DONE]\n\n")
        await until_it_has_ended(answer)

    assert upstream.accepted == 1


class TestAResponseThatIsCutAfterItsHead:
    @pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
    @pytest.mark.parametrize("reset", [False, True])
    @pytest.mark.parametrize("ask", [connected, relayed])
    async def test_is_an_error(
        self,
        upstream: ScriptedUpstream,
        configure: Configure,
        monkeypatch: pytest.MonkeyPatch,
        framing: str,
        reset: bool,
        ask: Any,
    ) -> None:
        monkeypatch.setattr(response, "FIRST_BYTE_SECONDS", DEADLINE)

        async def script(connection: Connection) -> None:
            await connection.begin("200 OK", framing)
            if reset:
                connection.reset()

        upstream.script = script

        with pytest.raises(upstreams.Broken, match="broke off"):
            await ask()

    async def test_is_accepted_if_the_body_is_empty(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", "Content-Length: 0")

        assert await all_of(await relayed()) == b""

    async def test_is_distinguished_from_a_body_that_arrives_late(
        self, upstream: ScriptedUpstream, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(response, "FIRST_BYTE_SECONDS", 0.001)
        go_on = threading.Event()

        async def script(connection: Connection) -> None:
            await connection.begin()
            await asyncio.to_thread(go_on.wait, DEADLINE)
            await connection.send(b"later")

        upstream.script = script

        answer = await relayed()
        go_on.set()
        assert await all_of(answer) == b"later"


class TestHeadersOfAResponse:
    async def test_can_be_64_kilobytes_long(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", "X-Policy: " + "p" * 65_000, *(f"X-{n}: 1" for n in range(500)))

        answer = await relayed()

        assert len(answer.header("X-Policy")) == 65_000
        assert len(answer.headers) > 500
        answer.close()

    @pytest.mark.parametrize("line", ["X-Policy: " + "p" * 70_000, "X-" + "n" * 70_000 + ": 1"])
    async def test_that_are_too_long_are_reported(
        self, upstream: ScriptedUpstream, configure: Configure, line: str
    ) -> None:
        upstream.script = answers("200 OK", line)

        with pytest.raises(Unreachable, match=r"sent a header line of more than 65,536 bytes"):
            await relayed()

    async def test_that_are_too_many_are_reported(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", *(f"X-{n}: 1" for n in range(1100)))

        with pytest.raises(Unreachable, match=r"sent more than 1000 headers"):
            await relayed()


class TestAReusedConnection:
    """The server closes the idle connection while the next request is on its way."""

    def closes_after(self, answered: int, reset: bool = False, partial: bytes = b"") -> Any:
        """Each connection answers one request; of all of them the first ``answered`` do, later ones are closed."""

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\nok")
            await connection.reader.readuntil(b"\r\n\r\n")
            await connection.send(partial)
            if reset:
                connection.reset()

        return script

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("reset", [False, True])
    async def test_that_is_closed_without_a_byte_is_retried_on_a_new_one(
        self, upstream: ScriptedUpstream, configure: Configure, method: str, reset: bool
    ) -> None:
        upstream.script = self.closes_after(1, reset)
        body = b"{}" if method == "POST" else b""

        for _ in range(3):
            assert await all_of(await connected(body=body)) == b"ok"

        # The first, and for each of the others the old connection and a new one, of which none is kept.
        assert 2 <= upstream.accepted <= 3

    async def test_that_is_closed_after_some_bytes_is_not_retried(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = self.closes_after(1, partial=b"HTTP/1.1 200 OK\r\nX-")
        assert await all_of(await connected(body=b"{}")) == b"ok"

        with pytest.raises(Unreachable):
            await connected(body=b"{}")

        assert upstream.accepted == 1

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_is_retried_but_a_new_connection_is_not(
        self, upstream: ScriptedUpstream, configure: Configure, method: str
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()

        upstream.script = script

        with pytest.raises(Unreachable, match="closed the connection without an answer"):
            await connected(body=b"{}" if method == "POST" else b"")

        assert upstream.accepted == 1


class TestACompressedAnswer:
    async def test_is_decoded_if_it_is_moderated(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", "Content-Encoding: gzip", body=gzip.compress(EVENT))

        assert await all_of(await connected()) == EVENT

    async def test_is_passed_on_unchanged_by_the_proxy(self, upstream: ScriptedUpstream, configure: Configure) -> None:
        upstream.script = answers("200 OK", "Content-Encoding: gzip", body=gzip.compress(EVENT))

        answer = await relayed()

        assert gzip.decompress(await all_of(answer)) == EVENT
        assert answer.header("Content-Encoding") == "gzip"

    async def test_in_an_unknown_content_coding_is_refused(
        self, upstream: ScriptedUpstream, configure: Configure
    ) -> None:
        upstream.script = answers("200 OK", "Content-Encoding: foo", body=b"x")

        with pytest.raises(Refused, match="in the content coding 'foo'"):
            await all_of(await connected())

    @pytest.mark.parametrize("coding", ["gzip", "foo"])
    async def test_with_an_error_status_is_that_error(
        self, upstream: ScriptedUpstream, configure: Configure, coding: str
    ) -> None:
        body = gzip.compress(b'{"error": {"message": "too many"}}')
        upstream.script = answers(
            "429 Too Many Requests", f"Content-Encoding: {coding}", kind="application/json", body=body
        )
        configure(FORMAT="openai")

        with pytest.raises(Refused) as refused:
            await connected(body=PROMPT)

        assert refused.value.status == 429
        assert ("too many" in str(refused.value)) == (coding == "gzip")
