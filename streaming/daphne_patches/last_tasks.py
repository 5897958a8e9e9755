"""At the end no task is left pending."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.defer import Deferred

LAST_TASKS_SECONDS = 1.0
"""How long the tasks of a loop may take to end when they are cancelled."""


def end_all_tasks(_: Any) -> Any:
    """Twisted waits for the result before it closes the connections."""

    async def end() -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + LAST_TASKS_SECONDS
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and loop.time() < latest:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)

    return Deferred.fromFuture(asyncio.ensure_future(end()))
