"""Answers that are not streamed: made once for each idempotency key, and kept like a stream of one event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

from django.http import HttpRequest

from streaming import conf, idempotency, registry, request_cleanup
from streaming.errors import BadRequest
from streaming.interruptible_wait import Interrupted, InterruptibleWait
from streaming.journal import WHOLE, AlreadyClaimed, LogReader, StreamInfo, StreamLog, UnknownStream
from streaming.resumption import journal
from streaming.usage_meter import CLIENT_CLOSED_REQUEST, UsageMeter, meter_of

Make = Callable[[], Awaitable[bytes]]
"""Makes the answer."""

_STOPPED = "the request was stopped"


class WholeAnswer(NamedTuple):
    stream: str
    """The id under which it was made."""
    data: bytes


async def answer_once(request: HttpRequest, stream: str, make: Make) -> WholeAnswer:
    """What ``make`` returns, or what it returned for an earlier request with the same idempotency key.

    With a key, ``make`` runs on for STREAMING_GRACE seconds when its clients have left. If it fails, the key is free
    again. Raises BadRequest if the key was used with a different request, and the errors of ``make``.
    """
    info = await idempotency.info_of(request, stream, WHOLE)
    if not info.claim:
        return WholeAnswer(stream, await _make_for_one(make, meter_of(request)))
    while True:
        try:
            return WholeAnswer(stream, await _make_once(info, make, meter_of(request)))
        except AlreadyClaimed as claimed:
            idempotency.refuse_other_request(info, claimed)
            if data := await _when_made(claimed.stream):
                if meter := meter_of(request):
                    meter.discard()
                return WholeAnswer(claimed.stream, data)


async def _make_for_one(make: Make, meter: UsageMeter | None) -> bytes:
    """What ``make`` returns, unless an operator stops it: nothing else can, as it is not in the journal."""
    wait = InterruptibleWait()
    if meter:
        meter.on_stop = wait.interrupt
    try:
        return await wait.wait(make)
    except Interrupted:
        raise BadRequest(_STOPPED) from None


async def _make_once(info: StreamInfo, make: Make, meter: UsageMeter | None) -> bytes:
    answer = _PendingAnswer(make, conf.stream_grace(), meter)
    return await answer.made(await journal().open(info, answer.stop))


async def _when_made(stream: str) -> bytes:
    """The answer of an earlier request. Empty if it failed: its key is then free again."""
    try:
        reader = await journal().follow(stream)
    except UnknownStream:
        return b""
    try:
        data = await reader.read()
    except UnknownStream:
        return b""
    finally:
        reader.close()
    if not data:  # the worker that was making it has died
        await journal().discard(reader.log)
    return data


class _PendingAnswer:
    """An answer that is being made. Clients that wait for it read its log; it is given up when all have left."""

    def __init__(self, make: Make, grace: float, meter: UsageMeter | None) -> None:
        self._make = make
        self._meter = meter
        self._grace = grace
        self._task: asyncio.Task[bytes] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._readers = 0
        self._has_asker_left = self._is_stopped = False

    async def made(self, log: StreamLog) -> bytes:
        """The answer, for the client that asked first."""
        log.on_reader_joined, log.on_reader_left = self._on_reader_joined, self._on_reader_left
        reader = log.reader()
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(self._keep(log), context=request_cleanup.detached_context())
        task.add_done_callback(_ignore_error)  # its client may have left
        if self._meter:
            self._meter.is_opening = True
            task.add_done_callback(self._end_meter)
        registry.watch(self)
        try:
            # Shielded: if the client disconnects and retries, the upstream is still asked only once.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._is_stopped:
                raise BadRequest(_STOPPED) from None
            self._has_asker_left = True
            raise
        finally:
            reader.close()

    async def _keep(self, log: StreamLog) -> bytes:
        store = journal()
        try:
            data = await self._make()
        except BaseException:
            await store.discard(log)
            raise
        log.append(data, 1)
        log.end("stop")
        return data

    def _end_meter(self, task: asyncio.Task[bytes]) -> None:
        """Ends the measuring if the client that asked has left, whoever waits for the answer: otherwise its response
        does, or its request if it leaves now."""
        if meter := self._meter:
            meter.is_opening = False
        if meter and self._has_asker_left:
            failed = task.cancelled() or task.exception()
            meter.end(*(("left", CLIENT_CLOSED_REQUEST) if failed else ("stop", HTTPStatus.OK)))

    # --- Its clients

    @property
    def is_open(self) -> bool:
        """Whether it is being made without a client. With one, the client's request is counted instead."""
        return self._task is not None and not self._task.done() and not self._readers

    def stop(self, reason: str) -> None:
        """A worker that goes down does not wait for answers whose clients have left."""
        if self._task and (reason == "stopped" or self.is_open):
            self._is_stopped = True
            self._task.cancel()

    def _on_reader_joined(self) -> None:
        self._readers += 1
        if self._giving_up:
            self._giving_up.cancel()
            self._giving_up = None

    def _on_reader_left(self, reader: LogReader) -> None:
        self._readers -= 1
        if self._task and self.is_open:
            self._giving_up = asyncio.get_running_loop().call_later(self._grace, self._task.cancel)


def _ignore_error(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()
