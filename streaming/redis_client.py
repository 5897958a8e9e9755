"""Clients of Redis or Valkey, for what workers share. Needs the extra ``redis``."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

STORE_ERRORS = (RedisError, OSError, TimeoutError)
"""What a command raises if Redis does not answer it."""


def client_with_one_connection(url: str, timeout: float, *, queue: float) -> Redis:
    """Commands wait up to ``queue`` seconds for the connection, and then ``timeout`` for an answer.

    With one connection a crowd of clients cannot open thousands; that a command waits in the queue does not mean that
    Redis is away.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=1,
        timeout=queue,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,
        retry=Retry(NoBackoff(), 1),  # retries once, for connections that were closed while idle
    )
    return _CancellableRedis(connection_pool=pool)


class _CancellableRedis(Redis):
    """Sends with ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that comes when it has just sent.

    A client that left at that moment would not be noticed: its upstream would go on.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        response = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
        return response
