"""The notices that workers show each other, and what they ask of each other."""

from __future__ import annotations

import time

from streaming.journal.redis import keys
from streaming.journal.redis.connections import Connections

NOTICE_BEATS = 4.0
"""How long a worker's notice is shown after it was posted, in heartbeats."""

MEMORY_SECONDS = 60
"""How long the list of workers, and what was asked of one, is kept without news."""


class NoticeBoard:
    def __init__(self, connections: Connections, worker: str, beat: float) -> None:
        self._connections = connections
        self._redis = connections.requests
        self._worker = worker
        self._beat = beat

    async def post(self, notice: bytes) -> list[str]:
        async with self._redis.pipeline(transaction=True) as pipeline:
            if notice:
                pipeline.set(keys.of_notice(self._worker), notice, px=int(NOTICE_BEATS * self._beat * 1000))
                pipeline.zadd(keys.NOTICES, {self._worker: time.time()})
                pipeline.expire(keys.NOTICES, MEMORY_SECONDS)
            else:
                pipeline.delete(keys.of_notice(self._worker))
                pipeline.zrem(keys.NOTICES, self._worker)
            pipeline.lrange(keys.of_requests(self._worker), 0, -1)
            pipeline.delete(keys.of_requests(self._worker))
            answers = await self._connections.answered(pipeline.execute())
        return [request.decode() for request in answers[-2]]

    async def all(self) -> list[tuple[str, bytes]]:
        workers = await self._connections.answered(self._redis.zrange(keys.NOTICES, 0, -1))
        if not workers:
            return []
        names = [keys.of_notice(worker.decode()) for worker in workers]
        found = await self._connections.answered(self._redis.mget(names))
        if gone := [worker for worker, notice in zip(workers, found, strict=True) if notice is None]:
            await self._connections.answered(self._redis.zrem(keys.NOTICES, *gone))
        return [(worker.decode(), notice) for worker, notice in zip(workers, found, strict=True) if notice]

    async def ask(self, worker: str, request: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(keys.of_requests(worker), request)
            pipeline.expire(keys.of_requests(worker), MEMORY_SECONDS)
            await self._connections.answered(pipeline.execute())
