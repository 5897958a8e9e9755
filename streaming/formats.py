"""Where the text stands in a message: what an upstream says, and how we say it.

A reader takes messages and gives parts; a writer takes parts and gives messages. Between the two nothing knows a
format, so that whatever is done to text is done once.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any, NamedTuple, Protocol

from streaming.sse import Message

logger = logging.getLogger(__name__)

REASONS = ("stop", "blocked", "error", "stopped", "drained", "length")
"""Why a stream ended, as ``done`` tells it."""


class FormatError(Exception):
    """An upstream's message is not what its format says."""


class Delta(NamedTuple):
    """More text, of one channel of one choice."""

    text: str
    channel: str = "content"
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """All the text of a channel so far: what an upstream in ``mode=full`` sends each time."""

    text: str
    channel: str = "content"
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """What the reader may know of a moderation: never the rule's pattern. ``notice`` is what to show in its place."""

    action: str
    category: str
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in the words of RFC 9457. The stream ends with it."""

    status: int
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class End:
    """The end that was meant, and why: one of REASONS."""

    reason: str = "stop"


Part = Delta | Whole | Notice | Failure | End

CUT = Failure(502, "Bad Gateway", "the upstream's stream ended before it was done")


class Reader(Protocol):
    """Reads one stream of an upstream."""

    def feed(self, message: Message) -> list[Part]:
        """What the message says. FormatError if it is not what it claims to be."""

    def finish(self) -> list[Part]:
        """What the end of the connection says."""


class NativeReader:
    """Our own format: deltas or whole texts, and ``done`` before the end."""

    def feed(self, message: Message) -> list[Part]:
        match message.event:
            case "message":
                return [_native_text(_json_object(message.data))]
            case "moderation":
                data = _json_object(message.data)
                return [Notice(*(str(data.get(key, "")) for key in ("action", "category", "notice")))]
            case "error":
                return [_failure(_json_object(message.data))]
            case "done":
                reason = _json_object(message.data).get("reason")
                return [End(reason if reason in REASONS else "stop")]
            case "connect":
                return []
        logger.info("dropped an upstream's event that is not known here: %.80r", message.event)
        return []

    def finish(self) -> list[Part]:
        return [CUT]


def _native_text(data: dict[str, Any]) -> Part:
    channel, choice = data.get("channel", "content"), data.get("choice", 0)
    if not isinstance(channel, str) or not isinstance(choice, int):
        raise FormatError("an upstream's message has a channel or choice that is no name or number")
    if isinstance(text := data.get("delta"), str):
        return Delta(text, channel, choice)
    if isinstance(text := data.get("text"), str):
        return Whole(text, channel, choice)
    raise FormatError("an upstream's message has neither a delta nor a text")


class OpenAIReader:
    """Chat completion chunks, and ``[DONE]``; some servers leave that out after the last finish reason."""

    _REASONS: Mapping[str, str] = {"length": "length", "content_filter": "blocked"}

    def __init__(self) -> None:
        self._finish_reason: str | None = None

    def feed(self, message: Message) -> list[Part]:
        if message.data.strip() == "[DONE]":
            return self._end()
        chunk = _json_object(message.data)
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


class TextReader:
    """Each message's data is text. It has no word for the end but the end itself."""

    def feed(self, message: Message) -> list[Part]:
        return [Delta(message.data)]

    def finish(self) -> list[Part]:
        return [End()]


READERS: Mapping[str, Callable[[], Reader]] = {"native": NativeReader, "openai": OpenAIReader, "text": TextReader}


def _json_object(data: str) -> dict[str, Any]:
    try:
        value, end = _decoder.raw_decode(data)
        if end != len(data):
            value = json.loads(data)
    except ValueError:
        value = _spaced_json(data)
    except RecursionError as error:
        raise FormatError("an upstream's message is not JSON") from error
    if not isinstance(value, dict):
        raise FormatError("an upstream's message is not a JSON object")
    return value


def _spaced_json(data: str) -> Any:
    """What may have white space before it; rare enough to be tried last."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("an upstream's message is not JSON") from error


def _failure(data: dict[str, Any]) -> Failure:
    status = data.get("status")
    return Failure(
        status if isinstance(status, int) and 400 <= status <= 599 else 502,
        str(data.get("title", "Bad Gateway")),
        str(data.get("detail", "")),
    )


class Writer(Protocol):
    """Writes one stream of ours."""

    def begin(self) -> list[Message]: ...

    def write(self, part: Part) -> list[Message]: ...

    def farewell(self, reason: str, failure: Failure | None) -> list[Message]:
        """The end of a stream that was stopped, or failed on our side; nothing if it had ended already."""


@dataclass
class NativeWriter:
    """Numbers the messages of one stream, from its ``connect`` to its ``done``."""

    stream: str = field(default_factory=lambda: uuid.uuid4().hex)
    retry: int = 2000
    """The reconnection time in milliseconds."""
    _count: int = field(default=0, init=False)
    _ended: bool = field(default=False, init=False)

    def begin(self) -> list[Message]:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return [self._message("connect", {"stream": self.stream, "time": now}, self.retry)]

    def write(self, part: Part) -> list[Message]:
        if type(part) is Delta and part.channel == "content" and not part.choice and _is_encodable(part.text):
            return [self._numbered(f'{{"delta": {encode_basestring(part.text)}}}')]  # what nearly every part is
        match part:
            case Delta(text, channel, choice):
                return [self._message("message", {"delta": text, **_place(channel, choice)})]
            case Whole(text, channel, choice):
                return [self._message("message", {"text": text, **_place(channel, choice)})]
            case Notice(action, category, notice):
                told = {"action": action, "category": category, **({"notice": notice} if notice else {})}
                return [self._message("moderation", told)]
            case Failure(status, title, detail):
                problem = {"status": status, "title": title, "detail": detail}
                return [self._message("error", problem), *self.write(End("error"))]
            case End(reason):
                self._ended = True
                return [self._message("done", {"reason": reason})]

    def farewell(self, reason: str, failure: Failure | None) -> list[Message]:
        return [] if self._ended else self.write(failure or End(reason))

    def _message(self, event: str, data: dict[str, Any], retry: int | None = None) -> Message:
        return self._numbered(_dumps(data), event, retry)

    def _numbered(self, data: str, event: str = "message", retry: int | None = None) -> Message:
        # JSON has no CR, the names are ours, and the stream's id is made of letters and digits.
        message = Message.unchecked(data, event, f"{self.stream}:{self._count}", retry)
        self._count += 1
        return message


def _place(channel: str, choice: int) -> dict[str, Any]:
    """Where a text belongs; the first choice's content needs no words."""
    return {} if (channel, choice) == ("content", 0) else {"channel": channel, "choice": choice}


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
                return [Message(_dumps({"error": {"message": detail, "type": title}}))]
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
        return Message(_dumps({**head, "choices": [choice]}))


_encoder = json.JSONEncoder(ensure_ascii=False)
_decoder = json.JSONDecoder()


def _dumps(data: dict[str, Any]) -> str:
    text = _encoder.encode(data)
    # A lone surrogate (JSON may hold one, UTF-8 may not) is written as JSON writes it.
    return text if _is_encodable(text) else json.dumps(data)


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
