"""OpenAI's format: chat completion chunks and ``[DONE]``, or a whole chat completion."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from streaming.formats.chunk_templates import HEAD, ChunkTemplateCache, framed, says_nothing
from streaming.formats.dialects import ToolCallNumbers, choices_of, make_delta
from streaming.formats.errors import (
    NO_CREDENTIALS,
    ErrorFacts,
    client_status,
    read_error,
)
from streaming.formats.extraction import Extracted, extract_answer
from streaming.formats.json_text import dumps, read_json, read_object
from streaming.formats.parts import (
    CUT,
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    Frame,
    Notice,
    Part,
    PathStep,
    RawChunk,
    StreamEnd,
    TextPart,
    TextRef,
    TokenCounts,
)
from streaming.sse import Message

DONE = "[DONE]"


class OpenAIReader:
    """Reads chunks in the dialects of many servers. Some omit ``[DONE]`` after the last finish reason.

    The parts of a chunk are its texts, then its ends of choices, and with ``keep_raw`` the rest of the chunk, for a
    writer of the same format. Without ``keep_usage`` that is not the chunk with the usage after the last choice: the
    client did not ask for it.
    """

    _REASONS: Mapping[str, str] = {"length": "length", "content_filter": "blocked"}

    def __init__(self, *, keep_raw: bool = False, keep_usage: bool = True) -> None:
        self.tokens: TokenCounts | None = None
        self._keep_raw = keep_raw
        self._keep_usage = keep_usage
        self._begun = set[int]()
        self._finished = set[int]()
        self._reason = "stop"
        self._templates = ChunkTemplateCache()
        self._calls: dict[int, ToolCallNumbers] = {}

    def feed(self, message: Message) -> list[Part]:
        data, event, _, _ = message
        if parts := self._templates.read(data, event):
            return parts if self._keep_raw else parts[:1]
        if not data.startswith("{"):
            return self._feed_other(data.strip(), event)
        return self._feed_chunk(read_object(data), event, data)

    def _feed_other(self, data: str, event: str) -> list[Part]:
        """Reads what is not a chunk: the end, a keep-alive, an error in a list or as plain text."""
        if data.strip('"') == DONE:
            return [StreamEnd(self._reason)]
        if not data or data.startswith(":") or data.lower() in _KEEP_ALIVES or event in _KEEP_ALIVES:
            return []
        if event == "error" and not data.startswith(("[", "{")):
            return [failure_from(ErrorFacts(data.strip('"')))]
        value = read_json(data)
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, dict) for item in items):
            raise FormatError("an upstream's message is not a JSON object")
        return [part for item in items for part in self._feed_chunk(item, event)]

    def _feed_chunk(self, chunk: dict[str, Any], event: str, data: str = "") -> list[Part]:
        kind = str(chunk.get("type")) if "choices" not in chunk else ""
        if not chunk or event in _KEEP_ALIVES or kind in _KEEP_ALIVES:
            return []
        if facts := _error_in(chunk, event):
            return [failure_from(facts)]
        choices = choices_of(chunk)
        if counts := token_counts(chunk):
            self.tokens = counts
            if not self._keep_usage and not choices and says_nothing({**chunk, "usage": None}):
                return []
        for choice in choices:
            self._normalize(choice)
        if str(chunk.get("object", "")).startswith("chat.completion"):
            chunk["object"] = "chat.completion.chunk"
        texts, refs = extract_answer(chunk)
        parts: list[Part] = list(texts)
        if not self._finished.isdisjoint(choice["index"] for choice in choices):
            parts = [part for part in texts if part.choice not in self._finished]  # nothing follows a choice's end
        elif len(texts) == len(refs) == len(choices) == 1 and type(texts[0]) is Delta:
            self._learn(data, event, chunk, texts[0].text, refs[0])
        return parts + self._finishes(choices) + ([RawChunk(chunk, refs)] if self._keep_raw else [])

    def _learn(self, data: str, event: str, chunk: dict[str, Any], text: str, ref: TextRef) -> None:
        if data and event not in ("error", *_KEEP_ALIVES) and not chunk["choices"][0].get("finish_reason"):
            self._templates.learn(data, event, chunk, text, ref)

    def _normalize(self, choice: dict[str, Any]) -> None:
        make_delta(choice, has_spoken=choice["index"] in self._begun)
        if isinstance(delta := choice.get("delta"), dict) and delta.get("tool_calls"):
            self._calls.setdefault(choice["index"], ToolCallNumbers()).number(delta)
            self._templates.forget(choice["index"])

    def _finishes(self, choices: list[dict[str, Any]]) -> list[Part]:
        finishes: list[Part] = []
        for choice in choices:
            self._begun.add(index := choice["index"])
            if reason := choice.get("finish_reason"):
                self._finished.add(index)
                self._templates.forget(index)
                self._reason = self._REASONS.get(reason, "stop")
                finishes.append(ChoiceEnd(index))
        return finishes

    def finish(self) -> list[Part]:
        return [StreamEnd(self._reason) if self._finished and self._finished >= self._begun else CUT]


MAX_TOKENS = 1 << 40
"""A greater count is no count."""


def token_counts(answer: dict[str, Any]) -> TokenCounts | None:
    """The usage in a chunk or in a whole completion; None without one. Groq reports that of a stream in ``x_groq``."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        usage = groq.get("usage") if isinstance(groq := answer.get("x_groq"), dict) else None
    if not isinstance(usage, dict):
        return None
    counts = TokenCounts(*(_token_count(usage.get(key)) for key in ("prompt_tokens", "completion_tokens")))
    return None if counts == TokenCounts(None, None) else counts


def _token_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


_KEEP_ALIVES = frozenset({"ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"})
"""What servers send, as data or as an event's name, to keep the connection alive."""


def read_completion(data: str) -> tuple[dict[str, Any], Extracted]:
    """A whole chat completion, and the texts extracted from it. Raises FormatError if it is not one."""
    completion = read_object(data)
    if not isinstance(completion.get("choices"), list):
        raise FormatError("an upstream's answer is JSON, but no chat completion")
    choices_of(completion)
    return completion, extract_answer(completion, main="message")


def end_choice(completion: dict[str, Any], index: int) -> None:
    """Ends a choice of a whole completion at a block. Its tool calls are removed: they must not be executed."""
    for choice in completion["choices"]:
        if choice["index"] == index:
            choice["finish_reason"] = _FINISH_REASONS["blocked"]
            for key in ("tool_calls", "function_call"):
                if isinstance(message := choice.get("message"), dict):
                    message.pop(key, None)


def with_notices(chunk: dict[str, Any], notices: list[Notice]) -> dict[str, Any]:
    """The chunk with the notices of its moderation in an additional field, which other clients ignore."""
    return {**chunk, "moderated": list(map(_notice_fields, notices))} if notices else chunk


def _error_in(chunk: dict[str, Any], event: str) -> ErrorFacts | None:
    """The error in a chunk, of the whole answer or of one choice; None if it has none."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) and not chunk.get("error") else ():
        if isinstance(choice, dict) and choice.get("error"):
            return read_error({"error": choice["error"]})
    if choices is not None and not chunk.get("error"):
        return None
    return read_error(chunk) or (read_error({"error": chunk}) if event == "error" else None)


def failure_from(facts: ErrorFacts) -> Failure:
    """The failure that a client receives for an upstream's error in the middle of a stream."""
    if facts.is_authentication:
        return Failure(502, "Bad Gateway", "the upstream did not take this site's credentials", NO_CREDENTIALS)
    status = HTTPStatus(client_status(facts.status or 502, facts))
    detail = f"the upstream failed: {facts.message}" if facts.message else "the upstream failed"
    return Failure(status.value, status.phrase, detail, facts)


_FINISH_REASONS = {"stop": "stop", "length": "length", "blocked": "content_filter"}


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
            case StreamEnd(reason) if reason in _FINISH_REASONS:
                self._ended = True
                return self._end(_FINISH_REASONS[reason])
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


def usage_of(prompt_chars: int, answer_chars: int) -> dict[str, int]:
    """OpenAI's usage object. The number of tokens is estimated: one for every four characters."""
    prompt, answer = -(-prompt_chars // 4), -(-answer_chars // 4)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def whole_completion(model: str, text: str, choices: int, prompt_chars: int) -> dict[str, Any]:
    """A chat completion generated by this site, with the same text in every choice."""
    answers = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index in range(choices)
    ]
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time())}
    return {**head, "model": model, "choices": answers, "usage": usage_of(prompt_chars, len(text) * choices)}


def _notice_fields(notice: Notice) -> dict[str, str]:
    fields = {"action": notice.action, "category": notice.category, "notice": notice.notice}
    return {key: value for key, value in fields.items() if value or key != "notice"}


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
