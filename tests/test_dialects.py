"""The dialects of OpenAI-compatible servers through the real site: ``tests/cases/`` holds what they send, as bytes.

Each case goes whole and cut at every byte over a real socket to ``/v1/chat/completions``, and what its client gets is
compared with what should come.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from streaming.sse import Parser
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, manage

CASES = Path(__file__).parent / "cases"
RULES = [
    {"pattern": "darn", "category": "profanity"},
    {"pattern": "so long"},
    {"pattern": "stop", "action": "block"},
]
ADD_RULES = (
    f"from streaming.models import ModerationRule\nfor fields in {RULES!r}: ModerationRule.objects.create(**fields)"
)


def cases(name: str) -> dict[str, dict[str, Any]]:
    listed = json.loads((CASES / name).read_text("utf-8"))
    named = {case["name"]: case for case in listed}
    assert len(named) == len(listed)
    return named


STREAMS = {**cases("openai-quirks.json"), **cases("dialects.json")}
ERRORS = {**cases("upstream-errors.json"), **cases("errors.json")}


OPERATORS_KEY = "sk-Operators-own-key"


class Service:
    """A site with rules and an OpenAI upstream that sends the given data."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        made = manage(folder, "shell", "-c", ADD_RULES)
        assert made.returncode == 0, made.stderr
        self.upstream = ScriptedUpstream()
        upstreams: dict[str, dict[str, Any]] = {
            "first": {"URL": f"{self.upstream.url}/v1", "FORMAT": "openai", "MODELS": ["one"]}
        }
        upstreams["first"]["HEADERS"] = {"Authorization": f"Bearer {OPERATORS_KEY}"}
        self.site = Site(folder, STREAMING_UPSTREAMS=json.dumps(upstreams))
        self.asked: list[dict[str, Any]] = []

    def answers(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "text/event-stream",
        *headers: str,
        reason: str = "Some Reason",
    ) -> None:
        async def script(connection: Connection) -> None:
            self.asked.append(json.loads(await connection.body()))
            await connection.begin(f"{status} {reason}", *headers, kind=kind)
            await connection.send(body)

        self.upstream.script = script

    def answers_with(self, error: dict[str, Any]) -> None:
        body = error["upstream_body"]
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        headers = [f"{key}: {value}" for key, value in error.get("upstream_headers", {}).items()]
        if error.get("gzip"):
            data, headers = gzip.compress(data), [*headers, "Content-Encoding: gzip"]
        self.answers(data, error["upstream_status"], error.get("upstream_type", "application/json"), *headers)

    def answers_byte_by_byte(self, body: bytes, kind: str = "text/event-stream") -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin(kind=kind)
            for at in range(len(body)):
                await connection.send(body[at : at + 1])
                await asyncio.sleep(0)

        self.upstream.script = script

    def ask(self, stream: bool = True, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        fields = {"model": "one", "messages": [{"role": "user", "content": "Hello"}], "stream": stream, **more}
        return httpx.post(self.site.url + path, json=fields, timeout=DEADLINE)

    def stop(self) -> None:
        self.site.stop()
        self.upstream.stop()


@pytest.fixture(scope="module")
def service(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("dialects"), migrated)
    yield service
    service.stop()


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    messages = [message.data for message in Parser(max_message_chars=1 << 24).feed(answer.content)]
    return [json.loads(data) for data in messages if data != "[DONE]"]


def deltas_of(chunks: list[dict[str, Any]], index: int = 0) -> list[dict[str, Any]]:
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    return [choice.get("delta", {}) for choice in choices if choice["index"] == index]


def text_of(chunks: list[dict[str, Any]], field: str = "content", index: int = 0) -> str:
    return "".join(delta.get(field) or "" for delta in deltas_of(chunks, index))


def calls_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool calls, assembled from their fragments by index as clients do."""
    calls: dict[int, dict[str, Any]] = {}
    for fragment in [call for delta in deltas_of(chunks) for call in delta.get("tool_calls") or []]:
        call = calls.setdefault(fragment["index"], {"index": fragment["index"], "name": "", "arguments": ""})
        for key in ("name", "arguments"):
            call[key] += fragment.get("function", {}).get(key) or ""
    return [calls[number] for number in sorted(calls)]


def order_of(chunks: list[dict[str, Any]]) -> list[list[str]]:
    """The texts of a choice as they follow each other on the wire, each with its channel."""
    order: list[list[str]] = []
    for channel, text in [pair for delta in deltas_of(chunks) for pair in delta.items()]:
        if channel in ("content", "reasoning_content", "refusal") and text:
            if order and order[-1][0] == channel:
                order[-1][1] += text
            else:
                order.append([channel, text])
    return order


def field_values(value: Any, field: str) -> list[Any]:
    """All values of a field, at any depth."""
    if isinstance(value, list):
        return [found for item in value for found in field_values(item, field)]
    if not isinstance(value, dict):
        return []
    own = [value[field]] if value.get(field) else []
    return own + [found for inner in value.values() for found in field_values(inner, field)]


def upstream_chunks(case: dict[str, Any]) -> list[dict[str, Any]]:
    lines = [line[len("data: ") :] for line in case["upstream"].splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def check(case: dict[str, Any], chunks: list[dict[str, Any]]) -> None:
    for key, wanted in case["want"].items():
        match key:
            case "content" | "reasoning_content" | "refusal":
                assert text_of(chunks, key) == wanted
            case "contents":
                assert [text_of(chunks, index=index) for index in range(len(wanted))] == wanted
            case "finish_reason":
                assert [reason for reason in field_values(chunks, "finish_reason") if reason] == [wanted]
            case "tool_calls":
                assert calls_of(chunks) == wanted
            case "function_call":
                calls = field_values(chunks, "function_call")
                assert {key: "".join(call.get(key) or "" for call in calls) for key in wanted} == wanted
            case "unchanged":
                for field in wanted:
                    assert field_values(chunks, field) == field_values(upstream_chunks(case), field)
            case "absent":
                assert not [text for text in wanted if text in json.dumps(chunks, ensure_ascii=False)]
            case "order":
                assert order_of(chunks) == wanted
            case "field":
                for field, value in wanted.items():
                    assert value in field_values(chunks, field)
            case "error":
                check_error(chunks[-1]["error"], wanted)
            case "transfer":
                pass  # in a test of its own
            case _:
                raise AssertionError(f"nobody checks {key}")
    if "error" not in case["want"]:
        assert not [chunk for chunk in chunks if "error" in chunk]


def check_error(error: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {"message", "type", "param", "code"} <= set(error)
    for key, value in wanted.items():
        if key == "message_has":
            assert value in error["message"]
        elif key == "message_lacks":
            assert value not in json.dumps(error)
        else:
            assert error[key] == value


class TestAStream:
    @pytest.mark.parametrize("name", STREAMS)
    def test_of_every_dialect_gives_the_client_the_same_answer(self, service: Service, name: str) -> None:
        case = STREAMS[name]
        service.answers(case["upstream"].encode(), kind=case.get("kind", "text/event-stream"))

        answer = service.ask()

        assert answer.status_code == 200
        check(case, chunks_of(answer))

    @pytest.mark.parametrize("name", STREAMS)
    def test_of_every_dialect_can_be_cut_at_every_byte(self, service: Service, name: str) -> None:
        case = STREAMS[name]
        service.answers_byte_by_byte(case["upstream"].encode(), kind=case.get("kind", "text/event-stream"))

        answer = service.ask()

        assert answer.status_code == 200
        check(case, chunks_of(answer))

    @pytest.mark.parametrize("name", [name for name, case in STREAMS.items() if "transfer" in case["want"]])
    def test_has_its_finish_reason_in_the_native_format(self, service: Service, name: str) -> None:
        case = STREAMS[name]
        service.answers(case["upstream"].encode(), kind=case.get("kind", "text/event-stream"))

        messages = Parser().feed(service.ask(path="/transfer/first").content)

        done = [json.loads(message.data)["reason"] for message in messages if message.event == "done"]
        assert done == [case["want"]["transfer"]]


class TestAnError:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("name", ERRORS)
    def test_of_an_upstream_keeps_its_status_code_and_type(self, service: Service, name: str, stream: bool) -> None:
        case = ERRORS[name]
        wanted = dict(case["want"])
        service.answers_with(case)

        answer = service.ask(stream)

        assert answer.status_code == wanted.pop("status")
        if header := wanted.pop("header", None):
            name, value = (header, answer.headers.get(header)) if isinstance(header, str) else header
            assert value
            assert answer.headers.get(name) == value
        assert wanted.pop("no_header", "") not in answer.headers
        check_error(answer.json()["error"], wanted)

    def test_has_its_details_in_the_native_format(self, service: Service) -> None:
        service.answers_with(ERRORS["a 400 keeps code, type and param"])

        answer = service.ask(path="/transfer/first")

        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (
            400,
            "context_length_exceeded",
            "messages",
        )

    def test_has_all_its_texts_moderated(self, service: Service) -> None:
        service.answers(b"{}", 500, "text/darn", reason="you darn")
        assert "darn" not in service.ask().text

        service.answers(b"?", 200, "text/darn")
        assert "darn" not in service.ask().text
        assert "darn" not in service.ask(stream=False).text


class TestANonStreamingCompletion:
    WHOLE = [
        name
        for name, case in STREAMS.items()
        if not {"error", "order"} & set(case["want"]) and "numbered" not in name and "choices without" not in name
    ]

    @pytest.mark.parametrize("name", WHOLE)
    def test_is_assembled_when_the_upstream_streams_it(self, service: Service, name: str) -> None:
        case = STREAMS[name]
        service.answers(case["upstream"].encode(), kind=case.get("kind", "text/event-stream"))

        answer = service.ask(stream=False)

        assert answer.status_code == 200
        assert answer.json()["object"] == "chat.completion"
        choices = answer.json()["choices"]
        wanted = case["want"]
        if "content" in wanted:
            assert choices[0]["message"]["content"] == wanted["content"]
        if "finish_reason" in wanted:
            assert choices[0]["finish_reason"] == wanted["finish_reason"]
        for text in wanted.get("absent", []):
            assert text not in answer.text
        for call, expected in zip(
            choices[0]["message"].get("tool_calls", []), wanted.get("tool_calls", []), strict=True
        ):
            assert call["function"] == {key: expected[key] for key in ("name", "arguments")}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


class TestTheOperatorsKeyIsInNoError:
    """Servers like to show the request that they could not answer; proxies and debug pages show its headers."""

    SAID = f"no such key: Bearer {OPERATORS_KEY.upper()}, {OPERATORS_KEY}"
    LONG = f"{'x' * 464} {OPERATORS_KEY} {OPERATORS_KEY}"
    """A key lies across the 500 characters that are shown: with and without the words before an error in mid-stream."""
    ANSWERS: ClassVar[dict[str, tuple[bytes, int, str]]] = {
        "a message": (as_json({"error": {"message": SAID}}), 400, "application/json"),
        "where a long message is cut": (as_json({"error": {"message": LONG}}), 400, "application/json"),
        "where a long text is cut": (LONG.encode(), 500, "text/plain"),
        "where an error in mid-stream is cut": (
            b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
            b"data: " + as_json({"error": {"message": LONG}}) + b"\n\n",
            200,
            "text/event-stream",
        ),
        "a code": (as_json({"error": {"message": "a", "code": OPERATORS_KEY}}), 400, "application/json"),
        "a further field": (as_json({"error": {"message": "a", "sent": [{"key": SAID}]}}), 400, "application/json"),
        "a text": (SAID.encode(), 500, "text/plain"),
        "an error with status 200": (as_json({"error": SAID}), 200, "application/json"),
        "a media type": (b"words", 200, f"text/{OPERATORS_KEY}"),
        "an error in mid-stream": (
            b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
            b"data: " + as_json({"error": {"message": SAID, "code": OPERATORS_KEY}}) + b"\n\n",
            200,
            "text/event-stream",
        ),
    }

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/transfer/first"])
    @pytest.mark.parametrize("where", ANSWERS)
    def test_wherever_it_is_quoted(self, service: Service, where: str, path: str) -> None:
        body, status, kind = self.ANSWERS[where]
        service.answers(body, status, kind, reason=self.SAID if status >= 400 else "OK")

        for stream in (True, False):
            answer = service.ask(stream, path)
            assert OPERATORS_KEY[:10].lower() not in answer.text.lower()
            assert "[hidden]" in answer.text
