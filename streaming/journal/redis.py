"""A journal shared by several workers, in Redis or Valkey: every worker can read the streams of all others.

A stream is driven in one worker, which also keeps it in memory, so that readers in the same worker do not depend on
Redis. New events of all streams are stored in one call, at most every ``FLUSH`` seconds. A worker that follows streams
of other workers keeps *replicas* of them in memory, filled by a single blocking XREAD.

A worker holds a *lease*, a key that expires after a few heartbeats. When it has expired, any worker that follows one of
its streams *seals* the stream: it ends the stream on behalf of the dead worker, under a new *epoch*, so that a worker
that was only slow can no longer write to it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from typing import Any, NamedTuple

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streaming.journal import scripts
from streaming.journal.errors import AlreadyClaimed, Gap, StoreUnavailable, UnknownStream
from streaming.journal.journal import Limits, OnStop, StreamState
from streaming.journal.log import LogReader, StreamInfo, StreamLog, without_first
from streaming.journal.memory import KeptLog, MemoryJournal

logger = logging.getLogger(__name__)

FLUSH = 0.025
"""The minimum of seconds between two calls that store new events."""
FLUSH_BYTES = 256 * 1024
"""The approximate limit for one stream in one call."""
FLUSH_STREAMS = 256
"""The limit of streams in one call, because Redis is blocked while a script runs."""
BEAT = 1.0
"""Seconds between two heartbeats, which renew the lease and check those of other workers."""
LEASE_BEATS = 3.5
"""The lifetime of a lease, in heartbeats. A dead worker is noticed at most one heartbeat after that."""
AWAY_BEATS = 5.0
"""How long readers of other workers' streams wait for Redis to come back, in heartbeats."""
NOTICE_BEATS = 4.0
"""How long a worker's notice is shown after it was posted, in heartbeats."""
COMMAND_BEATS = 3.0
"""Seconds to wait for a response of Redis before it counts as unavailable."""
SEAL_JUMP = 1_000_000
"""The gap before the event numbers of a seal, so that the dead worker cannot have sent the same numbers."""

STORE_ERRORS = (RedisError, OSError, TimeoutError)
PREFIX = "streams:"
NOTICES = f"{PREFIX}notices"
"""The workers that have posted a notice, by the time of the last."""

Message = dict[str, str | int]
"""A message to a worker. Its kind is stop, watch, leave, or nudge (to itself: reload the list of keys to read)."""


class RedisJournal:
    def __init__(self, url: str, limits: Limits, *, beat: float = BEAT) -> None:
        self._limits = limits
        self._beat = beat
        self._memory = MemoryJournal(limits)
        self._worker = uuid.uuid4().hex
        self._inbox = _inbox_key(self._worker)
        self._inbox_at = b"0-0"
        self._replicas: dict[str, Replica] = {}
        self._loading: dict[str, asyncio.Task[Replica]] = {}
        self._watchers: dict[tuple[str, str], tuple[LogReader, float]] = {}
        self._unstored: dict[str, SharedLog] = {}
        self._flush_task: asyncio.Task[None] | None = None
        self._flushed_at = 0.0
        self._being_stored = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._back_since = float("-inf")
        self._lost_at = float("-inf")
        self._is_leased = False
        self._asked_for: dict[str, asyncio.Future[Found]] = {}
        self._look_up_task: asyncio.Task[None] | None = None
        # One connection each: for this worker's own work, for what clients ask, and to listen. A crowd of clients must
        # not delay the heartbeat, and that it waits does not mean that Redis is away.
        self._redis = _client(url, COMMAND_BEATS * beat)
        self._requests = _client(url, COMMAND_BEATS * beat, wait=5 * COMMAND_BEATS * beat)
        self._listener = _client(url, (COMMAND_BEATS + 1) * beat)
        self._append = self._redis.register_script(scripts.APPEND)
        self._open, self._find, self._seal, self._discard = map(
            self._requests.register_script, (scripts.OPEN, scripts.FIND, scripts.SEAL, scripts.DISCARD)
        )

    # --- The interface of a journal

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        await self.start()
        self._memory.refuse_claimed(info)
        self._memory.refuse_full()
        log = SharedLog(info, self._limits.stream_bytes, self._memory, self)
        while info.claim and self._may_still_be_stored and self._away_since is None:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(self._beat / 4)
        try:
            # Redis decides first which stream has the claim: until then, other requests must not find it in memory.
            await self._create(log, with_claim=bool(info.claim))
        except asyncio.CancelledError:
            self._in_background(self.discard(log))
            raise
        return self._memory.add(log, on_stop)

    async def find(self, stream: str) -> StreamState:
        if stream in self._memory:
            return await self._memory.find(stream)
        meta = await self._meta(stream)
        return StreamState(_info(stream, meta), int(meta[b"last"]), meta[b"ended"].decode())

    async def follow(self, stream: str, after: int | None = None) -> LogReader:
        if stream in self._memory:
            return await self._memory.follow(stream, after)
        return (await self._replica(stream)).reader(after)

    async def stop(self, stream: str) -> None:
        if stream in self._memory:
            return await self._memory.stop(stream)
        meta = await self._meta(stream)
        if not meta[b"ended"]:
            await self._answered(self._send_message(meta[b"worker"].decode(), {"kind": "stop", "stream": stream}))
        return None

    async def discard(self, log: StreamLog) -> None:
        self._unstored.pop(log.info.id, None)
        if self._away_since is None:
            # Redis first: readers that wait here may claim the key as soon as they are notified.
            keys = [*_keys(log.info.id), _claim_key(log.info.claim)]
            await self._quietly(self._discard(keys=keys, args=[log.info.id]))
        await self._memory.discard(log)

    def state(self) -> dict[str, Any]:
        away = {} if self._away_since is None else {"away_seconds": round(time.monotonic() - self._away_since)}
        return {
            **self._memory.state(),
            "store": "redis",
            "status": "away" if away else "ok",
            **away,
            "followed": len(self._replicas),
            "unstored": len(self._unstored) + self._being_stored,
        }

    async def close(self) -> None:
        if self._started is None:
            return
        if self._flush_task:
            await asyncio.wait({self._flush_task}, timeout=COMMAND_BEATS * self._beat)
        if self._away_since is None:
            await self._quietly(self._redis.delete(_lease_key(self._worker), self._inbox))
        await self._cancel_tasks()
        for replica in list(self._replicas.values()):
            replica.fail(StoreUnavailable("this worker is going down"))
        await self._memory.close()
        await asyncio.gather(self._redis.aclose(), self._requests.aclose(), self._listener.aclose())

    async def _cancel_tasks(self) -> None:
        others = [task for task in (self._flush_task, self._look_up_task) if task]
        tasks = {*self._tasks, *self._loading.values(), *others}
        while tasks:
            for task in tasks:
                task.cancel()
            # A cancellation can be mistaken for a timeout that happens at the same moment.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    # --- Notices of workers

    async def post(self, notice: bytes) -> list[str]:
        await self.start()
        async with self._requests.pipeline(transaction=True) as pipeline:
            if notice:
                pipeline.set(_notice_key(self._worker), notice, px=int(NOTICE_BEATS * self._beat * 1000))
                pipeline.zadd(NOTICES, {self._worker: time.time()})
                pipeline.expire(NOTICES, 60)
            else:
                pipeline.delete(_notice_key(self._worker))
                pipeline.zrem(NOTICES, self._worker)
            pipeline.lrange(_asked_key(self._worker), 0, -1)
            pipeline.delete(_asked_key(self._worker))
            answers = await self._answered(pipeline.execute())
        return [request.decode() for request in answers[-2]]

    async def notices(self) -> list[tuple[str, bytes]]:
        await self.start()
        workers = await self._answered(self._requests.zrange(NOTICES, 0, -1))
        if not workers:
            return []
        found = await self._answered(self._requests.mget([_notice_key(worker.decode()) for worker in workers]))
        if gone := [worker for worker, notice in zip(workers, found, strict=True) if notice is None]:
            await self._answered(self._requests.zrem(NOTICES, *gone))
        return [(worker.decode(), notice) for worker, notice in zip(workers, found, strict=True) if notice]

    async def ask(self, worker: str, request: str) -> None:
        async with self._requests.pipeline(transaction=True) as pipeline:
            pipeline.rpush(_asked_key(worker), request)
            pipeline.expire(_asked_key(worker), 60)
            await self._answered(pipeline.execute())

    # --- Streams driven by this worker

    async def _create(self, log: SharedLog, *, with_claim: bool) -> None:
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
        meta, _ = _keys(info.id)
        flat = itertools.chain.from_iterable(fields.items())
        args: list[Any] = [info.id, PREFIX, self._running_ttl, int(with_claim), *flat]
        if self._away_since is not None:
            return  # the stream continues without Redis, and is created there when Redis is back
        try:
            other = await self._open(keys=[meta, _claim_key(info.claim)], args=args)
        except STORE_ERRORS as error:
            self._set_away(error)
            return
        if other:
            raise AlreadyClaimed(other[0].decode(), other[1].decode())

    def store(self, log: SharedLog) -> None:
        """Schedules the storing of a log's new events."""
        self._unstored[log.info.id] = log
        if self._flush_task is None and self._away_since is None:
            self._flush_task = asyncio.get_running_loop().create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        try:
            while self._unstored and self._away_since is None:
                if (wait := self._flushed_at + FLUSH - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                self._flushed_at = time.monotonic()
                try:
                    await self._flush()
                except STORE_ERRORS as error:
                    self._set_away(error)
        finally:
            self._flush_task = None

    async def _flush(self) -> None:
        """Stores the new events of many streams in one call."""
        logs = list(itertools.islice(self._unstored.values(), FLUSH_STREAMS))
        for log in logs:
            del self._unstored[log.info.id]
        self._being_stored = len(logs)
        entries = [self._entry(log) for log in logs]
        keys = list(itertools.chain.from_iterable(_keys(log.info.id) for log in logs))
        try:
            answers = await self._append(keys=keys, args=list(itertools.chain.from_iterable(entries)))
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
        return Entry(log.epoch, first, last, int(is_gap), ended, self._ttl(log, ended), log.first, data)

    def _ttl(self, log: SharedLog, ended: str) -> int:
        """The time to live in seconds, set at most once per second; 0: unchanged."""
        if ended:
            return max(int(self._limits.keep), 1)
        if (now := time.monotonic()) < log.ttl_set_at + 1:
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
            # Redis lost its data, or was unavailable when the stream began: store the stream again.
            log.stored, log.ttl_set_at = -1, 0.0
            try:
                await self._create(log, with_claim=log.info.claim != "")
            except AlreadyClaimed:  # while Redis was unavailable
                await self._create(log, with_claim=False)
            self._unstored[stream] = log
        else:
            log.stored = answer
            if entry.ended and answer == log.last:
                self._memory.forget(stream)
            elif log.ended or answer < log.last:
                self._unstored[stream] = log

    # --- Streams driven by other workers

    async def _meta(self, stream: str) -> dict[bytes, bytes]:
        """The stream's metadata in Redis. The stream is sealed first if its worker is dead."""
        await self.start()
        while True:
            found: Found = await self._answered(self._look_up(stream))
            meta = found.meta
            if not meta and self._may_still_be_stored:
                await asyncio.sleep(self._beat / 4)
                continue
            if not meta:
                raise UnknownStream("there is no such stream, or it has expired")
            if meta[b"ended"] or found.is_alive:
                return meta
            await self._answered(self._seal_stream(stream, meta))

    async def _look_up(self, stream: str) -> Found:
        """All streams that are asked for meanwhile are looked up in one call."""
        if (asked := self._asked_for.get(stream)) is None:
            asked = self._asked_for[stream] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody may wait any more
        if self._look_up_task is None:
            self._look_up_task = asyncio.get_running_loop().create_task(self._look_up_all())
        return await asyncio.shield(asked)

    async def _look_up_all(self) -> None:
        asked: dict[str, asyncio.Future[Found]] = {}
        try:
            while self._asked_for:
                asked, self._asked_for = self._asked_for, {}
                try:
                    for future, found in zip(asked.values(), await self._found(list(asked)), strict=True):
                        future.set_result(found)
                except STORE_ERRORS as error:
                    for future in asked.values():
                        future.set_exception(error)
        finally:
            self._look_up_task = None
            for future in (*asked.values(), *self._asked_for.values()):
                if not future.done():
                    future.set_exception(StoreUnavailable("this worker is going down"))

    async def _found(self, streams: list[str]) -> list[Found]:
        async with self._requests.pipeline(transaction=False) as pipeline:
            for stream in streams:
                await self._find(keys=[_keys(stream)[0]], args=[PREFIX, self._worker], client=pipeline)
            answers = await pipeline.execute()
        if self._trusts_leases and not all(own for _, _, own in answers):
            self._leases_were_lost()
        return [
            Found(dict(zip(meta[::2], meta[1::2], strict=True)), bool(theirs) or not own or not self._trusts_leases)
            for meta, theirs, own in answers
        ]

    @property
    def _trusts_leases(self) -> bool:
        """Whether a missing lease means a dead worker: not while workers could not renew theirs."""
        return time.monotonic() > self._back_since + LEASE_BEATS * self._beat

    @property
    def _may_still_be_stored(self) -> bool:
        """Whether other workers may not yet have stored their streams again after an outage or a data loss."""
        return time.monotonic() < self._lost_at + LEASE_BEATS * self._beat

    def _leases_were_lost(self) -> None:
        """Redis may have lost more than the leases, so running streams are checked and stored again if needed."""
        self._back_since = self._lost_at = time.monotonic()
        for log in self._memory.running():
            if isinstance(log, SharedLog):
                self.store(log)

    async def _seal_stream(self, stream: str, meta: dict[bytes, bytes]) -> None:
        first = int(meta[b"last"]) + SEAL_JUMP
        data, last = numbered(meta[b"words"], first)
        ttl = max(int(self._limits.keep), 1)
        await self._seal(keys=[*_keys(stream)], args=[meta[b"epoch"], meta[b"last"], last, ttl, data])
        logger.warning("the worker that drove a stream has died: the stream was ended with an error")

    async def _replica(self, stream: str) -> Replica:
        if replica := self._replicas.get(stream):
            return replica
        if (loading := self._loading.get(stream)) is None:
            loading = self._loading[stream] = asyncio.get_running_loop().create_task(self._load(stream))
            loading.add_done_callback(lambda _: self._loading.pop(stream, None))
        return await asyncio.shield(loading)

    async def _load(self, stream: str) -> Replica:
        """Loads a stream from Redis. The listener adds further events to it."""
        meta = await self._meta(stream)
        entries = await self._answered(self._requests.xrange(_keys(stream)[1]))
        replica = Replica(_info(stream, meta), self._limits.stream_bytes, _first_of(entries), meta[b"worker"].decode())
        for identity, fields in entries:
            replica.take_in(identity, fields)
        replica.on_reader_left = lambda _: self._drop_unread(replica)
        self._replicas[stream] = replica
        if not replica.ended:
            self._in_background(self._introduce(replica))
        return replica

    async def _introduce(self, replica: Replica) -> None:
        """Notifies the driver of the reader, and this worker's listener of the new stream."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            self._add_message(pipeline, replica.worker, self._watch_message(replica))
            self._add_message(pipeline, self._worker, {"kind": "nudge"})
            await pipeline.execute()

    def _watch_message(self, replica: Replica) -> Message:
        return {"kind": "watch", "stream": replica.info.id, "worker": self._worker, "at": replica.slowest_position()}

    def _drop_unread(self, replica: Replica) -> None:
        if replica.readers or self._replicas.get(replica.info.id) is not replica:
            return
        del self._replicas[replica.info.id]
        if not replica.ended:
            leave: Message = {"kind": "leave", "stream": replica.info.id, "worker": self._worker}
            self._in_background(self._send_message(replica.worker, leave))

    def _cut(self, replica: Replica, error: Exception) -> None:
        """Cuts off the readers without an end event, so that their clients reconnect."""
        if self._replicas.get(replica.info.id) is replica:
            del self._replicas[replica.info.id]
        replica.fail(error)

    # --- The listening connection

    async def _listen(self) -> None:
        while True:
            if self._away_since is not None:
                await asyncio.sleep(self._beat / 4)
                continue
            await self._quietly(self._listen_once())

    async def _listen_once(self) -> None:
        followed = {_keys(stream)[1].encode(): replica for stream, replica in self._replicas.items() if replica.is_live}
        positions: dict[Any, Any] = {key: f"{replica.last + 1}-0" for key, replica in followed.items()}
        positions[self._inbox] = self._inbox_at
        answer: Any = await self._listener.xread(positions, count=200, block=max(1, int(self._beat * 1000)))
        for key, entries in answer:
            replica = followed.get(key)
            for identity, fields in entries:
                if replica:
                    self._take_in(replica, identity, fields)
                else:
                    self._inbox_at = identity
                    self._receive({name.decode(): value.decode() for name, value in fields.items()})

    def _take_in(self, replica: Replica, identity: bytes, fields: dict[bytes, bytes]) -> None:
        try:
            replica.take_in(identity, fields)
        except (Gap, UnknownStream) as error:
            self._cut(replica, error)

    def _receive(self, message: dict[str, str]) -> None:
        """Handles a message of another worker or of this one."""
        match message:
            case {"kind": "stop", "stream": stream}:
                self._memory.end_running(stream, "stopped")
            case {"kind": "watch", "stream": stream, "worker": worker, "at": position}:
                self._watched(stream, worker, int(position))
            case {"kind": "leave", "stream": stream, "worker": worker}:
                self._unwatched((stream, worker))

    def _watched(self, stream: str, worker: str, position: int) -> None:
        """A stream's readers in another worker count as one reader, at the position of the slowest."""
        if stream not in self._memory:
            return
        reader, _ = self._watchers.get((stream, worker), (None, 0))
        if reader is None:
            reader = self._memory.log(stream).stand_in()
        reader.move_to(max(position, reader.position))
        self._watchers[stream, worker] = reader, time.monotonic()

    def _unwatched(self, key: tuple[str, str]) -> None:
        if key in self._watchers:
            self._watchers.pop(key)[0].close()

    async def _send_message(self, worker: str, message: Message) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            self._add_message(pipeline, worker, message)
            await pipeline.execute()

    @staticmethod
    def _add_message(pipeline: Any, worker: str, message: Message) -> None:
        pipeline.xadd(_inbox_key(worker), message, maxlen=10_000, approximate=True)
        pipeline.expire(_inbox_key(worker), 60)

    # --- The heartbeat

    async def start(self) -> None:
        """Takes the lease, which a worker needs before its first stream. To be called in the loop that uses it."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._take_lease())
        await asyncio.shield(self._started)

    async def _take_lease(self) -> None:
        # Redis may just have lost its data. All live workers renew their leases within one heartbeat.
        self._back_since = time.monotonic() - (LEASE_BEATS - 2) * self._beat
        await self._beat_once()
        self._in_background(self._go_on_beating())
        self._in_background(self._listen())

    async def _go_on_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            await self._quietly(self._beat_once())

    async def _beat_once(self) -> None:
        await self._quietly(self._renew())
        now = time.monotonic()
        if self._away_since is not None and now > self._away_since + AWAY_BEATS * self._beat:
            for replica in [running for running in self._replicas.values() if not running.ended]:
                self._cut(replica, StoreUnavailable("the store of streams does not respond"))
        for key, (_, seen) in list(self._watchers.items()):
            if now > seen + LEASE_BEATS * self._beat or key[0] not in self._memory:
                self._unwatched(key)

    async def _renew(self) -> None:
        followed = [replica for replica in self._replicas.values() if not replica.ended]
        async with self._redis.pipeline(transaction=False) as pipeline:
            lease = int(LEASE_BEATS * self._beat * 1000)
            pipeline.set(_lease_key(self._worker), 1, px=lease, get=True)
            for replica in followed:
                self._add_message(pipeline, replica.worker, self._watch_message(replica))
            for replica in followed:
                pipeline.exists(_lease_key(replica.worker))
            answers = await pipeline.execute()
        self._set_back()
        if answers[0] is None and self._is_leased:
            self._leases_were_lost()
        self._is_leased = True
        alive = answers[len(answers) - len(followed) :] if self._trusts_leases else [True] * len(followed)
        for replica, is_alive in zip(followed, alive, strict=True):
            if not is_alive:
                await self._seal_orphan(replica)
        self._touch_silent()

    async def _seal_orphan(self, replica: Replica) -> None:
        """Seals a stream whose worker is dead; the listener receives the seal. A stream missing in Redis is cut off."""
        try:
            await self._meta(replica.info.id)
        except UnknownStream as error:
            self._cut(replica, error)

    def _touch_silent(self) -> None:
        """Keeps streams that have been silent for minutes from expiring."""
        now = time.monotonic()
        for log in self._memory.running():
            if isinstance(log, SharedLog) and now > log.ttl_set_at + 30:
                self.store(log)

    def _set_away(self, error: Exception) -> None:
        if self._away_since is None:
            logger.error(
                "Redis does not respond (%s): running streams continue for their readers in this worker", error
            )
            self._away_since = time.monotonic()

    def _set_back(self) -> None:
        if self._away_since is not None:
            logger.warning("Redis responds again after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
            self._leases_were_lost()
        for log in list(self._unstored.values()):
            self.store(log)

    async def _answered(self, command: Any) -> Any:
        """The response of Redis. Raises StoreUnavailable at once while Redis is known to be unavailable."""
        if self._away_since is not None:
            if asyncio.iscoroutine(command):
                command.close()
            raise StoreUnavailable("the store of streams does not respond")
        try:
            return await command
        except STORE_ERRORS as error:
            self._set_away(error)
            raise StoreUnavailable("the store of streams does not respond") from error

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Any) -> None:
        try:
            await work
        except STORE_ERRORS as error:
            self._set_away(error)
        except Exception:
            logger.exception("the journal failed")
            await asyncio.sleep(self._beat)


class Found(NamedTuple):
    meta: dict[bytes, bytes]
    """The stream's metadata; empty if there is no such stream."""
    is_alive: bool
    """Whether the worker that drives it is alive, as far as this one can tell."""


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


class SharedLog(KeptLog):
    """The log of a stream that is driven by this worker and shared with the others."""

    def __init__(self, info: StreamInfo, max_bytes: int, memory: MemoryJournal, journal: RedisJournal) -> None:
        super().__init__(info, max_bytes, memory)
        self.epoch = 1
        self.stored = -1
        """The number of the last event stored in Redis."""
        self.ttl_set_at = 0.0
        self._shared = journal

    def append(self, data: bytes, count: int) -> None:
        super().append(data, count)
        self._shared.store(self)

    def end(self, reason: str) -> None:
        super().end(reason)
        self._shared.store(self)


class Replica(StreamLog):
    """A copy of the log of a stream that another worker drives, as far as it is stored in Redis."""

    is_driven_here = False

    def __init__(self, info: StreamInfo, max_bytes: int, first: int, worker: str) -> None:
        super().__init__(info, max_bytes, first)
        self.worker = worker

    @property
    def is_live(self) -> bool:
        return not self.ended and self.has_room

    def take_in(self, identity: bytes, fields: dict[bytes, bytes]) -> None:
        """Adds an entry of the log in Redis. Raises Gap, or UnknownStream if the stream failed before it began."""
        last, data = int(identity.partition(b"-")[0]) - 1, fields.get(b"d", b"")
        if fields.get(b"e") == b"discarded":
            raise UnknownStream("the stream failed before it began")
        if data and last > self.last:
            first = int(fields[b"f"])
            if first > self.last + 1:
                raise Gap("the store has lost a part of the stream")
            if b"w" in fields:
                self.append_whole(data, last)
            else:
                self.append(without_first(data, self.last + 1 - first), last - self.last)
        if b"e" in fields:
            self.end(fields[b"e"].decode())


def numbered(template: bytes, first: int) -> tuple[bytes, int]:
    """The template with numbers in place of its NULs, and the last number."""
    pieces, numbers = template.split(b"\0"), itertools.count(first)
    data = pieces[0] + b"".join(str(next(numbers)).encode() + piece for piece in pieces[1:])
    return data, first + max(template.count(b"\0"), 1) - 1


def _first_of(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> int:
    """The number of the first event from which on there is no gap."""
    begin, after = 0, 0
    for identity, fields in entries:
        if b"f" in fields:
            if int(fields[b"f"]) > after:
                begin = int(fields[b"f"])
            after = int(identity.partition(b"-")[0])
    return begin


def _info(stream: str, meta: dict[bytes, bytes]) -> StreamInfo:
    text = {key: meta[key.encode()].decode() for key in ("owner", "dialect", "claim", "fingerprint")}
    return StreamInfo(stream, last_words=meta[b"words"], **text)


def _keys(stream: str) -> tuple[str, str]:
    return f"{PREFIX}{{{stream}}}:meta", f"{PREFIX}{{{stream}}}:log"


def _claim_key(claim: str) -> str:
    return f"{PREFIX}claim:{claim}"


def _lease_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:lease"


def _notice_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:notice"


def _asked_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:asked"


def _inbox_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:inbox"


def _client(url: str, timeout: float, wait: float | None = None) -> Redis:
    """A client with one connection. Commands wait for it for up to ``wait`` seconds, and ``timeout`` for an answer."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=1,
        timeout=wait or timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
        retry=Retry(NoBackoff(), 1),  # retries once, for connections that were closed while idle
    )
    return Redis(connection_pool=pool)
