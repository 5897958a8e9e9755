"""Stores the streams that this worker drives: new events of all of them in one call, at most every FLUSH seconds."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any, NamedTuple

from streaming.journal.errors import AlreadyClaimed
from streaming.journal.journal import Limits
from streaming.journal.log import StreamLog
from streaming.journal.memory import MemoryJournal
from streaming.journal.redis import keys, scripts
from streaming.journal.redis.connections import COMMAND_BEATS, Connections
from streaming.journal.redis.logs import SharedLog
from streaming.redis_client import STORE_ERRORS

logger = logging.getLogger(__name__)

FLUSH = 0.025
"""The minimum of seconds between two calls that store new events."""
FLUSH_BYTES = 256 * 1024
"""The approximate limit for one stream in one call."""
FLUSH_STREAMS = 256
"""The limit of streams in one call, because Redis is blocked while a script runs."""


class Entry(NamedTuple):
    """The new events of one stream in one call: arguments of scripts.APPEND."""

    epoch: int
    first: int
    last: int
    is_gap: int
    ended: str
    ttl: int
    keep_from: int
    data: bytes


class StreamWriter:
    def __init__(
        self, connections: Connections, memory: MemoryJournal, limits: Limits, worker: str, beat: float
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        """Stores events at the moment; None if there are none, or Redis is away."""
        self._connections = connections
        self._memory = memory
        self._limits = limits
        self._worker = worker
        self._beat = beat
        self._unstored: dict[str, SharedLog] = {}
        self._undeleted: dict[str, StreamLog] = {}  # discarded, and perhaps still in Redis
        self._being_stored = 0
        self._flushed_at = 0.0
        self._append = connections.own.register_script(scripts.APPEND)
        self._open, self._discard = map(connections.requests.register_script, (scripts.OPEN, scripts.DISCARD))

    @property
    def unstored(self) -> int:
        """Streams with events that are not stored yet."""
        return len(self._unstored) + self._being_stored

    async def create(self, log: SharedLog, *, with_claim: bool) -> None:
        """Raises AlreadyClaimed. While Redis is away the stream goes on without, and is created when Redis is back."""
        info = log.info
        fields: dict[str, str | bytes | int] = {
            "owner": info.owner,
            "dialect": info.dialect,
            "words": info.last_words,
            "claim": info.claim,
            "fingerprint": info.fingerprint,
            "worker": self._worker,
            "epoch": log.epoch,
            "last": -1,
            "ended": "",
        }
        meta, entries = keys.of_stream(info.id)
        flat = itertools.chain.from_iterable(fields.items())
        args: list[Any] = [info.id, keys.PREFIX, self._running_ttl, int(with_claim), *flat]
        if self._connections.is_away:
            return
        log.may_be_stored = True
        try:
            other = await self._open(keys=[meta, keys.of_claim(info.claim), entries], args=args)
        except STORE_ERRORS as error:
            self._connections.set_away(error)
            return
        if other:
            log.may_be_stored = False
            raise AlreadyClaimed(other[0].decode(), other[1].decode())

    async def discard(self, log: StreamLog) -> None:
        """Deletes the stream in Redis; while Redis is away, as soon as it is back."""
        self._unstored.pop(log.info.id, None)
        if isinstance(log, SharedLog):
            log.is_discarded = True
            if not log.may_be_stored:
                return
        self._undeleted[log.info.id] = log
        if not self._connections.is_away:
            await self._connections.quietly(self._delete(log))

    async def _delete(self, log: StreamLog) -> None:
        names = [*keys.of_stream(log.info.id), keys.of_claim(log.info.claim)]
        await self._discard(keys=names, args=[log.info.id])
        self._undeleted.pop(log.info.id, None)

    def store(self, log: SharedLog) -> None:
        """Schedules the storing of a log's new events."""
        self._unstored[log.info.id] = log
        if self.task is None and not self._connections.is_away:
            self.task = asyncio.get_running_loop().create_task(self._flush_soon())

    def store_running(self) -> None:
        """Checks the running streams, and stores them again if Redis has lost them."""
        for log in self._memory.running():
            if isinstance(log, SharedLog):
                self.store(log)

    def store_what_is_left(self) -> None:
        for log in list(self._unstored.values()):
            self.store(log)
        for discarded in self._undeleted.values():
            self._connections.in_background(self._delete(discarded))

    def drop_forgotten(self) -> None:
        """While Redis is away: a stream that is no longer kept need not be stored any more, and would take memory."""
        for stream in [stream for stream in self._unstored if stream not in self._memory]:
            del self._unstored[stream]

    def touch_silent(self) -> None:
        """Keeps streams that have been silent for minutes from expiring."""
        now = time.monotonic()
        for log in self._memory.running():
            if isinstance(log, SharedLog) and now > log.ttl_set_at + 30:
                self.store(log)

    async def finish(self) -> None:
        """Waits until all is stored, but not for long."""
        if self.task:
            await asyncio.wait({self.task}, timeout=COMMAND_BEATS * self._beat)

    async def _flush_soon(self) -> None:
        try:
            while self._unstored and not self._connections.is_away:
                if (wait := self._flushed_at + FLUSH - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                self._flushed_at = time.monotonic()
                try:
                    await self._flush()
                except STORE_ERRORS as error:
                    self._connections.set_away(error)
        finally:
            self.task = None

    async def _flush(self) -> None:
        """Stores the new events of many streams in one call."""
        logs = list(itertools.islice(self._unstored.values(), FLUSH_STREAMS))
        for log in logs:
            del self._unstored[log.info.id]
        self._being_stored = len(logs)
        entries = [self._entry(log) for log in logs]
        names = list(itertools.chain.from_iterable(keys.of_stream(log.info.id) for log in logs))
        try:
            answers = await self._append(keys=names, args=list(itertools.chain.from_iterable(entries)))
            for log, entry, answer in zip(logs, entries, answers, strict=True):
                await self._stored(log, entry, answer)
        except BaseException:
            self._unstored.update((log.info.id, log) for log in logs if log.info.id in self._memory)
            raise
        finally:
            self._being_stored = 0

    def _entry(self, log: SharedLog) -> Entry:
        data, last = log.after(log.stored, FLUSH_BYTES)
        first = max(log.stored + 1, log.first)
        ended = log.ended if last == log.last else ""
        is_gap = data != b"" and first > log.stored + 1
        ttl = self._ttl(log, ended, is_new=log.stored < 0 and data != b"")
        return Entry(log.epoch, first, last, int(is_gap), ended, ttl, log.first, data)

    def _ttl(self, log: SharedLog, ended: str, *, is_new: bool) -> int:
        """The time to live in seconds, set at most once per second, and with the first events; 0: unchanged."""
        if ended:
            return max(int(self._limits.keep), 1)
        if (now := time.monotonic()) < log.ttl_set_at + 1 and not is_new:
            return 0
        log.ttl_set_at = now
        return self._running_ttl

    @property
    def _running_ttl(self) -> int:
        return int(self._limits.keep) + 60

    async def _stored(self, log: SharedLog, entry: Entry, answer: int) -> None:
        stream = log.info.id
        if answer == scripts.OTHER_EPOCH:
            logger.warning("this worker's lease had expired, and another worker has ended one of its streams")
            self._memory.end_running(stream, "error")
            self._memory.forget(stream)
        elif answer == scripts.MISSING:
            await self._create_again(log)
        else:
            log.stored = answer
            if entry.ended and answer == log.last:
                self._memory.forget(stream)
            elif log.ended or answer < log.last:
                self._unstored[stream] = log

    async def _create_again(self, log: SharedLog) -> None:
        """Redis lost its data, or was unavailable when the stream began; unless the stream has just been discarded."""
        if log.is_discarded:
            return
        log.stored, log.ttl_set_at = -1, 0.0
        try:
            await self.create(log, with_claim=log.info.claim != "")
        except AlreadyClaimed:  # while Redis was unavailable
            await self.create(log, with_claim=False)
        if log.is_discarded:
            await self.discard(log)
        else:
            self._unstored[log.info.id] = log
