"""An upstream's chunks, sent on with their texts moderated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streaming.formats.chunk_templates import HEAD, framed, says_nothing
from streaming.formats.json_text import read_object
from streaming.formats.openai.writing import OpenAIWriter
from streaming.formats.parts import (
    ChoiceEnd,
    Delta,
    Failure,
    Frame,
    Part,
    PathStep,
    RawChunk,
    StreamEnd,
    TextPart,
    TextRef,
)
from streaming.sse import Message


class OpenAIRelay(OpenAIWriter):
    """Sends an upstream's chunks with their texts moderated.

    Text that is released after its chunk was sent gets a new chunk. A chunk whose content was all removed is not sent.
    """

    def __init__(self, model: str) -> None:
        super().__init__(model, choices=0)
        self._texts: dict[tuple[int, str], str] = {}
        self._text_parts: dict[tuple[int, str], str] = {}
        self._paths: dict[tuple[int, str], tuple[PathStep, ...]] = {}
        self._begun = set[int]()
        self._last: dict[str, Any] | None = None

    def write(self, part: Part) -> list[Message]:
        if type(part) is Delta:
            name = part.choice, part.channel
            self._texts[name] = self._texts.get(name, "") + part.text
            return []
        if type(part) is RawChunk:
            return self._framed(part, part.frame) if part.frame else self._rest(part.message, part.refs)
        match part:
            case TextPart(text, channel, choice, _):
                self._text_parts[choice, channel] = text
                return []
            case ChoiceEnd():
                return []
            case Failure() | StreamEnd():
                late = self._late()
                if not self._begun:
                    self._open = [0]  # the stream ended before its first chunk
                return [*late, *super().write(part)]
        return super().write(part)

    def _framed(self, raw: RawChunk, frame: Frame) -> list[Message]:
        (ref,) = raw.refs
        name = ref.choice, ref.channel
        text = self._texts.pop(name, "")
        self._last, self._paths[name] = raw.message, ref.path
        late = self._late() if self._texts else []
        if ref.choice not in self._begun:
            self._follow(raw.message["choices"])
        if not text and frame.says_nothing:
            return late
        data = framed(frame, text)
        return [*late, self._message(read_object(data)) if self._notices else Message.unchecked(data)]

    def _rest(self, chunk: dict[str, Any], refs: list[TextRef]) -> list[Message]:
        self._last = chunk
        is_bare = bool(refs)
        for ref in refs:
            name = ref.choice, ref.channel
            self._paths[name] = ref.path
            text = self._texts.pop(name, "") or self._text_parts.pop(name, "")
            ref.put(text)
            is_bare = is_bare and not text
        late = self._late() if self._texts else []
        self._text_parts.clear()
        self._follow(chunk.get("choices") or ())
        return late if is_bare and says_nothing(chunk) else [*late, self._message(chunk)]

    def _follow(self, choices: Iterable[dict[str, Any]]) -> None:
        for choice in choices:
            if (index := choice["index"]) not in self._begun:
                self._begun.add(index)
                self._open.append(index)
            if choice.get("finish_reason") and index in self._open:
                self._open.remove(index)

    def _late(self) -> list[Message]:
        """Chunks for texts that were released after their chunks were sent."""
        texts, self._texts = self._texts, {}
        late = []
        for (index, channel), text in texts.items():
            if path := self._paths.get((index, channel)) or _path_of(index, channel):
                fields = {"choices": [], **_nested(path, text)}
                for choice in fields["choices"]:
                    choice["finish_reason"] = None
                    if index not in self._begun:
                        self._open.append(index)
                    choice.setdefault("delta", {}).update(self._role(index))
                late.append(self._chunk(fields))
        return late

    def _chunk(self, fields: dict[str, Any]) -> Message:
        """A new chunk, with the common fields of the upstream's last one."""
        if self._last:
            self._head = {key: self._last[key] for key in HEAD if key in self._last}
        return super()._chunk(fields)

    def _of_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> Message:
        return super()._of_choice(index, {**self._role(index), **delta}, finish_reason)

    def _role(self, index: int) -> dict[str, str]:
        """The role, in the first chunk of a choice."""
        if index in self._begun:
            return {}
        self._begun.add(index)
        return {"role": "assistant"}


def _path_of(index: int, channel: str) -> tuple[PathStep, ...]:
    """The path of a text of which only the channel is known; empty if the channel does not determine it."""
    return () if "." in channel or index < 0 else ("choices", {"index": index}, "delta", channel)


def _nested(path: tuple[PathStep, ...], text: str) -> dict[str, Any]:
    nested: Any = text
    for step in reversed(path):
        nested = {step: nested} if isinstance(step, str) else [{**step, **nested}]
    return dict(nested)
