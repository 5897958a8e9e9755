"""A wait that ends at a deadline or when it is interrupted, and loses no data."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.test import AsyncRequestFactory

from streaming import upstreams
from streaming.interruptible_wait import Interrupted, InterruptibleWait
from tests.conftest import DEADLINE, Connection, ScriptedUpstream


@pytest.fixture
async def wait() -> Any:
    wait = InterruptibleWait()
    yield wait
    wait.close()


def soon(seconds: float = 0.01) -> float:
    return asyncio.get_running_loop().time() + seconds


async def forever() -> None:
    await asyncio.Event().wait()


class TestAWait:
    async def test_returns_the_result(self, wait: InterruptibleWait) -> None:
        async def act() -> int:
            await asyncio.sleep(0)
            return 1

        assert await wait.wait(act, soon(DEADLINE)) == 1
        assert await wait.wait(act) == 1

    async def test_raises_the_error_of_what_it_waits_for(self, wait: InterruptibleWait) -> None:
        async def act() -> int:
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            await wait.wait(act, soon(DEADLINE))

    async def test_ends_at_its_deadline_and_not_before(self, wait: InterruptibleWait) -> None:
        for _ in range(3):
            due = soon()
            with pytest.raises(Interrupted):
                await wait.wait(forever, due)
            assert asyncio.get_running_loop().time() >= due

    async def test_with_a_past_deadline_ends_at_once(self, wait: InterruptibleWait) -> None:
        with pytest.raises(Interrupted):
            await asyncio.wait_for(wait.wait(forever, soon(-1)), DEADLINE)

    async def test_can_have_an_earlier_deadline_than_the_previous_one(self, wait: InterruptibleWait) -> None:
        async def act() -> None: ...

        await wait.wait(act, soon(1000))
        with pytest.raises(Interrupted):
            await asyncio.wait_for(wait.wait(forever, soon()), DEADLINE)

    async def test_ends_when_it_is_interrupted(self, wait: InterruptibleWait) -> None:
        asyncio.get_running_loop().call_soon(wait.interrupt)

        with pytest.raises(Interrupted):
            await wait.wait(forever)

    async def test_that_is_interrupted_twice_does_not_interrupt_the_next(self, wait: InterruptibleWait) -> None:
        asyncio.get_running_loop().call_soon(lambda: [wait.interrupt(), wait.interrupt()])
        with pytest.raises(Interrupted):
            await wait.wait(forever)
        wait.interrupt()

        assert await wait.wait(lambda: asyncio.sleep(0.001, "next")) == "next"

    @pytest.mark.parametrize("first", ["interrupt", "cancel"])
    async def test_of_a_task_that_is_cancelled_at_its_deadline_is_cancelled(
        self, wait: InterruptibleWait, first: str
    ) -> None:
        task = asyncio.create_task(wait.wait(forever))
        await asyncio.sleep(0)

        ends = [wait.interrupt, task.cancel]
        for end in ends if first == "interrupt" else reversed(ends):
            end()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


@pytest.mark.parametrize("slow_to_begin", [False, True], ids=["in time", "late"])
async def test_a_heartbeat_loses_no_data_that_arrives_at_the_same_time(
    settings: Any, upstream: ScriptedUpstream, slow_to_begin: bool, wait: InterruptibleWait
) -> None:
    sent, data, beats = list[bytes](), b"", 0
    answered = threading.Event()

    async def script(connection: Connection) -> None:
        if slow_to_begin:
            await asyncio.to_thread(answered.wait, DEADLINE)
        await connection.begin("200 OK")
        while beats <= 10 or len(sent) < 300:
            sent.append(b"%d\n" % len(sent))
            await connection.send(sent[-1])
            await asyncio.sleep(0.001)

    class Lenient:
        async def moderate_prompt(self, fields: dict[str, Any]) -> None: ...

        def clean(self, words: str) -> str:
            return words

    upstream.script = script
    settings.STREAMING_UPSTREAMS = {
        "default": {"URL": upstream.url, "TIMEOUTS": {"head": 0.02 if slow_to_begin else DEADLINE}}
    }
    answer = await upstreams.connect("default", AsyncRequestFactory().get("/transfer"), b"", Lenient())
    assert (answer.headers == []) == slow_to_begin
    answered.set()

    while True:
        try:
            chunk = await wait.wait(answer.read, soon(0.001))
        except Interrupted:
            beats += 1
            continue
        if not chunk:
            break
        data += chunk

    assert data == b"".join(sent)
    assert beats > 10
    await upstreams.close()
