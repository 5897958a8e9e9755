"""Measures what one request uses, from its arrival to the end of its answer. Never sees a prompt or an answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

from streaming.formats import TokenCounts

CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client left before it was answered, as nginx logs it. Nobody receives it."""


NO_TOKENS = TokenCounts(None, None)


class Progress(Protocol):
    """How far an answer has come. Read about once a second and at its end, so that a chunk costs nothing."""

    @property
    def messages(self) -> int: ...

    @property
    def sent_bytes(self) -> int: ...

    @property
    def chars(self) -> int | None:
        """Characters of text from the upstream; None if nothing reads them."""

    @property
    def tokens(self) -> TokenCounts | None: ...

    @property
    def held_chars(self) -> int:
        """Characters that moderation holds back at the moment."""

    @property
    def readers(self) -> int:
        """Clients that read the answer at the moment."""

    def stop(self, reason: str) -> None: ...


@dataclass(eq=False, slots=True, weakref_slot=True)
class UsageMeter:
    """The usage of one request. ``end`` completes it, once, and passes it to ``on_end``."""

    endpoint: str
    """The name of the address that was requested, as in urls.py."""
    upstream: str
    on_end: Callable[[UsageMeter], None]
    stream: str = ""
    model: str = ""
    user_id: int | None = None
    username: str = ""
    api_key_id: int | None = None
    key_name: str = ""
    label: str = ""
    """The request's method and path, for the log."""
    prompt_chars: int | None = None
    completion_chars: int | None = None
    tokens: TokenCounts = NO_TOKENS
    hits: int = 0
    first_byte_seconds: float | None = None
    bytes: int = 0
    messages: int = 0
    error: str = ""
    """What failed, for the log: never words of an upstream, which may quote a prompt."""
    upstream_error: str = ""
    """The kind of an upstream's failure, one of upstreams.errors."""
    reason: str = ""
    """Why it ended; empty while it runs."""
    status: int = 0
    seconds: float = 0.0
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    progress: Progress | None = None
    """Set while an answer streams: from then on its end is the end of the request's usage."""
    on_stop: Callable[[], None] | None = None
    """Ends the request before there is an answer, for an operator; None if that is done through the journal."""
    is_opening: bool = False
    """Whether a task opens the stream that goes on if the client leaves."""
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    """Its name for operators, who may stop it. Unlike the id of a stream it grants nobody access."""
    _taken: tuple[int, int] = (0, 0)
    _began: float = field(default_factory=time.monotonic)

    @property
    def who(self) -> str:
        """The caller, for people: a user's name, and that of the key they used."""
        return f"{self.username} ({self.key_name})" if self.key_name else self.username

    @property
    def running_seconds(self) -> float:
        return self.seconds if self.reason else time.monotonic() - self._began

    def count_prompt(self, chars: int) -> None:
        self.prompt_chars = (self.prompt_chars or 0) + chars

    def count_completion(self, chars: int, tokens: TokenCounts | None) -> None:
        """An answer that came whole."""
        self.completion_chars = (self.completion_chars or 0) + chars
        self.tokens = tokens or self.tokens

    def first_byte(self) -> None:
        """The answer begins now."""
        if self.first_byte_seconds is None:
            self.first_byte_seconds = time.monotonic() - self._began

    def failed(self, error: Exception) -> None:
        """Notes what failed, without words of others. To be called before ``end``."""
        if for_log := getattr(error, "for_log", None):
            self.error, self.upstream_error = for_log(), getattr(error, "kind", "")
        else:
            self.error = type(error).__name__

    def end(self, reason: str, status: int = HTTPStatus.OK) -> None:
        """The first call counts."""
        if self.reason:
            return
        self.update()
        self.progress = None
        self.reason, self.status, self.seconds = reason, int(status), time.monotonic() - self._began
        self.on_end(self)

    def discard(self) -> None:
        """The request uses nothing of its own: it reads an answer that another one began."""
        self.reason = self.reason or "joined"

    def update(self) -> None:
        """Takes over the counts of an answer that streams."""
        if (progress := self.progress) is None:
            return
        self.bytes, self.messages = progress.sent_bytes, progress.messages
        if (chars := progress.chars) is not None:
            self.completion_chars = chars
        self.tokens = progress.tokens or self.tokens

    def take_progress(self) -> tuple[int, int]:
        """The messages and bytes that came since the last call."""
        (messages, sent_bytes), self._taken = self._taken, (self.messages, self.bytes)
        return self.messages - messages, self.bytes - sent_bytes

    def request_ended(self) -> None:
        """The request is over. An answer that streams may outlive it; otherwise its client has left."""
        if self.progress is None and not self.is_opening:
            self.end("left", CLIENT_CLOSED_REQUEST)


def attach(request: Any, meter: UsageMeter) -> None:
    request._usage_meter = meter


def meter_of(request: Any) -> UsageMeter | None:
    """The meter of this request; None if its usage is not recorded."""
    meter: UsageMeter | None = getattr(request, "_usage_meter", None)
    return meter
