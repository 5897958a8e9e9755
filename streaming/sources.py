"""Streams that this site makes itself: ticks of a clock, and documents played back like an LLM's answer."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from streaming.sse import Message, encode

FOLDER = Path(__file__).with_name("documents")
SIMULATED = "simulated"
"""The simulated LLM, which plays this site's own documents: its name as a model, and as an upstream."""

DOCUMENTS = tuple(sorted(path.stem for path in FOLDER.glob("*.md")))


class Ticks:
    """Encoded events: ``connect``, then a message every ``interval`` seconds, numbered from 0 or from ``after`` + 1.

    The id of ``connect`` is the number before the first message's, so that the count survives an early reconnect.
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
        # From the last due time, so that ticks do not drift. Missed ticks are skipped.
        due = max(self._due + self._interval, clock())
        await asyncio.sleep(due - clock())
        self._due = due
        self._number += 1
        return encode(Message(_now(), id=str(self._number)))

    def close(self, *, linger: bool = False) -> None:
        """Nothing to close."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Playback:
    """How to play a document: up to ``step`` characters every ``interval`` seconds. A ``seed`` makes it repeatable."""

    document: str = "tour"
    interval: float = 0.5
    step: int = 30
    seed: int | None = None


class Play:
    """A document in UTF-8 chunks of 1 to ``step`` characters, the first at once; b"" at the end."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._text = read_document(playback.document)
        self._random = random.Random(playback.seed)  # noqa: S311 (a simulation)
        self._position = 0
        self._due = 0.0

    async def read(self) -> bytes:
        clock = asyncio.get_running_loop().time
        if self._position >= len(self._text):
            return b""
        # A fixed time, not a duration: a cancelled wait continues with the next read.
        if (seconds := self._due - clock()) > 0:
            await asyncio.sleep(seconds)
        self._due = clock() + self._playback.interval
        piece = self._text[self._position : self._position + self._random.randint(1, self._playback.step)]
        self._position += len(piece)
        return piece.encode()

    def close(self, *, linger: bool = False) -> None:
        """Nothing to close."""


@cache
def read_document(name: str) -> str:
    """The text of one of DOCUMENTS. KeyError for any other name."""
    if name not in DOCUMENTS:
        raise KeyError(name)
    return (FOLDER / f"{name}.md").read_text("utf-8")
