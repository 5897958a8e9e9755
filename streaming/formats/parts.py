"""Parts: the content of a stream independent of its format; and the interfaces that read and write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from streaming.formats.errors import NO_FACTS, ErrorFacts, shortened
from streaming.sse import Message

REASONS = ("stop", "blocked", "error", "stopped", "abandoned", "drained", "length")
"""The reasons for a stream's end in ``done``."""


MAX_CHOICES = 1024
"""The limit for choices of one answer."""


class FormatError(Exception):
    """An upstream's message does not follow its format."""


class Delta(NamedTuple):
    """More text, of one channel of one choice."""

    text: str
    channel: str = "content"
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole text of a channel so far, as an upstream in ``mode=full`` sends it each time."""

    text: str
    channel: str = "content"
    choice: int = 0


class TextPart(NamedTuple):
    """A complete text, shown as one: a function's name, the title of a source.

    What comes later under the same name is another text; but nobody can put a match together from the two.
    """

    text: str
    channel: str
    choice: int = 0
    is_number: bool = False
    """Whether it is how a number is written, which nobody joins with the next number of that name."""


@dataclass(frozen=True, slots=True)
class ChoiceEnd:
    """A choice is complete: its text that is held back can be released."""

    choice: int


@dataclass(frozen=True, slots=True)
class Notice:
    """The part of a moderation result that is sent to the client, never the rule's pattern.

    ``notice`` is shown in place of the blocked text.
    """

    action: str
    category: str
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the terms of RFC 9457, with what an upstream said about it. It ends the stream."""

    status: int
    title: str
    detail: str
    facts: ErrorFacts = NO_FACTS

    def without(self, secrets: Iterable[str]) -> Failure:
        """The same as far as it is shown, without the operator's credentials: an upstream's errors may quote them."""
        secrets = tuple(secrets)
        title, detail = (shortened(words, secrets) for words in (self.title, self.detail))
        return Failure(self.status, title, detail, self.facts.without(secrets))

    def moderated(self, clean: Callable[[str], str]) -> Failure:
        """The failure with its texts moderated: an upstream's errors may quote a prompt or an answer."""
        return Failure(self.status, clean(self.title), clean(self.detail), self.facts.moderated(clean))


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The regular end of a stream, and its reason: one of REASONS."""

    reason: str = "stop"


PathStep = str | dict[str, Any]
"""A field's name; or, for an item of a list, fields that identify it."""


class TextRef(NamedTuple):
    """The place of a text in a message: ``holder[key]``.

    ``path`` leads there from the top of the message, for text that is sent later than its own message.
    """

    channel: str
    choice: int
    holder: Any
    key: str | int
    path: tuple[PathStep, ...]
    number: int | float | None = None
    """The number that was there in place of a text."""

    def put(self, text: str) -> None:
        """Puts a text there; a number as it is written is that number again."""
        is_same = self.number is not None and text == json.dumps(self.number)
        self.holder[self.key] = self.number if is_same else text


class Frame(NamedTuple):
    """A chunk's JSON before and after its only text. ``says_nothing``: without text it need not be sent."""

    before: str
    after: str
    says_nothing: bool


@dataclass(frozen=True, slots=True)
class RawChunk:
    """An upstream's message without its texts, which come before it as parts."""

    message: dict[str, Any]
    refs: list[TextRef]
    frame: Frame | None = None
    """Set if only its one text has to be replaced: then the message is sent as it is otherwise."""


Part = Delta | Snapshot | TextPart | ChoiceEnd | RawChunk | Notice | Failure | StreamEnd

CUT = Failure(502, "Bad Gateway", "the upstream's stream ended before it was done")


class TokenCounts(NamedTuple):
    """The tokens of a prompt and its completion, as the upstream reports them; None where it does not."""

    prompt: int | None
    completion: int | None


class Reader(Protocol):
    """Reads the messages of one upstream's stream."""

    tokens: TokenCounts | None
    """What the upstream has reported so far."""

    def feed(self, message: Message) -> list[Part]:
        """The message's parts. FormatError if it does not follow the format."""

    def finish(self) -> list[Part]:
        """The parts that follow from the end of the connection."""


class Writer(Protocol):
    """Writes one stream for a client."""

    def begin(self) -> list[Message]: ...

    def write(self, part: Part) -> list[Message]: ...

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        """The end of a stream that was stopped or failed here; nothing if it has ended already."""
