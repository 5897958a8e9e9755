"""Normalizes what OpenAI-compatible servers do differently: finish reasons, choices, tool calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from streaming.formats.parts import MAX_CHOICES, FormatError

MAX_TOOL_CALLS = 1024
"""The limit for one choice; a greater index is ignored."""

_FINISH_REASONS = {
    "stop": "stop end_turn stop_sequence eos eos_token end complete completed finish finished done normal success",
    "length": (
        "length max_tokens max_output_tokens max_length max_completion_tokens model_length token_limit incomplete"
        " model_context_window_exceeded context_length_exceeded"
        # cut short by the server: the answer is incomplete
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
    """Maps any server's finish reason to one of OpenAI's five: ``content_filter: RECITATION`` is ``content_filter``.

    An unknown reason becomes ``stop``, because some clients fail at a reason that is not one of the five, and the
    answer is complete.
    """
    known = re.sub(r"[^a-z]+", "_", word.lower()).strip("_")
    first = re.split(r"[^a-z_-]", word.lower().strip(), maxsplit=1)[0].replace("-", "_")
    return _BY_WORD.get(known) or _BY_WORD.get(first) or "stop"


def number_of(value: Any, limit: int) -> int | None:
    """An index as servers write it (``0``, ``"0"``, ``0.0``); None if it is not a number from 0 to the limit."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < limit else None


def choices_of(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """A chunk's choices, with a valid index and one of OpenAI's finish reasons or None. May raise FormatError."""
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
            choice.setdefault("native_finish_reason", word)  # OpenRouter's name for the field


def make_delta(choice: dict[str, Any], *, has_spoken: bool) -> None:
    """Turns a choice's message into its delta, for servers that answer a stream request with a whole message.

    A message next to a delta is a copy of the text so far (Perplexity), and is dropped.
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
    """Numbers the tool calls of one choice: clients join the fragments of a call by its ``index``.

    Some servers omit ``index``, or send null, a string, or the same one for every call; others send a new id with
    every fragment.
    """

    _of_id: dict[str, int] = field(default_factory=dict)
    _of_index: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _last: int = -1

    def number(self, delta: dict[str, Any]) -> None:
        """Sets the ``index`` of every fragment in a delta to the number of its call."""
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
