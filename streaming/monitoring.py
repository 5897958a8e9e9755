"""Who may read ``/metrics`` and the details of ``/healthz``; and a task that sets the gauges each second."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from http import HTTPStatus

from django.http import HttpRequest

from streaming import conf, health, hit_log, limits, metrics, open_streams, resumption, rulebook, usage_log
from streaming.api_keys import key_in
from streaming.caller import caller_of
from streaming.errors import Denied

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""Between two updates of the gauges. Only other workers see them late: a request for /metrics updates its own."""

_counted = Counter[str]()


async def require_reader(request: HttpRequest) -> None:
    """Denied unless staff or an API key of theirs asks, or STREAMING_METRICS is ``public``."""
    if conf.metrics() == "public" or await health.is_for_staff(request):
        return
    if (await caller_of(request)).is_known:
        raise Denied(HTTPStatus.FORBIDDEN, "the metrics are for staff")
    detail = (
        "this API key is unknown or was revoked" if key_in(request) else "the metrics are for staff: send an API key"
    )
    raise Denied(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="streams"'})


def render(request: HttpRequest) -> tuple[bytes, str]:
    """The body of /metrics, and its media type. Denied if the library for it is missing."""
    if not metrics.is_available():
        detail = "prometheus-client is not installed: pip install 'django-streaming-llm[metrics]'"
        raise Denied(HTTPStatus.NOT_IMPLEMENTED, detail)
    update()
    return metrics.render(request.headers.get("Accept", ""))


def update() -> None:
    """Sets the gauges to what is so now, and counts what running streams have sent."""
    usage_log.count_progress()
    open_now = Counter(usage_log.labels_of_open(meter) for meter in list(usage_log.open_meters))
    metrics.show_all("streams_open", {labels: float(number) for labels, number in open_now.items()})
    progress = [meter.progress for meter in list(usage_log.open_meters) if meter.progress]
    metrics.show("held_characters", sum(each.held_chars for each in progress))
    journal = resumption.known_state()
    metrics.show("journal_bytes", journal.get("bytes", 0))
    metrics.show("journal_streams", journal.get("running", 0) + journal.get("kept", 0))
    metrics.show("rules_edition", rulebook.state()["version"] or 0)
    for table, state in (("hits", hit_log.state()), ("usage", usage_log.state())):
        metrics.show("rows_waiting", state["waiting"], table=table)
        metrics.count("rows_lost", _since(f"lost {table}", state["lost"]), table=table)
    for limit, number in limits.reached.items():
        metrics.count("limits_reached", _since(f"limit {limit}", number), limit=limit)


def _since(name: str, number: int) -> int:
    """How much a number has grown since it was last counted."""
    before, _counted[name] = _counted[name], number
    return number - before


class EverySecond:
    """The task that updates the gauges of this process."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Called with each request, and effective once for each event loop."""
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        while self._task and not self._task.done():
            self._task.cancel()
            # Again and again: asyncio.wait_for of Python 3.11, by which redis-py sends, returns what it waited for if
            # that is there when it is cancelled, and the cancellation is lost.
            await asyncio.wait({self._task}, timeout=0.1)
        metrics.forget_this_worker()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                update()
                await open_streams.exchange()
            except Exception:
                logger.exception("the figures of this process could not be updated")
                await asyncio.sleep(60)


every_second = EverySecond()
