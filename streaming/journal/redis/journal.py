"""A journal shared by several workers, in Redis or Valkey: every worker can read the streams of all others.

A stream is driven in one worker, which also keeps it in memory, so that readers in the same worker do not depend on
Redis. New events of all streams are stored in one call, at most every ``writer.FLUSH`` seconds. A worker that follows
streams of other workers keeps *replicas* of them in memory, filled by a single blocking XREAD.

A worker holds a *lease*, a key that expires after a few heartbeats. When it has expired, any worker that follows one of
its streams *seals* the stream: it ends the stream on behalf of the dead worker, under a new *epoch*, so that a worker
that was only slow can no longer write to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from typing import Any

from streaming.journal.errors import AlreadyClaimed, Gap, StoreUnavailable, UnknownStream
from streaming.journal.journal import Limits, OnStop, StreamState
from streaming.journal.log import LogReader, StreamInfo, StreamLog
from streaming.journal.memory import MemoryJournal
from streaming.journal.redis import keys, scripts
from streaming.journal.redis.connections import Connections
from streaming.journal.redis.leases import BEAT, Leases
from streaming.journal.redis.logs import Replica, SharedLog, info_of, numbered, replica_of
from streaming.journal.redis.look_ups import Found, LookUps
from streaming.journal.redis.notices import NoticeBoard
from streaming.journal.redis.writer import StreamWriter

logger = logging.getLogger(__name__)

AWAY_BEATS = 5.0
"""How long readers of other workers' streams wait for Redis to come back, in heartbeats."""
SEAL_JUMP = 1_000_000
"""The gap before the event numbers of a seal, so that the dead worker cannot have sent the same numbers."""

Message = dict[str, str | int]
"""A message to a worker. Its kind is stop, watch, leave, or nudge (to itself: reload the list of keys to read)."""


class RedisJournal:
    def __init__(self, url: str, limits: Limits, *, beat: float = BEAT) -> None:
        self._limits = limits
        self._beat = beat
        self._memory = MemoryJournal(limits)
        self._worker = uuid.uuid4().hex
        self._inbox = keys.of_inbox(self._worker)
        self._inbox_at = b"0-0"
        self._replicas: dict[str, Replica] = {}
        self._loading: dict[str, asyncio.Task[Replica]] = {}
        self._awaited = Counter[str]()  # those who will follow a stream as soon as it is loaded
        self._watchers: dict[tuple[str, str], tuple[LogReader, float]] = {}
        self._started: asyncio.Task[None] | None = None
        self._leases = Leases(beat)
        self._is_leased = False
        self._connections = Connections(url, beat, on_back=self._leases_were_lost)
        self._writer = StreamWriter(self._connections, self._memory, limits, self._worker, beat)
        self._notices = NoticeBoard(self._connections, self._worker, beat)
        self._look_ups = LookUps(self._found)
        self._find, self._seal = map(self._connections.requests.register_script, (scripts.FIND, scripts.SEAL))

    # --- The interface of a journal

    async def open(self, info: StreamInfo, on_stop: OnStop) -> StreamLog:
        await self.start()
        self._memory.refuse_claimed(info)
        self._memory.refuse_full()
        log = SharedLog(info, self._limits.stream_bytes, self._memory, self._writer.store)
        while info.claim and self._leases.may_still_be_stored and not self._connections.is_away:  # noqa: ASYNC110
            await asyncio.sleep(self._beat / 4)
        try:
            # Redis decides first which stream has the claim: until then, other requests must not find it in memory.
            await self._writer.create(log, with_claim=bool(info.claim))
            # It may have gone away without deciding, while another request with the same claim was waiting for it too.
            self._memory.refuse_claimed(info)
        except asyncio.CancelledError:
            self._connections.in_background(self.discard(log))
            raise
        except AlreadyClaimed:
            if log.may_be_stored:
                self._connections.in_background(self.discard(log))
            raise
        return self._memory.add(log, on_stop)

    async def find(self, stream: str) -> StreamState:
        if stream in self._memory:
            return await self._memory.find(stream)
        meta = await self._meta(stream)
        return StreamState(info_of(stream, meta), int(meta[b"last"]), meta[b"ended"].decode())

    async def claimed_by(self, claim: str) -> str:
        try:
            return await self._memory.claimed_by(claim)
        except UnknownStream:
            await self.start()
            stream = await self._connections.answered(self._connections.requests.get(keys.of_claim(claim)))
            if not stream:
                raise
            return str(stream.decode())

    async def follow(self, stream: str, after: int | None = None) -> LogReader:
        if stream in self._memory:
            return await self._memory.follow(stream, after)
        self._awaited[stream] += 1
        try:
            return (await self._replica(stream)).reader(after)
        finally:
            self._awaited -= Counter([stream])
            if replica := self._replicas.get(stream):
                self._drop_unread(replica)

    async def stop(self, stream: str) -> None:
        if stream in self._memory:
            return await self._memory.stop(stream)
        meta = await self._meta(stream)
        if not meta[b"ended"]:
            await self._connections.answered(
                self._send_message(meta[b"worker"].decode(), {"kind": "stop", "stream": stream})
            )
        return None

    async def discard(self, log: StreamLog) -> None:
        try:
            # Redis first: readers that wait here may claim the key as soon as they are notified.
            await self._writer.discard(log)
        finally:  # also if it is cancelled: whoever waits for the stream would wait for ever
            await self._memory.discard(log)

    def state(self) -> dict[str, Any]:
        since = self._connections.away_since
        away = {} if since is None else {"away_seconds": round(time.monotonic() - since)}
        return {
            **self._memory.state(),
            "store": "redis",
            "status": "away" if away else "ok",
            **away,
            "followed": len(self._replicas),
            "unstored": self._writer.unstored,
        }

    async def close(self) -> None:
        if self._started is None:
            return
        await self._writer.finish()
        if not self._connections.is_away:
            await self._connections.quietly(self._connections.own.delete(keys.of_lease(self._worker), self._inbox))
        await self._cancel_tasks()
        for replica in list(self._replicas.values()):
            replica.fail(StoreUnavailable("this worker is going down"))
        await self._memory.close()
        await self._connections.close()

    async def _cancel_tasks(self) -> None:
        await self._connections.cancel(self._writer.task, self._look_ups.task, *self._loading.values())

    # --- Notices of workers

    async def post(self, notice: bytes) -> list[str]:
        await self.start()
        return await self._notices.post(notice)

    async def notices(self) -> list[tuple[str, bytes]]:
        await self.start()
        return await self._notices.all()

    async def ask(self, worker: str, request: str) -> None:
        await self._notices.ask(worker, request)

    # --- Streams driven by other workers

    async def _meta(self, stream: str) -> dict[bytes, bytes]:
        """The stream's metadata in Redis. The stream is sealed first if its worker is dead."""
        await self.start()
        while True:
            found: Found = await self._connections.answered(self._look_ups.find(stream))
            meta = found.meta
            if not meta and self._leases.may_still_be_stored:
                await asyncio.sleep(self._beat / 4)
                continue
            if not meta:
                raise UnknownStream("there is no such stream, or it has expired")
            if meta[b"ended"] or found.is_alive:
                return meta
            await self._connections.answered(self._seal_stream(stream, meta))

    async def _found(self, streams: list[str]) -> list[Found]:
        async with self._connections.requests.pipeline(transaction=False) as pipeline:
            for stream in streams:
                await self._find(keys=[keys.of_stream(stream)[0]], args=[keys.PREFIX, self._worker], client=pipeline)
            answers = await pipeline.execute()
        if self._leases.are_trusted and not all(own for _, _, own in answers):
            self._leases_were_lost()
        return [
            Found(
                dict(zip(meta[::2], meta[1::2], strict=True)), bool(theirs) or not own or not self._leases.are_trusted
            )
            for meta, theirs, own in answers
        ]

    async def _seal_stream(self, stream: str, meta: dict[bytes, bytes]) -> None:
        first = int(meta[b"last"]) + SEAL_JUMP
        data, last = numbered(meta[b"words"], first)
        ttl = max(int(self._limits.keep), 1)
        await self._seal(keys=[*keys.of_stream(stream)], args=[meta[b"epoch"], meta[b"last"], last, ttl, data])
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
        entries = await self._connections.answered(self._connections.requests.xrange(keys.of_stream(stream)[1]))
        replica = replica_of(stream, meta, entries, self._limits.stream_bytes)
        replica.on_reader_left = lambda _: self._drop_unread(replica)
        if self._awaited[stream]:  # otherwise all have left meanwhile, and nobody would ever drop it
            self._replicas[stream] = replica
            if not replica.ended:
                self._connections.in_background(self._introduce(replica))
        return replica

    async def _introduce(self, replica: Replica) -> None:
        """Notifies the driver of the reader, and this worker's listener of the new stream."""
        async with self._connections.own.pipeline(transaction=False) as pipeline:
            self._add_message(pipeline, replica.worker, self._watch_message(replica))
            self._add_message(pipeline, self._worker, {"kind": "nudge"})
            await pipeline.execute()

    def _watch_message(self, replica: Replica) -> Message:
        return {"kind": "watch", "stream": replica.info.id, "worker": self._worker, "at": replica.slowest_position()}

    def _drop_unread(self, replica: Replica) -> None:
        stream = replica.info.id
        if replica.readers or self._awaited[stream] or self._replicas.get(stream) is not replica:
            return
        del self._replicas[stream]
        if not replica.ended:
            leave: Message = {"kind": "leave", "stream": stream, "worker": self._worker}
            self._connections.in_background(self._send_message(replica.worker, leave))

    def _cut(self, replica: Replica, error: Exception) -> None:
        """Cuts off the readers without an end event, so that their clients reconnect."""
        if self._replicas.get(replica.info.id) is replica:
            del self._replicas[replica.info.id]
        replica.fail(error)

    # --- The listening connection

    async def _listen(self) -> None:
        while True:
            if self._connections.is_away:
                await asyncio.sleep(self._beat / 4)
                continue
            await self._connections.quietly(self._listen_once())

    async def _listen_once(self) -> None:
        followed = {
            keys.of_stream(stream)[1].encode(): replica for stream, replica in self._replicas.items() if replica.is_live
        }
        positions: dict[Any, Any] = {key: f"{replica.last + 1}-0" for key, replica in followed.items()}
        positions[self._inbox] = self._inbox_at
        answer: Any = await self._connections.listener.xread(positions, count=200, block=max(1, int(self._beat * 1000)))
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
        async with self._connections.own.pipeline(transaction=False) as pipeline:
            self._add_message(pipeline, worker, message)
            await pipeline.execute()

    @staticmethod
    def _add_message(pipeline: Any, worker: str, message: Message) -> None:
        pipeline.xadd(keys.of_inbox(worker), message, maxlen=10_000, approximate=True)
        pipeline.expire(keys.of_inbox(worker), 60)

    # --- The heartbeat

    async def start(self) -> None:
        """Takes the lease, which a worker needs before its first stream. To be called in the loop that uses it."""
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._take_lease())
        await asyncio.shield(self._started)

    async def _take_lease(self) -> None:
        self._leases.begin()
        await self._beat_once()
        self._connections.in_background(self._go_on_beating())
        self._connections.in_background(self._listen())

    async def _go_on_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            await self._connections.quietly(self._beat_once())

    async def _beat_once(self) -> None:
        await self._connections.quietly(self._renew())
        since = self._connections.away_since
        if since is not None:
            self._writer.drop_forgotten()
        if since is not None and time.monotonic() > since + AWAY_BEATS * self._beat:
            for replica in [running for running in self._replicas.values() if not running.ended]:
                self._cut(replica, StoreUnavailable("the store of streams does not respond"))
        for key, (_, seen) in list(self._watchers.items()):
            if self._leases.is_over(seen) or key[0] not in self._memory:
                self._unwatched(key)

    async def _renew(self) -> None:
        followed = [replica for replica in self._replicas.values() if not replica.ended]
        async with self._connections.own.pipeline(transaction=False) as pipeline:
            pipeline.set(keys.of_lease(self._worker), 1, px=self._leases.milliseconds, get=True)
            for replica in followed:
                self._add_message(pipeline, replica.worker, self._watch_message(replica))
            for replica in followed:
                pipeline.exists(keys.of_lease(replica.worker))
            answers = await pipeline.execute()
        self._connections.set_back()
        self._writer.store_what_is_left()
        if answers[0] is None and self._is_leased:
            self._leases_were_lost()
        self._is_leased = True
        alive = answers[len(answers) - len(followed) :] if self._leases.are_trusted else [True] * len(followed)
        for replica, is_alive in zip(followed, alive, strict=True):
            if not is_alive:
                await self._seal_orphan(replica)
        self._writer.touch_silent()

    async def _seal_orphan(self, replica: Replica) -> None:
        """Seals a stream whose worker is dead; the listener receives the seal. A stream missing in Redis is cut off."""
        try:
            await self._meta(replica.info.id)
        except UnknownStream as error:
            self._cut(replica, error)

    def _leases_were_lost(self) -> None:
        """Redis may have lost more than the leases, so running streams are checked and stored again if needed."""
        self._leases.lost()
        self._writer.store_running()
