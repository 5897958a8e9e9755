"""What servers of the OpenAI family do each in their own way, as one: finish reasons, choices, calls of tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from streaming.formats.parts import MAX_CHOICES, FormatError

MAX_TOOL_CALLS = 1024
"""Of one choice; a greater number is taken for none."""

_FINISH_REASONS = {
    "stop": "stop end_turn stop_sequence eos eos_token end complete completed finish finished done normal success",
    "length": (
        "length max_tokens max_output_tokens max_length max_completion_tokens model_length token_limit incomplete"
        " model_context_window_exceeded context_length_exceeded"
        # it was cut short on the server's side: the answer is not all there
        " abort aborted cancelled canceled error network_error insufficient_system_resource time_limit timeout"
    ),
    "content_filter": (
        "content_filter content_filtered filtered safety recitation blocklist prohibited_content spii image_safety"
        " refusal refused blocked sensitive guardrail_intervened guardrails moderation error_toxic language policy"
    ),
    "tool_calls": "tool_calls tool_call tool_use tool function_calls",
    "function_call": "function_call",
}
_BY_WORD = {word: reason for reason, words in _FINISH_REASONS.items() for word in words.split()}


def finish_reason_of(word: str) -> str:
    """One of OpenAI's five words for any server's: ``content_filter: RECITATION`` is ``content_filter``.

    A word that nobody knows is ``stop``: some clients fail at a word that is not one of the five, and the answer is
    all there.
    """
    known = re.sub(r"[^a-z]+", "_", word.lower()).strip("_")
    first = re.split(r"[^a-z_-]", word.lower().strip(), maxsplit=1)[0].replace("-", "_")
    return _BY_WORD.get(known) or _BY_WORD.get(first) or "stop"


def number_of(value: Any, limit: int) -> int | None:
    """A number as servers write them (``0``, ``"0"``, ``0.0``); None if it is none, or not within 0 and the limit."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < limit else None


def choices_of(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """A chunk's choices, each with a number and a finish reason that is OpenAI's, or None. FormatError if not."""
    choices = chunk.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise FormatError("an upstream's chunk has choices that are not a list of objects")
    for position, choice in enumerate(choices):
        index = choice.get("index")
        number = position if index is None else number_of(index, MAX_CHOICES)
        if number is None or not isinstance(choice.get("delta") or {}, dict):
            raise FormatError("an upstream's chunk has a choice without a number or a delta")
        choice["index"] = number
        _make_finish_reason_known(choice)
    return choices


def _make_finish_reason_known(choice: dict[str, Any]) -> None:
    word = choice.get("finish_reason")
    if not word:
        return
    reason = finish_reason_of(word) if isinstance(word, str) else "stop"
    if reason != word:
        choice["finish_reason"] = reason
        if isinstance(word, str) and word.lower() in _BY_WORD:
            choice.setdefault("native_finish_reason", word)  # OpenRouter's field for it


def make_delta(choice: dict[str, Any], *, has_spoken: bool) -> None:
    """A choice's message as its delta, if it came whole where a stream was asked for.

    A message beside a delta is the text so far (Perplexity), and no text of its own.
    """
    message, delta = choice.get("message"), choice.get("delta")
    if isinstance(message, dict):
        if delta is None or not (delta or has_spoken):
            choice["delta"] = message
            del choice["message"]
        elif "delta" in choice:
            del choice["message"]


@dataclass
class ToolCallNumbers:
    """Numbers the calls of one choice: clients put fragments together by them.

    Servers leave ``index`` out, give null, a text, or the same to every call; or a new id to every fragment.
    """

    _of_id: dict[str, int] = field(default_factory=dict)
    _of_index: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _last: int = -1

    def number(self, delta: dict[str, Any]) -> None:
        """Gives each fragment of a delta the number of its call."""
        for call in _calls_in(delta):
            call["index"] = self._last = self._number_of(call)

    def _number_of(self, call: dict[str, Any]) -> int:
        index, identity = number_of(call.get("index"), MAX_TOOL_CALLS), call.get("id")
        function = call.get("function")
        begins = bool(isinstance(function, dict) and function.get("name"))
        identity = identity if isinstance(identity, str) and identity else None
        if identity in self._of_id:
            return self._of_id[identity]
        known = self._last if index is None else self._of_index.get(index, index if index < self._count else -1)
        if known < 0 or (begins and (identity is not None or index is None)):
            known = self._begin(index)
        if identity is not None and len(self._of_id) < MAX_TOOL_CALLS:
            self._of_id[identity] = known
        return known

    def _begin(self, index: int | None) -> int:
        number = self._count if index is None else max(index, self._count)
        number = min(number, MAX_TOOL_CALLS - 1)
        self._count = number + 1
        if index is not None:
            self._of_index[index] = number
        return number


def _calls_in(delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
    calls = delta.get("tool_calls")
    return (call for call in (calls if isinstance(calls, list) else ()) if isinstance(call, dict))
