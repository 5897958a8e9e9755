"""The OpenAI API of the real site, with OpenAI's own client and scripted upstreams."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from streaming import sources
from streaming.sse import Message, encode
from tests.conftest import DEADLINE, JAVASCRIPT, Connection, ScriptedUpstream, Site, eventually, manage, node_tool

RULES = [
    {"pattern": "darn", "category": "profanity"},
    {"pattern": "stop here", "action": "block", "category": "test"},
    {"pattern": "forbidden", "action": "block", "category": "danger", "replacement": "Ask something else."},
]
ADD_RULES = (
    f"from streaming.models import ModerationRule\nfor fields in {RULES!r}: ModerationRule.objects.create(**fields)"
)
HEAD = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1700000000, "model": "one-really"}


def chunk(delta: dict[str, Any], finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def wire(*chunks: Any) -> bytes:
    return b"".join(encode(Message(each if isinstance(each, str) else json.dumps(each))) for each in chunks)


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class Service:
    """A site with rules and two upstreams, for all tests of this module."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        made = manage(folder, "shell", "-c", ADD_RULES)
        assert made.returncode == 0, made.stderr
        self.upstream, self.other = ScriptedUpstream(), ScriptedUpstream()
        upstreams = {
            "first": {"URL": f"{self.upstream.url}/v1", "FORMAT": "openai", "MODELS": ["one", "shared"]},
            "second": {
                "URL": f"{self.other.url}/v1/chat/completions",
                "FORMAT": "openai",
                "MODEL": "shared",
                "API_KEY_ENV": "SECOND_KEY",
                "TIMEOUTS": {"head": 0.2, "idle": 20},
                "CONCURRENCY": 1,
            },
        }
        self.site = Site(folder, STREAMING_UPSTREAMS=json.dumps(upstreams), SECOND_KEY="k2")
        self.asked: list[dict[str, Any]] = []
        self.client = OpenAI(base_url=f"{self.site.url}/v1", api_key="whatever", max_retries=0, timeout=DEADLINE)

    def answers(self, *chunks: Any, status: str = "200 OK", kind: str = "text/event-stream") -> None:
        """The first upstream answers with this: chunks of a stream, or one body."""
        data = chunks[0] if isinstance(chunks[0], bytes) else wire(*chunks)

        async def script(connection: Connection) -> None:
            self.asked.append(json.loads(await connection.body()))
            await connection.begin(status, kind=kind)
            await connection.send(data)

        self.upstream.script = script

    def ask(self, body: Any, **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.site.url}/v1/chat/completions", content=content, timeout=DEADLINE, **more)

    def stop(self) -> None:
        self.client.close()
        self.site.stop()
        self.upstream.stop()
        self.other.stop()


@pytest.fixture(scope="module")
def the_service(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"), migrated)
    yield service
    service.stop()


@pytest.fixture
def service(the_service: Service) -> Service:
    the_service.asked.clear()
    the_service.upstream.forget()
    the_service.other.forget()
    return the_service


HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def will_answer_late(service: Service) -> asyncio.Event:
    """Lets the second upstream wait, before its head, for the event that is returned."""
    go_on = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.body()
        await go_on.wait()
        await connection.begin()
        await connection.send(wire(chunk({"content": "late"}, "stop"), "[DONE]"))

    service.other.script = script
    return go_on


class TestStreaming:
    def test_relays_the_upstreams_chunks_moderated(self, service: Service) -> None:
        usage = {**HEAD, "choices": [], "usage": USAGE}
        service.answers(
            chunk({"role": "assistant", "content": ""}),
            *(chunk({"content": piece}) for piece in ("oh ", "da", "rn", " you")),
            chunk({}, "stop"),
            usage,
            "[DONE]",
        )

        stream = service.client.chat.completions.create(
            model="one", messages=HELLO, stream=True, stream_options={"include_usage": True}, temperature=0.5
        )
        chunks = list(stream)

        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "oh •••• you"
        assert {each.id for each in chunks} == {"chatcmpl-7"}
        assert {each.model for each in chunks} == {"one-really"}
        assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 7
        (asked,) = service.asked
        assert asked == {
            "model": "one",
            "messages": HELLO,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
        }

    def test_relays_each_choice(self, service: Service) -> None:
        service.answers(
            *(chunk({"role": "assistant", "content": text}, index=index) for index, text in enumerate(["a", "darn"])),
            *(chunk({}, "stop", index=index) for index in range(2)),
            "[DONE]",
        )

        with service.client.chat.completions.stream(model="one", messages=HELLO, n=2) as stream:
            whole = stream.get_final_completion()

        assert [choice.message.content for choice in whole.choices] == ["a", "••••"]
        assert service.asked[0]["n"] == 2

    def test_relays_tool_calls(self, service: Service) -> None:
        def call(index: int, **more: Any) -> dict[str, Any]:
            return chunk({"tool_calls": [{"index": index, **more}]})

        service.answers(
            chunk({"role": "assistant", "content": None}),
            call(0, id="call_a", type="function", function={"name": "look", "arguments": ""}),
            call(0, function={"arguments": '{"word": "da'}),
            call(0, function={"arguments": 'rn"}'}),
            call(1, id="call_b", type="function", function={"name": "look", "arguments": '{"word": "d'}),
            call(1, function={"arguments": 'ay"}'}),
            chunk({}, "tool_calls"),
            "[DONE]",
        )
        tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

        with service.client.chat.completions.stream(model="one", messages=HELLO, tools=[tool]) as stream:
            whole = stream.get_final_completion()

        calls = whole.choices[0].message.tool_calls or []
        assert [(each.id, each.function.name, each.function.arguments) for each in calls] == [
            ("call_a", "look", '{"word": "••••"}'),
            ("call_b", "look", '{"word": "day"}'),
        ]

    def test_ends_with_content_filter_at_a_block_and_closes_the_upstream(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(wire(chunk({"role": "assistant", "content": "a stop here!"})))
            await connection.until_left()

        service.upstream.script = script

        chunks = list(service.client.chat.completions.create(model="one", messages=HELLO, stream=True))

        assert "".join(each.choices[0].delta.content or "" for each in chunks) == "a "
        assert chunks[-1].choices[0].finish_reason == "content_filter"
        assert service.upstream.left.wait(DEADLINE)

    def test_reports_a_failure_in_midstream(self, service: Service) -> None:
        service.answers(chunk({"content": "oh da"}), {"error": {"message": "overloaded, darn", "code": 503}})
        got = []

        with pytest.raises(openai.APIError, match=r"the upstream failed: overloaded, •{4}"):
            got.extend(service.client.chat.completions.create(model="one", messages=HELLO, stream=True))

        assert "".join(each.choices[0].delta.content or "" for each in got) == "oh da"

    def test_accepts_an_upstream_that_does_not_stream(self, service: Service) -> None:
        message = {"role": "assistant", "content": "oh darn"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}, indent=2)
        service.answers(body.encode(), kind="application/json; charset=utf-8")

        chunks = list(service.client.chat.completions.create(model="one", messages=HELLO, stream=True))

        assert [each.choices[0].delta.content for each in chunks] == ["oh ••••"]
        assert chunks[0].object == "chat.completion.chunk"

    def test_has_the_headers_and_limits_of_other_streams(self, service: Service) -> None:
        service.answers(chunk({"content": "a"}, "stop"), "[DONE]")

        answer = service.ask({"model": "one", "messages": HELLO, "stream": True})

        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.content.endswith(b"data: [DONE]\n\n")

    def test_closes_the_upstream_when_the_client_leaves(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(wire(chunk({"content": "a"})))
            await connection.until_left()

        service.upstream.script = script

        stream = service.client.chat.completions.create(model="one", messages=HELLO, stream=True)
        assert next(iter(stream)).choices[0].delta.content == "a"
        before = time.perf_counter()
        stream.close()

        assert service.upstream.left.wait(DEADLINE)
        after = time.perf_counter()
        print(f"the upstream was left {(after - before) * 1000:.1f} ms after the client left")  # noqa: T201 (a figure)


class TestNonStreamingCompletions:
    def test_are_moderated(self, service: Service) -> None:
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '["darn"]'}}]
        messages = [{"role": "assistant", "content": "oh darn"}, {"role": "assistant", "tool_calls": calls}]
        choices = [{"index": at, "message": each, "finish_reason": "stop"} for at, each in enumerate(messages)]
        body = {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE}
        service.answers(json.dumps(body).encode(), kind="application/json")

        whole = service.client.chat.completions.create(model="one", messages=HELLO, n=2)

        assert whole.choices[0].message.content == "oh ••••"
        assert (whole.choices[1].message.tool_calls or [])[0].function.arguments == '["••••"]'  # type: ignore[union-attr]
        assert (whole.id, whole.usage and whole.usage.total_tokens) == ("chatcmpl-7", 7)
        assert service.asked[0] == {"model": "one", "messages": HELLO, "n": 2, "stream": False}

    def test_close_the_upstream_when_the_client_leaves(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.until_left()

        service.upstream.script = script
        body = json.dumps({"model": "one", "messages": HELLO}).encode()

        with service.site.connect("POST /v1/chat/completions", body):
            eventually(lambda: service.upstream.requests, "the upstream is asked")

        assert service.upstream.left.wait(DEADLINE)

    @pytest.mark.parametrize(
        ("body", "kind", "words"),
        [
            (b"<p>darn</p>", "text/html", "answered with text/html instead of JSON"),
            (b"{}", "application/json", "not a chat completion"),
            (b"{", "application/json", "not a chat completion"),
        ],
    )
    def test_that_are_not_chat_completions_are_refused(
        self, service: Service, body: bytes, kind: str, words: str
    ) -> None:
        service.answers(body, kind=kind)

        with pytest.raises(openai.InternalServerError, match=words) as wrong:
            service.client.chat.completions.create(model="one", messages=HELLO)

        assert wrong.value.status_code == 502


class TestPrompts:
    def test_reach_the_upstream_masked(self, service: Service) -> None:
        service.answers(chunk({"content": "a"}, "stop"), "[DONE]")
        messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "you darn thing"}]}]

        list(service.client.chat.completions.create(model="one", messages=messages, stream=True))

        assert service.asked[0]["messages"][0]["content"] == [{"type": "text", "text": "you •••• thing"}]
        eventually(lambda: "messages.0.content.0.text" in self.hits(service), "the hit log says so")

    @staticmethod
    def hits(service: Service) -> str:
        with sqlite3.connect(service.site.folder / "db.sqlite3") as database:
            return str(database.execute("SELECT * FROM streaming_moderationhit WHERE direction = 'prompts'").fetchall())

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("model", ["one", "simulated"])
    def test_never_reach_the_upstream_when_blocked(self, service: Service, stream: bool, model: str) -> None:
        messages: list[Any] = [{"role": "system", "content": "fine"}, {"role": "user", "content": "a FORBIDDEN word"}]

        with pytest.raises(openai.BadRequestError) as blocked:
            service.client.chat.completions.create(model=model, messages=messages, stream=stream)

        assert blocked.value.code == "content_filter"
        assert "(danger): Ask something else." in blocked.value.message
        assert service.upstream.requests == []

    def test_of_transfer_are_moderated_too(self, service: Service) -> None:
        service.answers(chunk({"content": "a"}, "stop"), "[DONE]")

        answer = httpx.post(f"{service.site.url}/transfer/first", json={"prompt": "you darn thing"}, timeout=DEADLINE)
        blocked = httpx.post(f"{service.site.url}/transfer/first", json={"prompt": "forbidden"}, timeout=DEADLINE)

        assert answer.status_code == 200
        assert service.asked == [
            {
                "model": "one",
                "messages": [{"role": "user", "content": "you •••• thing"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ]
        assert (blocked.status_code, blocked.headers["content-type"]) == (400, "application/problem+json")


class TestModels:
    def test_list_the_documents_and_the_models_of_each_upstream(self, service: Service) -> None:
        listed = service.client.models.list()

        assert [(each.id, each.owned_by) for each in listed] == [
            ("simulated", "streaming"),
            ("one", "first"),
            ("shared", "first"),
        ]
        assert service.client.models.retrieve("second/shared").owned_by == "second"

    def test_choose_the_upstream_and_its_key(self, service: Service) -> None:
        asked = []

        async def script(connection: Connection) -> None:
            asked.append((connection.headers, json.loads(await connection.body())))
            await connection.begin()
            await connection.send(wire(chunk({"content": "a"}, "stop"), "[DONE]"))

        service.other.script = script

        list(service.client.chat.completions.create(model="second/shared", messages=HELLO, stream=True))

        ((headers, body),) = asked
        assert headers["Authorization"] == "Bearer k2"
        assert body["model"] == "shared"

    @pytest.mark.parametrize("model", ["none", "first/none", "http://127.0.0.1:1/v1", "../first"])
    def test_that_do_not_exist_are_a_404(self, service: Service, model: str) -> None:
        with pytest.raises(openai.NotFoundError) as missing:
            service.client.chat.completions.create(model=model, messages=HELLO)

        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            service.client.models.retrieve(model)


class TestTheSimulatedModel:
    def test_plays_a_document(self, service: Service) -> None:
        stream = service.client.chat.completions.create(
            model="simulated",
            messages=HELLO,
            stream=True,
            n=2,
            seed=7,
            stream_options={"include_usage": True},
            extra_body={"document": "poem", "interval": 0, "step": 9},
        )
        chunks = list(stream)

        for index in range(2):
            texts = [c.delta.content or "" for each in chunks for c in each.choices if c.index == index]
            assert "".join(texts) == sources.read_document("poem")
            assert max(map(len, texts)) <= 9
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens > 0

    def test_answers_without_delay_when_not_streaming(self, service: Service) -> None:
        whole = service.client.chat.completions.create(model="simulated", messages=HELLO)

        assert whole.choices[0].message.content == sources.read_document("tour").replace("darn", "••••").replace(
            "DARN", "••••"
        )
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None

    @pytest.mark.parametrize(("name", "value"), [("document", "none"), ("interval", 61), ("step", 0), ("seed", "x")])
    def test_names_an_invalid_field(self, service: Service, name: str, value: object) -> None:
        answer = service.ask({"model": "simulated", "messages": HELLO, name: value})

        assert answer.status_code == 400
        assert error_of(answer)["param"] == name


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "param"),
        [
            ({"model": None}, "model"),
            ({"model": 5}, "model"),
            ({"messages": None}, "messages"),
            ({"messages": []}, "messages"),
            ({"messages": "Hello"}, "messages"),
            ({"stream": "yes"}, "stream"),
            ({"stream_options": []}, "stream_options"),
            ({"n": 0}, "n"),
            ({"n": True}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"modalities": ["text", "audio"]}, "modalities"),
        ],
    )
    def test_name_the_invalid_field(self, service: Service, change: dict[str, Any], param: str) -> None:
        answer = service.ask({"model": "one", "messages": HELLO, **change})

        assert answer.status_code == 400
        assert error_of(answer)["type"] == "invalid_request_error"
        assert error_of(answer)["param"] == param
        assert service.upstream.requests == []

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff"])
    def test_report_a_body_that_is_not_a_request(self, service: Service, body: bytes) -> None:
        answer = service.ask(body)

        assert answer.status_code == 400
        assert "body is not" in error_of(answer)["message"]

    @pytest.mark.parametrize("depth", [701, 933, 936, 100_000])
    @pytest.mark.parametrize("stream", ["true", "false"])
    def test_report_a_body_that_is_nested_too_deeply(self, service: Service, stream: str, depth: int) -> None:
        nested = "[" * depth + "]" * depth
        body = f'{{"model": "one", "messages": {json.dumps(HELLO)}, "stream": {stream}, "metadata": {nested}}}'

        answer = service.ask(body.encode())

        assert answer.status_code == 400
        assert error_of(answer)["message"] == "the JSON of the body is nested too deeply"
        assert service.upstream.requests == []

    def test_have_openais_format_wherever_they_are_raised(self, service: Service) -> None:
        url, client = f"{service.site.url}/v1", httpx.Client(timeout=DEADLINE)

        answers = {
            405: client.get(f"{url}/chat/completions"),
            413: service.ask(b" " * 25_000_001),
            403: service.ask({}, headers={"Origin": "http://other.example"}),
            404: client.post(f"{url}/embeddings"),
        }

        for status, answer in answers.items():
            assert answer.status_code == status
            assert error_of(answer)["message"]
        assert answers[405].headers["allow"] == "POST"

    @pytest.mark.parametrize("address", ["/v1", "/v1/", "/v1/embeddings", "/v1/chat/completions/"])
    def test_report_an_unknown_endpoint(self, service: Service, address: str) -> None:
        answer = httpx.post(f"{service.site.url}{address}", timeout=DEADLINE)

        assert answer.status_code == 404
        assert error_of(answer)["code"] == "unknown_url"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("400 Bad Request", openai.BadRequestError),
            ("429 Slow Down", openai.RateLimitError),
            ("404 Not Found", openai.NotFoundError),
            ("500 Oops", openai.InternalServerError),
        ],
    )
    @pytest.mark.parametrize("stream", [True, False])
    def test_of_the_upstream_are_relayed_moderated(
        self, service: Service, status: str, kind: type[openai.APIStatusError], stream: bool
    ) -> None:
        service.answers(b'{"error": {"message": "too long, darn"}}', status=status, kind="application/json")

        with pytest.raises(kind, match=rf"the upstream 'first' answered {status}: too long, •{{4}}"):
            service.client.chat.completions.create(model="one", messages=HELLO, stream=stream)

    def test_relay_retry_after(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin("429 Slow Down", "Retry-After: 7", kind="application/json")

        service.upstream.script = script

        answer = service.ask({"model": "one", "messages": HELLO, "stream": True})

        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


class TestAnUpstream:
    def test_with_all_slots_in_use_is_a_503(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(wire(chunk({"content": "a"})))
            await connection.until_left()

        service.other.script = script
        body = {"model": "second/shared", "messages": HELLO, "stream": True}

        with service.client.chat.completions.create(**body):  # type: ignore[call-overload]
            busy = service.ask(body)
        eventually(lambda: service.other.left.is_set(), "the first has left")

        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert "already has 1 open streams" in error_of(busy)["message"]
        with service.client.chat.completions.create(**body) as stream:  # type: ignore[call-overload]
            assert next(iter(stream)).choices[0].delta.content == "a"

    def test_that_answers_slowly_does_not_delay_the_head_of_the_response(self, service: Service) -> None:
        go_on = will_answer_late(service)

        stream = service.client.chat.completions.create(model="second/shared", messages=HELLO, stream=True)
        service.other._loop.call_soon_threadsafe(go_on.set)  # the client has its answer: the head has come

        assert [each.choices[0].delta.content for each in stream] == ["late"]

    def test_that_answers_slowly_does_not_delay_the_head_of_a_transfer(self, service: Service) -> None:
        go_on = will_answer_late(service)
        address = f"{service.site.url}/transfer/second"

        with httpx.stream("POST", address, json={"prompt": "Hello"}, timeout=DEADLINE) as answer:
            pieces = answer.iter_text()
            first = next(pieces)
            service.other._loop.call_soon_threadsafe(go_on.set)
            rest = "".join(pieces)

        assert "event: connect" in first
        assert 'data: {"delta": "late"}' in rest
        assert 'data: {"reason": "stop"}' in rest

    def test_that_refuses_late_causes_an_error_event(self, service: Service) -> None:
        go_on = asyncio.Event()

        async def script(connection: Connection) -> None:
            await connection.body()
            await go_on.wait()
            await connection.begin("500 Oops", kind="application/json")
            await connection.send(b'{"error": {"message": "no, darn"}}')

        service.other.script = script

        stream = service.client.chat.completions.create(model="second/shared", messages=HELLO, stream=True)
        service.other._loop.call_soon_threadsafe(go_on.set)

        with pytest.raises(openai.APIError, match=r"answered 500 Oops: no, •{4}"):
            list(stream)

    def test_is_closed_when_the_client_leaves_before_it_answers(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.until_left()

        service.other.script = script

        service.client.chat.completions.create(model="second/shared", messages=HELLO, stream=True).close()

        assert service.other.left.wait(DEADLINE)


@pytest.mark.usefixtures("npm_packages")
def test_openais_javascript_client_works_too(service: Service) -> None:
    service.answers(
        chunk({"role": "assistant", "content": "oh da"}),
        chunk({"content": "rn"}),
        chunk(
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}]}
        ),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
        chunk({}, "tool_calls"),
        {**HEAD, "choices": [], "usage": USAGE},
        "[DONE]",
    )

    done: subprocess.CompletedProcess[str] = node_tool(
        "node", str(JAVASCRIPT / "openai-client.js"), f"{service.site.url}/v1"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "text oh ••••",
        "call f {}",
        "usage 7",
        "finish tool_calls",
        "whole true",
        "blocked 400 content_filter",
        "missing 404 model_not_found",
        "wrong 400 n",
        "left 1",
        "models simulated one shared",
    ]
