"""Writes rows to the database in batches from a background thread, so that callers never wait for the database."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from django.db import InterfaceError, OperationalError, connections

logger = logging.getLogger(__name__)

MAX_WAITING = 20_000
"""How many rows are queued while they cannot be written. Further rows are discarded and counted."""

BATCH = 500
GATHER_SECONDS = 0.25
RETRY_SECONDS = 2.0
"""How long to wait before trying an unavailable database again."""

CLOSE_SECONDS = 3.0

MAX_ATTEMPTS = 3
"""For a single row that fails with a possibly temporary error while the database accepts other rows."""

Item = TypeVar("Item")


def storable(text: str, most: int | None = None) -> str:
    """Text that every database accepts: without NUL and lone surrogates, and of at most so many characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:most]


def _shown(error: Exception) -> str:
    """An error for the log. Only its first line: below it, databases quote the row, with what somebody wrote."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"


@dataclass(slots=True)
class _Row(Generic[Item]):
    item: Item
    attempts: int = 0


class WriteBehind(Generic[Item]):
    """Accepts rows at once and writes them later.

    ``write(items, lost)`` writes all items and the number of lost rows in one transaction; on failure it raises any
    exception and has written nothing. So what it does after the transaction must not raise: the rows would be written
    again. ``probe()`` tries to write a row that is certainly valid and raises if that fails. ``what`` names the rows in
    log messages.

    A row that fails while the probe succeeds is discarded, so that it does not hold up the others. While the probe
    fails too, the database is unavailable and all rows wait.
    """

    def __init__(
        self,
        what: str,
        write: Callable[[Sequence[Item], int], None],
        probe: Callable[[], None],
        *,
        max_waiting: int = MAX_WAITING,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._what = what
        self._write = write
        self._probe = probe
        self._max_waiting = max_waiting
        self._retry_seconds = retry_seconds
        self._queue: deque[_Row[Item]] = deque()
        self._batch: list[_Row[Item]] = []
        self._unreported = 0
        self._filled, self._closing = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.lost = 0

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._batch)

    def state(self) -> dict[str, Any]:
        """The figures of this process for ``/healthz``."""
        return {"waiting": self.waiting, "lost": self.lost}

    def put(self, item: Item) -> None:
        """Queue a row. Neither blocks nor raises."""
        if self.waiting >= self._max_waiting:
            self._count_lost(1)
            return
        self._queue.append(_Row(item))
        self._filled.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Write the remaining rows, within CLOSE_SECONDS. Further calls do nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._filled.set()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)
        if self.waiting:
            logger.error("%d %s were not recorded before the end", self.waiting, self._what)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"write {self._what}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the process is ending, or has too many: the next row tries again
                    logger.warning("no %s can be written now: %s", self._what, error)
                    return
                self._thread = thread
                _started.add(self)
                atexit.register(self.close)

    def _run(self) -> None:
        while self._filled.wait():
            self._filled.clear()
            self._closing.wait(GATHER_SECONDS)
            while self.waiting or self._unreported:
                if not self._write_batch() and self._closing.wait(self._retry_seconds):
                    return
            if self._closing.is_set():
                return

    def _write_batch(self) -> bool:
        """Whether the next batch may follow at once."""
        while self._queue and len(self._batch) < BATCH:
            self._batch.append(self._queue[0])  # before it leaves the queue, so that it is waiting at every moment
            self._queue.popleft()
        try:
            self._write_all()
        except Exception as error:  # noqa: BLE001 (a row may raise anything, and the others are written)
            if self._takes_rows():
                return self._write_one_by_one()
            logger.warning("the database accepts no %s: %s; %d are waiting", self._what, _shown(error), self.waiting)
            return False
        finally:
            connections.close_all()
        return True

    def _write_all(self) -> None:
        lost = self._unreported
        self._write([row.item for row in self._batch], lost)
        self._batch = []
        with self._lock:
            self._unreported -= lost

    def _takes_rows(self) -> bool:
        connections.close_all()  # the last connection may be broken
        try:
            self._probe()
        except Exception:  # noqa: BLE001 (whatever it raises, the database is unavailable)
            return False
        return True

    def _write_one_by_one(self) -> bool:
        """Whether the next batch may follow at once: no row waits for another attempt."""
        is_done = True
        while self._batch:
            row = self._batch[0]
            try:
                self._write([row.item], 0)
            except Exception as error:  # noqa: BLE001 (the same)
                if not self._takes_rows():
                    return False
                row.attempts += 1
                if isinstance(error, OperationalError | InterfaceError) and row.attempts < MAX_ATTEMPTS:
                    self._queue.append(row)
                    is_done = False
                else:
                    # On one line, without a traceback: many rows may fail in the same way.
                    logger.error("one of the %s can never be recorded: %s", self._what, _shown(error))  # noqa: TRY400
                    self._count_lost(1)
            del self._batch[0]
        return is_done

    def _count_lost(self, count: int) -> None:
        with self._lock:
            self.lost += count
            self._unreported += count


_started: WeakSet[WriteBehind[Any]] = WeakSet()
"""Those that have a thread."""


async def close_all() -> None:
    """Writes what is left in this process, within CLOSE_SECONDS: for servers that end without calling ``atexit``."""
    await asyncio.gather(*[asyncio.to_thread(each.close) for each in list(_started)])
