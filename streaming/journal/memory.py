"""A journal in the memory of one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from streaming.journal.errors import AlreadyClaimed, JournalFull, UnknownStream
from streaming.journal.journal import Limits, OnStop, StreamState
from streaming.journal.log import LogReader, StreamInfo, StreamLog

LOG_OVERHEAD = 900
"""The overhead of a stream, in bytes, besides its events and its ``last_words``."""


class MemoryJournal:
    """Keeps streams in memory. Above the limit, the oldest ended streams are dropped; running ones never are."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.bytes = 0
        self._limits = limits
        self._clock = clock
        self._logs: dict[str, StreamLog] = {}
        self._on_stop: dict[str, OnStop] = {}  # of running streams
        self._expiry: dict[str, float] = {}  # of ended streams, the oldest first
        self._claims: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._notice = b""
        self._asked: list[str] = []

    def __contains__(self, stream: str) -> bool:
        self._forget_expired()
        return stream in self._logs

    async def start(self) -> None:
        """Does nothing: there is no store to connect to."""

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        self.refuse_claimed(info)
        self.refuse_full()
        return self.add(KeptLog(info, self._limits.stream_bytes, self), on_stop)

    def refuse_claimed(self, info: StreamInfo) -> None:
        """Raises AlreadyClaimed if a stream in this process has the same claim."""
        self._forget_expired()
        if (other := self._claims.get(info.claim)) is not None:
            raise AlreadyClaimed(other, self._logs[other].info.fingerprint)

    def refuse_full(self) -> None:
        """Raises JournalFull if dropping ended streams does not make enough room."""
        while self.bytes >= self._limits.total_bytes and self._forget_oldest():
            pass
        if self.bytes >= self._limits.total_bytes:
            raise JournalFull("the running streams use all of the memory for streams; try again later")

    def add(self, log: StreamLog, on_stop: OnStop) -> StreamLog:
        log.on_size = self._count
        self._count(LOG_OVERHEAD + len(log.info.last_words))
        self._logs[log.info.id] = log
        self._on_stop[log.info.id] = on_stop
        if log.info.claim:
            self._claims[log.info.claim] = log.info.id
        return log

    async def find(self, stream: str) -> StreamState:
        log = self.log(stream)
        return StreamState(log.info, log.last, log.ended)

    async def claimed_by(self, claim: str) -> str:
        self._forget_expired()
        if not (stream := self._claims.get(claim)):
            raise UnknownStream("there is no stream with this key, or it has expired")
        return stream

    async def follow(self, stream: str, after: int | None = None) -> LogReader:
        return self.log(stream).reader(after)

    async def stop(self, stream: str) -> None:
        self.log(stream)
        self.end_running(stream, "stopped")

    def log(self, stream: str) -> StreamLog:
        if stream not in self:
            raise UnknownStream("there is no such stream, or it has expired")
        return self._logs[stream]

    def running(self) -> list[StreamLog]:
        return [self._logs[stream] for stream in self._on_stop]

    def end_running(self, stream: str, reason: str) -> None:
        """Makes a running stream end: because it was stopped, or (reason "error") because its log is lost."""
        if on_stop := self._on_stop.get(stream):
            on_stop(reason)

    def ended(self, log: StreamLog) -> None:
        """Starts the time for which an ended stream is kept."""
        if self._on_stop.pop(log.info.id, None) and log.info.id in self._logs:
            self._expiry[log.info.id] = self._clock() + self._limits.keep
            log.pack()
            self._set_timer()

    async def post(self, notice: bytes) -> list[str]:
        asked, self._asked, self._notice = self._asked, [], notice
        return asked

    async def notices(self) -> list[tuple[str, bytes]]:
        return [("", self._notice)] if self._notice else []

    async def ask(self, worker: str, request: str) -> None:
        self._asked.append(request)

    async def discard(self, log: StreamLog) -> None:
        self.forget(log.info.id)
        log.fail(UnknownStream("the stream failed before it began"))

    def forget(self, stream: str) -> None:
        self._expiry.pop(stream, None)
        self._on_stop.pop(stream, None)
        if log := self._logs.pop(stream, None):
            self._claims.pop(log.info.claim, None)
            log.release()
            self._count(-LOG_OVERHEAD - len(log.info.last_words))

    def state(self) -> dict[str, Any]:
        self._forget_expired()
        running = len(self._logs) - len(self._expiry)
        return {"store": "memory", "status": "ok", "running": running, "kept": len(self._expiry), "bytes": self.bytes}

    async def close(self) -> None:
        for stream in list(self._logs):
            self.forget(stream)
        if self._timer:
            self._timer.cancel()

    def _count(self, change: int) -> None:
        self.bytes += change
        while self.bytes > self._limits.total_bytes and self._forget_oldest():
            pass

    def _forget_oldest(self) -> bool:
        if oldest := next(iter(self._expiry), None):
            self.forget(oldest)
        return oldest is not None

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._expiry and next(iter(self._expiry.values())) <= now:
            self._forget_oldest()

    def _set_timer(self) -> None:
        """Expires streams on time, so that their memory is freed without waiting for a request."""
        if self._timer is None and self._expiry:
            delay = next(iter(self._expiry.values())) - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(delay, 1), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._forget_expired()
        self._set_timer()


class KeptLog(StreamLog):
    """A log that notifies its journal when it ends."""

    def __init__(self, info: StreamInfo, max_bytes: int, journal: MemoryJournal) -> None:
        super().__init__(info, max_bytes)
        self._journal = journal

    def end(self, reason: str) -> None:
        super().end(reason)
        self._journal.ended(self)
