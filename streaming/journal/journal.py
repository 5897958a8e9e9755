"""The interface of a journal: it keeps the events of every stream, so that clients can resume it.

The events of a stream are numbered 0, 1, 2, ...; ``-1`` is the number before the first. They are stored in batches of
encoded, moderated events, addressed by the number of their last event. Unmoderated text is never stored.

One *driver* appends to a stream's log, and any number of readers follow it. ``memory.py`` keeps logs in this process,
``redis/`` shares them with all workers; ``tests/test_journal.py`` runs the same tests on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.journal.log import LogReader, StreamInfo, StreamLog

OnStop = Callable[[str], None]
"""Called once when the stream has to end: with "stopped" (by a request) or "error" (the log is lost)."""


@dataclass(frozen=True, slots=True)
class StreamState:
    info: StreamInfo
    last: int
    """The number of the newest event; -1 before the first."""
    ended: str
    """Why it ended: the reason in its ``done`` event. Empty while it is running."""


@dataclass(frozen=True, slots=True)
class Limits:
    keep: float = 300
    """Seconds that a stream is kept after its end."""
    stream_bytes: int = 1 << 20
    """For one stream: its newest events up to this size are kept, and its slowest reader may be this far behind."""
    total_bytes: int = 256 << 20
    """For all streams in this process, including the memory overhead of Python's objects."""


class Journal(Protocol):
    async def start(self) -> None:
        """Connects to the store, so that ``state`` can report it. Optional, and may be called more than once."""

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        """The log of a new stream, for its driver. Raises AlreadyClaimed, JournalFull."""

    async def find(self, stream: str) -> StreamState:
        """The state of a stream. Raises UnknownStream, StoreUnavailable."""

    async def claimed_by(self, claim: str) -> str:
        """The stream that has this claim. Raises UnknownStream, StoreUnavailable."""

    async def follow(self, stream: str, after: int | None = None) -> LogReader:
        """Reads the events after this one: first the stored ones, then new ones. None: from the start, compacted.

        Raises Gap if some of them are no longer kept; UnknownStream, StoreUnavailable.
        """

    async def stop(self, stream: str) -> None:
        """Makes the driver, in any worker, end the stream. Raises UnknownStream, StoreUnavailable."""

    async def post(self, notice: bytes) -> list[str]:
        """Shows this worker's notice to all workers for some seconds. Returns what they have asked of it since."""

    async def notices(self) -> list[tuple[str, bytes]]:
        """The notices of all workers, with the worker of each. Raises StoreUnavailable."""

    async def ask(self, worker: str, request: str) -> None:
        """Asks something of a worker: its next ``post`` returns it. Raises StoreUnavailable."""

    async def discard(self, log: StreamLog) -> None:
        """Deletes a stream that failed before its first event: readers that wait for it get UnknownStream. Its claim
        is free again."""

    def state(self) -> dict[str, Any]:
        """For operators: the type of the store, whether it responds, and how much it contains."""

    async def close(self) -> None:
        """Stores all pending events, and closes the connections to the store."""
