"""Streams that begin here: ticks, and documents played back the way an LLM answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from streaming.sse import Message

FOLDER = Path(__file__).with_name("documents")
DOCUMENTS = tuple(sorted(path.stem for path in FOLDER.glob("*.md")))


async def ticks(after: int | None = None, interval: float = 1.0) -> AsyncGenerator[list[Message]]:
    """``connect``, then a message each ``interval`` seconds, numbered 0, 1, 2 ..., or from ``after`` + 1.

    ``connect`` carries the number before the first message's, so that who reconnects at once loses no count.
    """
    number = -1 if after is None else after
    yield [Message(_now(), "connect", str(number), retry=10_000)]
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        # Counted from the last due time, so that the beat does not drift; a beat that was missed is left out.
        due = max(due + interval, clock())
        await asyncio.sleep(due - clock())
        number += 1
        yield [Message(_now(), id=str(number))]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Playback:
    """How a document is played: at most ``step`` characters each ``interval`` seconds; a ``seed`` fixes the dice."""

    document: str = "tour"
    interval: float = 0.5
    step: int = 30
    seed: int | None = None


async def play(playback: Playback) -> AsyncGenerator[str]:
    """The document in pieces of 1 to ``step`` characters, the first at once."""
    text, dice = read_document(playback.document), random.Random(playback.seed)  # noqa: S311 (a simulation)
    at = 0
    while at < len(text):
        if at:
            await asyncio.sleep(playback.interval)
        size = dice.randint(1, playback.step)
        yield text[at : at + size]
        at += size


@cache
def read_document(name: str) -> str:
    """A document's text. Its name is one of DOCUMENTS: nothing else is a file here."""
    if name not in DOCUMENTS:
        raise KeyError(name)
    return (FOLDER / f"{name}.md").read_text("utf-8")
