"""The journal of many workers, in Redis or Valkey: what one worker's streams said can be read from every other.

A stream is driven in one worker and kept there in memory too, so that its readers in that worker, and those alone,
need no Redis. What is new of all streams goes to Redis in one call, at most every ``FLUSH`` seconds. A worker that
follows streams of others has them as *replicas* in its memory, filled by one blocking XREAD for all of them.

A worker holds a *lease*, a key that lives for some beats. When it has expired, whoever follows a stream of that worker
*seals* the stream: ends it in the name of the dead, under a new *epoch*, so that a worker that was only late cannot
write any more.
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
"""Seconds between two calls that store what is new."""
FLUSH_BYTES = 256 * 1024
"""Of one stream in one call, give or take a batch."""
FLUSH_STREAMS = 256
"""In one call: a script holds Redis up for everybody."""
BEAT = 1.0
"""Seconds between two renewals of the lease, and two looks at the leases of others."""
LEASE_BEATS = 3.5
"""What a lease lasts. A dead worker is noticed after this and one beat at most."""
AWAY_BEATS = 5.0
"""What readers of other workers' streams wait for a Redis that is away."""
COMMAND_BEATS = 3.0
"""What an answer of Redis is waited for before it counts as away."""
SEAL_JUMP = 1_000_000
"""A seal's events have numbers that the dead worker cannot have sent already, stored or not."""

STORE_ERRORS = (RedisError, OSError, TimeoutError)
PREFIX = "streams:"

Message = dict[str, str | int]
"""From one worker to another: its kind is stop, watch, leave, or nudge (to itself: there is more to listen to)."""


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
        self._redis = _client(url, 2, COMMAND_BEATS * beat)
        self._listener = _client(url, 1, (COMMAND_BEATS + 1) * beat)
        self._open, self._append, self._seal, self._discard = map(
            self._redis.register_script, (scripts.OPEN, scripts.APPEND, scripts.SEAL, scripts.DISCARD)
        )

    # --- What a journal promises

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        await self.start()
        self._memory.refuse_claimed(info)
        self._memory.refuse_full()
        log = SharedLog(info, self._limits.stream_bytes, self._memory, self)
        while info.claim and self._may_still_be_stored and self._away_since is None:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(self._beat / 4)
        try:
            # Redis decides first who has a claim: until then no other request here may take it for this stream's.
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
            await self._answered(self._tell(meta[b"worker"].decode(), {"kind": "stop", "stream": stream}))
        return None

    async def discard(self, log: StreamLog) -> None:
        self._unstored.pop(log.info.id, None)
        if self._away_since is None:
            # Before those who wait here hear of it: they may claim the key at once.
            await self._quietly(self._discard(keys=[*_keys(log.info.id), _claim_key(log.info.claim)]))
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
        await self._redis.aclose()
        await self._listener.aclose()

    async def _cancel_tasks(self) -> None:
        tasks = {*self._tasks, *self._loading.values(), *([self._flush_task] if self._flush_task else [])}
        while tasks:
            for task in tasks:
                task.cancel()
            # A cancellation at the moment of a timeout may be taken for that.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    # --- Driven here

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
            return  # it goes on without; when Redis is back, the log is made anew
        try:
            other = await self._open(keys=[meta, _claim_key(info.claim)], args=args)
        except STORE_ERRORS as error:
            self._set_away(error)
            return
        if other:
            raise AlreadyClaimed(other[0].decode(), other[1].decode())

    def store(self, log: SharedLog) -> None:
        """Something of this log is new."""
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
        """Stores what is new, of many streams in one call."""
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
        """Seconds to live, told once a second; 0: as before."""
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
            logger.warning("this worker was late, and another has ended a stream that it drives")
            self._memory.tell_driver(stream, "error")
            self._memory.forget(stream)
        elif answer == scripts.MISSING:
            # Redis was emptied, or away when the stream began: what is here of the stream goes there again.
            log.stored, log.ttl_set_at = -1, 0.0
            try:
                await self._create(log, with_claim=log.info.claim != "")
            except AlreadyClaimed:  # while Redis was away
                await self._create(log, with_claim=False)
            self._unstored[stream] = log
        else:
            log.stored = answer
            if entry.ended and answer == log.last:
                self._memory.forget(stream)
            elif log.ended or answer < log.last:
                self._unstored[stream] = log

    # --- Driven elsewhere

    async def _meta(self, stream: str) -> dict[bytes, bytes]:
        """What Redis knows of a stream, which is sealed first if its worker is dead."""
        await self.start()
        while True:
            meta = await self._answered(self._redis.hgetall(_keys(stream)[0]))
            if not meta and self._may_still_be_stored:
                await asyncio.sleep(self._beat / 4)
                continue
            if not meta:
                raise UnknownStream("there is no such stream, or it has expired")
            if meta[b"ended"] or await self._answered(self._is_alive(meta[b"worker"].decode())):
                return dict(meta)
            await self._answered(self._seal_stream(stream, meta))

    async def _is_alive(self, worker: str) -> bool:
        if self._trusts_leases:
            theirs, own = await self._redis.mget(_lease_key(worker), _lease_key(self._worker))
            if own is None:
                self._leases_were_lost()
            return theirs is not None or own is None
        return True

    @property
    def _trusts_leases(self) -> bool:
        """A lease that could not be renewed, since Redis was away or was emptied, says nothing."""
        return time.monotonic() > self._back_since + LEASE_BEATS * self._beat

    @property
    def _may_still_be_stored(self) -> bool:
        """Redis was away, or emptied, a moment ago: other workers may not have stored again what they have."""
        return time.monotonic() < self._lost_at + LEASE_BEATS * self._beat

    def _leases_were_lost(self) -> None:
        """And perhaps more than leases: what is here of running streams is looked for there."""
        self._back_since = self._lost_at = time.monotonic()
        for log in self._memory.running():
            if isinstance(log, SharedLog):
                self.store(log)

    async def _seal_stream(self, stream: str, meta: dict[bytes, bytes]) -> None:
        first = int(meta[b"last"]) + SEAL_JUMP
        data, last = numbered(meta[b"words"], first)
        ttl = max(int(self._limits.keep), 1)
        await self._seal(keys=[*_keys(stream)], args=[meta[b"epoch"], meta[b"last"], last, ttl, data])
        logger.warning("the worker that drove a stream is gone: its clients are told")

    async def _replica(self, stream: str) -> Replica:
        if replica := self._replicas.get(stream):
            return replica
        if (loading := self._loading.get(stream)) is None:
            loading = self._loading[stream] = asyncio.get_running_loop().create_task(self._load(stream))
            loading.add_done_callback(lambda _: self._loading.pop(stream, None))
        return await asyncio.shield(loading)

    async def _load(self, stream: str) -> Replica:
        """All that Redis has of a stream; from here on the listener adds to it."""
        meta = await self._meta(stream)
        entries = await self._answered(self._redis.xrange(_keys(stream)[1]))
        replica = Replica(_info(stream, meta), self._limits.stream_bytes, _first_of(entries), meta[b"worker"].decode())
        for identity, fields in entries:
            replica.take_in(identity, fields)
        replica.on_reader_left = lambda _: self._drop_unread(replica)
        self._replicas[stream] = replica
        if not replica.ended:
            self._in_background(self._introduce(replica))
        return replica

    async def _introduce(self, replica: Replica) -> None:
        """The driver learns that somebody reads, and the listener that there is more to listen to."""
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
            self._in_background(self._tell(replica.worker, leave))

    def _cut(self, replica: Replica, error: Exception) -> None:
        """Its readers get no end: they may come back."""
        if self._replicas.get(replica.info.id) is replica:
            del self._replicas[replica.info.id]
        replica.fail(error)

    # --- One connection that listens

    async def _listen(self) -> None:
        while True:
            if self._away_since is not None:
                await asyncio.sleep(self._beat / 4)
                continue
            await self._quietly(self._listen_once())

    async def _listen_once(self) -> None:
        following = {_keys(stream)[1].encode(): each for stream, each in self._replicas.items() if each.is_live}
        places: dict[Any, Any] = {key: f"{replica.last + 1}-0" for key, replica in following.items()}
        places[self._inbox] = self._inbox_at
        answer: Any = await self._listener.xread(places, count=200, block=max(1, int(self._beat * 1000)))
        for key, entries in answer:
            replica = following.get(key)
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
        """A message of another worker, or of this one."""
        match message:
            case {"kind": "stop", "stream": stream}:
                self._memory.tell_driver(stream, "stopped")
            case {"kind": "watch", "stream": stream, "worker": worker, "at": position}:
                self._watched(stream, worker, int(position))
            case {"kind": "leave", "stream": stream, "worker": worker}:
                self._unwatched((stream, worker))

    def _watched(self, stream: str, worker: str, position: int) -> None:
        """The readers that a stream has in another worker count as one, which stands where the slowest does."""
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

    async def _tell(self, worker: str, message: Message) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            self._add_message(pipeline, worker, message)
            await pipeline.execute()

    @staticmethod
    def _add_message(pipeline: Any, worker: str, message: Message) -> None:
        pipeline.xadd(_inbox_key(worker), message, maxlen=10_000, approximate=True)
        pipeline.expire(_inbox_key(worker), 60)

    # --- The heart

    async def start(self) -> None:
        """In the process and loop that use it; a worker has its lease before its first stream."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._take_lease())
        await asyncio.shield(self._started)

    async def _take_lease(self) -> None:
        # Of what was before it knows nothing: Redis may just have been emptied. Whoever is alive renews in a beat.
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
            for replica in [each for each in self._replicas.values() if not each.ended]:
                self._cut(replica, StoreUnavailable("the store of streams does not answer"))
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
                await self._bury(replica)
        self._touch_silent()

    async def _bury(self, replica: Replica) -> None:
        """Its worker is dead: the listener will hear the seal. A stream that is not there at all is cut."""
        try:
            await self._meta(replica.info.id)
        except UnknownStream as error:
            self._cut(replica, error)

    def _touch_silent(self) -> None:
        """A stream that says nothing for minutes must not expire."""
        now = time.monotonic()
        for log in self._memory.running():
            if isinstance(log, SharedLog) and now > log.ttl_set_at + 30:
                self.store(log)

    def _set_away(self, error: Exception) -> None:
        if self._away_since is None:
            logger.error("Redis does not answer (%s): running streams go on for those who read them here", error)
            self._away_since = time.monotonic()

    def _set_back(self) -> None:
        if self._away_since is not None:
            logger.warning("Redis answers again after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
            self._leases_were_lost()
        for log in list(self._unstored.values()):
            self.store(log)

    async def _answered(self, command: Any) -> Any:
        """What Redis answers. StoreUnavailable at once while it is known to be away."""
        if self._away_since is not None:
            if asyncio.iscoroutine(command):
                command.close()
            raise StoreUnavailable("the store of streams does not answer")
        try:
            return await command
        except STORE_ERRORS as error:
            self._set_away(error)
            raise StoreUnavailable("the store of streams does not answer") from error

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


class Entry(NamedTuple):
    """What one call stores of one stream: the arguments of scripts.APPEND."""

    epoch: int
    first: int
    last: int
    is_gap: int
    ended: str
    ttl: int
    keep_from: int
    data: bytes


class SharedLog(KeptLog):
    """The log of a stream that is driven here, and that others can read."""

    def __init__(self, info: StreamInfo, max_bytes: int, memory: MemoryJournal, journal: RedisJournal) -> None:
        super().__init__(info, max_bytes, memory)
        self.epoch = 1
        self.stored = -1
        """The number of the last event that Redis has."""
        self.ttl_set_at = 0.0
        self._shared = journal

    def append(self, data: bytes, count: int) -> None:
        super().append(data, count)
        self._shared.store(self)

    def end(self, reason: str) -> None:
        super().end(reason)
        self._shared.store(self)


class Replica(StreamLog):
    """The log of a stream that is driven by another worker, as far as Redis has it."""

    is_driven_here = False

    def __init__(self, info: StreamInfo, max_bytes: int, first: int, worker: str) -> None:
        super().__init__(info, max_bytes, first)
        self.worker = worker

    @property
    def is_live(self) -> bool:
        return not self.ended and self.has_room

    def take_in(self, identity: bytes, fields: dict[bytes, bytes]) -> None:
        """An entry of Redis's log. Gap, or UnknownStream if the stream failed before it began."""
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
    """The template with a number in place of each NUL, and the last of these."""
    pieces, numbers = template.split(b"\0"), itertools.count(first)
    data = pieces[0] + b"".join(str(next(numbers)).encode() + piece for piece in pieces[1:])
    return data, first + max(template.count(b"\0"), 1) - 1


def _first_of(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> int:
    """Where what can be read without a gap begins."""
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


def _inbox_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:inbox"


def _client(url: str, connections: int, timeout: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
        retry=Retry(NoBackoff(), 1),  # a connection that was closed while it was idle
    )
    return Redis(connection_pool=pool)
