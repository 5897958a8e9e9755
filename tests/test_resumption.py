"""Resuming a stream over HTTP, at the real site with a scripted upstream."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from streaming.sse import Message, Parser
from tests.conftest import DEADLINE, PASSWORD, Connection, ScriptedUpstream, Site, eventually

JSON = {"Content-Type": "application/json"}


class Answers:
    """The script of the upstream: sends a delta for each text that a test puts in, and ``done`` at the end."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self._events: asyncio.Queue[bytes] | None = None
        self._began = threading.Event()
        upstream.script = self._answer

    async def _answer(self, connection: Connection) -> None:
        self._events = asyncio.Queue()
        await connection.begin()
        self._began.set()
        gone = asyncio.create_task(connection.until_left())
        while not gone.done():
            event = asyncio.create_task(self._events.get())
            await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not event.done():
                event.cancel()
                break
            await connection.send(event.result())
            if b"done" in event.result():
                break
        await gone if not gone.done() else None

    def say(self, *texts: str) -> None:
        assert self._began.wait(DEADLINE)
        for text in texts:
            self._put(f"data: {json.dumps({'delta': text})}\n\n".encode())

    def finish(self) -> None:
        assert self._began.wait(DEADLINE)
        self._put(b'event: done\ndata: {"reason": "stop"}\n\n')

    def _put(self, data: bytes) -> None:
        assert self._events is not None
        self.upstream._loop.call_soon_threadsafe(self._events.put_nowait, data)

    @property
    def asked(self) -> int:
        return len(self.upstream.requests)


class Reading:
    """An answer that is being read."""

    def __init__(self, site: Site, method: str, address: str, **options: Any) -> None:
        self._client = httpx.Client(base_url=site.url, timeout=DEADLINE, cookies=options.pop("cookies", None))
        self._stream = self._client.stream(method, address, **options)
        self.response = self._stream.__enter__()
        self._chunks = self.response.iter_raw()
        self._parser = Parser()
        self.messages: list[Message] = []

    def until(self, text: str) -> Reading:
        while text not in self.text:
            self.messages += self._parser.feed(next(self._chunks))
        return self

    def whole(self) -> Reading:
        for chunk in self._chunks:
            self.messages += self._parser.feed(chunk)
        self.leave()
        return self

    def leave(self) -> None:
        self._stream.__exit__(None, None, None)
        self._client.close()

    close = leave

    @property
    def text(self) -> str:
        return "".join(json.loads(message.data).get("delta", "") for message in self.messages if message.data[0] == "{")

    @property
    def last_event_id(self) -> str:
        return self._parser.last_event_id

    @property
    def address(self) -> str:
        return str(self.response.headers["Content-Location"])

    @property
    def reason(self) -> str:
        last = self.messages[-1]
        return str(json.loads(last.data)["reason"]) if last.event == "done" else ""


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def public(migrated: Any, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    import shutil

    folder = tmp_path_factory.mktemp("public")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    models = json.dumps(
        {"default": {"URL": upstream.url}, "chat": {"URL": upstream.url, "FORMAT": "openai", "MODELS": ["m"]}}
    )
    site = Site(folder, STREAMING_ACCESS="public", STREAMING_UPSTREAMS=models)
    yield site
    site.stop()


@pytest.fixture
def answers(upstream: ScriptedUpstream) -> Answers:
    upstream.forget()
    return Answers(upstream)


def ask(site: Site, method: str, address: str, **options: Any) -> httpx.Response:
    return httpx.request(method, site.url + address, timeout=DEADLINE, **options)


class TestAnAnswer:
    def test_has_the_address_at_which_it_can_be_resumed(self, public: Site, answers: Answers) -> None:
        with closing(Reading(public, "POST", "/transfer", json={"prompt": "hi"})) as reading:
            answers.say("a")
            reading.until("a")
            stream = json.loads(reading.messages[0].data)["stream"]

            assert reading.address == f"/streams/{stream}"
            assert len(stream) == 32

    @pytest.mark.parametrize("address", ["/stream?interval=0&step=100", "/stream?interval=0&step=100&format=openai"])
    def test_of_a_built_in_document_can_be_resumed_too(self, public: Site, address: str) -> None:
        first = ask(public, "GET", address)
        again = ask(public, "GET", f"{first.headers['Content-Location']}?after=-1")

        assert again.content == first.content
        assert again.headers["Content-Type"] == first.headers["Content-Type"]

    def test_to_a_head_request_begins_no_stream(self, public: Site) -> None:
        answer = ask(public, "HEAD", "/stream?interval=60")

        assert answer.status_code == 200
        assert "Content-Location" not in answer.headers


class TestReconnecting:
    def test_after_a_cut_gives_missed_and_then_new_events(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a").leave()
        answers.say("b", "c")

        back = Reading(public, "GET", reading.address, headers={"Last-Event-ID": reading.last_event_id}).until("bc")
        answers.say("d")
        answers.finish()

        assert (back.whole().text, back.reason, answers.asked) == ("bcd", "stop", 1)

    def test_without_an_id_gives_everything_in_few_messages(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say(*"abcdefgh")
        reading.until("h").leave()

        back = Reading(public, "GET", reading.address).until("h")
        answers.finish()

        assert back.whole().text == "abcdefgh"
        assert [message.event for message in back.messages] == ["connect", "message", "done"]

    def test_after_an_event_number_gives_later_events(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say(*"abc")
        answers.finish()
        reading.whole()

        assert Reading(public, "GET", f"{reading.address}?after=1").whole().text == "bc"
        assert ask(public, "GET", f"{reading.address}?after=4").status_code == 204

    def test_works_for_several_clients_at_once(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a")
        tabs = [Reading(public, "GET", reading.address) for _ in range(3)]
        answers.say("b")
        answers.finish()

        assert {tab.whole().text for tab in [reading, *tabs]} == {"ab"}
        assert answers.asked == 1

    @pytest.mark.parametrize("after", ["x", "", "-2", "1.5", "9" * 19, "١"])
    def test_with_an_invalid_event_number_is_refused(self, public: Site, answers: Answers, after: str) -> None:
        reading = Reading(public, "GET", "/stream?interval=0&step=10000").whole()

        assert ask(public, "GET", f"{reading.address}?after={after}").status_code == 400

    def test_after_an_event_that_does_not_exist_yet_is_refused(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a")

        assert ask(public, "GET", f"{reading.address}?after=2").status_code == 400
        tab = Reading(public, "GET", f"{reading.address}?after=1")
        answers.say("b")
        answers.finish()
        assert (reading.whole().text, tab.whole().text) == ("ab", "b")

    def test_with_the_id_of_another_stream_is_refused(self, public: Site) -> None:
        reading = Reading(public, "GET", "/stream?interval=0&step=10000").whole()

        for other in ("x", f"{'0' * 32}:1", f"{reading.last_event_id}x"):
            assert ask(public, "GET", reading.address, headers={"Last-Event-ID": other}).status_code == 400

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    def test_to_an_unknown_stream_is_a_404(self, public: Site, method: str) -> None:
        answer = ask(public, method, f"/streams/{'0' * 32}")

        assert answer.status_code == 404
        if method != "HEAD":
            assert answer.json()["detail"] == "there is no such stream, or it has expired"

    def test_to_a_stream_without_its_beginning_is_a_410(self, make_site: Callable[..., Site]) -> None:
        site = make_site(STREAMING_JOURNAL_BYTES="3000")
        reading = Reading(site, "GET", "/stream?interval=0&step=20").whole()

        answer = ask(site, "GET", reading.address)
        end = Reading(site, "GET", f"{reading.address}?after={len(reading.messages) - 5}").whole()

        assert (answer.status_code, answer.headers["Content-Type"]) == (410, "application/problem+json")
        assert end.messages == reading.messages[-4:]

    def test_with_an_event_source_resumes_without_a_second_upstream_request(
        self, public: Site, answers: Answers
    ) -> None:
        reading = Reading(public, "GET", "/transfer")
        answers.say("a")
        reading.until("a").leave()
        answers.say("b")
        answers.finish()

        back = Reading(public, "GET", "/transfer", headers={"Last-Event-ID": reading.last_event_id})

        assert (back.whole().text, answers.asked) == ("b", 1)
        ended = ask(public, "GET", "/transfer", headers={"Last-Event-ID": back.last_event_id})
        assert (ended.status_code, answers.asked) == (204, 1)


class TestTheState:
    def test_is_in_the_response_to_head(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a")
        stream = reading.address.rpartition("/")[2]
        running = ask(public, "HEAD", reading.address)
        answers.finish()
        reading.whole()
        ended = ask(public, "HEAD", reading.address)

        assert (running.status_code, running.content) == (200, b"")
        assert (running.headers["Stream-State"], running.headers["Stream-Last-Event-ID"]) == ("running", f"{stream}:1")
        assert (ended.headers["Stream-State"], ended.headers["Stream-Last-Event-ID"]) == ("stop", f"{stream}:2")


class TestStopping:
    def test_sends_every_client_the_reason_and_closes_the_upstream(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a")
        tab = Reading(public, "GET", reading.address).until("a")

        statuses = [ask(public, "DELETE", reading.address).status_code for _ in range(2)]

        assert statuses == [202, 202]
        assert (reading.whole().reason, tab.whole().reason) == ("stopped", "stopped")
        assert answers.upstream.left.wait(DEADLINE)
        assert ask(public, "HEAD", reading.address).headers["Stream-State"] == "stopped"
        assert ask(public, "DELETE", reading.address).status_code == 202

    def test_by_its_key_closes_an_upstream_that_has_not_answered_yet(self, public: Site, answers: Answers) -> None:
        async def think_until_left(connection: Connection) -> None:
            await connection.until_left()

        answers.upstream.script = think_until_left
        key = {"Idempotency-Key": uuid.uuid4().hex}
        with ThreadPoolExecutor() as threads:
            waiting = [
                threads.submit(Reading, public, "POST", "/transfer", content=b"{}", headers=key | JSON)
                for _ in range(2)
            ]
            eventually(lambda: answers.asked == 1, "the upstream is asked")

            assert ask(public, "DELETE", "/streams", headers=key).status_code == 202

            assert answers.upstream.left.wait(DEADLINE)
            assert [each.result().whole().reason for each in waiting] == ["stopped", "stopped"]
        again = Reading(public, "POST", "/transfer", content=b"{}", headers=key | JSON).whole()
        assert (again.reason, answers.asked) == ("stopped", 1)


class TestDisconnecting:
    def test_does_not_stop_the_stream_during_the_grace_period(
        self, make_site: Callable[..., Site], answers: Answers
    ) -> None:
        site = make_site(STREAMING_ACCESS="public", UPSTREAM_URL=answers.upstream.url, STREAMING_GRACE="3")
        reading = Reading(site, "POST", "/transfer", json={"prompt": "hi"})
        answers.say("a")
        reading.until("a").leave()
        assert not answers.upstream.left.wait(0.2)

        assert answers.upstream.left.wait(DEADLINE)
        back = Reading(site, "GET", reading.address).whole()
        assert (back.text, back.reason) == ("a", "abandoned")

    def test_before_the_head_arrives_makes_no_second_upstream_request(self, public: Site, answers: Answers) -> None:
        """The client sends the same again, with its key, and gets the answer to its first request."""
        go_on = threading.Event()
        answer = answers._answer

        async def late(connection: Connection) -> None:
            await asyncio.to_thread(go_on.wait, DEADLINE)
            await answer(connection)

        answers.upstream.script = late
        key = {"Idempotency-Key": "before the head"}
        head = "\n".join(f"{name}: {value}" for name, value in (key | JSON).items())
        with public.connect(f"POST /transfer\n{head}", b'{"prompt":"hi"}'):
            eventually(lambda: answers.asked == 1, "the upstream is asked")

        texts = list[str]()
        again = threading.Thread(
            target=lambda: texts.append(
                Reading(public, "POST", "/transfer", content=b'{"prompt":"hi"}', headers=key | JSON).whole().text
            )
        )
        again.start()
        go_on.set()
        answers.say("a")
        answers.finish()
        again.join(DEADLINE)

        assert (texts, answers.asked) == (["a"], 1)


class TestAnIdempotencyKey:
    def test_joins_a_second_request_to_the_first_stream(self, public: Site, answers: Answers) -> None:
        options: dict[str, Any] = {"json": {"prompt": "hi"}, "headers": {"Idempotency-Key": "k1"}}
        first = Reading(public, "POST", "/transfer", **options)
        answers.say("a")
        first.until("a").leave()

        second = Reading(public, "POST", "/transfer", **options).until("a")
        answers.say("b")
        answers.finish()
        third = Reading(public, "POST", "/transfer", **options)

        assert (second.whole().text, third.whole().text, answers.asked) == ("ab", "ab", 1)
        assert first.address == second.address == third.address

    def test_finds_its_stream_and_begins_none(self, public: Site, answers: Answers) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        unknown = [ask(public, method, "/streams", headers=key).status_code for method in ("GET", "HEAD", "DELETE")]
        assert unknown == [404, 404, 204]
        first = Reading(public, "POST", "/transfer", json={"prompt": "hi"}, headers=key)
        answers.say("a")
        first.until("a").leave()

        found = Reading(public, "GET", "/streams", headers=key).until("a")
        answers.say("b")
        answers.finish()

        assert (found.whole().text, found.address, answers.asked) == ("ab", first.address, 1)
        state = ask(public, "HEAD", "/streams", headers=key).headers
        assert (state["Stream-State"], state["Stream-Last-Event-ID"]) == ("stop", found.last_event_id)

    @pytest.mark.parametrize("key", ["", "1", "a" * 31, "\x7f" * 32])
    def test_that_can_be_guessed_finds_nothing(self, public: Site, key: str) -> None:
        for method in ("GET", "DELETE"):
            assert ask(public, method, "/streams", headers={"Idempotency-Key": key}).status_code == 400

    def test_with_another_body_is_a_conflict(self, public: Site, answers: Answers) -> None:
        first = Reading(public, "POST", "/transfer", json={"prompt": "hi"}, headers={"Idempotency-Key": "k2"})

        for address, body in (("/transfer", {"prompt": "ho"}), ("/transfer/default", {"prompt": "hi"})):
            answer = ask(public, "POST", address, json=body, headers={"Idempotency-Key": "k2"})
            assert answer.status_code == 409
        answers.finish()
        first.whole()
        assert answers.asked == 1

    def test_is_released_when_the_request_is_refused(self, public: Site, answers: Answers) -> None:
        options: dict[str, Any] = {"json": {"prompt": "hi"}, "headers": {"Idempotency-Key": "k3"}}

        async def refuse(connection: Connection) -> None:
            await connection.begin("500 Oops", "Content-Length: 0")

        answer, answers.upstream.script = answers.upstream.script, refuse
        assert ask(public, "POST", "/transfer", **options).status_code == 502
        answers.upstream.script = answer

        reading = Reading(public, "POST", "/transfer", **options)
        answers.say("a")
        answers.finish()
        assert (reading.whole().text, answers.asked) == ("a", 2)

    @pytest.mark.parametrize("key", ["a" * 256, "a\x7f", "\xe9"])
    def test_that_is_invalid_is_refused(self, public: Site, answers: Answers, key: str) -> None:
        headers = {"Idempotency-Key": key.encode("latin-1")}

        assert ask(public, "POST", "/transfer", json={"prompt": "hi"}, headers=headers).status_code == 400
        assert answers.asked == 0


class TestTheOpenAIAPI:
    BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}

    @pytest.fixture(autouse=True)
    def chunks(self, answers: Answers) -> None:
        def say(*texts: str) -> None:
            assert answers._began.wait(DEADLINE)
            for text in texts:
                chunk = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {"content": text}}],
                }
                answers._put(f"data: {json.dumps(chunk)}\n\n".encode())

        def finish() -> None:
            chunk = {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            answers._put(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\nevent: done\n\n".encode())

        answers.say, answers.finish = say, finish  # type: ignore[method-assign]

    def test_closes_the_upstream_when_its_client_leaves(self, public: Site, answers: Answers) -> None:
        reading = Reading(public, "POST", "/v1/chat/completions", json=self.BODY)
        answers.say("a")
        next(reading._chunks)

        reading.leave()

        assert answers.upstream.left.wait(DEADLINE)

    def test_with_a_key_a_retried_request_joins_the_stream(self, public: Site, answers: Answers) -> None:
        options: dict[str, Any] = {"json": self.BODY, "headers": {"Idempotency-Key": "v1"}}
        first = Reading(public, "POST", "/v1/chat/completions", **options)
        answers.say("a")
        next(first._chunks)
        first.leave()

        second = Reading(public, "POST", "/v1/chat/completions", **options)
        answers.say("b")
        answers.finish()
        second.whole()

        deltas = [json.loads(each.data)["choices"][0]["delta"] for each in second.messages[:-1]]
        assert "".join(delta.get("content") or "" for delta in deltas) == "ab"
        assert (second.messages[-1].data, answers.asked) == ("[DONE]", 1)
        assert Reading(public, "GET", second.address).whole().messages == second.messages

    def test_reports_a_conflict_in_openais_format(self, public: Site, answers: Answers) -> None:
        first = Reading(public, "POST", "/v1/chat/completions", json=self.BODY, headers={"Idempotency-Key": "v2"})
        answer = ask(
            public, "POST", "/v1/chat/completions", json={**self.BODY, "n": 1}, headers={"Idempotency-Key": "v2"}
        )

        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "idempotency_error"
        first.leave()


class TestPermissionToReconnect:
    def test_is_limited_to_the_user_who_started_the_stream(
        self, make_site: Callable[..., Site], answers: Answers
    ) -> None:
        site = make_site(UPSTREAM_URL=answers.upstream.url, STREAMING_ACCESS="login")
        browser = httpx.Client(base_url=site.url, timeout=DEADLINE)
        browser.get("/admin/login/")
        login = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/admin/login/", data=login, headers={"Referer": site.url})
        token = {"X-CSRFToken": browser.cookies["csrftoken"]}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        reading = Reading(
            site, "POST", "/transfer", json={"prompt": "hi"}, headers=token | key, cookies=browser.cookies
        )
        answers.say("a")
        reading.until("a")

        for address in (reading.address, "/streams"):
            statuses = [ask(site, method, address, headers=key).status_code for method in ("GET", "HEAD", "DELETE")]
            assert statuses == [404, 404, 204 if address == "/streams" else 404]
        assert browser.head(reading.address).status_code == 200
        assert browser.head("/streams", headers=key).status_code == 200
        assert browser.delete(reading.address).status_code == 403  # another site's form could send it
        assert browser.delete("/streams", headers=key).status_code == 403
        assert browser.delete(reading.address, headers=token).status_code == 202
        assert reading.whole().reason == "stopped"
        browser.close()

    def test_to_an_anonymous_stream_needs_its_id_only(self, make_site: Callable[..., Site]) -> None:
        site = make_site()
        reading = Reading(site, "GET", "/stream?interval=0&step=10000").whole()

        assert ask(site, "GET", reading.address).status_code == 200
        assert ask(site, "GET", reading.address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


UVICORN = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]


@pytest.mark.parametrize("command", [None, UVICORN, ["manage.py", "runserver", "--noreload", "{port}"]])
def test_no_log_has_a_whole_stream_id(make_site: Callable[..., Site], command: list[str] | None) -> None:
    """Neither the app's own, nor the server's access log, nor Django's warnings."""
    site = make_site(command)
    address = Reading(site, "GET", "/stream?interval=0&step=10000").whole().address
    stream = address.rpartition("/")[2]

    assert ask(site, "GET", address).status_code == 200
    assert ask(site, "HEAD", address).status_code == 200
    assert ask(site, "DELETE", address).status_code == 202
    assert ask(site, "POST", address).status_code == 405
    assert ask(site, "GET", f"{address}?after=x").status_code == 400
    assert ask(site, "GET", f"{address}/{stream}").status_code == 404
    assert ask(site, "GET", "/stream", headers={"Last-Event-ID": f"{stream}:9999"}).status_code == 204

    def lines() -> list[str]:
        return [line for line in site.log.splitlines() if f"/streams/{stream[:8]}..." in line]

    eventually(lambda: len(lines()) > 6, "the server, Django and the app log it")
    assert any("Not Found: /streams/" in line for line in lines())
    assert stream[8:] not in site.log


def test_sigterm_sends_clients_a_final_message_and_ends_streams_without_clients(
    make_site: Callable[..., Site], answers: Answers
) -> None:
    site = make_site(STREAMING_ACCESS="public", UPSTREAM_URL=answers.upstream.url)
    reading = Reading(site, "POST", "/transfer", json={"prompt": "hi"})
    answers.say("a")
    reading.until("a")
    tab = Reading(site, "GET", reading.address).until("a")

    site.process.terminate()

    assert (reading.whole().reason, tab.whole().reason) == ("drained", "drained")
    assert site.process.wait(DEADLINE) == 0
    assert "Traceback" not in site.log
