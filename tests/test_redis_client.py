"""Commands to a real Redis, cancelled at every point."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streaming.redis_client import client_with_one_connection
from tests.conftest import DEADLINE
from tests.redis_server import RedisServer


@pytest.mark.parametrize("is_connected", [True, False])
async def test_no_cancellation_is_lost(tmp_path: Path, is_connected: bool) -> None:
    redis = RedisServer(tmp_path)
    client = client_with_one_connection(redis.url, DEADLINE, queue=DEADLINE)

    async def two_commands() -> None:
        await client.get("a")
        await client.get("b")

    try:
        for steps in range(30):
            if is_connected:
                await client.ping()
            else:
                await client.connection_pool.disconnect()
            task = asyncio.create_task(two_commands())
            for _ in range(steps):
                await asyncio.sleep(0)
            was_running = task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() == was_running, f"cancelled after {steps} steps"
    finally:
        await client.aclose()
        redis.stop()
