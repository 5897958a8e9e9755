"""Completions that are not streamed: a retried request with its Idempotency-Key is not paid for twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import AsyncRequestFactory

from streaming import resumption, usage_meter
from streaming.request_cleanup import request_scope
from streaming.usage_meter import UsageMeter
from streaming.whole_answers import answer_once
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually
from tests.redis_server import RedisServer

ADDRESS = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
UVICORN = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]


class Model:
    """The upstream: answers "one" to its first request, "two" to its second, and waits before that if asked to."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.go_on = threading.Event()
        self.go_on.set()
        self.refusal = ""
        upstream.forget()
        upstream.script = self._answer

    @property
    def asked(self) -> int:
        return len(self.upstream.requests)

    async def _answer(self, connection: Connection) -> None:
        answer = ("zero", "one", "two", "three")[self.asked]
        await connection.body()
        left = asyncio.create_task(connection.until_left())
        while not self.go_on.is_set() and not left.done():
            await asyncio.wait({left}, timeout=0.01)
        if self.refusal:
            await connection.begin(self.refusal, "Content-Length: 0")
        elif not left.done():
            await connection.begin(kind="application/json")
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await connection.send(json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode())


def settings_for(upstream: ScriptedUpstream) -> dict[str, str]:
    models = {"chat": {"URL": upstream.url, "FORMAT": "openai", "MODELS": ["m"]}}
    return {"STREAMING_ACCESS": "public", "STREAMING_UPSTREAMS": json.dumps(models)}


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def public(
    migrated: Path, shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("public")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = Site(folder, STREAMING_GRACE="600", **settings_for(shared_upstream))
    yield site
    site.stop()


@pytest.fixture
def model(shared_upstream: ScriptedUpstream) -> Model:
    return Model(shared_upstream)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def ask(site: Site, key: str, **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return httpx.post(site.url + ADDRESS, json=BODY | fields, headers=headers, timeout=DEADLINE)


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def leave_without_answer(site: Site, key: str, model: Model) -> None:
    """Asks, and disconnects as soon as the upstream has been asked."""
    model.go_on.clear()
    headers = f"POST {ADDRESS}\nContent-Type: application/json\nIdempotency-Key: {key}"
    # The same bytes as httpx sends.
    with site.connect(headers, httpx.Request("POST", site.url, json=BODY).content):
        eventually(lambda: model.asked == 1, "the upstream is asked")


class TestAnIdempotencyKey:
    def test_gives_a_repeated_request_the_first_answer(self, public: Site, model: Model) -> None:
        first, second = ask(public, "a"), ask(public, "a")

        assert (content(first), second.content, model.asked) == ("one", first.content, 1)
        assert second.headers["X-Request-ID"] == first.headers["X-Request-ID"]
        assert second.headers["Content-Type"] == "application/json"

    def test_makes_requests_at_the_same_time_wait_for_one_answer(
        self, public: Site, model: Model, pool: ThreadPoolExecutor
    ) -> None:
        model.go_on.clear()
        asking = [pool.submit(ask, public, "b") for _ in range(5)]
        eventually(lambda: model.asked == 1, "the upstream is asked")
        model.go_on.set()

        assert ({content(each.result()) for each in asking}, model.asked) == ({"one"}, 1)

    def test_lets_a_client_that_left_have_its_answer(
        self, public: Site, model: Model, pool: ThreadPoolExecutor
    ) -> None:
        leave_without_answer(public, "c", model)
        again = pool.submit(ask, public, "c")
        assert not model.upstream.left.wait(0.2)
        model.go_on.set()

        assert (content(again.result()), model.asked) == ("one", 1)

    def test_is_free_again_when_its_client_stays_away(
        self, make_site: Callable[..., Site], shared_upstream: ScriptedUpstream, model: Model
    ) -> None:
        site = make_site(STREAMING_GRACE="0.2", **settings_for(shared_upstream))
        leave_without_answer(site, "d", model)

        assert model.upstream.left.wait(DEADLINE), "the upstream is left after the grace time"
        model.go_on.set()
        assert content(ask(site, "d")) == "two"

    def test_is_free_again_when_the_request_failed(self, public: Site, model: Model) -> None:
        model.refusal = "500 Oops"
        assert ask(public, "e").status_code == 502

        model.refusal = ""
        assert content(ask(public, "e")) == "two"

    @pytest.mark.parametrize("other", [{"n": 1}, {"stream": True}, {"model": "simulated"}])
    def test_with_another_body_is_a_conflict(self, public: Site, model: Model, other: dict[str, Any]) -> None:
        key = f"f-{other}"
        assert content(ask(public, key)) == "one"

        answer = ask(public, key, **other)

        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_error")
        assert model.asked == 1

    def test_does_not_make_the_answer_a_stream(self, public: Site, model: Model) -> None:
        address = f"/streams/{ask(public, 'g').headers['X-Request-ID']}"

        assert [httpx.request(method, public.url + address).status_code for method in ("GET", "DELETE")] == [404] * 2

    def test_works_for_the_simulated_model(self, public: Site) -> None:
        first, second = (ask(public, "h", model="simulated") for _ in range(2))

        assert (first.status_code, second.content) == (200, first.content)

    def test_that_is_missing_makes_each_request_an_own_one(self, public: Site, model: Model) -> None:
        assert [content(ask(public, "")) for _ in range(2)] == ["one", "two"]


class TestUsage:
    @pytest.mark.parametrize("others", [0, 1])
    async def test_is_recorded_when_the_client_that_asked_has_left_whoever_waits_for_the_answer(
        self, others: int
    ) -> None:
        records: list[UsageMeter] = []
        request = AsyncRequestFactory().post(ADDRESS, BODY, "application/json", headers={"Idempotency-Key": "k"})
        usage_meter.attach(request, meter := UsageMeter("chat", "chat", records.append))
        is_asked, may_answer = asyncio.Event(), asyncio.Event()

        async def make() -> bytes:
            is_asked.set()
            await may_answer.wait()
            return b"{}"

        async def ask() -> None:
            with request_scope() as scope:
                scope.close_at_end(meter.request_ended)
                await answer_once(request, "s", make)

        asking = asyncio.create_task(ask())
        await is_asked.wait()
        journal = resumption.journal()
        # As those of another worker are here: they are known to wait until that worker says that they do not.
        waiting = [await journal.follow("s") for _ in range(others)]
        asking.cancel()
        await asyncio.wait({asking})
        assert not records

        may_answer.set()
        async with asyncio.timeout(DEADLINE):
            while not records:  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0)

        assert [(record.reason, record.status) for record in records] == [("stop", 200)]
        assert [reader.take() for reader in waiting] == [b"{}"] * others


class TestSeveralWorkers:
    @pytest.fixture
    def workers(
        self, make_site: Callable[..., Site], tmp_path: Path, shared_upstream: ScriptedUpstream
    ) -> Iterator[list[Site]]:
        redis = RedisServer(tmp_path)
        yield [make_site(UVICORN, REDIS_URL=redis.url, **settings_for(shared_upstream)) for _ in range(2)]
        redis.stop()

    def test_share_answers_and_notice_that_one_has_died(
        self, workers: list[Site], model: Model, pool: ThreadPoolExecutor
    ) -> None:
        one, other = workers
        assert (content(ask(one, "a")), content(ask(other, "a"))) == ("one", "one")
        assert ask(other, "a", n=1).status_code == 409

        model.go_on.clear()
        asking: list[Future[httpx.Response]] = [pool.submit(ask, site, "b") for site in (one, other, other)]
        eventually(lambda: model.asked == 2, "the upstream is asked")
        model.go_on.set()
        assert ({content(each.result()) for each in asking}, model.asked) == ({"two"}, 2)

        model.upstream.requests.clear()
        leave_without_answer(one, "c", model)
        waiting = pool.submit(ask, other, "c")
        one.process.kill()
        eventually(lambda: model.asked == 2, "the other worker asks again")
        model.go_on.set()
        assert (content(waiting.result()), model.asked) == ("two", 2)
