"""The cases of moderation through the real site: an upstream's answer goes through ``/v1``, and its client compares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streaming.sse import Parser
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, manage

CASES = json.loads((Path(__file__).parent / "cases" / "moderation.json").read_text("utf-8"))
NAMES = {"check": "match_check"}
ADD_RULES = """
import json
from streaming.models import ModerationRule, RuleList
for number, rules in enumerate(json.load(open("rules.json"))):
    of_case = RuleList.objects.create(name=f"case {number}", only_for=[f"model:case-{number}"])
    for fields in rules:
        ModerationRule.objects.create(**fields, rule_list=of_case)
"""


class Service:
    """A site whose models are the cases: the rules of each apply to its model alone."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        rules = [
            [{NAMES.get(key, key): value for key, value in rule.items()} for rule in case["rules"]] for case in CASES
        ]
        (folder / "rules.json").write_text(json.dumps(rules), "utf-8")
        made = manage(folder, "shell", "-c", ADD_RULES.replace("rules.json", str(folder / "rules.json")))
        assert made.returncode == 0, made.stderr
        self.upstream = ScriptedUpstream()
        models = [f"case-{number}" for number in range(len(CASES))]
        one = {"URL": f"{self.upstream.url}/v1", "FORMAT": "openai", "MODELS": models}
        self.site = Site(folder, STREAMING_UPSTREAMS=json.dumps({"one": one}))

    def answers(self, deltas: list[dict[str, Any]], *, size: int | None = None) -> None:
        """With a chunk for each delta; the bytes arrive in pieces of this size."""
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        lines = [f"data: {json.dumps({**common, **chunk})}\n\n" for chunk in chunks]
        body = "".join([*lines, "data: [DONE]\n\n"]).encode()

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            for at in range(0, len(body), size or len(body)):
                await connection.send(body[at : at + (size or len(body))])

        self.upstream.script = script

    def ask(self, number: int, **more: Any) -> str:
        """The text of the answer, whatever part of a message it is in."""
        fields = {"model": f"case-{number}", "messages": [{"role": "user", "content": "?"}], "stream": True, **more}
        response = httpx.post(f"{self.site.url}/v1/chat/completions", json=fields, timeout=DEADLINE)
        assert response.status_code == 200, response.text
        found = [json.loads(each.data) for each in Parser().feed(response.content) if each.data != "[DONE]"]
        deltas = [choice["delta"] for chunk in found for choice in chunk.get("choices", ())]
        return "".join(map(_text, deltas))

    def stop(self) -> None:
        self.site.stop()
        self.upstream.stop()


def _text(delta: dict[str, Any]) -> str:
    calls = delta.get("tool_calls") or ()
    return "".join(delta.get(name) or "" for name in ("content", "reasoning_content", "refusal")) + "".join(
        call["function"].get("arguments") or "" for call in calls
    )


@pytest.fixture(scope="module")
def service(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("cases"), migrated)
    yield service
    service.stop()


def expect(case: dict[str, Any], shown: str) -> None:
    if case["want"] is not None:
        assert shown == case["want"]
    else:  # every letter is masked
        assert set(shown) <= set("•ـ")


def in_arguments(text: str) -> dict[str, Any]:
    return {
        "tool_calls": [{"index": 0, "id": "call", "type": "function", "function": {"name": "f", "arguments": text}}]
    }


by_case = pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
# Every byte is a packet.
short = [number for number, case in enumerate(CASES) if len(case["text"]) <= 200]
by_short_case = pytest.mark.parametrize("number", short, ids=[CASES[number]["name"] for number in short])


@by_case
def test_a_case_holds_whole_and_in_single_characters(service: Service, number: int) -> None:
    case = CASES[number]
    text, medium = case["text"], case["medium"]
    more = {"response_format": {"type": "json_object"}} if medium == "json" else {}
    # What is thought is Markdown in any case.
    service.answers([{"reasoning_content": "no answer, "}, {"content": text}])
    expect(case, service.ask(number, **more).removeprefix("no answer, "))
    service.answers([{"content": char} for char in text])
    expect(case, service.ask(number, **more))
    if medium == "markdown":
        service.answers([{"reasoning_content": text}])
        expect(case, service.ask(number))


@by_short_case
def test_a_case_holds_byte_by_byte(service: Service, number: int) -> None:
    case = CASES[number]
    more = {"response_format": {"type": "json_object"}} if case["medium"] == "json" else {}

    service.answers([{"content": case["text"][at : at + 7]} for at in range(0, len(case["text"]), 7)], size=1)

    expect(case, service.ask(number, **more))


@pytest.mark.parametrize("number", [number for number, case in enumerate(CASES) if case["medium"] == "json"])
def test_a_case_of_json_holds_in_the_arguments_of_a_tool_call(service: Service, number: int) -> None:
    case = CASES[number]

    service.answers([in_arguments(case["text"])])
    expect(case, service.ask(number))
    service.answers([in_arguments(case["text"][:1]), *map(in_arguments, case["text"][1:])])
    expect(case, service.ask(number))
