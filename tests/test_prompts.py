"""The moderation of requests: every text is moderated, identifiers and binary data are unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncRequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.errors import BadRequest, PromptBlocked, PromptTooDeep
from streaming.guardrails import moderate_prompt
from streaming.moderation import Rule, RuleSet
from streaming.requests import read_completion_request

RULES = RuleSet([Rule(1, "darn"), Rule(2, "so long", action="block")])
PNG = "data:image/png;base64,iVBORdarnKGgo="
MESSAGE = {"role": "user", "content": "Hello"}


async def moderated(**fields: Any) -> dict[str, Any]:
    fields = {"model": "one", "messages": [MESSAGE], **fields}
    await moderate_prompt(fields, RULES)
    return fields


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string with the name of its field, and the names of fields themselves with an empty name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    elif isinstance(value, str):
        yield key, value


class TestTextIsModerated:
    @pytest.mark.parametrize(
        "fields",
        [
            {"messages": [{"role": "you darn", "content": "a"}]},
            {"messages": [{"role": "user", "content": "a", "name": "darn"}]},
            {"messages": [{"role": "tool", "tool_call_id": "you darn", "content": "a"}]},
            {"messages": [{"role": "user", "content": [{"type": "you darn", "text": "a"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": "you darn.pdf"}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x://darn"}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "x", "data": "you darn"}]}]},
            {"messages": [{"role": "assistant", "reasoning_details": [{"signature": "you darn"}]}]},
            {"messages": [{"role": "user", "content": "a", "you darn": 1}]},
            {"tools": [{"type": "function", "function": {"name": "you darn"}}]},
            {"tools": [{"function": {"name": "f", "parameters": {"properties": {"you darn": {"type": "string"}}}}}]},
            {"tools": [{"function": {"name": "f", "parameters": {"required": ["you darn"]}}}]},
            {"tools": [{"function": {"name": "f", "parameters": {"properties": {"a": {"enum": ["darn"]}}}}}]},
            {"tool_choice": {"type": "function", "function": {"name": "you darn"}}},
            {"chat_template": "{{ 'darn' }}"},
            {"chat_template_kwargs": {"system": "darn"}},
            {"chat_template_kwargs": {"you darn": True}},
            {"metadata": {"a": "you darn"}},
            {"user": "you darn"},
            {"stop": ["you darn"]},
            {"response_format": {"type": "json_schema", "json_schema": {"description": "darn"}}},
            {"nobody_knows": ["darn"]},
            {"you darn": 1},
        ],
    )
    async def test_in_every_field(self, fields: dict[str, Any]) -> None:
        assert "darn" not in json.dumps(await moderated(**fields))

    @pytest.mark.parametrize("number", [5551234, 5551234.5, -5551234, 5551234 * 10**400])
    @pytest.mark.parametrize(
        "message",
        [
            {"tool_calls": [{"function": {"name": "f", "arguments": {"phone": "number"}}}]},
            {"tool_calls": [{"function": {"name": "f", "arguments": {"people": [{"phones": ["number"]}]}}}]},
            {"content": [{"type": "tool_use", "name": "f", "input": {"phone": "number"}}]},
            {"parts": [{"functionCall": {"name": "f", "args": {"phone": "number"}}}]},
            {"parts": [{"functionResponse": {"name": "f", "response": {"index": "number"}}}]},
        ],
    )
    async def test_in_the_numbers_of_what_a_model_or_tool_wrote(self, message: dict[str, Any], number: float) -> None:
        fields = {"messages": [json.loads(json.dumps(message).replace('"number"', str(number)))]}
        kept = json.dumps(fields)
        await moderate_prompt(fields, RULES)
        assert json.dumps(fields) == kept

        await moderate_prompt(fields, RuleSet([Rule(1, "5551234")]))

        assert "5551234" not in json.dumps(fields)

    @pytest.mark.parametrize(
        "fields",
        [
            {"max_tokens": 5551234, "seed": 5551234, "logit_bias": {"5": 5551234}},
            {"tools": [{"function": {"name": "f", "parameters": {"properties": {"arguments": {"maximum": 5551234}}}}}]},
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PNG}, "max_pixels": 5551234}]}]},
        ],
    )
    async def test_but_not_in_the_numbers_of_parameters(self, fields: dict[str, Any]) -> None:
        kept = json.dumps(fields)

        await moderate_prompt(fields, RuleSet([Rule(1, "5551234")]))

        assert json.dumps(fields) == kept

    async def test_and_a_block_applies_in_a_name_too(self) -> None:
        with pytest.raises(PromptBlocked, match="blocked by a moderation rule"):
            await moderated(tools=[{"function": {"name": "f", "parameters": {"properties": {"so long": {}}}}}])


class TestOpaqueDataArrivesUnchanged:
    @pytest.mark.parametrize(
        "fields",
        [
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}]},
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBERdarn="}}]}]},
            {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": "darn==", "format": "wav"}}]}]},
            {"messages": [{"role": "assistant", "reasoning_details": [{"signature": "darn==", "type": "x"}]}]},
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "call_darn", "function": {"name": "f"}}]}]},
            {"messages": [{"tool_calls": [{"extra_content": {"google": {"thought_signature": "darn+/="}}}]}]},
            {"messages": [{"content": [{"type": "thinking", "thinking": "a", "signature": "darn=="}]}]},
            {"messages": [{"content": [{"type": "redacted_thinking", "data": "darn=="}]}]},
            {
                "tools": [
                    {"function": {"name": "darn", "parameters": {"required": ["darn"], "properties": {"darn": {}}}}}
                ]
            },
            {"user": "user-darn-1", "service_tier": "darn", "stop": ["###"]},
            {"tools": [{"function": {"name": "f", "parameters": {"properties": {"größe": {}, "a b": {}, "0": {}}}}}]},
        ],
    )
    async def test_like_identifiers(self, fields: dict[str, Any]) -> None:
        before = json.dumps(fields)

        after = await moderated(**fields)

        assert json.dumps({key: after[key] for key in fields}) == before

    async def test_of_any_length(self) -> None:
        url = "data:image/png;base64," + "darn" * 250_000

        after = await moderated(messages=[{"role": "user", "content": [{"image_url": {"url": url}}]}])

        assert after["messages"][0]["content"][0]["image_url"]["url"] == url

    async def test_and_texts_in_fields_with_similar_names_are_not_confused(self) -> None:
        after = await moderated(x={"a": {"b": "one"}, "a.b": "two darn"}, **{"x.a.b": "three"})

        assert (after["x"], after["x.a.b"]) == ({"a": {"b": "one"}, "a.b": "two ••••"}, "three")


NAMES = ["role", "content", "name", "type", "text", "id", "tool_call_id", "tools", "function", "parameters", "data"]
NAMES += ["url", "image_url", "signature", "properties", "required", "metadata", "stop", "n", "stream", "x", "a.b", "0"]
NAMES += ["you darn", "so it goes darn", "größe", "", "format", "media_type", "stream_options", "logprobs"]
TEXTS = [
    "darn",
    "you darn",
    "a",
    "",
    "da",
    "rn",
    "user",
    PNG,
    "data:text/plain,you darn",
    "d\u200barn",
    "\ud800",
    "x" * 9000,
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*TEXTS, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
MAY_BE_NAMES = {"role", "type", "id", "tool_call_id", "format", "detail", "signature", "data", "url", "image_url"}
INSTRUCTIONS = {"metadata", "stop", "stream", "stream_options", "model", "function_call", "tool_choice"}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=4), st.lists(values, max_size=2))
async def test_any_request_is_refused_or_moderated_completely(fields: Any, messages: list[Any]) -> None:
    body = {"model": "one", "messages": [MESSAGE, *messages], **fields}
    request = AsyncRequestFactory().generic("POST", "/", json.dumps(body).encode(), content_type="application/json")

    try:
        asked = read_completion_request(request).fields
        await moderate_prompt(asked, RULES)
    except (BadRequest, PromptBlocked, PromptTooDeep):
        return

    json.dumps(asked, allow_nan=False).encode()
    for top, value in asked.items():
        for key, text in leaves({top: value}):
            if "darn" in text:
                assert " " not in text
                assert (
                    key in MAY_BE_NAMES
                    or not key
                    or top in INSTRUCTIONS
                    or (top == "tools" and key in ("name", "required"))
                )


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    request = AsyncRequestFactory().generic("POST", "/", body, content_type="application/json")

    with pytest.raises(BadRequest):
        read_completion_request(request)
