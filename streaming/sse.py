"""Server-Sent Events as values: messages to bytes, bytes to messages.

Pure: no clock, no socket, no Django. The format is that of the WHATWG HTML Standard, section 9.2
"Server-sent events"; quoted sentences below are from its section 9.2.6.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple, Self

# A line that begins with none of these has no meaning, whatever follows.
_FIELDS = ("data:", "event:", "id:", "retry:")
_LONGEST_FIELD = len("event:")

# The longest reconnection time, in digits. More could only be an attack on int().
_MAX_RETRY_DIGITS = 18


class StreamError(Exception):
    """The peer's bytes cannot be read as an event stream."""


class _Fields(NamedTuple):
    data: str
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class Message(_Fields):
    """One event of a stream. The constructor refuses values that cannot be encoded, or would be parsed differently.

    In a parsed message ``id`` is the last event ID at the time of dispatch.
    ``retry`` is the reconnection time in milliseconds.
    """

    __slots__ = ()

    def __new__(cls, data: str, event: str = "message", id: str | None = None, retry: int | None = None) -> Self:  # noqa: A002
        if "\r" in data:
            raise ValueError("data may not hold a CR: its reader would get a LF")
        if not event:
            raise ValueError("an empty event is read as 'message'")
        if "\r" in event or "\n" in event:
            raise ValueError("an event's name may not hold CR or LF")
        if id is not None and any(c in id for c in "\r\n\0"):
            raise ValueError("an id may not hold CR, LF or NUL")
        if retry is not None and (retry < 0 or retry >= 10**_MAX_RETRY_DIGITS):
            raise ValueError(f"retry is out of range: {retry} ms")
        try:
            f"{data}{event}{id or ''}".encode()
        except UnicodeEncodeError as error:
            raise ValueError("surrogates cannot be written as UTF-8") from error
        return cls.unchecked(data, event, id, retry)

    @classmethod
    def unchecked(cls, data: str, event: str = "message", id: str | None = None, retry: int | None = None) -> Self:  # noqa: A002
        """Without the checks, for fields that are valid by construction."""
        return tuple.__new__(cls, (data, event, id, retry))


def encode(message: Message) -> bytes:
    """The encoded message, with the blank line that dispatches it."""
    data, event, identity, retry = message
    head = "" if retry is None else f"retry: {retry}\n"
    if identity is not None:
        head = f"{head}id: {identity}\n"
    if event != "message":
        head = f"{head}event: {event}\n"
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    return f"{head}data: {data}\n\n".encode()


class Parser:
    """Parses an event stream in chunks of any size. ``feed`` returns the messages that are complete.

    StreamError if a message's data, or an unfinished line, is longer than ``max_message_chars`` characters. Only
    the beginning of a comment is kept. So the memory for one stream is limited. ``last_event_id`` is the value to
    reconnect with, ``retry`` the last reconnection time in milliseconds that the peer sent.

    ``error_lines``: a line ``error: ...``, which the standard ignores, is read as ``event: error`` with that data:
    this is how llama.cpp's server reports failures.
    """

    def __init__(self, last_event_id: str = "", max_message_chars: int = 1 << 20, *, error_lines: bool = False) -> None:
        # One stdlib decoder covers split UTF-8, "one leading U+FEFF BYTE ORDER MARK", and malformed bytes.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._max = max_message_chars
        self._fields = (*_FIELDS, "error:") if error_lines else _FIELDS
        self._has_error_lines = error_lines
        self._error: StreamError | None = None
        self._after_cr = False
        self._line: list[str] = []  # the pieces of an unfinished line
        self._is_meaningless = False  # whether that line is a comment or an unknown field
        self._line_chars = 0
        self._data: list[str] = []
        self._data_chars = 0
        self._event = ""
        self._id = last_event_id
        self.last_event_id = last_event_id
        self.retry: int | None = None

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that this chunk completes. A CR ends its line at once; a LF after it belongs to the CR.

        Messages before an error are returned first. The next call then raises the error, whatever its chunk.
        """
        messages: list[Message] = []
        if self._error is None:
            try:
                self._read(self._decode(chunk), messages)
            except StreamError as error:
                self._error = error
                self._line, self._data = [], []
        if self._error and not messages:
            raise self._error
        return messages

    @property
    def is_broken(self) -> bool:
        """Whether the next call of ``feed`` raises."""
        return self._error is not None

    def _read(self, text: str, messages: list[Message]) -> None:
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = ":" if self._is_meaningless else "".join(self._line) + lines[0]
            self._line, self._line_chars, self._is_meaningless = [], 0, False
            for line in lines:
                if line.startswith("data: "):  # the usual case
                    self._add(line[6:])
                elif line:
                    self._take(line)
                elif message := self._dispatch():
                    messages.append(message)
        self._keep(rest)

    def _keep(self, piece: str) -> None:
        if not piece or self._is_meaningless:
            return
        was_short = self._line_chars < _LONGEST_FIELD
        self._line.append(piece)
        self._line_chars += len(piece)
        if was_short and self._line_chars >= _LONGEST_FIELD and not "".join(self._line).startswith(self._fields):
            self._line, self._line_chars, self._is_meaningless = [], 0, True
        else:
            self._refuse_more_than(self._data_chars + self._line_chars - len("data: "))

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._add(value)
        elif name == "event":
            self._event = value
        elif name == "error" and self._has_error_lines:
            self._event = "error"
            self._add(value)
        elif name == "id":
            # "If the field value does not contain U+0000 NULL"
            if "\0" not in value:
                self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value[:_MAX_RETRY_DIGITS])

    def _add(self, value: str) -> None:
        self._data.append(value)
        self._data_chars += len(value) + 1
        if self._data_chars > self._max:
            self._refuse_more_than(self._data_chars - 1)

    def _dispatch(self) -> Message | None:
        # "Set the last event ID string of the event source to the value of the last event ID buffer", data or not.
        self.last_event_id = self._id
        event, self._event = self._event, ""
        if not self._data:
            return None
        data, self._data, self._data_chars = "\n".join(self._data), [], 0
        return Message.unchecked(data, event or "message", self._id)

    def _refuse_more_than(self, chars: int) -> None:
        if chars > self._max:
            raise StreamError(f"a message is longer than {self._max:,} characters")
