"""What a stream says, in no format: parts; and what reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from streaming.formats.errors import NO_FACTS, ErrorFacts, shortened
from streaming.sse import Message

REASONS = ("stop", "blocked", "error", "stopped", "abandoned", "drained", "length")
"""Why a stream ended, as ``done`` tells it."""


MAX_CHOICES = 1024
"""Of one answer: the numbers of choices are below this."""


class FormatError(Exception):
    """An upstream's message is not what its format says."""


class Delta(NamedTuple):
    """More text, of one channel of one choice."""

    text: str
    channel: str = "content"
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All the text of a channel so far: what an upstream in ``mode=full`` sends each time."""

    text: str
    channel: str = "content"
    choice: int = 0


class TextPart(NamedTuple):
    """A text that is whole in itself and shown as one: a function's name, the title of a source.

    What comes later under the same name is another text; but nobody can put a match together from the two.
    """

    text: str
    channel: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceEnd:
    """A choice has all its text: nothing that is held of it has to wait."""

    choice: int


@dataclass(frozen=True, slots=True)
class Notice:
    """What the reader may know of a moderation: never the rule's pattern. ``notice`` is what to show in its place."""

    action: str
    category: str
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in the words of RFC 9457, and what an upstream said of it. The stream ends with it."""

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
        """The same, in words that may be shown: an upstream's errors may quote a prompt or an answer."""
        return Failure(self.status, clean(self.title), clean(self.detail), self.facts.moderated(clean))


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end that was meant, and why: one of REASONS."""

    reason: str = "stop"


PathStep = str | dict[str, Any]
"""Into a field; or into an item of a list, which has at least these fields."""


class TextRef(NamedTuple):
    """Where a text stood in a message: ``holder[key]``.

    ``path`` leads there from the top, for text that leaves after its own message has.
    """

    channel: str
    choice: int
    holder: Any
    key: str | int
    path: tuple[PathStep, ...]


class Frame(NamedTuple):
    """A chunk's JSON before and after its one text. ``says_nothing``: without that it need not be sent."""

    before: str
    after: str
    says_nothing: bool


@dataclass(frozen=True, slots=True)
class RawChunk:
    """What else an upstream's message says: the message itself, whose texts were taken out. They come before it."""

    message: dict[str, Any]
    refs: list[TextRef]
    frame: Frame | None = None
    """If nothing but its one text is to be written anew: then the message and what it holds stay as they are."""


Part = Delta | Snapshot | TextPart | ChoiceEnd | RawChunk | Notice | Failure | StreamEnd

CUT = Failure(502, "Bad Gateway", "the upstream's stream ended before it was done")


class Reader(Protocol):
    """Reads one stream of an upstream."""

    def feed(self, message: Message) -> list[Part]:
        """What the message says. FormatError if it is not what it claims to be."""

    def finish(self) -> list[Part]:
        """What the end of the connection says."""


class Writer(Protocol):
    """Writes one stream of ours."""

    def begin(self) -> list[Message]: ...

    def write(self, part: Part) -> list[Message]: ...

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        """The end of a stream that was stopped, or failed on our side; nothing if it had ended already."""
