"""Limits of callers: what is too much is refused before the stream begins, in the format of the address."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import AsyncRequestFactory

from streaming import limits
from streaming.caller import NOBODY, Caller
from streaming.errors import LimitReached
from streaming.models import ApiKey
from streaming.request_cleanup import request_scope
from streaming.sse import Message, encode
from tests.conftest import (
    DEADLINE,
    JAVASCRIPT,
    Connection,
    ScriptedUpstream,
    Site,
    copy_of,
    eventually,
    manage,
    node_tool,
)
from tests.redis_server import RedisServer

CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(content: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return encode(Message(json.dumps({**CHUNK, "choices": [choice]})))


class Llm:
    """An upstream whose answers go on until the test ends them."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.open = self.asked = 0
        self._may_end = asyncio.Event()
        upstream.script = self._answer

    async def _answer(self, connection: Connection) -> None:
        fields = json.loads(await connection.body())
        self.asked += 1
        if not fields.get("stream"):
            message = {"role": "assistant", "content": "Hello"}
            usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
            body = {**CHUNK, "object": "chat.completion", "usage": usage, "choices": [{"index": 0, "message": message}]}
            await connection.begin(kind="application/json")
            await connection.send(json.dumps(body).encode())
            return
        self.open += 1
        try:
            await connection.begin()
            await connection.send(chunk("Hello"))
            await asyncio.wait(
                [asyncio.ensure_future(c) for c in (self._may_end.wait(), connection.until_left())],
                return_when=asyncio.FIRST_COMPLETED,
            )
            await connection.send(chunk(" there", "stop") + b"data: [DONE]\n\n")
        finally:
            self.open -= 1

    def end(self) -> None:
        self.upstream._loop.call_soon_threadsafe(self._may_end.set)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def llm(upstream: ScriptedUpstream) -> Llm:
    return Llm(upstream)


@pytest.fixture(scope="module")
def for_keys(migrated: Path, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site without limits of its own, for tests with keys of their own."""
    folder = copy_of(migrated, tmp_path_factory.mktemp("for-keys"))
    site = Site(folder, STREAMING_ACCESS="login", STREAMING_UPSTREAMS=upstreams(upstream))
    yield site
    site.stop()


def upstreams(upstream: ScriptedUpstream, **more: Any) -> str:
    return json.dumps({"llm": {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "MODELS": ["m"], **more}})


def make_key(site: Site, name: str, *options: str) -> str:
    made = manage(site.folder, "create_key", name, *options)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def chat(site: Site, key: str = "", **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{site.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE)


class OpenStreams:
    """Streams that are being read; closed at the end of the test."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def open(self, url: str, **request: Any) -> httpx.Response:
        client = self._stack.enter_context(httpx.Client(timeout=DEADLINE))
        method = "POST" if "json" in request else "GET"
        response = self._stack.enter_context(client.stream(method, url, **request))
        if response.status_code != 200:
            response.read()
        return response

    def chat(self, site: Site, key: str) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        return self.open(f"{site.url}/v1/chat/completions", json=body, headers={"x-api-key": key})

    def close(self) -> None:
        self._stack.close()
        self._stack = ExitStack()


@pytest.fixture
def streams() -> Iterator[OpenStreams]:
    streams = OpenStreams()
    yield streams
    streams.close()


class TestLimitsOfACaller:
    """Who shares which limit."""

    @pytest.fixture(autouse=True)
    def site_limits(self, settings: Any) -> None:
        settings.STREAMING_STREAMS_PER_CALLER, settings.STREAMING_STREAMS_PER_ADDRESS = 5, 7
        settings.STREAMING_REQUESTS_PER_MINUTE, settings.STREAMING_TOKENS_PER_DAY = 60, 1000

    def test_are_the_sites_for_a_user_with_all_sessions_and_keys(self) -> None:
        ann = User(pk=3, username="ann")
        key = ApiKey(pk=8, owner=ann)

        session, program = limits.limits_of(Caller(ann), "203.0.113.7"), limits.limits_of(Caller(ann, key), "")

        assert session == program == limits.CallerLimits(5, "user:3", 60, "user:3", 1000, "user:3")

    def test_are_the_keys_own_where_it_has_any(self) -> None:
        ann = User(pk=3, username="ann")
        key = ApiKey(pk=8, owner=ann, requests_per_minute=2, tokens_per_day=0)

        assert limits.limits_of(Caller(ann, key), "") == limits.CallerLimits(5, "user:3", 2, "key:8", 0, "key:8")

    @pytest.mark.parametrize(
        ("address", "whom"),
        [
            ("203.0.113.7", "address:203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
            ("", ""),
        ],
    )
    def test_are_those_of_the_address_where_nobody_has_logged_in(self, address: str, whom: str) -> None:
        found = limits.limits_of(NOBODY, address)

        assert (found.streams, found.streams_of, found.requests, found.requests_of) == (7, whom, 60, whom)
        assert found.tokens == 0
        assert limits.limits_of(Caller(AnonymousUser()), address) == found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0174, "17ms"), (1, "1s"), (59.6, "1m0s"), (360, "6m0s"), (7261, "2h1m1s"), (3600, "1h0m0s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert limits.duration(seconds) == text


class TestRequestsAMinute:
    def test_are_counted_in_the_headers_and_refused_with_retry_after(self, for_keys: Site, llm: Llm) -> None:
        key = make_key(for_keys, "two", "--requests-per-minute", "2")
        began = time.monotonic()

        first, second, third = (chat(for_keys, key) for _ in range(3))

        passed = time.monotonic() - began

        assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
        shown = [each.headers["x-ratelimit-remaining-requests"] for each in (first, second, third)]
        assert shown == ["1", "0", "0"]
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert second.headers["x-ratelimit-reset-requests"] in {
            limits.duration(60 - second) for second in range(int(passed) + 2)
        }
        assert 29 - passed < int(third.headers["Retry-After"]) <= 30
        assert third.json()["error"] == {
            "message": "at most 2 requests a minute are allowed",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        assert llm.asked == 2
        assert chat(for_keys, Site.admins_key).status_code == 200, "another key has limits of its own"

    def test_reach_openais_clients_as_their_own_errors(self, for_keys: Site, llm: Llm) -> None:
        key = make_key(for_keys, "one", "--requests-per-minute", "1")
        messages: Any = [{"role": "user", "content": "hi"}]
        with openai.OpenAI(base_url=f"{for_keys.url}/v1", api_key=key, max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(model="m", messages=messages)
            assert raw.headers["x-ratelimit-remaining-requests"] == "0"
            assert raw.parse().choices[0].message.content == "Hello"

            with pytest.raises(openai.RateLimitError) as limited:
                client.chat.completions.create(model="m", messages=messages)
            assert limited.value.code == "rate_limit_exceeded"
            assert [each.id for each in client.models.list()] == ["simulated", "m"]

        with openai.OpenAI(base_url=f"{for_keys.url}/v1", api_key="streams-wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as unknown:
                client.chat.completions.create(model="m", messages=messages)
            assert unknown.value.code == "invalid_api_key"

        limited_key = make_key(for_keys, "another model", "--model", "n")
        with openai.OpenAI(base_url=f"{for_keys.url}/v1", api_key=limited_key, max_retries=0) as client:
            with pytest.raises(openai.PermissionDeniedError) as denied:
                client.chat.completions.create(model="m", messages=messages)
            assert denied.value.code == "model_not_allowed"

    @pytest.mark.usefixtures("npm_packages")
    def test_reach_openais_client_for_node(self, for_keys: Site, llm: Llm) -> None:
        key = make_key(for_keys, "one", "--requests-per-minute", "1")

        ran = node_tool("node", str(JAVASCRIPT / "openai-keys.js"), f"{for_keys.url}/v1", key)

        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert json.loads(ran.stdout) == {
            "answer": "Hello",
            "limited": [429, "rate_limit_exceeded", "RateLimitError"],
            "unknown": [401, "invalid_api_key", "AuthenticationError"],
        }

    def test_to_transfer_are_refused_as_a_problem(self, make_site: Callable[..., Site], llm: Llm) -> None:
        llm.end()
        site = make_site(STREAMING_REQUESTS_PER_MINUTE="1", STREAMING_UPSTREAMS=upstreams(llm.upstream))

        began = time.monotonic()
        ask = [httpx.post(f"{site.url}/transfer/llm", json={"prompt": "hi"}, timeout=DEADLINE) for _ in range(2)]
        passed = time.monotonic() - began

        assert [each.status_code for each in ask] == [200, 429]
        assert ask[1].headers["Content-Type"] == "application/problem+json"
        assert ask[1].json()["code"] == "rate_limit_exceeded"
        assert 59 - passed < int(ask[1].headers["Retry-After"]) <= 60
        assert httpx.get(f"{site.url}/stream?interval=0&document=poem").status_code == 200, "what is open costs nothing"


class TestTokensADay:
    def test_are_refused_once_the_keys_are_used_up(self, for_keys: Site, llm: Llm) -> None:
        key = make_key(for_keys, "few", "--tokens-per-day", "10")

        first, second = chat(for_keys, key), chat(for_keys, key)

        assert first.headers["x-ratelimit-limit-tokens"] == "10"
        assert first.headers["x-ratelimit-remaining-tokens"] == "10"
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.json()["error"]["code"] == "insufficient_quota"
        assert "12 tokens were used today; at most 10" in second.json()["error"]["message"]
        assert second.headers["x-ratelimit-remaining-tokens"] == "0"
        assert 0 < int(second.headers["Retry-After"]) <= 86_400
        assert chat(for_keys, Site.admins_key).status_code == 200
        assert llm.asked == 2


class TestStreamsAtOnce:
    def test_of_a_key_are_refused_until_one_ends(self, for_keys: Site, llm: Llm, streams: OpenStreams) -> None:
        key = make_key(for_keys, "two", "--streams-at-once", "2")

        opened = [streams.chat(for_keys, key) for _ in range(3)]

        assert [each.status_code for each in opened] == [200, 200, 429]
        assert "2 streams are open already" in opened[2].json()["error"]["message"]
        assert llm.asked == 2
        streams.close()
        eventually(lambda: chat(for_keys, key).status_code == 200, "its clients have left")

    def test_are_freed_however_a_stream_ends(self, for_keys: Site, llm: Llm) -> None:
        key = make_key(for_keys, "one", "--streams-at-once", "1")
        llm.end()
        headers = {"x-api-key": key}
        address = f"{for_keys.url}/transfer/llm"

        def is_free() -> bool:
            return httpx.post(address, json={"prompt": "hi"}, headers=headers, timeout=DEADLINE).status_code == 200

        for bad in (
            {"json": {"prompt": ""}},
            {"content": b"no JSON", "headers": {"Content-Type": "application/json"}},
        ):
            answer = httpx.post(address, timeout=DEADLINE, **{**bad, "headers": {**bad.get("headers", {}), **headers}})  # type: ignore[arg-type, dict-item]
            assert answer.status_code == 400
            eventually(is_free, "the slot is free again")

    def test_count_a_stream_that_goes_on_without_its_client(
        self, for_keys: Site, llm: Llm, streams: OpenStreams
    ) -> None:
        key = make_key(for_keys, "one", "--streams-at-once", "1")
        headers = {"x-api-key": key}
        opened = streams.open(f"{for_keys.url}/transfer/llm", json={"prompt": "hi"}, headers=headers)
        left = opened.headers["Content-Location"]
        next(opened.iter_bytes())
        streams.close()

        assert chat(for_keys, key).status_code == 429
        assert llm.open == 1

        assert httpx.delete(f"{for_keys.url}{left}", headers=headers).status_code == 202
        eventually(lambda: chat(for_keys, key).status_code == 200, "it was stopped")

    def test_of_an_address_are_refused_where_nobody_logs_in(
        self, make_site: Callable[..., Site], streams: OpenStreams
    ) -> None:
        site = make_site(STREAMING_STREAMS_PER_ADDRESS="2", STREAMING_TRUSTED_PROXIES="127.0.0.1")

        def open_from(address: str) -> int:
            return streams.open(f"{site.url}/ping", headers={"X-Forwarded-For": address}).status_code

        assert [open_from("203.0.113.7") for _ in range(3)] == [200, 200, 429]
        assert open_from("198.51.100.9") == 200
        assert [open_from(f"2001:db8::{n}") for n in range(1, 4)] == [200, 200, 429], "one client has a whole /64"

    def test_of_the_process_are_refused_with_503(self, make_site: Callable[..., Site], streams: OpenStreams) -> None:
        site = make_site(STREAMING_MAX_STREAMS="2")

        opened = [streams.open(f"{site.url}/ping") for _ in range(3)]

        assert [each.status_code for each in opened] == [200, 200, 503]
        assert opened[2].json()["code"] == "server_overloaded"
        assert opened[2].headers["Retry-After"] == "1"
        assert httpx.get(f"{site.url}/healthz").status_code == 200

    async def test_of_the_process_count_while_they_open(self, settings: Any) -> None:
        settings.STREAMING_MAX_STREAMS = 2
        outcomes, may_end = list[str](), asyncio.Event()

        async def ask() -> None:
            with request_scope():
                try:
                    await limits.admit(AsyncRequestFactory().get("/ping"), uses_upstream=False)
                except LimitReached as refused:
                    outcomes.append(refused.limit)
                else:
                    outcomes.append("admitted")
                    await may_end.wait()

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        async with asyncio.timeout(DEADLINE):
            while len(outcomes) < 3:  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(*asking)
        await ask()

        assert sorted(outcomes[:3]) == ["admitted", "admitted", "max_streams"]
        assert outcomes[3:] == ["admitted"], "those that ended do not count any more"


class TestOneAnswer:
    def test_ends_as_length_when_it_has_too_many_bytes(
        self, make_site: Callable[..., Site], upstream: ScriptedUpstream
    ) -> None:
        async def endless(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            while True:
                await connection.send(chunk("some more words "))

        upstream.script = endless
        site = make_site(STREAMING_MAX_STREAM_BYTES="50000", STREAMING_UPSTREAMS=upstreams(upstream))

        ours = httpx.post(f"{site.url}/transfer/llm", json={"prompt": "hi"}, timeout=DEADLINE).text
        openais = chat(site, stream=True).text

        assert ours.rstrip().endswith('event: done\ndata: {"reason": "length"}')
        assert 50_000 <= len(ours) < 500_000
        assert '"finish_reason": "length"' in openais.replace('":"', '": "')
        assert openais.endswith("data: [DONE]\n\n")

    def test_ends_as_length_when_it_takes_too_long(self, make_site: Callable[..., Site], llm: Llm) -> None:
        site = make_site(STREAMING_MAX_STREAM_SECONDS="2", STREAMING_UPSTREAMS=upstreams(llm.upstream))

        ours = httpx.post(f"{site.url}/transfer/llm", json={"prompt": "hi"}, timeout=DEADLINE).text

        assert '{"delta": "Hello"}' in ours
        assert ours.rstrip().endswith('event: done\ndata: {"reason": "length"}')
        eventually(lambda: llm.open == 0, "the upstream is closed")

    def test_fails_at_a_message_that_is_too_long(
        self, make_site: Callable[..., Site], upstream: ScriptedUpstream
    ) -> None:
        async def long_message(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(chunk("fine ") + chunk("x" * 2000) + chunk("unread"))

        upstream.script = long_message
        site = make_site(STREAMING_MAX_MESSAGE_CHARS="1000", STREAMING_UPSTREAMS=upstreams(upstream))

        ours = httpx.post(f"{site.url}/transfer/llm", json={"prompt": "hi"}, timeout=DEADLINE).text

        assert '{"delta": "fine "}' in ours
        assert "event: error" in ours
        assert ours.rstrip().endswith('event: done\ndata: {"reason": "error"}')

    def test_is_not_asked_for_with_a_prompt_that_is_too_long(self, make_site: Callable[..., Site], llm: Llm) -> None:
        site = make_site(STREAMING_MAX_PROMPT_CHARS="10", STREAMING_UPSTREAMS=upstreams(llm.upstream))
        parts = [{"type": "text", "text": "67890!"}]
        messages = [{"role": "user", "content": "12345"}, {"role": "user", "content": parts}]

        ours = httpx.post(f"{site.url}/transfer/llm", json={"prompt": "12345678901"}, timeout=DEADLINE)
        openais = chat(site, messages=messages)

        assert (ours.status_code, ours.json()["code"]) == (400, "context_length_exceeded")
        assert (openais.status_code, openais.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert openais.json()["error"]["message"] == "the prompt has 11 characters; at most 10 are allowed"
        assert llm.asked == 0
        assert chat(site, messages=messages[:1]).status_code == 200


class TestTwoWorkersWithRedis:
    @pytest.fixture
    def workers(self, migrated: Path, tmp_path: Path, llm: Llm) -> Iterator[list[Site]]:
        yield from self.two(migrated, tmp_path, llm)

    def two(self, migrated: Path, tmp_path: Path, llm: Llm, **upstream: Any) -> Iterator[list[Site]]:
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis")
        folder = tmp_path / "site"
        shutil.copytree(migrated, folder)
        env = {"STREAMING_ACCESS": "login", "REDIS_URL": redis.url}
        env["STREAMING_UPSTREAMS"] = upstreams(llm.upstream, **upstream)
        uvicorn = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]
        sites = [Site(folder, uvicorn, **env), Site(folder, **env)]
        yield sites
        for site in sites:
            site.stop()
        redis.stop()

    def test_share_an_upstreams_slots_and_its_queue(self, slots: list[Site], llm: Llm, streams: OpenStreams) -> None:
        one, other = slots
        opened = streams.chat(one, Site.admins_key)
        assert opened.status_code == 200
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{other.url}/transfer/llm", json={"prompt": "hi"}, headers=other.as_staff, timeout=0.5)
            waiting = pool.submit(chat, other, Site.admins_key)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            assert llm.asked == 1

            streams.close()

            assert waiting.result(DEADLINE).status_code == 200, "the one who left is not before it in the queue"
        assert llm.asked == 2

    @pytest.fixture
    def slots(self, migrated: Path, tmp_path: Path, llm: Llm) -> Iterator[list[Site]]:
        yield from self.two(migrated, tmp_path, llm, CONCURRENCY=1, TIMEOUTS={"queue": 30})

    def test_share_every_limit_of_a_key_and_refuse_it_once_revoked(
        self, workers: list[Site], llm: Llm, streams: OpenStreams
    ) -> None:
        one, other = workers
        key = make_key(one, "two at once", "--streams-at-once", "2", "--requests-per-minute", "6")
        began = time.monotonic()

        opened = [streams.chat(site, key).status_code for site in (one, other, one, other)]

        assert opened == [200, 200, 429, 429]
        assert llm.asked == 2
        streams.close()
        eventually(lambda: llm.open == 0, "the clients have left")
        eventually(lambda: chat(other, key).status_code == 200, "both are free")
        passed = 3
        while (answer := chat(workers[passed % 2], key)).status_code == 200 or "open already" in answer.text:
            passed += answer.status_code == 200  # the other worker may not have heard yet that an answer has ended
        assert answer.status_code == 429
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        refilled = (time.monotonic() - began) / 10
        assert 6 <= passed <= 6 + refilled + 1, "each of the two workers would let 6 pass"

        assert manage(one.folder, "create_key", "two at once", "--revoke").returncode == 0
        for site in workers:
            eventually(lambda site=site: chat(site, key).status_code == 401, "it is refused")  # type: ignore[misc]
