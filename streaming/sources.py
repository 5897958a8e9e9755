"""Streams that begin here: ticks, and documents played back the way an LLM answers."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from streaming.sse import Message, encode

FOLDER = Path(__file__).with_name("documents")
DOCUMENTS = tuple(sorted(path.stem for path in FOLDER.glob("*.md")))


class Ticks:
    """``connect``, then a message each ``interval`` seconds, numbered 0, 1, 2 ..., or from ``after`` + 1; encoded.

    ``connect`` carries the number before the first message's, so that who reconnects at once loses no count.
    """

    def __init__(self, after: int | None = None, interval: float = 1.0) -> None:
        self._number = -1 if after is None else after
        self._interval = interval
        self._due: float | None = None

    async def read(self) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._due is None:
            self._due = clock()
            return encode(Message(_now(), "connect", str(self._number), retry=10_000))
        # Counted from the last due time, so that the beat does not drift; a beat that was missed is left out.
        due = max(self._due + self._interval, clock())
        await asyncio.sleep(due - clock())
        self._due = due
        self._number += 1
        return encode(Message(_now(), id=str(self._number)))

    def close(self, *, linger: bool = False) -> None:
        """There is nothing to close."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Playback:
    """How a document is played: at most ``step`` characters each ``interval`` seconds; a ``seed`` fixes the dice."""

    document: str = "tour"
    interval: float = 0.5
    step: int = 30
    seed: int | None = None


class Play:
    """A document in pieces of 1 to ``step`` characters, in UTF-8, the first at once; b"" at its end."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._text = read_document(playback.document)
        self._dice = random.Random(playback.seed)  # noqa: S311 (a simulation)
        self._at = 0
        self._due = 0.0

    async def read(self) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._at >= len(self._text):
            return b""
        # A moment, not a duration: a wait that is broken off goes on where it was.
        if (seconds := self._due - clock()) > 0:
            await asyncio.sleep(seconds)
        self._due = clock() + self._playback.interval
        piece = self._text[self._at : self._at + self._dice.randint(1, self._playback.step)]
        self._at += len(piece)
        return piece.encode()

    def close(self, *, linger: bool = False) -> None:
        """There is nothing to close."""


@cache
def read_document(name: str) -> str:
    """A document's text. Its name is one of DOCUMENTS: nothing else is a file here."""
    if name not in DOCUMENTS:
        raise KeyError(name)
    return (FOLDER / f"{name}.md").read_text("utf-8")
