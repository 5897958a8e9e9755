"""OpenAI's chunks through moderation: which are unchanged, and that no match passes."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streaming import formats, guardrails
from streaming.answer import AnswerModeration, clean
from streaming.errors import PromptBlocked, PromptTooDeep
from streaming.formats import OpenAIReader, OpenAIRelay, OpenAIWriter
from streaming.formats.assembly import completion_from_events
from streaming.formats.chunk_templates import ChunkTemplateCache
from streaming.formats.errors import ErrorFacts, read_error_body
from streaming.hit_context import HitContext
from streaming.moderation import Rule, RuleSet
from streaming.relay import EventReader, Relay
from streaming.sse import Message, Parser, encode

RULES = RuleSet(
    [
        Rule(1, "darn", category="profanity"),
        Rule(2, "darn it", category="phrase"),
        Rule(3, "stop here", action="block", category="test", replacement="Let us stop."),
        Rule(4, "secret", action="drop", category="internal"),
    ]
)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}


def chunk(delta: dict[str, Any], finish_reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}], **more}


def wire(*chunks: Any) -> bytes:
    return b"".join(encode(Message(each if isinstance(each, str) else json.dumps(each))) for each in chunks)


def drive(relay: Relay, chunks: Iterable[bytes]) -> bytes:
    sent = relay.begin()
    with closing(relay):
        for chunk in chunks:
            sent += relay.feed(chunk)
            while relay.is_behind:
                sent += relay.resume()
            if relay.is_over:
                return sent
        return sent + relay.finish()


async def relayed(
    *chunks: Any, rules: RuleSet = RULES, data: bytes | None = None, size: int = 1 << 20, seen: Any = None
) -> list[Any]:
    """What a client gets for these chunks: objects, and ``[DONE]``."""
    data = wire(*chunks) if data is None else data

    sent = drive(
        Relay(EventReader(OpenAIReader(keep_raw=True)), AnswerModeration(rules, seen), OpenAIRelay("m")),
        [data[at : at + size] for at in range(0, len(data), size)],
    )
    return [message.data if message.data == "[DONE]" else json.loads(message.data) for message in Parser().feed(sent)]


def text_of(chunks: Iterable[Any], index: int = 0, field: str = "content") -> str:
    deltas = [c["delta"] for each in chunks if each != "[DONE]" for c in each["choices"] if c["index"] == index]
    return "".join(delta.get(field) or "" for delta in deltas)


def finishes(chunks: Iterable[Any]) -> list[tuple[int, str]]:
    choices = [choice for each in chunks if each != "[DONE]" for choice in each.get("choices", [])]
    return [(choice["index"], choice["finish_reason"]) for choice in choices if choice.get("finish_reason")]


class TestChunksWithoutMatchesAreUnchanged:
    CLEAN = (
        chunk({"role": "assistant", "content": "", "refusal": None}, usage=None, service_tier="default"),
        chunk({"content": "Hello, "}, system_fingerprint="fp_1", usage=None, obfuscation="aB3/x9"),
        chunk({"content": "world."}, x_groq={"id": "req_01", "usage": {"queue_time": 0.25}}),
        chunk({"reasoning_content": "hm?", "content": None}, provider="Azure"),
        chunk({"refusal": "No."}),
        {**HEAD, "choices": [{"index": 1, "delta": {"content": "other"}, "logprobs": None, "stop_reason": 7}]},
        chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
                ]
            }
        ),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"q": 1}'}}]}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://x.example", "title": "X"}}]}),
        chunk({}, "tool_calls"),
        chunk({}, "stop", index=1),
        {**HEAD, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 1}}},
        *({**HEAD, "choices": [], "request_id": "0123-4567", "created": "1700000000"} for _ in range(3)),
        {**HEAD, "choices": [], "timings": {"predicted_ms": 661.397}, "citations": ["https://a.example", "b"]},
        "[DONE]",
    )

    # What looks like a number of a card holds digits back.
    DIGITS = RuleSet([*RULES.rules, Rule(9, r"\d(?:-?\d){15}", "regex")])

    async def test_whole(self) -> None:
        assert await relayed(*self.CLEAN, rules=self.DIGITS) == list(self.CLEAN)

    @pytest.mark.parametrize("size", [1, 7, 64, 333])
    async def test_in_every_cut_of_their_bytes(self, size: int) -> None:
        assert await relayed(*self.CLEAN, size=size) == list(self.CLEAN)


class TestHeldText:
    async def test_holds_back_a_chunk_that_has_no_other_content(self) -> None:
        out = await relayed(chunk({"content": "dar"}), chunk({"content": "k"}), "[DONE]")

        assert out == [
            chunk({"content": "dark"}),
            chunk({}, "stop"),
            "[DONE]",
        ]

    @pytest.mark.parametrize(
        ("delta", "more"),
        [
            ({"role": "assistant"}, {}),
            ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}, {}),
            ({}, {"usage": {"total_tokens": 1}}),
            ({"something": 5}, {}),
        ],
    )
    async def test_does_not_hold_back_a_chunk_with_other_content(self, delta: Any, more: Any) -> None:
        first = chunk({**delta, "content": "dar"}, **more)

        out = await relayed(first, chunk({"content": "k"}), chunk({}, "stop"), "[DONE]")

        assert out[0] == chunk({**delta, "content": ""}, **more)
        assert out[1] == chunk({"content": "dark"})

    async def test_is_sent_before_the_finish_reason_of_its_choice_only(self) -> None:
        out = await relayed(
            chunk({"content": "a dar"}, index=0),
            chunk({"content": "b dar"}, index=1),
            chunk({}, "stop", index=0),
            chunk({"content": "n!"}, index=1),
            chunk({}, "length", index=1),
            "[DONE]",
        )

        assert out == [
            chunk({"content": "a "}, index=0),
            chunk({"content": "b "}, index=1),
            chunk({"content": "dar"}, index=0),
            chunk({}, "stop", index=0),
            {**chunk({"content": "••••!"}, index=1), "moderated": [{"action": "mask", "category": "profanity"}]},
            chunk({}, "length", index=1),
            "[DONE]",
        ]

    async def test_is_sent_in_the_finishing_chunk_if_that_has_text(self) -> None:
        out = await relayed(chunk({"content": "dar"}), chunk({"content": "k da"}, "stop"), "[DONE]")

        assert out == [chunk({"content": "dark da"}, "stop"), "[DONE]"]

    async def test_of_a_tool_call_keeps_its_index(self) -> None:
        call = {"index": 1, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "dar'}}

        out = await relayed(chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), "[DONE]")

        calls = [c for each in out[:-1] for c in each["choices"][0]["delta"].get("tool_calls", [])]
        assert "".join(call["function"]["arguments"] for call in calls) == '{"a": "dar'
        assert {call["index"] for call in calls} == {1}

    async def test_is_sent_before_an_error(self) -> None:
        out = await relayed(chunk({"content": "dar"}), {"error": {"message": "overloaded"}})

        assert text_of(out[:-1]) == "dar"
        assert out[-1]["error"]["message"] == "the upstream failed: overloaded"


class TestMasks:
    async def test_replace_the_text_in_its_place(self) -> None:
        out = await relayed(chunk({"content": "oh darn you"}), chunk({}, "stop"), "[DONE]")

        assert out[0] == {
            **chunk({"content": "oh •••• you"}),
            "moderated": [{"action": "mask", "category": "profanity"}],
        }

    @pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning", "refusal", "text", "thinking", "x"])
    async def test_apply_to_every_field_of_a_delta(self, field: str) -> None:
        out = await relayed(chunk({field: "da"}), chunk({field: "rn"}), chunk({field: "!"}), chunk({}, "stop"))

        assert text_of(out, field=field) == "••••!"

    async def test_are_found_per_choice_and_field(self) -> None:
        out = await relayed(
            chunk({"content": "da"}),
            chunk({"content": "rn"}, index=1),
            chunk({"reasoning_content": "rn"}),
            chunk({}, "stop"),
            chunk({}, "stop", index=1),
        )

        assert (text_of(out), text_of(out, 1), text_of(out, field="reasoning_content")) == ("da", "rn", "rn")

    async def test_are_reported_as_hits(self) -> None:
        seen: list[HitContext] = []

        await relayed(chunk({"refusal": "oh darn"}, index=2), chunk({}, "stop", index=2), "[DONE]", seen=seen.append)

        assert [(each.rule.id, each.channel, each.choice) for each in seen] == [(1, "refusal", 2)]


class TestABlock:
    async def test_ends_the_choice_with_content_filter(self) -> None:
        out = await relayed(chunk({"role": "assistant", "content": ""}), chunk({"content": "a stop here b"}), "[DONE]")

        notice = [{"action": "block", "category": "test", "notice": "Let us stop."}]
        assert out == [
            chunk({"role": "assistant", "content": ""}),
            {**chunk({"content": "a "}), "moderated": notice},
            chunk({}, "content_filter"),
            "[DONE]",
        ]

    async def test_ends_every_choice_that_is_open(self) -> None:
        out = await relayed(
            *(chunk({"content": "a"}, index=index) for index in range(3)),
            chunk({}, "stop", index=1),
            chunk({"content": "stop here"}, index=2),
            chunk({"content": "never"}),
        )

        assert finishes(out) == [(1, "stop"), (0, "content_filter"), (2, "content_filter")]

    async def test_in_the_first_chunk_still_gives_a_valid_answer(self) -> None:
        out = await relayed(chunk({"role": "assistant", "content": "a stop here b"}), chunk({"content": "never"}))

        assert text_of(out) == "a "
        assert out[0]["choices"][0]["delta"]["role"] == "assistant"
        assert finishes(out) == [(0, "content_filter")]
        assert out[-1] == "[DONE]"

    async def test_of_the_whole_text_still_gives_a_valid_answer(self) -> None:
        out = await relayed(chunk({"content": "stop here"}))

        assert finishes(out) == [(0, "content_filter")]
        assert out[0]["choices"][0]["delta"] == {"role": "assistant"}

    async def test_does_not_wait_for_the_next_chunk(self) -> None:
        relay = Relay(EventReader(OpenAIReader(keep_raw=True)), AnswerModeration(RULES), OpenAIRelay("m"))

        sent = relay.feed(wire(chunk({"content": "stop here."})))

        assert relay.is_over
        assert sent.endswith(b"data: [DONE]\n\n")


SPLIT = ("da", "rn")

LEAKS: dict[str, list[Any]] = {
    "logprobs": [
        {
            **HEAD,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "darn"},
                    "logprobs": {"content": [{"token": "darn", "bytes": [100, 97, 114, 110], "top_logprobs": []}]},
                }
            ],
        }
    ],
    "logprobs in the old way": [
        {**HEAD, "choices": [{"index": 0, "text": "", "logprobs": {"top_logprobs": [{"darn": -1}]}}]}
    ],
    "text where completions have it": [{**HEAD, "choices": [{"index": 0, "text": part}]} for part in SPLIT],
    "text beside the choices": [{**HEAD, "choices": [], "output_text": part} for part in SPLIT],
    "a message in a stream": [{**HEAD, "choices": [{"index": 0, "message": {"content": part}}]} for part in SPLIT],
    "a message beside a delta": [
        {**HEAD, "choices": [{"index": 0, "delta": {}, "message": {"content": part}}]} for part in SPLIT
    ],
    "a message that is a text": [{**HEAD, "choices": [{"index": 0, "message": "darn"}]}],
    "a message that is a list": [{**HEAD, "choices": [{"index": 0, "message": ["darn"]}]}],
    "content as a list of parts": [chunk({"content": [{"type": "text", "text": part}]}) for part in SPLIT],
    "content as a list of texts": [chunk({"content": [part]}) for part in SPLIT],
    "thoughts in parts of parts": [
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": part}]}]}) for part in SPLIT
    ],
    "parts of one message": [chunk({"content": [{"type": "text", "text": part} for part in SPLIT]})],
    "texts of one message": [chunk({"content": [*SPLIT]})],
    "parts with an image between": [
        chunk({"content": [*({"type": "text", "text": part} for part in SPLIT)][:1]}),
        chunk({"content": [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "rn"}]}),
    ],
    "parts with numbers": [
        chunk({"content": [{"type": "text", "text": part, "index": at}]}) for at, part in enumerate(SPLIT)
    ],
    "parts of parts": [chunk({"content": [{"type": "text", "text": part} for part in "darn"]})],
    "a part, then a text": [chunk({"content": [{"type": "text", "text": "da"}]}), chunk({"content": "rn"})],
    "parts whose texts are objects": [
        chunk({"content": [{"type": "text", "text": {"value": part}} for part in SPLIT]})
    ],
    "lists of a list": [chunk({"content": [[part] for part in SPLIT]})],
    "a refusal in parts": [chunk({"refusal": [{"type": "refusal", "refusal": part} for part in SPLIT]})],
    "a part that goes on": [
        chunk({"content": [{"type": "text", "text": "d"}, {"type": "text", "text": "a"}]}),
        chunk({"content": [{"type": "text", "text": "rn"}]}),
    ],
    "details of reasoning": [
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": part, "index": 0}]}) for part in SPLIT
    ],
    "the transcript of sound": [
        chunk({"audio": {"id": "a", "transcript": part, "data": "ZGFybg=="}}) for part in SPLIT
    ],
    "a function's arguments": [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in SPLIT
    ],
    "a function's arguments in the old way": [chunk({"function_call": {"arguments": part}}) for part in SPLIT],
    "a function's name": [chunk({"tool_calls": [{"index": 0, "function": {"name": "darn"}}]})],
    "a function's name in pieces": [
        chunk({"tool_calls": [{"index": 0, "function": {"name": part}}]}) for part in SPLIT
    ],
    "a call without a number": [chunk({"tool_calls": [{"function": {"name": "f", "arguments": "darn"}}]})],
    "a call without a number in pieces": [
        chunk({"tool_calls": [{"function": {"name": "f", "arguments": part}}]}) for part in SPLIT
    ],
    "a function's arguments as an object": [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": {"darn": 1, "b": "darn"}}}]})
    ],
    "a type of a part whose text is held": [chunk({"content": [{"type": "oh, darn", "text": "dar"}]})],
    "a number of a part whose text is held": [chunk({"content": [{"index": "oh, darn", "text": "dar"}]})],
    "the title of a source": [chunk({"annotations": [{"url_citation": {"title": "darn"}}]})],
    "a field nobody knows": [chunk({"x": {"y": [{"z": part}]}}) for part in SPLIT],
    "a list nobody knows": [chunk({}, x=["darn"])],
    "a field's name": [chunk({"you darn": 1})],
    "a field's name elsewhere": [chunk({}, usage={"oh, darn": 1})],
    "a role": [chunk({"role": "you darn"})],
    "an id": [{**chunk({}), "id": "you darn"}],
    "a model's name": [{**chunk({}), "model": "oh\ndarn"}],
    "text after the end of a choice": [chunk({"content": "da"}, "stop"), chunk({"content": "rn"})],
    "text after the end of a choice, again and again": [
        *(chunk({"content": part}) for part in ("a", "b", "da")),
        chunk({}, "stop"),
        *(chunk({"content": part}) for part in ("rn", "rn", "darn")),
    ],
    "what looks like a chunk that was searched": [
        *(chunk({"content": part}) for part in ("a", "b")),
        chunk({"content": "c"}, x="darn"),
        {**HEAD, "choices": [{"index": 0, "delta": {"content": "d"}, "finish_reason": None, "text": "darn"}]},
        {**chunk({"content": "e"}), "model": "you darn"},
        chunk({"content": "da"}),
        chunk({"content": "rn"}),
    ],
    "the numbers of tokens": [{**chunk({}), "token_ids": [100, 97, 114, 110], "prompt_token_ids": [1]}],
    "numbers nobody knows": [chunk({"x": [100, 97, 114, 110]})],
    "an error": [{"error": {"message": "cannot parse: darn"}}],
    "an error of one choice": [{**HEAD, "choices": [{"index": 0, "error": {"message": "darn"}}]}],
    "an error as vLLM says it": [{"object": "error", "message": "darn", "code": 400}],
    "the same field twice": ['{"choices": [{"index": 0, "delta": {"content": "darn", "content": "darn"}}]}'],
    "folded": [chunk({"content": "d\u200ba"}), chunk({"content": "R\u0301n"})],
    "deep down": [chunk({"x": json.loads('{"a":' * 60 + '"darn"' + "}" * 60)})],
}

NUMBERS = "100, 97, 114, 110"


def strings_in(value: Any) -> list[str]:
    """All strings, including the names of fields."""
    match value:
        case dict():
            return [text for key, inner in value.items() for text in [key, *strings_in(inner)]]
        case list():
            return [text for inner in value for text in strings_in(inner)]
        case str():
            return [value]
    return []


def put_together(chunks: list[Any], path: str = "") -> dict[str, str]:
    """The texts of each field of a stream, concatenated as clients do."""
    joined: dict[str, str] = {}

    def look(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, f"{path}.{key}")
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                look(inner, f"{path}.{inner.get('index', at) if isinstance(inner, dict) else at}")
        elif isinstance(value, str):
            joined[path] = joined.get(path, "") + value

    for each in chunks:
        look(each, "")
    return joined


def contents_of(each: Any) -> list[Any]:
    deltas = [choice.get("delta") or {} for choice in each.get("choices", ())]
    return [delta[key] for delta in deltas for key in ("content", "refusal") if key in delta]


def text_in_parts(value: Any) -> str:
    """The texts in lists of parts, concatenated in the order in which they come."""
    match value:
        case list():
            return "".join(map(text_in_parts, value))
        case dict():
            return "".join(text_in_parts(value.get(key)) for key in ("text", "refusal", "value"))
    return value if isinstance(value, str) else ""


class TestPartsOfOneContent:
    WAYS: ClassVar[dict[str, Callable[[list[str]], list[Any]]]] = {
        "objects": lambda texts: [{"type": "text", "text": text} for text in texts],
        "strings": list,
        "an image between": lambda texts: [
            {"type": "text", "text": texts[0]},
            {"type": "image_url", "image_url": {"url": "x"}},
            *({"type": "text", "text": text} for text in texts[1:]),
        ],
    }

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("texts", "shown"),
        [
            (["da", "rn"], ["••", "••"]),
            (["oh da", "rn you"], ["oh ••", "•• you"]),
            (["d", "a", "r", "n"], ["•", "•", "•", "•"]),
            (["da", "rk"], ["da", "rk"]),
            (["a sec", "ret b"], ["a ", " b"]),
            (["hello", "world"], ["•••••", "world"]),
            (["xda", "rn darn da", "rn"], ["x••", "•• •••• ••", "••"]),
        ],
    )
    async def test_are_moderated_alone_and_over_their_seams(self, way: str, texts: list[str], shown: list[str]) -> None:
        rules = RuleSet([*RULES.rules, Rule(7, "hello", whole_word=True)])
        given, wanted = self.WAYS[way](texts), self.WAYS[way](shown)
        prompt = {"messages": [{"role": "user", "content": given}, {"role": "tool", "content": given}]}
        completion = {"choices": [{"index": 0, "message": {"content": given}}]}

        whole = await guardrails.moderate_completion(json.dumps(completion), rules)
        out = await relayed(chunk({"content": given}), chunk({}, "stop"), "[DONE]", rules=rules)
        prompt = json.loads(json.dumps(prompt))
        await guardrails.moderate_prompt(prompt, rules)

        assert whole["choices"][0]["message"]["content"] == wanted
        assert [message["content"] for message in prompt["messages"]] == [wanted, wanted]
        assert text_in_parts([contents_of(each) for each in out[:-1]]) == "".join(shown)

    async def test_are_blocked_over_a_seam(self) -> None:
        texts = [{"type": "text", "text": text} for text in ("a stop", " here b", "c")]

        out = await relayed(chunk({"content": texts}), chunk({"content": "never"}), "[DONE]")
        completion = {"choices": [{"index": 0, "message": {"content": texts}}]}
        whole = await guardrails.moderate_completion(json.dumps(completion), RULES)

        assert finishes(out) == [(0, "content_filter")]
        assert "here" not in json.dumps([out, whole]).replace("stop here", "")
        assert [part["text"] for part in whole["choices"][0]["message"]["content"]] == ["a ", "", ""]
        with pytest.raises(PromptBlocked):
            await guardrails.moderate_prompt({"messages": [{"role": "user", "content": texts}]}, RULES)

    async def test_are_reported_as_one_hit(self) -> None:
        seen: list[HitContext] = []
        texts = [{"type": "text", "text": text} for text in ("oh da", "rn it is")]

        out = await relayed(chunk({"content": texts}), chunk({}, "stop"), "[DONE]", seen=seen.append)

        assert [(hit.rule.id, hit.before, hit.text, hit.after) for hit in seen] == [(2, "oh ", "darn it", " is")]
        assert sum(len(each.get("moderated", ())) for each in out[:-1]) == 1

    async def test_are_apart_in_different_messages_and_calls(self) -> None:
        messages = [{"role": "user", "content": text} for text in SPLIT]
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"enum": [*SPLIT]}}}]
        prompt: dict[str, Any] = {"messages": messages, "tools": tools}
        before = json.dumps(prompt)

        await guardrails.moderate_prompt(prompt, RULES)

        assert json.dumps(prompt) == before

    @pytest.mark.parametrize(
        "given",
        [
            [[part] for part in SPLIT],
            [{"type": "text", "text": {"value": part}} for part in SPLIT],
            [{"type": "tool_result", "content": [{"type": "text", "text": part} for part in SPLIT]}],
            [{"type": "refusal", "refusal": part} for part in SPLIT],
        ],
    )
    async def test_are_found_in_every_form_of_a_list(self, given: list[Any]) -> None:
        for prompt in (
            {"messages": [{"role": "user", "content": given}]},
            {"input": [{"role": "user", "content": given}]},
            {"system": given},
        ):
            prompt = json.loads(json.dumps(prompt))

            await guardrails.moderate_prompt(prompt, RULES)

            assert json.dumps(prompt, ensure_ascii=False).count('"••"') == 2

    async def test_are_found_in_an_unknown_list_of_a_whole_answer(self) -> None:
        chunks = [chunk({"x": {"y": [{"z": part}]}}) for part in SPLIT]

        assert (await assembled(*chunks, chunk({}, "stop")))["x"] == {"y": [{"z": "••"}, {"z": "••"}]}


CARD = 4111111111111111


class TestNumbers:
    """A number is text where a text belongs, and in fields that nobody knows."""

    RULES = RuleSet([Rule(1, r"\b\d{16}\b", "regex")])
    PLACES: ClassVar[dict[str, dict[str, Any]]] = {
        "a content": {"content": CARD},
        "a reasoning": {"reasoning_content": CARD},
        "a refusal": {"refusal": CARD},
        "a part": {"content": [{"type": "text", "text": CARD}]},
        "a field nobody knows": {"x": {"card": CARD}},
        "a list nobody knows": {"x": [{"card": CARD}]},
        "a number with a point": {"x": {"card": float(CARD)}},
        "a number by itself": {"x": CARD},
    }

    @pytest.mark.parametrize("place", PLACES)
    async def test_that_match_are_masked_as_strings(self, place: str) -> None:
        fields = self.PLACES[place]
        completion = {"choices": [{"index": 0, "message": fields}]}

        streamed = await relayed(chunk(fields), chunk({}, "stop"), "[DONE]", rules=self.RULES)
        whole = await guardrails.moderate_completion(json.dumps(completion), self.RULES)

        for out in (streamed, whole):
            sent = json.dumps(out, ensure_ascii=False)
            assert str(CARD) not in sent
            assert "•" * 16 in sent

    @pytest.mark.parametrize("size", [1, 7, 333])
    async def test_that_match_are_masked_in_every_cut(self, size: int) -> None:
        for fields in self.PLACES.values():
            sent = await relayed(chunk(fields), chunk({}, "stop"), "[DONE]", rules=self.RULES, size=size)

            assert str(CARD) not in json.dumps(sent)

    async def test_that_do_not_match_stay_numbers(self) -> None:
        for number in (0, -5, 12345, 1.5, 1e300, True, None):
            given = chunk({"content": "a", "x": {"y": number}, "z": number}, w=number)
            completion = {"choices": [{"index": 0, "message": {"content": number, "x": [{"y": number}]}}]}

            whole = await guardrails.moderate_completion(json.dumps(completion), self.RULES)

            assert await relayed(given, "[DONE]", rules=self.RULES) == [given, chunk({}, "stop"), "[DONE]"]
            assert json.dumps(whole) == json.dumps(completion)

    async def test_that_follow_each_other_are_not_joined(self) -> None:
        chunks = [chunk({"content": "a", "progress": number}) for number in range(10, 90, 10)]

        assert (await relayed(*chunks, "[DONE]", rules=self.RULES))[:8] == chunks

    async def test_of_tokens_and_times_are_unchanged(self) -> None:
        usage = {"prompt_tokens": CARD, "prompt_tokens_details": {"cached_tokens": CARD, "x": CARD}}
        given = chunk({"content": "a"}, created=CARD, usage=usage, timings={"x": CARD})

        assert (await relayed(given, "[DONE]", rules=self.RULES))[0] == given

    async def test_are_masked_in_prompts_where_a_text_belongs(self) -> None:
        part = {"type": "text", "text": CARD}
        contents: list[Any] = [CARD, [CARD], [part], float(CARD), "a", 12345]
        fields = {"messages": [{"role": "user", "content": content} for content in contents], "seed": CARD, "n": 1}

        await guardrails.moderate_prompt(fields, self.RULES)

        shown = "•" * 16
        wanted = [shown, [shown], [{"type": "text", "text": shown}], f"{shown}.0", "a", 12345]
        assert [message["content"] for message in fields["messages"]] == wanted
        assert (fields["seed"], fields["n"]) == (CARD, 1)


class TestNothingUnmoderatedPasses:
    @pytest.mark.parametrize("name", LEAKS)
    async def test_in(self, name: str) -> None:
        out = await relayed(*LEAKS[name], chunk({}, "stop"), "[DONE]")

        sent = json.dumps(out).lower()
        assert "darn" not in sent.replace("\\u200b", "")
        assert NUMBERS not in sent
        assert "zgfybg" not in sent
        for path, text in put_together(out).items():
            assert "darn" not in text, path
        assert "darn" not in text_in_parts([contents_of(each) for each in out if each != "[DONE]"])
        assert out

    @pytest.mark.parametrize("name", LEAKS)
    async def test_to_a_client_of_the_native_format_in(self, name: str) -> None:
        relay = Relay(EventReader(OpenAIReader()), AnswerModeration(RULES), formats.NativeWriter())
        sent = drive(relay, [wire(*LEAKS[name], chunk({}, "stop"), "[DONE]")])
        out = [json.loads(message.data) for message in Parser().feed(sent)]

        assert "darn" not in json.dumps(out).lower()
        texts = dict[tuple[Any, Any], str]()
        for each in out:
            place = each.get("channel"), each.get("choice")
            texts[place] = texts.get(place, "") + each.get("delta", "")
        assert not any("darn" in text for text in texts.values())

    @pytest.mark.parametrize("name", ["a function's name", "the title of a source", "a field nobody knows"])
    async def test_and_a_block_applies_there_too(self, name: str) -> None:
        rules = RuleSet([Rule(1, "darn", action="block", category="test")])

        out = await relayed(*LEAKS[name], chunk({"content": "never"}), "[DONE]", rules=rules)

        assert finishes(out) == [(0, "content_filter")]
        assert "never" not in json.dumps(out)

    @pytest.mark.parametrize(
        "data",
        [b"data: <html>darn</html>\n\n", b'data: "darn"\n\n', b"data: {darn\n\n", b'data: {"choices": "darn"}\n\n'],
    )
    async def test_of_data_that_is_not_a_chunk(self, data: bytes) -> None:
        out = await relayed(data=wire(chunk({"content": "a"})) + data + wire("[DONE]"))

        assert text_of(out[:-1]) == "a"
        assert out[-1]["error"]["code"] == 502
        assert "darn" not in json.dumps(out)
        assert "[DONE]" not in out


FIELDS = ["content", "text", "delta", "message", "tool_calls", "function", "arguments", "name", "index", "x", "role"]
FIELDS += ["reasoning_content", "refusal", "logprobs", "finish_reason", "usage", "audio", "you darn"]

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 300) | st.floats() | st.sampled_from(["da", "rn", "darn", "it", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
choices = st.lists(
    st.fixed_dictionaries(
        {"index": st.integers(0, 1)}, optional={"delta": st.dictionaries(st.sampled_from(["content", "x"]), values)}
    )
    | st.dictionaries(st.sampled_from(["delta", "message", "text", "x", "finish_reason"]), values, max_size=3),
    max_size=2,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries({"choices": choices}, optional={"x": values, "usage": values}), max_size=4))
async def test_a_masked_word_never_passes_whatever_the_upstream_sends(chunks: list[Any]) -> None:
    out = await relayed(*chunks, "[DONE]")

    texts = [text for each in out for text in strings_in(each)]
    assert not any("darn" in text for text in texts)
    assert not any("darn" in text for text in put_together(out).values())


alike = st.builds(
    chunk,
    st.fixed_dictionaries({"content": st.sampled_from(["a", "", "darn"])}, optional={"x": st.sampled_from(["a", 1])}),
    st.sampled_from([None, None, None, "stop"]),
    st.integers(0, 1),
    created=st.sampled_from([1, 1, 1, 2, "you darn", 1.5]),
    x=st.sampled_from([None, None, None, "a", {"y": "a"}, [1]]),
)


def sent_by(reader: OpenAIReader, writer: OpenAIRelay, data: str) -> list[Any]:
    parts = reader.feed(Message(data))
    return [json.loads(message.data) for part in parts for message in writer.write(part)]


@given(st.lists(st.tuples(alike, st.booleans(), st.booleans()), max_size=12))
def test_chunks_from_the_template_cache_are_read_like_new_ones(chunks: list[tuple[Any, bool, bool]]) -> None:
    reader, careful = OpenAIReader(keep_raw=True), OpenAIReader(keep_raw=True)
    writer, careful_writer = OpenAIRelay("m"), OpenAIRelay("m")

    for each, is_compact, is_ascii in chunks:
        data = json.dumps(each, separators=(",", ":") if is_compact else None, ensure_ascii=is_ascii)
        careful._templates = ChunkTemplateCache()
        assert sent_by(reader, writer, data) == sent_by(careful, careful_writer, data)


class TestChunksFromATemplate:
    PLAIN = '{"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": null}], "x": 1}'

    def sent(self, *data: str) -> list[Any]:
        reader, writer = OpenAIReader(keep_raw=True), OpenAIRelay("m")
        return [sent_by(reader, writer, each) for each in data]

    def test_are_written_unchanged(self) -> None:
        reader, writer = OpenAIReader(keep_raw=True), OpenAIRelay("m")
        chunks = [self.PLAIN % text for text in ("a", r"b\n\u00e9\ud83d\ude00", r"é\"", "c")]

        out = [message.data for each in chunks for part in reader.feed(Message(each)) for message in writer.write(part)]

        assert [json.loads(data) for data in out] == [json.loads(each) for each in chunks]
        assert out[3] == chunks[3]

    def test_can_contain_a_lone_surrogate(self) -> None:
        assert self.sent(self.PLAIN % "a", self.PLAIN % "\\ud800")[1] == [json.loads(self.PLAIN % "\\ud800")]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
    def test_stay_json_where_an_upstream_sends_what_is_none_or_too_great(self, number: str) -> None:
        chunk = '{"choices": [{"index": 0, "delta": {"content": "a"}}], "y": 1.5, "x": ' + number + "}"
        reader, writer = OpenAIReader(keep_raw=True), OpenAIRelay("m")
        out = [written.data for _ in "123" for part in reader.feed(Message(chunk)) for written in writer.write(part)]

        assert len(out) == 3
        for data in out:
            fields = json.loads(data, parse_constant=pytest.fail)
            assert (fields["x"], fields["y"]) == (None, 1.5)

    @pytest.mark.parametrize(
        "chunk",
        [
            '{"choices": [{"index": 0, "delta": {"content": "%s", "content": "darn"}}]}',
            '{"choices": [{"index": 0, "delta": {"content": "%s", "\\u0063ontent": "a"}}]}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}}], "x": "darn", "x": 1}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}}], "usage": {"you darn": 1}}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}, "logprobs": {"token": "darn"}}]}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}}], "x": [100, 97, 114, 110]}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}}], "x": NaN}',
            '{"choices": [{"index": 0, "delta": {"content": "%s"}}], "x": 1e999}',
            '{"choices": [{"index": 0, "message": {"content": "darn"}, "delta": {"content": "%s"}}]}',
        ],
    )
    def test_are_moderated_each_if_moderation_changed_one(self, chunk: str) -> None:
        cached = OpenAIReader(keep_raw=True)
        texts = ["a"] * 3

        for text in texts:
            cached.feed(Message(chunk % text))

        assert not cached._templates._templates

    @pytest.mark.parametrize(
        "delta",
        [
            '{"reasoning_content": "%s"}',
            '{"content": null, "reasoning": "%s"}',
            '{"role": "assistant", "content": "%s"}',
            '{"tool_calls": [{"index": 0, "function": {"arguments": "%s"}}]}',
            '{"content": [{"type": "text", "text": "%s"}]}',
        ],
    )
    def test_can_have_their_text_in_any_position(self, delta: str) -> None:
        chunks = ['{"choices": [{"index": 0, "delta": ' + delta % text + "}]}" for text in ("a", "b", "c")]
        reader, writer = OpenAIReader(keep_raw=True), OpenAIRelay("m")

        out = [sent_by(reader, writer, each) for each in chunks]

        assert out == [[json.loads(each)] for each in chunks]
        assert reader._templates._templates

    def test_keep_their_own_padding(self) -> None:
        texts = {"a": "x1", "b": "yyy"}
        chunks = [json.dumps({**chunk({"content": text}), "obfuscation": pad}) for text, pad in texts.items()]
        reader, writer = OpenAIReader(keep_raw=True), OpenAIRelay("m")

        assert [sent_by(reader, writer, each) for each in chunks] == [[json.loads(each)] for each in chunks]
        assert len(reader._templates._templates) == 1
        words = json.dumps({**chunk({"content": "c"}), "obfuscation": "you darn"})
        assert "Delta" in repr(reader.feed(Message(words))[0])
        assert "you darn" in repr(reader.feed(Message(words)))  # as a text: the template does not take it

    def test_begin_a_new_tool_call_when_one_begins(self) -> None:
        calls = '{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, %s}]}}]}'
        begin, more = calls % '"id": "%s", "function": {"name": "f"}', calls % '"function": {"arguments": "%s"}'

        out = self.sent(begin % "a", more % "1", more % "2", begin % "b", more % "3", more % "4")

        numbers = [each["choices"][0]["delta"]["tool_calls"][0]["index"] for (each,) in out]
        assert numbers == [0, 0, 0, 1, 1, 1]


CALM = RuleSet([rule for rule in RULES.rules if rule.action != "block"])
pieces = st.lists(st.tuples(st.integers(0, 1), st.text("darn it secret!", max_size=5)), max_size=12)


@given(pieces, st.integers(1, 200))
async def test_each_choice_is_moderated_like_its_whole_text_in_every_cut(
    pieces: list[tuple[int, str]], size: int
) -> None:
    chunks = [chunk({"content": text}, index=index) for index, text in pieces]

    out = await relayed(*chunks, *(chunk({}, "stop", index=index) for index in (0, 1)), "[DONE]", rules=CALM, size=size)

    for index in (0, 1):
        whole = "".join(text for at, text in pieces if at == index)
        assert text_of(out, index) == clean(whole, CALM)
    assert sorted(finishes(out)) == [(0, "stop"), (1, "stop")]
    assert out[-1] == "[DONE]"


class TestDifferentServers:
    """Bytes as the servers named send them, written for this project."""

    CASES = {
        "a first chunk with a role only, and one after it with nothing": (
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        ),
        "llama.cpp: content null, timings": (
            b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
            b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"oh da"}}]}\n\n'
            b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"rn"}}]}\n\n'
            b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"predicted_ms":1.5}}\n\n'
            b"data: [DONE]\n\n"
        ),
        "OpenAI: usage with empty choices after the finish reason": (
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"},"finish_reason":null}],"usage":null}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
            b'data: {"choices":[],"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'
        ),
        "OpenRouter: comments before and between, usage in a choice that has ended": (
            b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
            b'data: {"provider":"X","choices":[{"index":0,"delta":{"role":"assistant","content":"oh darn"}}]}\n\n'
            b": OPENROUTER PROCESSING\n\n"
            b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],'
            b'"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'
        ),
        "DeepSeek: keep-alive comments, reasoning first, usage with the finish reason": (
            b": keep-alive\n\n"
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"hm"}}]}\n\n'
            b": keep-alive\n\n"
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn","reasoning_content":null}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"","reasoning_content":null},"finish_reason":"stop"}],'
            b'"usage":{"prompt_cache_hit_tokens":0}}\n\ndata: [DONE]\n\n'
        ),
        "lines that end with CRLF": (
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\r\n\r\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'
        ),
        "no space after the colon": (
            b'data:{"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\n\n'
            b'data:{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata:[DONE]\n\n'
        ),
        "no [DONE]": (
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        ),
        "no finish reason": b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\n\ndata: [DONE]\n\n',
        "vLLM: the finish reason with the last text, and a stop reason": (
            b'data: {"choices":[{"index":0,"delta":{"content":"oh da"},"logprobs":null,"finish_reason":null}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"rn"},"finish_reason":"stop","stop_reason":null}]}\n\n'
            b"data: [DONE]\n\n"
        ),
        "a finish reason that is empty at first": (
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"},"finish_reason":""}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        ),
        "Azure: first a chunk about the prompt": (
            b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":'
            b'{"filtered":false,"severity":"safe"}}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{"content":"oh darn"},"content_filter_results":{}}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        ),
        "a completion that came whole": (
            b'data: {"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"oh darn"},"finish_reason":"stop"}],"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'
        ),
        "event names and ids": (
            b'id: 1\nevent: chunk\ndata: {"choices":[{"index":0,"delta":{"content":"oh darn"}}]}\n\n'
            b'id: 2\nevent: chunk\ndata: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
            b"data: [DONE]\n\n"
        ),
    }

    @pytest.mark.parametrize("name", CASES)
    async def test_give_clients_the_same_chunks(self, name: str) -> None:
        out = await relayed(data=self.CASES[name])

        assert text_of(out) == "oh ••••"
        assert finishes(out) == [(0, "stop")]
        assert out[-1] == "[DONE]"
        sent = json.dumps(out)
        for kept in ("total_tokens", "prompt_cache_hit_tokens", "predicted_ms", "severity", "provider", "hm"):
            assert (kept in sent) == (kept.encode() in self.CASES[name])

    async def test_that_are_cut_are_not_reported_as_done(self) -> None:
        out = await relayed(chunk({"content": "oh dar"}))

        assert text_of(out[:-1]) == "oh dar"
        assert out[-1]["error"]["message"] == "the upstream's stream ended before it was done"

    async def test_that_send_a_whole_tool_call_get_an_index_for_it(self) -> None:
        calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        completion = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}

        out = await relayed(completion, "[DONE]")

        numbered = [{**call, "index": index} for index, call in enumerate(calls)]
        assert out[0]["object"] == "chat.completion.chunk"
        assert out[0]["choices"][0]["delta"]["tool_calls"] == numbered


class TestANonStreamingCompletion:
    @staticmethod
    def completion(*choices: dict[str, Any], **more: Any) -> str:
        numbered = [{"index": index, "finish_reason": "stop", **choice} for index, choice in enumerate(choices)]
        return json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": numbered, **more})

    async def test_is_unchanged_except_for_its_texts(self) -> None:
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "darn"}'}}]
        first = {"message": {"role": "assistant", "content": "oh darn", "refusal": None}, "logprobs": {"content": []}}
        second = {"message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}

        out = await guardrails.moderate_completion(self.completion(first, second, usage={"total_tokens": 3}), RULES)

        one, two = out["choices"]
        assert one == {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "oh ••••", "refusal": None},
            "logprobs": None,
        }
        assert two["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": "••••"}'}
        assert out["usage"] == {"total_tokens": 3}
        assert [notice["category"] for notice in out["moderated"]] == ["profanity", "profanity"]

    async def test_is_cut_at_a_block_in_that_choice_only(self) -> None:
        first = {"message": {"content": "a stop here b", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}}
        second = {"message": {"content": "fine"}}

        out = await guardrails.moderate_completion(self.completion(first, second), RULES)

        assert [choice["message"] for choice in out["choices"]] == [{"content": "a "}, {"content": "fine"}]
        assert [choice["finish_reason"] for choice in out["choices"]] == ["content_filter", "stop"]

    @pytest.mark.parametrize("data", ["", "[]", "{}", '{"choices": {}}', '{"choices": [3]}', "<html>darn"])
    async def test_has_to_be_a_completion(self, data: str) -> None:
        with pytest.raises(formats.FormatError):
            await guardrails.moderate_completion(data, RULES)


async def assembled(*chunks: Any, rules: RuleSet = RULES) -> dict[str, Any]:
    """The message that a client gets for these chunks when it did not ask for a stream."""
    completion = completion_from_events(wire(*chunks, "[DONE]"))
    message: dict[str, Any] = (await guardrails.moderate_completion(json.dumps(completion), rules))["choices"][0]
    return dict(message["message"])


class TestACompletionAssembledFromAStream:
    @pytest.mark.parametrize(
        ("field", "kind", "text"),
        [
            ("content", "text", "text"),
            ("reasoning_details", "reasoning.text", "text"),
            ("reasoning_details", "reasoning.summary", "summary"),
            ("refusal", "refusal", "refusal"),
        ],
    )
    async def test_joins_the_fragments_of_a_part_like_the_stream_does(self, field: str, kind: str, text: str) -> None:
        for pieces in (["da", "rn", " it"], ["d", "a", "r", "n", " ", "i", "t"], ["oh ", "dark"], ["a", "sec", "ret"]):
            chunks = [chunk({field: [{"type": kind, text: piece}]}) for piece in pieces]

            streamed = put_together(await relayed(*chunks, chunk({}, "stop"), "[DONE]"))
            whole = await assembled(*chunks, chunk({}, "stop"))

            assert whole[field] == [{"type": kind, text: streamed[f".choices.0.delta.{field}.0.{text}"]}]

    async def test_keeps_the_thoughts_in_parts_of_parts(self) -> None:
        thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]} for piece in ("da", "rn")]

        whole = await assembled(*(chunk({"content": [part]}) for part in thoughts), chunk({}, "stop"))

        assert whole["content"] == [{"type": "thinking", "thinking": [{"type": "text", "text": "••••"}]}]

    async def test_keeps_parts_that_came_before_a_text(self) -> None:
        parts = [{"type": "text", "text": "oh "}, {"type": "image_url", "image_url": {"url": "x"}}]

        whole = await assembled(chunk({"content": parts}), chunk({"content": "you"}), chunk({"content": "!"}))

        assert whole["content"] == [*parts, {"type": "text", "text": "you!"}]

    async def test_keeps_a_text_that_came_before_parts(self) -> None:
        whole = await assembled(chunk({"content": "oh "}), chunk({"content": [{"type": "text", "text": "you"}]}))

        assert whole["content"] == [{"type": "text", "text": "oh you"}]

    async def test_keeps_complete_items_apart(self) -> None:
        sources = [{"type": "url_citation", "url_citation": {"title": title, "url": "x"}} for title in ("One", "Two")]
        calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]

        whole = await assembled(
            *(chunk({"annotations": [s], "tool_calls": [c]}) for s, c in zip(sources, calls, strict=True))
        )

        assert whole["annotations"] == sources
        assert [call["function"] for call in whole["tool_calls"]] == [call["function"] for call in calls]


class TestWritingANativeStream:
    def test_has_the_requested_number_of_choices(self) -> None:
        writer = OpenAIWriter("m", choices=2)

        messages = [*writer.begin(), *writer.write(formats.Delta("b", choice=1)), *writer.write(formats.StreamEnd())]

        out = [json.loads(message.data) for message in messages[:-1]]
        assert (text_of(out), text_of(out, 1)) == ("", "b")
        assert finishes(out) == [(0, "stop"), (1, "stop")]

    def test_includes_usage_when_requested(self) -> None:
        writer = OpenAIWriter("m", counts_usage=True, prompt_chars=5)

        messages = [
            *writer.begin(),
            *writer.write(formats.Delta("12345678")),
            *writer.write(formats.StreamEnd("length")),
        ]

        last = json.loads(messages[-2].data)
        assert (last["choices"], last["usage"]) == (
            [],
            {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
        )


class TestPrompts:
    async def test_are_moderated_in_every_field_that_a_model_reads(self) -> None:
        parameters = {"properties": {"darn": {"description": "darn"}}}
        function = {"name": "darn", "description": "darn", "parameters": parameters}
        parts = [{"type": "text", "text": "darn"}, {"type": "image_url", "image_url": {"url": "darn"}}]
        call = {"id": "darn", "function": {"name": "f", "arguments": "darn"}}
        fields: dict[str, Any] = {
            "model": "darn",
            "messages": [
                {"role": "system", "content": "darn", "name": "darn"},
                {"role": "user", "content": parts},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "darn", "content": "darn"},
            ],
            "tools": [{"type": "function", "function": function}],
            "documents": [{"text": "darn"}],
            "stop": ["darn"],
        }
        seen: list[HitContext] = []

        await guardrails.moderate_prompt(fields, RULES, seen.append)

        assert json.dumps(fields, ensure_ascii=False).count('"••••"') == 9
        assert (fields["model"], fields["messages"][3]["tool_call_id"]) == ("darn", "darn")
        assert {"messages.0.content", "messages.0.name", "documents.0.text"} <= {each.channel for each in seen}

    async def test_that_are_blocked_are_refused_with_the_rule(self) -> None:
        fields = {"messages": [{"role": "user", "content": "please stop here"}]}

        with pytest.raises(PromptBlocked, match=r"blocked by a moderation rule \(test\): Let us stop\.") as blocked:
            await guardrails.moderate_prompt(fields, RULES)

        assert (blocked.value.category, blocked.value.notice) == ("test", "Let us stop.")

    async def test_have_a_maximum_depth(self) -> None:
        deep: Any = "darn"
        for _ in range(5000):
            deep = [deep]

        with pytest.raises(PromptTooDeep):
            await guardrails.moderate_prompt({"messages": deep}, RULES)

    async def test_of_any_length_do_not_block_the_event_loop(self) -> None:
        fields = {"messages": [{"role": "user", "content": "x" * 25_000 + "da" + "rn" + "x" * 25_000}]}

        await guardrails.moderate_prompt(fields, RULES)

        assert fields["messages"][0]["content"] == "x" * 25_000 + "••••" + "x" * 25_000


MEGABYTE = 1_000_000
LONG = {
    "an image": {"images": [{"image_url": {"url": "data:image/png;base64," + "iVBOR" * (MEGABYTE // 5)}}]},
    "a signature": {"reasoning_details": [{"type": "reasoning.text", "signature": "iVBOR" * (MEGABYTE // 5)}]},
    "a text": {"content": "hello so wor " * (MEGABYTE // 13)},
    "arguments": {"tool_calls": [{"index": 0, "function": {"arguments": "hello so wor " * (MEGABYTE // 13)}}]},
    "a text that comes whole": {"x": {"y": "hello so wor " * (MEGABYTE // 13)}},
    "many texts": {"content": [{"type": "text", "text": "hello"} for _ in range(2000)]},
    "many texts that come whole": {"x": {f"k{number}": "hello" for number in range(2000)}},
}


class TestAMegabyteInOneChunk:
    @pytest.mark.parametrize("name", LONG)
    async def test_does_not_block_the_event_loop(self, name: str) -> None:
        """The longest stretch of work is a small part of all the work, or short."""
        chunks = wire(chunk(LONG[name]), chunk({}, "stop"), "[DONE]")
        through = Relay(EventReader(OpenAIReader(keep_raw=True)), AnswerModeration(RULES), OpenAIRelay("m"))
        took, sent = [], b""

        def timed(act: Any, *arguments: Any) -> bytes:
            began = time.process_time()
            data: bytes = act(*arguments)
            took.append(time.process_time() - began)
            return data

        gc.disable()  # a collection of what all tests have made would count as one stretch
        try:
            for at in range(0, len(chunks), 65536):
                sent += timed(through.feed, chunks[at : at + 65536])
                while through.is_behind:
                    sent += timed(through.resume)
        finally:
            gc.enable()

        assert json.loads(Parser(max_message_chars=1 << 23).feed(sent)[0].data)["choices"][0]["delta"] == LONG[name]
        assert max(took) < max(0.2, sum(took) * 0.8)  # some milliseconds, on a machine with nothing else to do

    async def test_has_a_maximum_number_of_texts(self) -> None:
        (failed,) = await relayed(chunk({"x": {f"k{number}": "hello" for number in range(5000)}}))

        assert "more than 2,048 texts" in failed["error"]["message"]


MORE_FIELDS = [
    *FIELDS,
    "choices",
    "error",
    "errors",
    "detail",
    "type",
    "id",
    "object",
    "code",
    "param",
    "status",
    "url",
]
MORE_FIELDS += ["images", "signature", "data", "base_resp", "stop_reason", "native_finish_reason", "model", "provider"]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["you darn", "a", "", "0", "stop", "error", "ping", "data:image/png;base64,AAAA", 10**30, -1]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MORE_FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
events = st.sampled_from(["message", "error", "ping", "x"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(anything, events), max_size=4))
@example([({"type": []}, "message")])
async def test_any_input_passes_no_masked_word_and_fails_its_stream_only(
    messages: list[tuple[Any, str]],
) -> None:
    for keep_raw in (True, False):
        reader = OpenAIReader(keep_raw=keep_raw)
        writer = OpenAIRelay("m") if keep_raw else formats.NativeWriter()
        data = b"".join(encode(Message(json.dumps(value), event)) for value, event in messages)

        sent = drive(Relay(EventReader(reader), AnswerModeration(RULES), writer), [data])

        assert "darn" not in sent.decode()
        for message in Parser().feed(sent):
            if message.data != "[DONE]":
                json.loads(message.data, parse_constant=pytest.fail)


@given(st.text(max_size=40), events)
def test_any_message_is_read_or_refused(data: str, event: str) -> None:
    with suppress(formats.FormatError):
        OpenAIReader(keep_raw=True).feed(Message.unchecked(data, event))


def test_an_error_that_is_nested_too_deeply_is_none() -> None:
    assert read_error_body(b"[" * 600 + b"]" * 600, "application/json") is None


@given(anything | st.text())
def test_any_error_is_read_within_bounds(value: Any) -> None:
    body = json.dumps(value).encode() if not isinstance(value, str) else value.encode("utf-8", "replace")

    facts = (read_error_body(body, "text/plain") or ErrorFacts()).without(())

    assert len(facts.message) <= 500
    assert len(json.dumps(facts.moderated(lambda words: clean(words, RULES)).public(), allow_nan=False)) < 10_000
    assert "darn" not in repr(facts.moderated(lambda words: clean(words, RULES)))
