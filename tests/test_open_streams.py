"""The admin sees what all workers are answering, live, and stops it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import pytest
from django.test import AsyncRequestFactory

from streaming import open_streams, usage_log, usage_meter
from streaming.errors import BadRequest
from streaming.journal import MemoryJournal, StreamInfo
from streaming.journal.journal import Limits
from streaming.sse import Parser
from streaming.usage_meter import UsageMeter
from streaming.whole_answers import answer_once
from tests.conftest import DEADLINE, PASSWORD, Connection, ScriptedUpstream, Site, eventually, manage, read_until
from tests.redis_server import RedisServer

PAGE = "/admin/streaming/usagerecord/open/"
TEXT = "hello darn, and then it goes on for more than the forty characters that are recorded with a hit"
DELTA = {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]}


async def speak_and_wait(connection: Connection) -> None:
    await connection.body()
    await connection.begin()
    await connection.send(f"data: {json.dumps(DELTA)}\n\n".encode())
    await connection.until_left()


def logged_in(site: Site, name: str = "admin") -> httpx.Client:
    browser = httpx.Client(base_url=site.url, timeout=DEADLINE)
    browser.get("/login/")
    fields = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    assert browser.post("/login/", data=fields).status_code == 302
    return browser


def lists(browser: httpx.Client) -> Iterator[dict[str, Any]]:
    """What the page's event stream sends."""
    parser = Parser()
    with browser.stream("GET", f"{PAGE}events") as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_bytes():
            yield from (json.loads(message.data) for message in parser.feed(chunk))


def seen(browser: httpx.Client, condition: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
    """The first list that fulfils the condition."""
    with closing(lists(browser)) as found:
        for number, each in enumerate(found):
            if condition(each["streams"]):
                return list(each["streams"])
            assert number < DEADLINE, each  # one each second
    raise AssertionError("the stream ended")


def stop(browser: httpx.Client, key: str) -> httpx.Response:
    token = browser.cookies["csrftoken"]
    headers = {"Referer": str(browser.base_url)}
    fields = {"key": key, "csrfmiddlewaretoken": token}
    return browser.post(f"{PAGE}stop/", data=fields, headers=headers, follow_redirects=True)


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def make_llm_site(make_site: Callable[..., Site], upstream: ScriptedUpstream) -> Callable[..., Site]:
    upstream.script = speak_and_wait

    def make(command: list[str] | None = None, **env: str) -> Site:
        # Nothing here is ever over because an upstream was waited for long enough.
        timeouts = {"head": 10 * DEADLINE}
        entry = {
            "URL": f"{upstream.url}/v1",
            "FORMAT": "openai",
            "MODELS": ["one"],
            "PROXY": True,
            "TIMEOUTS": timeouts,
        }
        site = make_site(command, STREAMING_UPSTREAMS=json.dumps({"llm": entry}), STREAMING_GRACE="0", **env)
        rule = "from streaming.models import *; ModerationRule.objects.create(pattern='darn')"
        assert manage(site.folder, "shell", "-c", rule).returncode == 0
        return site

    return make


def ask(site: Site, path: str = "/transfer/llm", fields: dict[str, Any] | None = None) -> Any:
    body = json.dumps(fields or {"prompt": "x"}).encode()
    headers = f"Authorization: {site.as_staff['Authorization']}\nContent-Type: application/json"
    reader = site.connect(f"POST {path}\n{headers}", body)
    read_until(reader, b"hello")
    return reader


class TestThePage:
    def test_lists_who_what_since_and_how_far_and_stops_it(self, make_llm_site: Callable[..., Site]) -> None:
        site = make_llm_site()
        reader, browser = ask(site), logged_in(site)
        eventually(lambda: "admin (tests)" in browser.get(PAGE).text, "it is in the page itself, too")

        (shown,) = seen(browser, lambda streams: streams and streams[0]["hits"] == 1)
        assert (shown["who"], shown["where"]) == ("admin (tests)", "transfer, llm, one")
        assert (shown["chars"], shown["readers"], len(shown["stream"])) == (len(TEXT), 1, 8)
        assert shown["seconds"] < 2 * DEADLINE
        stopped = stop(browser, shown["key"])

        assert "The stream ends within a second." in stopped.text
        assert b'{"reason": "stopped"}' in read_until(reader, b'{"reason": "stopped"}')
        assert seen(browser, lambda streams: not streams) == []
        assert "This stream has ended already." in stop(browser, shown["key"]).text

    def test_holds_no_stream_id(self, make_llm_site: Callable[..., Site]) -> None:
        site = make_llm_site()
        reader = site.connect("POST /transfer/llm\nContent-Type: application/json", b'{"prompt": "x"}')
        head = read_until(reader, b"hello")
        identity = head.partition(b"/streams/")[2][:32].decode()
        browser = logged_in(site)

        (shown,) = seen(browser, bool)

        assert shown["stream"] == identity[:8]
        assert identity not in json.dumps(shown) + browser.get(PAGE).text

    def test_stops_what_is_relayed_unread(self, make_llm_site: Callable[..., Site], upstream: ScriptedUpstream) -> None:
        site = make_llm_site()
        reader, browser = ask(site, "/proxy/llm/chat/completions"), logged_in(site)

        (shown,) = seen(browser, bool)
        stop(browser, shown["key"])

        assert shown["where"] == "proxy, llm"
        assert upstream.left.wait(DEADLINE)
        reader.close()

    @pytest.mark.parametrize("path", ["/transfer/llm", "/proxy/llm/chat/completions"])
    def test_stops_a_flood_that_its_client_does_not_read(
        self, make_llm_site: Callable[..., Site], upstream: ScriptedUpstream, path: str
    ) -> None:
        async def flood(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            left = asyncio.create_task(connection.until_left())
            with suppress(ConnectionError):
                while not left.done():
                    await connection.send(f"data: {json.dumps(DELTA)}\n\n".encode() * 100)
            await left

        upstream.script = flood
        site = make_llm_site()
        reader, browser = ask(site, path), logged_in(site)

        (shown,) = seen(browser, bool)
        stop(browser, shown["key"])

        assert upstream.left.wait(DEADLINE)
        reader.close()

    def test_stops_a_stream_whose_upstream_has_not_answered_yet(
        self, make_llm_site: Callable[..., Site], upstream: ScriptedUpstream
    ) -> None:
        async def keep_silent(connection: Connection) -> None:
            await connection.until_left()

        upstream.script = keep_silent
        site = make_llm_site()
        reader = site.connect("POST /transfer/llm\nContent-Type: application/json", b'{"prompt": "x"}')
        browser = logged_in(site)

        (shown,) = seen(browser, bool)
        stop(browser, shown["key"])

        assert upstream.left.wait(DEADLINE)
        assert seen(browser, lambda streams: not streams) == []
        assert b'event: done\ndata: {"reason": "stopped"}' in read_until(reader, b'{"reason": "stopped"}')
        reader.close()


class TestAccess:
    def test_needs_a_login_of_staff_with_the_permission(self, make_llm_site: Callable[..., Site]) -> None:
        site = make_llm_site()
        code = f"""
from django.contrib.auth.models import *
for name, staff in (("bob", True), ("eve", False)):
    user = User.objects.create_user(name, password={PASSWORD!r}, is_staff=staff)
User.objects.get(username="bob").user_permissions.add(Permission.objects.get(codename="view_usagerecord"))
"""
        assert manage(site.folder, "shell", "-c", code).returncode == 0
        reader, bob, eve = ask(site), logged_in(site, "bob"), logged_in(site, "eve")

        (shown,) = seen(bob, bool)

        assert httpx.get(f"{site.url}{PAGE}").status_code == 302
        assert httpx.get(f"{site.url}{PAGE}events").status_code == 403
        assert eve.get(f"{PAGE}events").status_code == 403
        assert 'name="key"' not in bob.get(PAGE).text, "there is no button for those who may only look"
        assert stop(bob, shown["key"]).status_code == 403
        assert bob.post(f"{PAGE}stop/", data={"key": shown["key"]}).status_code == 403, "without a CSRF token"
        assert seen(bob, bool)[0]["key"] == shown["key"], "it still runs"
        reader.close()


class TestSeveralWorkers:
    def test_are_one_list_with_redis_and_stop_each_others_streams(
        self,
        make_llm_site: Callable[..., Site],
        redis: RedisServer,
    ) -> None:
        first = make_llm_site(REDIS_URL=redis.url)
        second = make_llm_site(REDIS_URL=redis.url)
        readers, browser = [ask(first), ask(second)], logged_in(first)

        shown = seen(browser, lambda streams: len(streams) == 2)
        theirs = next(each for each in shown if each["process"].endswith(f":{second.process.pid}"))
        stop(browser, theirs["key"])

        assert b'{"reason": "stopped"}' in read_until(readers[1], b'{"reason": "stopped"}')
        (left,) = seen(browser, lambda streams: len(streams) == 1)
        assert left["process"].endswith(f":{first.process.pid}")
        second.process.kill()
        for reader in readers:
            reader.close()

    def test_a_worker_that_died_is_gone_from_the_list(
        self,
        make_llm_site: Callable[..., Site],
        redis: RedisServer,
    ) -> None:
        first, second = make_llm_site(REDIS_URL=redis.url), make_llm_site(REDIS_URL=redis.url)
        reader, browser = ask(second), logged_in(first)
        assert len(seen(browser, bool)) == 1

        second.process.kill()

        assert seen(browser, lambda streams: not streams) == []
        reader.close()

    def test_without_redis_show_their_own(self, make_llm_site: Callable[..., Site], redis: RedisServer) -> None:
        site = make_llm_site(REDIS_URL=redis.url)
        reader, browser = ask(site), logged_in(site)
        redis.stop()

        with closing(lists(browser)) as found:
            first = next(each for each in found if not each["complete"])

        assert len(first["streams"]) == 1
        reader.close()


async def test_a_notice_in_memory_is_that_of_this_process() -> None:
    journal = MemoryJournal(Limits())

    assert await journal.post(b"mine") == []
    await journal.ask("", "stop it")

    assert await journal.notices() == [("", b"mine")]
    assert await journal.post(b"") == ["stop it"]
    assert await journal.notices() == []


async def test_those_of_a_worker_with_another_version_of_this_app_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = MemoryJournal(Limits())
    monkeypatch.setattr(open_streams.resumption, "journal", lambda: journal)
    monkeypatch.setattr(open_streams, "open_meters", [])  # this process has those of other tests, until they are freed

    await journal.post(json.dumps([{"key": "k", "who": "ann", "new": 1}]).encode())

    (shown,) = (await open_streams.everywhere()).streams
    assert (shown.key, shown.who, shown.seconds) == ("k", "ann", 0)


async def test_a_stop_that_comes_too_late_for_one_stream_does_not_keep_others_from_being_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, stops = MemoryJournal(Limits()), list[str]()
    failed, running = (UsageMeter("transfer", "llm", lambda _: None, stream) for stream in ("failed", "running"))
    await journal.open(StreamInfo("running"), stops.append)
    monkeypatch.setattr(usage_log, "open_meters", found := [failed, running])
    monkeypatch.setattr(open_streams, "open_meters", found)
    monkeypatch.setattr(open_streams.resumption, "journal", lambda: journal)
    monkeypatch.setattr(open_streams.conf, "redis_url", lambda: "one that other workers use too")

    for meter in (failed, running):
        await journal.ask("", meter.key)
    await open_streams.exchange()

    assert stops == ["stopped"]
    assert not await open_streams.stop(failed.key)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["without a key", "with a key"])
async def test_an_answer_that_is_not_streamed_is_stopped_too(headers: dict[str, str]) -> None:
    request = AsyncRequestFactory().post("/v1/chat/completions", {}, "application/json", headers=headers)
    usage_meter.attach(request, meter := UsageMeter("chat", "llm", lambda _: None, "s"))
    usage_log.open_meters.add(meter)
    is_asked = asyncio.Event()

    async def make() -> bytes:
        is_asked.set()
        await asyncio.Event().wait()
        return b""

    asking = asyncio.create_task(answer_once(request, "s", make))
    await is_asked.wait()

    assert await open_streams.stop(meter.key)

    with pytest.raises(BadRequest, match="stopped"):
        async with asyncio.timeout(DEADLINE):
            await asking
