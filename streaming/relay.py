"""Relay: bytes of a source in, bytes for the client out; parsed, moderated and encoded in between.

Pure: no waiting, no clock, no event loop, no socket, no Django. The driver's loop is:

    sent = relay.begin()
    while not relay.is_over:
        sent += relay.resume() if relay.is_behind else relay.feed(chunk) if chunk else relay.finish()
    relay.close()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from streaming import sse
from streaming.answer import ENDS, PAUSE, AnswerModeration, Step
from streaming.formats import Delta, Failure, FormatError, Part, Reader, Snapshot, StreamEnd, Writer

MAX_MESSAGE_CHARS = 8 << 20
"""The limit for one message of an upstream. An image comes as a data URL of several megabytes in one message."""


class ChunkReader(Protocol):
    """Parses the bytes of one source, in chunks of any size."""

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that this chunk completes. An error is the last part, a Failure."""

    def finish(self) -> list[Part]:
        """The parts that follow from the end of the source."""


class EventReader:
    """Parses an upstream's event stream, whose messages are in the reader's format."""

    def __init__(self, reader: Reader) -> None:
        self._parser = sse.Parser(max_message_chars=MAX_MESSAGE_CHARS, error_lines=True)
        self._reader = reader

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
    """Chunks of text in UTF-8, as deltas or (``full``) as snapshots of the text so far."""

    def __init__(self, *, full: bool = False, choices: int = 1) -> None:
        self._text = ""
        self._full = full
        self._choices = choices

    def feed(self, chunk: bytes) -> list[Part]:
        text = chunk.decode()
        if not self._full:
            return [Delta(text, choice=index) for index in range(self._choices)]
        self._text += text
        return [Snapshot(self._text)]

    def finish(self) -> list[Part]:
        return [StreamEnd()]


class Relay:
    """Parses, moderates and encodes one stream. After its end (``is_over``) all further input is ignored.

    ``is_behind``: a long text is only partly processed. Let other tasks run, then call ``resume`` before anything else
    is fed. ``is_complete``: the source was read to its logical end, so its connection can be reused. ``messages``
    counts those written; ``end`` is the reason in ``done``.
    """

    def __init__(self, reader: ChunkReader, moderation: AnswerModeration | None, writer: Writer) -> None:
        self._reader = reader
        self._moderation = moderation
        self._writer = writer
        self._steps: Iterator[Step] = iter(())
        self.is_over = self.is_behind = self.is_complete = False
        self.messages = 0
        self.end = ""

    def begin(self) -> bytes:
        return self._encoded(self._writer.begin())

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that can be sent after this chunk. Empty if all of its text is held back."""
        return self._start(self._reader.feed(chunk))

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
        return self._encoded(self._writer.final_messages(reason, failure))

    def close(self) -> None:
        """Nothing more will be fed. Hits that were waiting for their context are reported now."""
        if self._moderation:
            self._moderation.close()

    def _start(self, parts: Iterable[Part]) -> bytes:
        if self.is_over:
            return b""
        self._steps = self._moderation.feed(parts) if self._moderation else iter(parts)
        return self.resume()

    def _encoded(self, messages: list[sse.Message]) -> bytes:
        self.messages += len(messages)
        return sse.encode(messages[0]) if len(messages) == 1 else b"".join(map(sse.encode, messages))


class EncodedRelay(Relay):
    """Passes on bytes that are encoded messages already, as for ``/ping``. Its end sets a reconnection time."""

    RETRY = b"retry: 1000\n\n"

    def __init__(self) -> None:
        self.is_over = self.is_behind = self.is_complete = False
        self.messages = 0
        self.end = ""

    def begin(self) -> bytes:
        return b""

    def feed(self, chunk: bytes) -> bytes:
        self.messages += 1
        return chunk

    def finish(self) -> bytes:
        self.is_over = self.is_complete = True
        return b""

    def fail(self, failure: Failure) -> bytes:
        return self.stop("error", failure)

    def stop(self, reason: str, failure: Failure | None = None) -> bytes:
        self.is_over, self.end = True, reason
        return self.RETRY

    def close(self) -> None: ...
