"""One stream on its way to its client: bytes of its source go in, bytes to send come out.

Pure: nothing here waits, and nothing knows a clock, an event loop, a socket or Django. Whoever drives it does:

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
"""Of one message of an upstream: an image comes as a data URL of some megabytes in a single one."""


class ChunkReader(Protocol):
    """Reads the bytes of one source, however they are cut."""

    def feed(self, chunk: bytes) -> list[Part]:
        """What the chunk completes. What is wrong with it is the last part, a Failure."""

    def finish(self) -> list[Part]:
        """What the end of the source says."""


class EventReader:
    """The bytes of an upstream: an event stream, whose messages are in this format."""

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
                self._parser.feed(b"")  # which raises what is wrong
        except (FormatError, sse.StreamError) as error:
            parts.append(Failure(502, "Bad Gateway", str(error)))
        return parts

    def finish(self) -> list[Part]:
        return self._reader.finish()


class TextChunks:
    """The text of a document, each chunk in UTF-8 of its own: as deltas, or as the whole text so far each time."""

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
    """Reads, moderates and writes one stream. Nothing follows the end, whatever comes after it: then ``is_over``.

    ``is_behind``: a long text is not done with yet. Others may have their turn; then ``resume`` goes on with it,
    before anything else is fed. ``is_complete``: the source said all it had to say, so its connection may be used
    again. ``messages`` counts those that were written; ``end`` is why it is over, as ``done`` says it.
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
        """What may be sent once this chunk has come. Empty, if all of it is held back."""
        return self._start(self._reader.feed(chunk))

    def resume(self) -> bytes:
        """Goes on with what ``feed`` left undone."""
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
        """The source failed. What is held leaves before."""
        return self._start([failure])

    def stop(self, reason: str, failure: Failure | None = None) -> bytes:
        """The stream ends otherwise than by itself: nothing that is held leaves."""
        if self.is_over:
            return b""
        self.is_over, self.is_behind, self.end = True, False, reason
        return self._encoded(self._writer.final_messages(reason, failure))

    def close(self) -> None:
        """Nothing more comes, and nobody reads: whoever watches the rules is told what is still to be told."""
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
    """A source whose bytes are messages already, as ``/ping`` has it. Told to stop, it says when to come back."""

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
