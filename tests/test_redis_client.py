"""Commands to a real Redis, cancelled at every point."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from streaming.redis_client import client_with_one_connection
from tests.conftest import DEADLINE
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


async def command(client: Any) -> None:
    await client.get("a")


async def pipeline(client: Any) -> None:
    async with client.pipeline(transaction=False) as sent:
        sent.get("a").get("b")
        await sent.execute()


async def transaction(client: Any) -> None:
    async with client.pipeline(transaction=True) as sent:
        sent.get("a").get("b")
        await sent.execute()


async def script_in_a_pipeline(client: Any) -> None:
    script = client.register_script("return ARGV[1]")
    async with client.pipeline(transaction=False) as sent:
        await script(args=["a"], client=sent)
        await sent.execute()


@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize("ask", [command, pipeline, transaction, script_in_a_pipeline])
async def test_no_cancellation_is_lost(
    redis: RedisServer, ask: Callable[[Any], Awaitable[None]], is_connected: bool
) -> None:
    client = client_with_one_connection(redis.url, DEADLINE, queue=DEADLINE)

    async def twice() -> None:
        await ask(client)
        await ask(client)

    try:
        for steps in range(40):
            if is_connected:
                await client.ping()
            else:
                await client.connection_pool.disconnect()
            task = asyncio.create_task(twice())
            for _ in range(steps):
                await asyncio.sleep(0)
            was_running = task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() == was_running, f"cancelled after {steps} steps"
    finally:
        await client.aclose()
