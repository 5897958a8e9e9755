"""Relay: bytes of a source in, bytes for the client out; parsed, moderated and encoded in between.

Pure: no waiting, no clock, no event loop, no socket, no Django. The driver's loop is:

    sent = relay.begin()
    while not relay.is_over:
        sent += relay.resume() if relay.is_behind else relay.feed(chunk) if chunk else relay.finish()
    relay.close()
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Protocol

from streaming import sse
from streaming.answer import ENDS, PAUSE, AnswerModeration, Step
from streaming.formats import (
    Delta,
    Failure,
    FormatError,
    Part,
    Reader,
    Snapshot,
    StreamEnd,
    TokenCounts,
    Writer,
)

MAX_MESSAGE_CHARS = 8 << 20
"""The default limit for one message of an upstream: an image comes as a data URL of several megabytes in one."""


class ChunkReader(Protocol):
    """Parses the bytes of one source, in chunks of any size."""

    @property
    def tokens(self) -> TokenCounts | None:
        """What the source has reported so far."""

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that this chunk completes. An error is the last part, a Failure."""

    def finish(self) -> list[Part]:
        """The parts that follow from the end of the source."""


class EventReader:
    """Parses an upstream's event stream, whose messages are in the reader's format."""

    def __init__(self, reader: Reader, *, max_message_chars: int = MAX_MESSAGE_CHARS) -> None:
        self._parser = sse.Parser(max_message_chars=max_message_chars or sys.maxsize, error_lines=True)
        self._reader = reader

    @property
    def tokens(self) -> TokenCounts | None:
        return self._reader.tokens

    def feed(self, chunk: bytes) -> list[Part]:
        parts: list[Part] = []
        read = self._reader.feed
        try:
            for message in self._parser.feed(chunk):
                parts += read(message)
            if self._parser.is_broken:
                self._parser.feed(b"")  # raises the error
        except (FormatError, sse.StreamError) as error:
            parts.append(Failure(502, "Bad Gateway", str(error)))
        return parts

    def finish(self) -> list[Part]:
        return self._reader.finish()


class TextChunks:
    """Chunks of text in UTF-8, as deltas or (``full``) as snapshots of the text so far.

    With ``prompt_chars`` it estimates its tokens: one for every four characters.
    """

    def __init__(self, *, full: bool = False, choices: int = 1, prompt_chars: int | None = None) -> None:
        self._prompt_chars = prompt_chars
        self._chars = 0
        self._text = ""
        self._full = full
        self._choices = choices

    def feed(self, chunk: bytes) -> list[Part]:
        text = chunk.decode()
        self._chars += len(text) * self._choices
        if not self._full:
            return [Delta(text, choice=index) for index in range(self._choices)]
        self._text += text
        return [Snapshot(self._text)]

    @property
    def tokens(self) -> TokenCounts | None:
        if self._prompt_chars is None:
            return None
        return TokenCounts(-(-self._prompt_chars // 4), -(-self._chars // 4))

    def finish(self) -> list[Part]:
        return [StreamEnd()]


class Relay:
    """Parses, moderates and encodes one stream. After its end (``is_over``) all further input is ignored.

    ``is_behind``: a long text is only partly processed. Let other tasks run, then call ``resume`` before anything else
    is fed. ``is_complete``: the source was read to its logical end, so its connection can be reused. ``messages`` and
    ``sent_bytes`` count what was written, ``chars`` the text of the source; ``end`` is the reason in ``done``,
    ``status`` that of the error with which it ended, or 200.
    """

    messages = sent_bytes = 0
    chars = 0
    end = ""
    status = 200

    def __init__(self, reader: ChunkReader, moderation: AnswerModeration | None, writer: Writer) -> None:
        self._reader = reader
        self._moderation = moderation
        self._writer = writer
        self._steps: Iterator[Step] = iter(())
        self._snapshots: dict[tuple[int, str], int] = {}
        self.is_over = self.is_behind = self.is_complete = False

    @property
    def tokens(self) -> TokenCounts | None:
        return self._reader.tokens

    @property
    def held_chars(self) -> int:
        """Characters that moderation holds back."""
        return self._moderation.held if self._moderation else 0

    def begin(self) -> bytes:
        return self._encoded(self._writer.begin())

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that can be sent after this chunk. Empty if all of its text is held back."""
        parts = self._reader.feed(chunk)
        self._count(parts)
        return self._start(parts)

    def resume(self) -> bytes:
        """Continues what ``feed`` left unfinished."""
        messages: list[sse.Message] = []
        write = self._writer.write
        self.is_behind = False
        for part in self._steps:
            if part is PAUSE:
                self.is_behind = True
                break
            messages += write(part)
            if isinstance(part, ENDS):
                self.is_over = True
                self.end = part.reason if isinstance(part, StreamEnd) else "error"
                self.status = part.status if isinstance(part, Failure) else self.status
                self.is_complete = type(part) is StreamEnd and part.reason != "blocked"
                break
        return self._encoded(messages)

    def finish(self) -> bytes:
        """The source has ended."""
        return self._start(self._reader.finish())

    def fail(self, failure: Failure) -> bytes:
        """The source failed. Text that is held back is sent before the error."""
        return self._start([failure])

    def stop(self, reason: str, failure: Failure | None = None) -> bytes:
        """Ends the stream early. Text that is held back is dropped."""
        if self.is_over:
            return b""
        self.is_over, self.is_behind, self.end = True, False, reason
        self.status = failure.status if failure else self.status
        return self._encoded(self._writer.final_messages(reason, failure))

    def cut_off(self) -> bytes:
        """Ends the stream as ``length``: it has reached a limit. Text that is held back is moderated and sent."""
        return self._start([StreamEnd("length")])

    def close(self) -> None:
        """Nothing more will be fed. Hits that were waiting for their context are reported now."""
        if self._moderation:
            self._moderation.close()

    def _count(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if type(part) is Delta:
                self.chars += len(part.text)
            elif type(part) is Snapshot:
                before = self._snapshots.get((part.choice, part.channel), 0)
                self._snapshots[part.choice, part.channel] = max(before, len(part.text))
                self.chars += max(len(part.text) - before, 0)

    def _start(self, parts: Iterable[Part]) -> bytes:
        if self.is_over:
            return b""
        self._steps = self._moderation.feed(parts) if self._moderation else iter(parts)
        return self.resume()

    def _encoded(self, messages: list[sse.Message]) -> bytes:
        self.messages += len(messages)
        out = sse.encode(messages[0]) if len(messages) == 1 else b"".join(map(sse.encode, messages))
        self.sent_bytes += len(out)
        return out


class EncodedRelay(Relay):
    """Passes on bytes that are encoded messages already, as for ``/ping``. Its end sets a reconnection time."""

    RETRY = b"retry: 1000\n\n"

    def __init__(self) -> None:
        self.is_over = self.is_behind = self.is_complete = False

    @property
    def tokens(self) -> TokenCounts | None:
        return None

    @property
    def held_chars(self) -> int:
        return 0

    def begin(self) -> bytes:
        return b""

    def feed(self, chunk: bytes) -> bytes:
        self.messages += 1
        self.sent_bytes += len(chunk)
        return chunk

    def finish(self) -> bytes:
        self.is_over = self.is_complete = True
        return b""

    def fail(self, failure: Failure) -> bytes:
        return self.stop("error", failure)

    def stop(self, reason: str, failure: Failure | None = None) -> bytes:
        self.is_over, self.end = True, reason
        return self.RETRY

    def cut_off(self) -> bytes:
        return self.stop("length")

    def close(self) -> None: ...
