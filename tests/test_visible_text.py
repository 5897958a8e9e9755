"""Invisible characters and right-to-left text are shown safely."""

from __future__ import annotations

import logging

import pytest

from streaming.log_lines import LineFormatter
from streaming.visible_text import isolated, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("darn", "darn"),
        ("中文 naïve कम", "中文 naïve कम"),
        ("da\u200brn", "da⟨U+200B⟩rn"),
        ("da\u200drn", "da⟨U+200D⟩rn"),
        ("\u202egpj.exe", "⟨U+202E⟩gpj.exe"),
        ("\u2066a\u2069", "⟨U+2066⟩a⟨U+2069⟩"),
        ("a\0b\x1b[31m\r\x85", "a⟨U+0000⟩b⟨U+001B⟩[31m⟨U+000D⟩⟨U+0085⟩"),
        ("a\nb\tc", "a\nb\tc"),
        ("\ud800", "⟨U+D800⟩"),
        ("a\u3164\u2800\u115f\ufffc", "a⟨U+3164⟩⟨U+2800⟩⟨U+115F⟩⟨U+FFFC⟩"),
        ("👩\u200d👧 ❤\ufe0f می\u200cخواهم क्\u200d", "👩\u200d👧 ❤\ufe0f می\u200cخواهم क्\u200d"),
        ("\u0600١٢", "\u0600١٢"),
    ],
)
def test_invisible_characters_are_shown_as_codes(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_right_to_left_text_is_isolated_from_the_sentence_around_it() -> None:
    assert isolated("سيء") == "\u2068سيء\u2069"
    assert isolated("a \u202eb") == "a ⟨U+202E⟩b"


def test_a_log_record_is_one_line_whatever_it_contains() -> None:
    error = ValueError("one\x1b[2J\u202etwo")
    said = "a\n2026 INFO forged\r\x1b[31m\u2028\ud800 é 中"
    record = logging.LogRecord("n", logging.INFO, "", 0, "%s", (said,), (ValueError, error, None))

    first, *traceback = LineFormatter("{message}", style="{").format(record).split("\n")

    assert first == "a\\n2026 INFO forged\\r\\x1b[31m\\u2028\\ud800 é 中"
    assert traceback[-1] == "ValueError: one\\x1b[2J\\u202etwo"
