"""Clients of Redis or Valkey, for what workers share. Needs the extra ``redis``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
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
        return await _cancellable(super().execute_command(*args, **options))  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _CancellablePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _CancellablePipeline(Pipeline):
    """Sends as a single command does."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        answers: list[Any] = await _cancellable(super().execute(raise_on_error))
        return answers


async def _cancellable(command: Awaitable[Any]) -> Any:
    """The response to a command. CancelledError if the task was cancelled meanwhile, whatever became of the command."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        return await command
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
