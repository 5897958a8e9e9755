"""Several upstreams that have one model: the next is asked if one fails before its first byte. Discovered models."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from streaming import upstream_settings, upstreams
from streaming.upstream_settings import discovered
from streaming.upstreams import discovery
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually, free_port, manage
from tests.test_limits import CHUNK, chat, chunk

DONE = b"data: [DONE]\n\n"


@pytest.fixture
def second() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


async def refuse(connection: Connection, status: str) -> None:
    await connection.body()
    await connection.begin(status, "Content-Length: 2", kind="application/json")
    await connection.send(b"{}")


async def reset(connection: Connection) -> None:
    await connection.body()
    connection.reset()


async def reset_after_the_head(connection: Connection) -> None:
    await connection.body()
    await connection.begin()
    await asyncio.sleep(0.2)
    connection.reset()


async def keep_silent(connection: Connection) -> None:
    await connection.body()
    await connection.until_left()


async def keep_silent_after_the_head(connection: Connection) -> None:
    await connection.body()
    await connection.begin()
    await connection.until_left()


FAILURES: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "429": lambda connection: refuse(connection, "429 Too Many Requests"),
    "500": lambda connection: refuse(connection, "500 Oops"),
    "reset": reset,
    "reset after the head": reset_after_the_head,
    "silent": keep_silent,
    "silent after the head": keep_silent_after_the_head,
}


class Routed:
    """A site with two upstreams for one model: the first fails as configured, the second answers with its name."""

    def __init__(self, make_site: Callable[..., Site], first: ScriptedUpstream, second: ScriptedUpstream) -> None:
        self.first, self.second = first, second
        self.asked: list[tuple[str, str]] = []
        entries = {
            "first": {
                "URL": f"{first.url}/v1",
                "FORMAT": "openai",
                "MODELS": {"m": "m-of-first"},
                "TIMEOUTS": {"idle": 2, "head": 2},
                "COOLDOWN": 0,
            },
            "second": {
                "URL": f"{second.url}/v1",
                "FORMAT": "openai",
                "MODELS": {"m": "m-of-second"},
                "ORDER": 1,
                "HEADERS": {"Authorization": "Bearer key-of-second"},
            },
        }
        self.site = make_site(STREAMING_UPSTREAMS=json.dumps(entries))

        async def answer(connection: Connection) -> None:
            fields = json.loads(await connection.body())
            self.asked.append((fields["model"], connection.headers["Authorization"]))
            if fields["stream"]:
                await connection.begin()
                await connection.send(chunk("Hello darn", "stop") + DONE)
            else:
                message = {"role": "assistant", "content": "Hello darn"}
                body = {**CHUNK, "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
                await connection.begin(kind="application/json")
                await connection.send(json.dumps(body).encode())

        second.script = answer


@pytest.fixture
def routed(make_site: Callable[..., Site], upstream: ScriptedUpstream, second: ScriptedUpstream) -> Routed:
    return Routed(make_site, upstream, second)


class TestAnUpstreamThatFails:
    def test_before_its_first_byte_is_followed_by_the_next(self, routed: Routed) -> None:
        for failure, script in FAILURES.items():
            for streams in (True, False):
                if not streams and "silent" in failure:
                    continue  # a completion that is not streamed may take ten minutes
                routed.first.script = script
                asked = len(routed.first.requests)

                answer = chat(routed.site, stream=streams)

                assert answer.status_code == 200, (failure, answer.text)
                assert "Hello darn" in answer.text, failure
                assert len(routed.first.requests) == asked + 1, failure
        routed.first._loop.call_soon_threadsafe(routed.first._server.close)
        assert "Hello darn" in chat(routed.site, stream=True).text, "refused connections"
        assert set(routed.asked) == {("m-of-second", "Bearer key-of-second")}
        assert "key-of-second" not in routed.site.log

    def test_after_its_first_byte_is_not(self, routed: Routed) -> None:
        has_read = threading.Event()

        async def break_off(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(chunk("Only "))
            await asyncio.to_thread(has_read.wait, DEADLINE)
            connection.reset()

        routed.first.script = break_off
        fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        address = f"{routed.site.url}/v1/chat/completions"

        with httpx.stream("POST", address, json=fields, timeout=DEADLINE) as answer:
            pieces = answer.iter_text()
            text = ""
            while "Only " not in text:
                text += next(pieces)
            has_read.set()
            text += "".join(pieces)

        assert '"error"' in text
        assert routed.asked == []

    def test_because_of_the_request_is_not(self, routed: Routed) -> None:
        routed.first.script = lambda connection: refuse(connection, "400 Bad Request")

        assert chat(routed.site, stream=True).status_code == 400
        assert routed.asked == []

    def test_like_all_others_gives_the_last_error(self, routed: Routed) -> None:
        routed.first.script = reset
        routed.second.script = lambda connection: refuse(connection, "503 Busy")

        for streams in (True, False):
            answer = chat(routed.site, stream=streams)
            assert answer.status_code == 503
            assert "the upstream 'second' answered 503" in answer.json()["error"]["message"]

    def test_is_named_by_the_client_if_it_insists(self, routed: Routed) -> None:
        routed.first.script = reset

        assert chat(routed.site, model="first/m").status_code == 502
        assert "Hello" in chat(routed.site, model="second/m").text
        assert len(routed.asked) == 1

    def test_leaves_each_answer_to_the_rules_of_the_upstream_that_gave_it(self, routed: Routed) -> None:
        routed.first.script = reset
        rules = [
            {"pattern": "darn", "upstreams": ["second"], "action": "replace", "replacement": "dear"},
            {"pattern": "hi", "upstreams": ["second"], "action": "replace", "replacement": "ahoy"},
        ]
        code = f"from streaming.models import ModerationRule as R\nfor rule in {rules!r}: R.objects.create(**rule)"
        assert manage(routed.site.folder, "shell", "-c", code).returncode == 0
        eventually(lambda: "Hello dear" in chat(routed.site, stream=True).text, "the rule is in force")

        prompts = list[Any]()

        async def note(connection: Connection) -> None:
            prompts.append(json.loads(await connection.body())["messages"])
            await connection.begin()
            await connection.send(chunk("Hello", "stop") + DONE)

        routed.second.script = note
        chat(routed.site, stream=True)
        assert prompts == [[{"role": "user", "content": "ahoy"}]]
        nested = json.loads("[" * 600 + "]" * 600)
        assert chat(routed.site, stream=True, metadata=nested).status_code == 200
        code = "from streaming.models import UsageRecord as U; print(*U.objects.values_list('upstream', flat=True))"
        eventually(
            lambda: set(manage(routed.site.folder, "shell", "-v0", "-c", code).stdout.split()) == {"second"},
            "usage is that of the one that answered",
        )


def test_a_key_that_is_limited_to_one_of_them_uses_only_that(
    make_site: Callable[..., Site], upstream: ScriptedUpstream
) -> None:
    upstream.script = reset
    entry = {"FORMAT": "openai", "MODELS": ["m"]}
    entries = {
        "first": {"URL": upstream.url, **entry},
        "second": {"URL": f"http://127.0.0.1:{free_port()}", "ORDER": -1, **entry},
    }
    site = make_site(STREAMING_ACCESS="login", STREAMING_UPSTREAMS=json.dumps(entries))
    made = manage(site.folder, "create_key", "x", "--upstream", "first", STREAMING_UPSTREAMS=json.dumps(entries))
    assert made.returncode == 0, made.stderr

    answer = chat(site, made.stdout.strip())

    assert answer.status_code == 502
    assert "the upstream 'first' closed" in answer.json()["error"]["message"]


class TestDiscovery:
    @pytest.fixture(autouse=True)
    def nothing_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(discovered, "_discovered", {})
        monkeypatch.setattr(discovery, "_due", {})

    @pytest.fixture
    def listed(self, upstream: ScriptedUpstream, settings: Any) -> list[str]:
        names = ["llama3.2", "qwen3"]

        async def script(connection: Connection) -> None:
            assert connection.request_line == "GET /v1/models HTTP/1.1"
            assert connection.headers["Authorization"] == "Bearer k"
            body = json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()
            await connection.begin("200 OK", f"Content-Length: {len(body)}", kind="application/json")
            await connection.send(body)

        upstream.script = script
        settings.STREAMING_UPSTREAMS = {
            "llm": {
                "URL": f"{upstream.url}/v1",
                "FORMAT": "openai",
                "DISCOVER": True,
                "MODELS": {"fast": "qwen3"},
                "HEADERS": {"Authorization": "Bearer k"},
            }
        }
        return names

    @pytest.mark.usefixtures("no_client_outlives_its_loop")
    async def test_lists_what_the_upstream_has_besides_what_is_configured(
        self, listed: list[str], upstream: ScriptedUpstream
    ) -> None:
        await upstreams.discover_models()
        await upstreams.discover_models()

        assert list(upstream_settings.routes()) == ["fast", "llama3.2", "qwen3"]
        assert len(upstream.requests) == 1

    @pytest.mark.usefixtures("no_client_outlives_its_loop")
    async def test_is_repeated_in_the_background(
        self, listed: list[str], upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await upstreams.discover_models()
        listed.append("new")
        monkeypatch.setattr(discovery, "_due", dict.fromkeys(discovery._due, 0.0))

        await upstreams.discover_models()

        assert "new" not in upstream_settings.routes(), "nobody waits for it"
        known = upstream_settings.routes
        await asyncio.to_thread(eventually, lambda: "new" in known(), "the new list is known")

    @pytest.mark.usefixtures("no_client_outlives_its_loop")
    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"data": 5}', b'{"data": [5]}', b"[" * 100_000])
    async def test_that_fails_leaves_what_is_configured(
        self, listed: list[str], upstream: ScriptedUpstream, body: bytes, log_text: Callable[[], str]
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin("200 OK", f"Content-Length: {len(body)}", kind="application/json")
            await connection.send(body)

        upstream.script = script

        await upstreams.discover_models()

        assert list(upstream_settings.routes()) == ["fast"]
        assert "the models of the upstream 'llm' are not known" in log_text()

    @pytest.mark.usefixtures("no_client_outlives_its_loop")
    async def test_of_an_upstream_that_hangs_holds_up_nobody_for_long(
        self, listed: list[str], upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discovery, "WAIT_SECONDS", 0.1)
        upstream.script = keep_silent_after_the_head

        async with asyncio.timeout(DEADLINE):
            await upstreams.discover_models()

        assert list(upstream_settings.routes()) == ["fast"]


def test_an_answer_comes_from_the_site_in_time_though_the_first_upstream_hangs(routed: Routed) -> None:
    routed.first.script = keep_silent

    with httpx.stream(
        "POST",
        f"{routed.site.url}/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True},
        timeout=DEADLINE,
    ) as response:
        text = response.read().decode()

    assert "Hello darn" in text
