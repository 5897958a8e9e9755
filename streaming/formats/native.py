"""This site's native format: deltas or whole texts as JSON in numbered events, from ``connect`` to ``done``."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any

from streaming.formats.errors import ErrorFacts, read_error
from streaming.formats.json_text import dumps, is_encodable, read_object
from streaming.formats.parts import (
    CUT,
    MAX_CHOICES,
    REASONS,
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    Notice,
    Part,
    RawChunk,
    Snapshot,
    StreamEnd,
    TextPart,
    TokenCounts,
)
from streaming.sse import Message

logger = logging.getLogger(__name__)

_CHANNEL = re.compile(r"[A-Za-z0-9_.$-]{1,256}")


class NativeReader:
    """Reads the native format. A stream that ends without ``done`` was cut off."""

    tokens: TokenCounts | None = None

    def feed(self, message: Message) -> list[Part]:
        match message.event:
            case "message":
                return [_native_text(read_object(message.data))]
            case "moderation":
                data = read_object(message.data)
                return [Notice(*(str(data.get(key, "")) for key in ("action", "category", "notice")))]
            case "error":
                return [_failure(read_object(message.data))]
            case "done":
                reason = read_object(message.data).get("reason")
                return [StreamEnd(reason if reason in REASONS else "stop")]
            case "connect":
                return []
        logger.info("dropped an unknown event of an upstream: %.80r", message.event)
        return []

    def finish(self) -> list[Part]:
        return [CUT]


def _native_text(data: dict[str, Any]) -> Part:
    if len(data) == 1 and type(text := data.get("delta")) is str:
        return Delta(text)  # nearly every message
    channel, choice = data.get("channel", "content"), data.get("choice", 0)
    # A channel's name is sent to the client unmoderated, so it must not be able to hold text.
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel) or not _is_choice(choice):
        raise FormatError("an upstream's message has an invalid channel or choice")
    if isinstance(text := data.get("delta"), str):
        return Delta(text, channel, choice)
    if isinstance(text := data.get("text"), str):
        return Snapshot(text, channel, choice)
    raise FormatError("an upstream's message has neither a delta nor a text")


def _is_choice(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_CHOICES


def _failure(data: dict[str, Any]) -> Failure:
    status, facts = data.get("status"), read_error({"error": data}) or ErrorFacts()
    return Failure(
        status if type(status) is int and 400 <= status <= 599 else 502,
        str(data.get("title", "Bad Gateway")),
        str(data.get("detail", "")),
        ErrorFacts(code=facts.code, param=facts.param),
    )


def new_stream_id() -> str:
    """128 random bits, because the id of an anonymous stream grants access to it."""
    return secrets.token_hex(16)


@dataclass
class NativeWriter:
    """Numbers the messages of one stream, from its ``connect`` to its ``done``."""

    stream: str = field(default_factory=new_stream_id)
    retry: int = 2000
    """The reconnection time in milliseconds."""
    prompt_notices: Sequence[Notice] = ()
    """What the rules did to the prompt: sent before the answer."""
    _count: int = field(default=0, init=False)
    _ended: bool = field(default=False, init=False)

    def begin(self) -> list[Message]:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        connect = self._message("connect", {"stream": self.stream, "time": now}, self.retry)
        return [connect, *(self._moderation(notice, direction="prompt") for notice in self.prompt_notices)]

    def write(self, part: Part) -> list[Message]:
        if type(part) is Delta and part.channel == "content" and not part.choice and is_encodable(part.text):
            # Nearly every part. It needs no validation, see _numbered.
            identity = f"{self.stream}:{self._count}"
            self._count += 1
            return [Message.unchecked(f'{{"delta": {encode_basestring(part.text)}}}', id=identity)]
        match part:
            case Delta(text, channel, choice):
                return [self._message("message", {"delta": text, **_text_fields(channel, choice)})]
            case Snapshot(text, channel, choice):
                return [self._message("message", {"text": text, **_text_fields(channel, choice)})]
            case Notice():
                return [self._moderation(part)]
            case Failure(status, title, detail, facts):
                known = {"code": facts.code, "param": facts.param}
                problem = {"status": status, "title": title, "detail": detail}
                problem.update((key, value) for key, value in known.items() if value is not None)
                return [self._message("error", problem), *self.write(StreamEnd("error"))]
            case StreamEnd(reason):
                self._ended = True
                return [self._message("done", {"reason": reason})]
            case TextPart() | ChoiceEnd() | RawChunk():
                return []  # the native format has no events for them

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        return [] if self._ended else self.write(failure or StreamEnd(reason))

    def _moderation(self, notice: Notice, **more: str) -> Message:
        text = {"notice": notice.notice} if notice.notice else {}
        return self._message("moderation", {"action": notice.action, "category": notice.category, **text, **more})

    def _message(self, event: str, data: dict[str, Any], retry: int | None = None) -> Message:
        return self._numbered(dumps(data), event, retry)

    def _numbered(self, data: str, event: str = "message", retry: int | None = None) -> Message:
        # JSON has no CR, event names are constants, and the stream's id consists of letters and digits.
        message = Message.unchecked(data, event, f"{self.stream}:{self._count}", retry)
        self._count += 1
        return message


def _text_fields(channel: str, choice: int) -> dict[str, Any]:
    """The fields for a text's channel and choice; none for the content of the first choice."""
    return {} if (channel, choice) == ("content", 0) else {"channel": channel, "choice": choice}
