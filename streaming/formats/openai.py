"""OpenAI's format: chat completion chunks, and ``[DONE]``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streaming.formats.json_text import dumps, read_object
from streaming.formats.parts import CUT, Delta, End, Failure, FormatError, Part
from streaming.sse import Message


class OpenAIReader:
    """Chat completion chunks, and ``[DONE]``; some servers leave that out after the last finish reason."""

    _REASONS: Mapping[str, str] = {"length": "length", "content_filter": "blocked"}

    def __init__(self) -> None:
        self._finish_reason: str | None = None

    def feed(self, message: Message) -> list[Part]:
        if message.data.strip() == "[DONE]":
            return self._end()
        chunk = read_object(message.data)
        if error := chunk.get("error"):
            detail = error.get("message") if isinstance(error, dict) else error
            return [Failure(502, "Bad Gateway", f"the upstream failed: {detail}"[:500])]
        choices = chunk.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise FormatError("an upstream's chunk has choices that are not a list of objects")
        return [part for choice in choices for part in self._deltas(choice)]

    def _deltas(self, choice: dict[str, Any]) -> list[Part]:
        if reason := choice.get("finish_reason"):
            self._finish_reason = str(reason)
        index, delta = choice.get("index") or 0, choice.get("delta") or {}
        if not isinstance(index, int) or not isinstance(delta, dict):
            raise FormatError("an upstream's chunk has a choice without a number or a delta")
        parts: list[Part] = [
            Delta(value, channel, index)
            for channel, value in delta.items()
            if channel != "role" and isinstance(value, str) and value
        ]
        calls = delta.get("tool_calls") or []
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise FormatError("an upstream's chunk has tool calls that are not a list of objects")
        for call in calls:
            function = call.get("function")
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str) and arguments:
                parts.append(Delta(arguments, f"tool_calls.{call.get('index', 0)}", index))
        return parts

    def finish(self) -> list[Part]:
        return self._end() if self._finish_reason else [CUT]

    def _end(self) -> list[Part]:
        return [End(self._REASONS.get(self._finish_reason or "", "stop"))]


_FINISH_REASONS = {"stop": "stop", "length": "length", "blocked": "content_filter"}


@dataclass
class OpenAIWriter:
    """Chat completion chunks of one choice, and ``[DONE]``."""

    model: str
    _id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}", init=False)
    _created: int = field(default_factory=lambda: int(time.time()), init=False)
    _ended: bool = field(default=False, init=False)

    def begin(self) -> list[Message]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def write(self, part: Part) -> list[Message]:
        match part:
            case Delta(text):
                return [self._chunk({"content": text})]
            case Failure(_, title, detail):
                self._ended = True
                return [Message(dumps({"error": {"message": detail, "type": title}}))]
            case End(reason) if reason in _FINISH_REASONS:
                self._ended = True
                return [self._chunk({}, _FINISH_REASONS[reason]), Message("[DONE]")]
            case End(reason):
                # There is no finish reason for it, and without one nobody takes the text for whole.
                return self.write(Failure(503, reason, f"the stream was {reason} before it was done"))
        raise TypeError(f"chat completion chunks cannot say {part!r}")

    def farewell(self, reason: str, failure: Failure | None) -> list[Message]:
        return [] if self._ended else self.write(failure or End(reason))

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> Message:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self.model}
        return Message(dumps({**head, "choices": [choice]}))
