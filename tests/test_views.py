"""Each address of the real site over sockets: headers, messages and errors."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from streaming import formats, sources, upstreams
from streaming.formats import Delta
from streaming.sse import Message, Parser
from streaming.views import content_security_policy
from tests.conftest import DEADLINE, PASSWORD, Connection, ScriptedUpstream, Site, read_until

EVENT_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


def messages_of(answer: httpx.Response) -> list[Message]:
    return Parser().feed(answer.content)


def text_of(messages: list[Message]) -> str:
    return "".join(json.loads(message.data)["delta"] for message in messages if message.event == "message")


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    return problem


def ask(site: Site, address: str, method: str = "GET", **more: Any) -> httpx.Response:
    return httpx.request(method, site.url + address, timeout=DEADLINE, **more)


class TestThePage:
    def test_is_served_under_a_strict_policy(self, site: Site) -> None:
        answer = ask(site, "/")

        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == content_security_policy()
        assert "'unsafe" not in content_security_policy()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "csrftoken" in answer.cookies
        for document in sources.DOCUMENTS:
            assert document in answer.text

    def test_complies_with_its_policy(self, site: Site) -> None:
        page = ask(site, "/").text

        assert not re.search(r"<script(?![^>]*\ssrc=)", page)
        assert not re.search(r"\s(style|on\w+)=", page)
        assert not re.search(r"(src|href)=\"(https?:)?//", page)

    def test_references_only_existing_files(self, site: Site) -> None:
        page = ask(site, "/").text

        for address in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page):
            assert ask(site, address, follow_redirects=True).status_code == 200, address

    def test_allows_get_and_head_only(self, site: Site) -> None:
        assert ask(site, "/", "HEAD").status_code == 200
        assert ask(site, "/", "POST").status_code in (403, 405)


class TestPing:
    def beginning(self, site: Site, end: bytes, *headers: str) -> tuple[bytes, list[Message], Parser]:
        with closing(site.connect("\n".join(["GET /ping", "Accept: text/event-stream", *headers]))) as reader:
            head, _, body = read_until(reader, end).partition(b"\r\n\r\n")
        parser = Parser()
        chunks = [line for line in body.split(b"\r\n") if not re.fullmatch(rb"[0-9a-f]*", line)]
        return head, parser.feed(b"".join(chunks)), parser

    def test_sends_connect_and_counts_seconds_from_0(self, site: Site) -> None:
        head, messages, parser = self.beginning(site, b"id: 0\n")

        connect = messages[0]
        assert (connect.event, connect.id, parser.retry) == ("connect", "-1", 10_000)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", connect.data)
        fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert EVENT_STREAM.items() <= fields.items()
        assert "connection" not in fields

    @pytest.mark.parametrize(("last", "number"), [("41", "41"), ("0", "0"), ("-1", "-1"), ("x", "-1"), ("-5", "-1")])
    def test_continues_after_the_last_event_id(self, site: Site, last: str, number: str) -> None:
        _, (connect,), _ = self.beginning(site, b"Z\n\n", f"Last-Event-ID: {last}")

        assert (connect.event, connect.id) == ("connect", number)


class TestStream:
    def test_plays_the_tour_in_the_native_format(self, site: Site) -> None:
        answer = ask(site, "/stream?interval=0")

        messages = messages_of(answer)
        assert answer.status_code == 200
        assert EVENT_STREAM.items() <= dict(answer.headers).items()
        assert [message.event for message in (messages[0], messages[-1])] == ["connect", "done"]
        assert messages[-1].data == '{"reason": "stop"}'
        stream = json.loads(messages[0].data)["stream"]
        assert re.fullmatch(r"[0-9a-f]{32}", stream)
        assert [message.id for message in messages] == [f"{stream}:{number}" for number in range(len(messages))]
        assert text_of(messages) == sources.read_document("tour")
        assert {1 <= len(json.loads(message.data)["delta"]) <= 30 for message in messages[1:-1]} == {True}
        assert b"retry: 2000\n" in answer.content

    def test_sends_the_whole_text_so_far_in_full_mode(self, site: Site) -> None:
        messages = messages_of(ask(site, "/stream?interval=0&mode=full&document=poem"))

        texts = [json.loads(message.data)["text"] for message in messages if message.event == "message"]
        assert texts[-1] == sources.read_document("poem")
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))

    def test_has_an_openai_format(self, site: Site) -> None:
        answer = ask(site, "/stream?interval=0&format=openai&document=poem")

        reader = formats.OpenAIReader()
        parts = [part for message in messages_of(answer) for part in reader.feed(message)]
        assert "".join(part.text for part in parts if isinstance(part, Delta)) == sources.read_document("poem")
        assert parts[-1] == formats.StreamEnd("stop")
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert b"event:" not in answer.content

    def test_is_the_same_for_the_same_seed(self, site: Site) -> None:
        one, two = [messages_of(ask(site, "/stream?interval=0&seed=7&document=poem")) for _ in range(2)]

        assert [message.data for message in one[1:]] == [message.data for message in two[1:]]

    def test_accepts_its_parameters_in_json(self, site: Site) -> None:
        answer = ask(site, "/stream?interval=0", "POST", json={"document": "poem", "step": 10_000, "seed": 1})

        assert text_of(messages_of(answer)) == sources.read_document("poem")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("document", "x"), ("mode", "x"), ("interval", 61), ("step", 0), ("seed", "x"), ("format", "x")],
    )
    def test_names_an_invalid_parameter(self, site: Site, name: str, value: object) -> None:
        for answer in (
            ask(site, "/stream", params={name: str(value)}),
            ask(site, "/stream", "POST", json={name: value}),
        ):
            assert answer.status_code == 400
            assert list(problem_of(answer)["errors"]) == [name]

    def test_refuses_full_mode_in_the_openai_format(self, site: Site) -> None:
        assert list(problem_of(ask(site, "/stream?mode=full&format=openai"))["errors"]) == ["mode"]

    @pytest.mark.parametrize("address", ["/stream", "/transfer"])
    def test_does_not_restart_for_a_reconnecting_event_source(self, site: Site, address: str) -> None:
        answer = ask(site, address, headers={"Last-Event-ID": "abc:7"})

        assert (answer.status_code, answer.content) == (204, b"")

    def test_refuses_a_body_that_is_not_json(self, site: Site) -> None:
        assert problem_of(ask(site, "/stream", "POST", data={"step": "1"}))["status"] == 415
        assert problem_of(ask(site, "/stream", "POST", content=b"{", headers={"Content-Type": "application/json"}))

    @pytest.mark.parametrize("address", ["/stream", "/transfer"])
    def test_refuses_a_body_that_is_too_long(self, site: Site, address: str) -> None:
        for length in (25_000_001, 30_000_000):
            content = b" " * length
            answer = ask(site, address, "POST", content=content, headers={"Content-Type": "application/json"})
            assert problem_of(answer)["status"] == 413

    @pytest.mark.parametrize("address", ["/stream", "/transfer", "/ping"])
    def test_refuses_another_method(self, site: Site, address: str) -> None:
        answer = ask(site, address, "DELETE")

        assert problem_of(answer)["status"] == 405
        assert "GET" in answer.headers["allow"]


class TestTransfer:
    def test_relays_the_built_in_stream_with_its_own_event_ids(self, site: Site) -> None:
        answer = ask(site, "/transfer?interval=0")

        messages = messages_of(answer)
        stream = json.loads(messages[0].data)["stream"]
        assert EVENT_STREAM.items() <= dict(answer.headers).items()
        assert [message.id for message in messages] == [f"{stream}:{number}" for number in range(len(messages))]
        assert [message.event for message in messages].count("connect") == 1
        assert text_of(messages) == sources.read_document("tour")
        assert messages[-1].data == '{"reason": "stop"}'

    def test_passes_on_method_query_and_body(self, site: Site) -> None:
        answer = ask(site, "/transfer?interval=0", "POST", json={"document": "poem"})

        assert text_of(messages_of(answer)) == sources.read_document("poem")

    def test_relays_snapshots(self, site: Site) -> None:
        messages = messages_of(ask(site, "/transfer?interval=0&mode=full&document=poem"))

        texts = [json.loads(message.data)["text"] for message in messages if message.event == "message"]
        assert texts[-1] == sources.read_document("poem")

    def test_relays_the_error_message_of_the_upstream(self, site: Site) -> None:
        problem = problem_of(ask(site, "/transfer?step=0"))

        assert problem["status"] == 400
        assert "step" in problem["detail"]

    @pytest.mark.parametrize("address", ["/transfer/none", "/proxy/none", "/proxy/none/a/b"])
    def test_refuses_an_unknown_upstream(self, site: Site, address: str) -> None:
        assert problem_of(ask(site, address))["status"] == 404


def test_staff_are_shown_the_setting_that_opens_an_upstream(
    make_site: Callable[..., Site], upstream: ScriptedUpstream
) -> None:
    site = make_site(UPSTREAM_URL=upstream.url, STREAMING_ACCESS="public")
    staff = httpx.Client(base_url=site.url)
    csrf = re.search(r'csrfmiddlewaretoken" value="(.+?)"', staff.get("/admin/login/").text)
    assert csrf
    form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": csrf[1], "next": "/"}
    assert staff.post("/admin/login/", data=form).status_code == 302

    said = problem_of(ask(site, "/proxy/default/v1/models"))
    problem = problem_of(staff.get("/proxy/default/v1/models"))

    assert (said["status"], said["detail"]) == (403, "the upstream 'default' is not open to /proxy")
    assert problem["detail"].endswith(": STREAMING_UPSTREAMS['default'] would need 'PROXY': True")
    assert 'data-address="/stream"' in ask(site, "/").text
    assert upstream.accepted == 0


class Relay:
    """A site with a scripted upstream, shared by the tests of this module."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        self.upstream = ScriptedUpstream()
        self.site = Site(folder, UPSTREAM_URL=f"{self.upstream.url}/base", UPSTREAM_FORMAT="openai", UPSTREAM_PROXY="1")

    def stop(self) -> None:
        self.site.stop()
        self.upstream.stop()


@pytest.fixture(scope="module")
def the_relay(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    relay = Relay(tmp_path_factory.mktemp("relay"), migrated)
    yield relay
    relay.stop()


@pytest.fixture
def relay(the_relay: Relay) -> Relay:
    the_relay.upstream.requests.clear()
    return the_relay


class TestTransferOfAnOpenAIUpstream:
    def test_requests_a_completion_and_answers_in_the_native_format(self, relay: Relay) -> None:
        asked = []

        async def script(connection: Connection) -> None:
            asked.append(json.loads(await connection.body()))
            await connection.begin()
            for delta in ({"role": "assistant"}, {"content": "Hel"}, {"reasoning": "hm"}, {"content": "lo"}):
                await connection.send(b"data: %s\n\n" % json.dumps({"choices": [{"delta": delta}]}).encode())
            await connection.send(b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\ndata: [DONE]\n\n')

        relay.upstream.script = script

        messages = messages_of(ask(relay.site, "/transfer", "POST", json={"prompt": "hi", "model": "m"}))

        counting = {"stream_options": {"include_usage": True}}
        assert asked == [{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, **counting}]
        assert relay.upstream.requests[0].request_line == "POST /base/chat/completions HTTP/1.1"
        assert [json.loads(message.data) for message in messages[1:]] == [
            {"delta": "Hel"},
            {"delta": "hm", "channel": "reasoning", "choice": 0},
            {"delta": "lo"},
            {"reason": "length"},
        ]

    def test_needs_a_post_with_a_prompt(self, relay: Relay) -> None:
        answer = ask(relay.site, "/transfer")

        assert (problem_of(answer)["status"], answer.headers["allow"]) == (405, "POST")
        assert problem_of(ask(relay.site, "/transfer", "POST", json={}))["status"] == 400
        assert relay.upstream.requests == []

    @pytest.mark.parametrize(("status", "ours"), [("429 Slow Down", 429), ("500 Oops", 502)])
    def test_relays_the_reason_of_a_refusal(self, relay: Relay, status: str, ours: int) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin(status, kind="application/json")
            await connection.send(b'{"error": {"message": "no more"}}')

        relay.upstream.script = script

        problem = problem_of(ask(relay.site, "/transfer", "POST", json={"prompt": "hi"}))

        assert problem["status"] == ours
        assert problem["detail"] == f"the upstream 'default' answered {status}: no more"


RUN = ("script", "style", "worker", "sharedworker", "serviceworker", "object", "embed", "frame", "iframe")


def _with_headers(*headers: str, status: str = "200 OK") -> Any:
    async def script(connection: Connection) -> None:
        await connection.body()
        await connection.begin(status, "Content-Length: 0", *headers)

    return script


class TestProxy:
    def test_relays_the_built_in_stream_byte_for_byte(self, site: Site) -> None:
        answer = ask(site, "/proxy?interval=0&document=poem")

        assert text_of(messages_of(answer)) == sources.read_document("poem")

    def test_accepts_a_post_from_the_same_origin(self, site: Site) -> None:
        answer = ask(site, "/proxy?interval=0", "POST", json={"document": "poem"}, headers={"Origin": site.url})

        assert answer.status_code == 200
        assert text_of(messages_of(answer)) == sources.read_document("poem")

    def test_refuses_a_page_of_another_origin(self, site: Site) -> None:
        answer = ask(site, "/proxy", "POST", headers={"Origin": "http://other.example"})

        assert problem_of(answer)["status"] == 403

    def test_passes_on_status_and_headers_but_not_cookies(self, relay: Relay) -> None:
        async def script(connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 404 Lost\r\nX-Two: 1\r\nX-Two: 2\r\nX-Name: \xe4\xb8\xad\r\n")
            await connection.send(b"Set-Cookie: a=b\r\nContent-Encoding: gzip\r\nKeep-Alive: 5\r\n")
            await connection.send(b"Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\r\nabc")

        relay.upstream.script = script

        with closing(relay.site.connect(f"GET /proxy/default/a%2Fb?c=%20\nCookie: sessionid={'a' * 32}")) as reader:
            head, _, body = read_until(reader, b"\r\n\r\nabc").partition(b"\r\n\r\n")

        lines = head.lower().split(b"\r\n")
        assert lines[0].startswith(b"http/1.1 404")
        assert [line for line in lines if line.startswith(b"x-")][:2] == [b"x-two: 1", b"x-two: 2"]
        assert b"x-name: \xe4\xb8\xad" in lines
        assert b"content-encoding: gzip" in lines
        assert b"content-length: 3" in lines
        assert b"content-security-policy: sandbox" in lines
        assert not [
            line for line in lines if line.startswith((b"set-cookie: a=b", b"keep-alive", b"x-hop", b"connection"))
        ]
        assert body == b"abc"
        (seen,) = relay.upstream.requests
        assert seen.request_line == "GET /base/a%2Fb?c=%20 HTTP/1.1"
        assert "cookie" not in {key.lower() for key in seen.headers}
        assert seen.headers["X-Forwarded-For"] == "127.0.0.1"
        assert seen.headers["X-Forwarded-Host"] == f"127.0.0.1:{relay.site.port}"

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
    )
    def test_passes_on_a_response_without_a_body(self, relay: Relay, method: str, status: str) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin(status, 'ETag: "1"', *(["Content-Length: 5"] if method == "HEAD" else []))

        relay.upstream.script = script

        answer = ask(relay.site, "/proxy", method)

        assert answer.status_code == int(status[:3])
        assert (answer.headers["etag"], answer.content) == ('"1"', b"")

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "LINK"])
    def test_refuses_unknown_methods(self, relay: Relay, method: str) -> None:
        with closing(relay.site.connect(f"{method} /proxy\nConnection: close")) as reader:
            answer = read_until(reader, b"never")

        assert b" 405 " in answer.split(b"\r\n")[0]
        assert b"allow: get, head, post, put, patch, delete, options\r\n" in answer.lower()
        assert relay.upstream.requests == []

    @pytest.mark.parametrize("path", ["..", "a/../../b", "%2e%2e/b", "a%2f%2e%2e%2fb"])
    def test_never_requests_a_path_outside_the_upstreams_url(self, relay: Relay, path: str) -> None:
        with closing(relay.site.connect(f"GET /proxy/default/{path}\nConnection: close")) as reader:
            answer = read_until(reader, b"never")

        assert b" 400 " in answer.split(b"\r\n")[0]
        assert relay.upstream.requests == []

    def test_is_refused_to_a_page_that_would_run_it(self, relay: Relay) -> None:
        asked = [*({"Sec-Fetch-Dest": each} for each in RUN), {"Service-Worker": "script"}]

        with httpx.Client(base_url=relay.site.url, timeout=DEADLINE) as browser:
            problems = [problem_of(browser.get("/proxy/default/evil.js", headers=headers)) for headers in asked]

        words = [f"what is relayed may not be used as a page's {used}" for used in (*RUN, "serviceworker")]
        assert [(problem["status"], problem["detail"]) for problem in problems] == [(403, each) for each in words]
        assert relay.upstream.requests == []

    def test_is_for_everything_else_and_is_cached_for_that_alone(self, relay: Relay) -> None:
        relay.upstream.script = _with_headers("Vary: Accept", "Cache-Control: max-age=60")

        with httpx.Client(base_url=relay.site.url, timeout=DEADLINE) as browser:
            for destination in ("empty", "document", "image", "audio"):
                answer = browser.get("/proxy", headers={"Sec-Fetch-Dest": destination})

                assert answer.status_code == 200
                assert {"Accept", "Sec-Fetch-Dest"} <= {each.strip() for each in answer.headers["vary"].split(",")}

    @pytest.mark.parametrize(
        ("leads_to", "address"),
        [
            # Below the upstream's URL, <base>.
            ("<base>/files/a%2Fb?c=%20&d#e", "/proxy/default/files/a%2Fb?c=%20&d#e"),
            ("<base>", "/proxy/default"),
            ("<base>/", "/proxy/default/"),
            ("<base>?page=2", "/proxy/default?page=2"),
            ("/base/a", "/proxy/default/a"),
            ("../next?a", "/proxy/default/next?a"),
            ("?page=2", "/proxy/default/one/two?page=2"),
            # Elsewhere.
            ("<base>ment/a", "<base>ment/a"),
            ("<base>/../a", "<base>/../a"),
            ("/elsewhere", "/elsewhere"),
            ("http://other.example/base/a", "http://other.example/base/a"),
            ("http://127.0.0.1:1/base/a", "http://127.0.0.1:1/base/a"),
            ("mailto:a@example.org", "mailto:a@example.org"),
            ("http://[/base/a", "http://[/base/a"),
        ],
    )
    def test_leads_to_this_site_where_the_upstream_leads_to_itself(
        self, relay: Relay, leads_to: str, address: str
    ) -> None:
        base = f"{relay.upstream.url}/base"
        location = leads_to.replace("<base>", base)
        headers = (f"Location: {location}", f"content-location: {location}", f"X-Other: {location}")
        relay.upstream.script = _with_headers(*headers, status="201 Created")

        answer = ask(relay.site, "/proxy/default/one/two")

        here = address.replace("<base>", base)
        came = [answer.headers[name] for name in ("Location", "Content-Location", "X-Other")]
        assert (answer.status_code, came) == (201, [here, here, location])

    def test_reports_an_unreachable_upstream(self, relay: Relay) -> None:
        async def script(connection: Connection) -> None:
            pass

        relay.upstream.script = script

        assert problem_of(ask(relay.site, "/proxy"))["status"] == 502


def test_a_word_is_masked_from_the_next_stream_on_after_an_edit_in_the_admin(make_site: Any, migrated: Path) -> None:
    site = make_site()
    rules = f"{site.url}/admin/streaming/moderationrule/"

    def streamed() -> str:
        return text_of(messages_of(ask(site, "/transfer?interval=0&step=3&document=tour")))

    with httpx.Client(follow_redirects=True) as browser:

        def send(address: str, **fields: str) -> httpx.Response:
            browser.get(address)
            token = browser.cookies["csrftoken"]
            return browser.post(address, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": address})

        assert send(f"{site.url}/admin/login/", username="admin", password=PASSWORD).status_code == 200
        before = streamed()
        assert "darn" in before.lower()

        added = send(f"{rules}add/", pattern="DARN", action="mask", category="profanity", enabled="on")
        assert added.status_code == 200
        assert streamed() == re.sub("(?i)darn", "••••", before)

        edited = send(f"{rules}1/change/", pattern="Markdown", action="block", category="test", enabled="on")
        assert edited.status_code == 200
        answer = messages_of(ask(site, "/transfer?interval=0"))

    assert text_of(answer) == before[: before.lower().index("markdown")]
    assert [(message.event, message.data) for message in answer[-2:]] == [
        ("moderation", '{"action": "block", "category": "test"}'),
        ("done", '{"reason": "blocked"}'),
    ]


def test_relayed_responses_have_no_content_language_of_this_site(site: Site) -> None:
    answer = ask(site, "/proxy?interval=0", headers={"Accept-Language": "zh-hans"})

    assert "content-language" not in answer.headers
    assert ask(site, "/", headers={"Accept-Language": "zh-hans"}).headers["content-language"] == "zh-hans"


class TestAccessToTheRealSite:
    @pytest.mark.parametrize("address", ["/stream", "/transfer", "/proxy"])
    def test_is_public_for_built_in_documents(self, site: Site, address: str) -> None:
        answer = ask(site, address, headers={"X-Forwarded-For": "203.0.113.7"}, params={"interval": "0"})

        assert answer.status_code == 200

    @pytest.mark.parametrize("address", ["/ping", "/stream", "/transfer", "/healthz", "/v1/models", "/"])
    def test_applies_to_head_requests_too(self, site: Site, address: str) -> None:
        answer = ask(site, address, "HEAD")

        assert (answer.status_code, answer.content) == (200, b"")
        events = address in ("/ping", "/stream", "/transfer")
        assert answer.headers["content-type"].startswith("text/event-stream") == events

    def test_requires_a_login_otherwise(self, site: Site) -> None:
        answer = ask(site, "/login/")

        assert answer.status_code == 200
        assert 'type="password"' in answer.text

    def test_needs_an_allowed_host(self, site: Site) -> None:
        assert ask(site, "/stream", headers={"Host": "other.example"}).status_code == 400


async def test_a_client_that_leaves_a_relay_closes_the_built_in_stream(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(STREAMING_GRACE="0")

    def count() -> int:
        return site.log.count("GET /stream ended (left)")

    before = count()
    async with httpx.AsyncClient() as reader, reader.stream("GET", f"{site.url}/transfer?interval=60") as answer:
        chunks: AsyncGenerator[bytes] = answer.aiter_raw()  # type: ignore[assignment]
        assert b"connect" in await anext(chunks)

    async with asyncio.timeout(DEADLINE):
        while count() == before:  # noqa: ASYNC110 (another process cannot set an event)
            await asyncio.sleep(0.01)
    assert upstreams.SIGNATURE_HEADER not in site.log
