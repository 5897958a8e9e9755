"""Chunks of a stream that begins here."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from streaming.formats.json_text import dumps
from streaming.formats.openai.chunk_fields import DONE, FINISH_REASONS, with_notices
from streaming.formats.openai.usage import usage_of
from streaming.formats.parts import (
    Delta,
    Failure,
    Notice,
    Part,
    StreamEnd,
)
from streaming.sse import Message


@dataclass
class OpenAIWriter:
    """Chat completion chunks of a stream that begins here, from each choice's role to ``[DONE]``.

    ``counts_usage``: the last chunk has the usage of the prompt (of ``prompt_chars`` characters) and the answer.
    """

    model: str
    choices: int = 1
    counts_usage: bool = False
    prompt_chars: int = 0
    _head: dict[str, Any] = field(init=False)
    _open: list[int] = field(default_factory=list, init=False)
    _chars: int = field(default=0, init=False)
    _notices: list[Notice] = field(default_factory=list, init=False)
    _ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        identity, now = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._head = {"id": identity, "object": "chat.completion.chunk", "created": now, "model": self.model}
        self._open = list(range(self.choices))

    def begin(self) -> list[Message]:
        return [self._of_choice(index, {"role": "assistant", "content": ""}) for index in self._open]

    def write(self, part: Part) -> list[Message]:
        match part:
            case Delta(text, channel, choice):
                self._chars += len(text)
                return [self._of_choice(choice, {channel: text})]
            case Notice():
                self._notices.append(part)
                return []
            case Failure(status, title, detail, facts):
                self._ended = True
                error = {"message": detail, "type": title, "param": None, "code": status, **facts.public()}
                return [Message(dumps({"error": error}))]
            case StreamEnd(reason) if reason in FINISH_REASONS:
                self._ended = True
                return self._end(FINISH_REASONS[reason])
            case StreamEnd(reason):
                # No finish reason means "cut off"; without one, clients do not take the text for complete.
                return self.write(Failure(503, "Service Unavailable", f"the stream was {reason} before it was done"))
        raise TypeError(f"chat completion chunks cannot say {part!r}")

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        return [] if self._ended else self.write(failure or StreamEnd(reason))

    def _end(self, finish_reason: str) -> list[Message]:
        finishes = [self._of_choice(index, {}, finish_reason) for index in self._open]
        usage = usage_of(self.prompt_chars, self._chars)
        counted = [self._chunk({"choices": [], "usage": usage})] if self.counts_usage else []
        left = [self._chunk({"choices": []})] if self._notices else []
        return [*finishes, *left, *counted, Message(DONE)]

    def _of_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> Message:
        return self._chunk({"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})

    def _chunk(self, fields: dict[str, Any]) -> Message:
        return self._message({**self._head, **fields})

    def _message(self, chunk: dict[str, Any]) -> Message:
        """A chunk, with the notices of the moderation of its text."""
        notices, self._notices = self._notices, []
        return Message.unchecked(dumps(with_notices(chunk, notices)))  # JSON has no CR
