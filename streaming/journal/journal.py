"""What a journal promises: it keeps what was sent of each stream, so that a client can come back to it.

The events of a stream are numbered 0, 1, 2, ...; ``-1`` is the number before the first. What is kept are batches of
encoded, moderated events, addressed by the number of their last one. Unmoderated text never comes here.

One *driver* appends to a stream's log, any number of readers follow it. ``memory.py`` keeps logs in this process,
``redis.py`` shows them to every worker; ``tests/test_journal.py`` holds both to the same promises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.journal.log import LogReader, StreamInfo, StreamLog

OnStop = Callable[[str], None]
"""Called once when the stream has to end: with "stopped" (somebody asked for it) or "error" (the log is lost)."""


@dataclass(frozen=True, slots=True)
class StreamState:
    info: StreamInfo
    last: int
    """The number of the newest event; -1 before the first."""
    ended: str
    """Why it ended, as ``done`` says it; empty while it is running."""


@dataclass(frozen=True, slots=True)
class Limits:
    keep: float = 300
    """Seconds that a stream is kept after its end."""
    stream_bytes: int = 1 << 20
    """Of one stream: so much of it is kept at least, and sent ahead of its slowest reader at most."""
    total_bytes: int = 256 << 20
    """Of all streams in this process, with what Python needs to hold them."""


class Journal(Protocol):
    async def start(self) -> None:
        """Asks for the store, so that ``state`` knows of it. More than once does no harm; it is not needed first."""

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        """The log of a new stream, for its driver. AlreadyClaimed, JournalFull."""

    async def find(self, stream: str) -> StreamState:
        """How the stream stands. UnknownStream, StoreUnavailable."""

    async def follow(self, stream: str, after: int | None = None) -> LogReader:
        """Reads what comes after this event, first what there is, then live; None: from the start, compacted.

        Gap if something of it is not there any more; UnknownStream, StoreUnavailable.
        """

    async def stop(self, stream: str) -> None:
        """Asks the driver, wherever it is, to end the stream. UnknownStream, StoreUnavailable."""

    async def discard(self, log: StreamLog) -> None:
        """Forgets a stream that failed before its first event: who waits for it gets UnknownStream."""

    def state(self) -> dict[str, Any]:
        """For operators: the store, whether it answers, and how much it holds."""

    async def close(self) -> None:
        """Stores what waits to be stored, and lets the store go."""
