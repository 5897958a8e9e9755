"""Which strings of a request or answer are text: unknown fields are moderated."""

from __future__ import annotations

import pytest

from streaming.formats.dialects import finish_reason_of, number_of
from streaming.formats.text_fields import passes_in_answer, passes_in_prompt

PNG = "data:image/png;base64,iVBORw0KGgo="


class TestAStringOfAnAnswer:
    @pytest.mark.parametrize(
        ("key", "text", "holder"),
        [
            ("signature", "ErUBdarn+/==", {}),
            ("thought_signature", "x" * 1_000_000, {}),
            ("data", "gAAAdarn==", {"type": "reasoning.encrypted"}),
            ("data", "EmwKAhgB", {"type": "redacted_thinking"}),
            ("data", "iVBOR", {"media_type": "image/png"}),
            ("url", PNG, {}),
            ("image_url", PNG, {}),
            ("file_data", "data:application/pdf;base64,JVBERi0=", {}),
            ("b64_json", "iVBORw0KGgo=", {}),
            ("tool_call_id", "call_1", {}),
            ("id", "call_" + "x" * 2000, {}),
        ],
    )
    def test_is_opaque_if_only_the_upstream_can_read_it(self, key: str, text: str, holder: dict[str, str]) -> None:
        assert passes_in_answer(key, text, holder, depth=2)

    @pytest.mark.parametrize(
        ("key", "text", "holder"),
        [
            ("signature", "you darn fool", {}),
            ("signature", "脏话", {}),
            ("data", "you darn", {"type": "reasoning.encrypted"}),
            ("data", "ZGFybg==", {"type": "audio"}),
            ("data", "ZGFybg==", {}),
            ("url", "https://x.example/darn", {}),
            ("url", "data:text/plain,darn", {}),
            ("url", "data:text/plain;base64,ZGFybg==", {}),
            ("url", "data:audio/wav;base64,ZGFybg==", {}),
            ("url", PNG + " you darn", {}),
            ("content", PNG, {}),
            ("id", "you darn", {}),
            ("unknown", "darn", {}),
            ("provider", "Some Provider", {}),
        ],
    )
    def test_is_text_otherwise(self, key: str, text: str, holder: dict[str, str]) -> None:
        assert not passes_in_answer(key, text, holder, depth=0)


class TestAStringOfAPrompt:
    @pytest.mark.parametrize(
        ("key", "text", "holder"),
        [
            ("role", "user", {}),
            ("role", "critic", {}),
            ("tool_call_id", "call_1", {}),
            ("url", PNG, {}),
            ("data", "UklGRg==", {"format": "wav"}),
            ("file_data", "JVBERi0=", {}),
            ("thought_signature", "CpcBdarn==", {}),
        ],
    )
    def test_is_opaque_if_it_is_an_identifier_or_binary_data(self, key: str, text: str, holder: dict[str, str]) -> None:
        assert passes_in_prompt(key, text, holder, goes_by_name=False)

    @pytest.mark.parametrize(
        ("key", "text"),
        [("role", "you darn"), ("id", "you darn"), ("url", "https://x.example"), ("data", "darn"), ("name", "darn")],
    )
    def test_is_text_otherwise(self, key: str, text: str) -> None:
        assert not passes_in_prompt(key, text, {}, goes_by_name=False)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((0, 0), ("7", 7), (3.0, 3), (None, None), (True, None), (-1, None), (1.5, None), ("x", None), ("²", None)),
        *((99999999999999999999, None), ("9" * 5000, None), (float("nan"), None), (float("inf"), None), ([], None)),
    ],
)
def test_numbers_from_upstreams_are_bounded(value: object, number: int | None) -> None:
    assert number_of(value, 1024) == number


@pytest.mark.parametrize("word", ["stop", "length", "content_filter", "tool_calls", "function_call"])
def test_openais_finish_reasons_are_kept(word: str) -> None:
    assert finish_reason_of(word) == word
