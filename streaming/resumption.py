"""Resuming streams: under which id and idempotency key they are kept, and who may read them."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from streaming import conf, idempotency, limits, registry, request_cleanup, sse
from streaming.access import require_caller
from streaming.caller import caller_of
from streaming.errors import BadRequest
from streaming.formats import Failure, Writer
from streaming.interruptible_wait import Interrupted, InterruptibleWait
from streaming.joined_stream import JoinedStream
from streaming.journal import (
    WHOLE,
    AlreadyClaimed,
    Journal,
    Limits,
    MemoryJournal,
    StreamInfo,
    StreamLog,
    StreamState,
    UnknownStream,
)
from streaming.live_stream import LiveStream
from streaming.relay import Relay, TextChunks
from streaming.requests import is_reconnect
from streaming.responses import EventStreamResponse, Source, label_of
from streaming.usage_meter import CLIENT_CLOSED_REQUEST, UsageMeter, meter_of

Start = Callable[[], Awaitable[tuple[Source, Relay]]]
"""Opens a stream's source, and creates the relay for it."""

_journals: WeakKeyDictionary[asyncio.AbstractEventLoop, Journal] = WeakKeyDictionary()

DISCARDING_SECONDS = 1.0
"""How long it may take at shutdown to free the idempotency keys of requests that were refused."""

_DEAD_WORKER = Failure(503, "Service Unavailable", "the server process that sent this stream has died")


def journal() -> Journal:
    """The journal of this process (to be exact, of its event loop)."""
    loop = asyncio.get_running_loop()
    if loop not in _journals:
        _journals[loop] = create_journal()
    return _journals[loop]


def create_journal() -> Journal:
    """A new journal, as the settings say. ImproperlyConfigured if REDIS_URL is wrong, or redis is not installed."""
    limits = Limits(conf.stream_keep(), conf.journal_bytes(), conf.journal_total())
    if not (url := conf.redis_url()):
        return MemoryJournal(limits)
    try:
        from streaming.journal.redis import RedisJournal
    except ImportError as error:
        raise ImproperlyConfigured(
            "REDIS_URL is set, and redis is not installed: pip install 'django-streaming-llm[redis]'"
        ) from error
    try:
        return RedisJournal(url, limits)
    except ValueError:  # its message may have the password
        detail = "REDIS_URL has to be like redis://127.0.0.1:6379, rediss://... or unix:///run/redis.sock"
        raise ImproperlyConfigured(detail) from None


async def state() -> dict[str, Any]:
    """The journal's state, for operators."""
    store = journal()
    await store.start()
    return store.state()


def known_state() -> dict[str, Any]:
    """The same if the journal has been used; empty if not."""
    store = _journals.get(asyncio.get_running_loop())
    return store.state() if store else {}


async def close() -> None:
    """Stores the newest events, so that other workers can resume their streams."""
    if store := _journals.get(asyncio.get_running_loop()):
        if _discarding:
            await asyncio.wait(_discarding, timeout=DISCARDING_SECONDS)
        _journals.pop(asyncio.get_running_loop(), None)
        await store.close()


# --- A stream begins


async def begin(
    request: HttpRequest,
    stream: str,
    writer: Writer,
    start: Start,
    *,
    dialect: str = "native",
    grace: float | None = None,
) -> EventStreamResponse:
    """The response of a new stream, or of the stream that an earlier request with the same idempotency key began.

    ``grace``: seconds for which the stream continues after its last client has left; the default is STREAMING_GRACE.
    Raises BadRequest if the key was used with a different request, and the errors of ``start``.
    """
    grace = conf.stream_grace() if grace is None else grace
    if request.method == "HEAD":
        live = LiveStream(*await start(), label=label_of(request), meter=meter_of(request))  # never starts
        return EventStreamResponse(request, live)
    info = await idempotency.info_of(request, stream, dialect, _closing_messages(writer))
    while True:
        try:
            opening = _OpeningStream(request, writer, start, grace)
            return _respond(request, await _open_stream(info, opening), stream)
        except AlreadyClaimed as claimed:
            idempotency.refuse_other_request(info, claimed)
            if joined := await _join_when_begun(claimed.stream):
                if meter := meter_of(request):
                    meter.discard()
                return _respond(request, joined, claimed.stream)


async def _open_stream(info: StreamInfo, opening: _OpeningStream) -> LiveStream:
    log = await journal().open(info, opening.stop)
    task = asyncio.get_running_loop().create_task(opening.run(log), context=request_cleanup.detached_context())
    if opening.meter:
        opening.meter.is_opening = True
    try:
        # Shielded: if the client disconnects and retries, the upstream is still asked only once.
        live = await asyncio.shield(task)
    except asyncio.CancelledError:
        # Without an idempotency key nobody can come back: no id was sent yet.
        if not opening.grace or not info.claim or registry.is_draining():
            task.cancel()
        task.add_done_callback(partial(_discard_or_close, log, opening.meter))
        raise
    except BaseException:
        if opening.meter:
            opening.meter.is_opening = False  # the client may leave before it gets the error
        await journal().discard(log)
        raise
    return live


class _OpeningStream:
    """A stream whose source is not open yet. It can already be stopped: then its source is not waited for."""

    def __init__(self, request: HttpRequest, writer: Writer, start: Start, grace: float) -> None:
        self.meter = meter_of(request)
        self.grace = grace
        self._writer = writer
        self._wait = InterruptibleWait()
        self._label = label_of(request)
        self._hold = partial(limits.hold, request)
        self._start = start
        self._live: LiveStream | None = None
        self._stopped = ""

    async def run(self, log: StreamLog) -> LiveStream:
        let_go = self._hold()  # the stream may outlive its request
        try:
            source, relay = await self._source_and_relay()
        except BaseException:
            let_go()
            raise
        self._live = LiveStream(
            source, relay, log, label=self._label, grace=self.grace, meter=self.meter, on_finish=let_go
        )
        if self._stopped:
            self._live.stop(self._stopped)
        return self._live

    async def _source_and_relay(self) -> tuple[Source, Relay]:
        if not self._stopped:
            try:
                return await self._wait.wait(self._start)
            except Interrupted:
                pass
        return NoSource(), Relay(TextChunks(), None, self._writer)

    def stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        self._wait.interrupt()
        if self._live:
            self._live.stop(reason)


class NoSource:
    """The source of a stream that was stopped before it had one."""

    async def read(self) -> bytes:
        return b""

    def close(self, *, linger: bool = False) -> None:
        """Nothing to close."""


_discarding = set[asyncio.Task[None]]()


def _discard_or_close(log: StreamLog, meter: UsageMeter | None, opening: asyncio.Task[LiveStream]) -> None:
    """The client left while the source was being opened."""
    if opening.cancelled() or opening.exception():
        if meter:
            meter.end("left", CLIENT_CLOSED_REQUEST)
        task = asyncio.get_running_loop().create_task(journal().discard(log))
        _discarding.add(task)
        task.add_done_callback(_discarding.discard)
    else:
        opening.result().close()


def _respond(request: HttpRequest, stream: LiveStream | JoinedStream, identity: str) -> EventStreamResponse:
    request_cleanup.close_at_end(stream.close)  # a client that has left must not slow down the others
    response = EventStreamResponse(request, stream)
    response["Content-Location"] = reverse("streaming:streams", args=[identity])
    return registry.watch(response)


async def _join_when_begun(stream: str) -> JoinedStream | None:
    """Joins a stream once it has begun. None if it failed before that: its key is then free again."""
    try:
        reader = await journal().follow(stream)
    except UnknownStream:
        return None
    try:
        return JoinedStream(reader, await reader.read())
    except UnknownStream:
        return None
    except BaseException:
        reader.close()
        raise


def _closing_messages(writer: Writer) -> bytes:
    """The messages that end the stream if this process dies, with a NUL in place of each message's number."""
    data = b"".join(map(sse.encode, copy.deepcopy(writer).final_messages("error", _DEAD_WORKER)))
    return re.sub(rb"(?m)^(id: .*:)[0-9]+$", rb"\1\0", data)


# --- A client comes back


async def answer_reconnect(request: HttpRequest) -> HttpResponseBase | None:
    """The response to an EventSource that reconnects with Last-Event-ID; None for any other request.

    Otherwise every reconnection would start, and pay for, the same stream again. If there is nothing to resume, a 204
    makes the EventSource stop.
    """
    if not is_reconnect(request):
        return None
    stream, _, _ = request.headers["Last-Event-ID"].partition(":")
    try:
        return await resume(request, stream)
    except (BadRequest, UnknownStream):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)


async def resume(request: HttpRequest, stream: str) -> HttpResponseBase:
    """The events after the client's last one, or all of them. 204 if the client has all of an ended stream.

    Raises BadRequest if the event id belongs to another stream or does not exist yet, and UnknownStream, Gap or
    StoreUnavailable.
    """
    after = _last_event_number(request, stream)
    state = await find(request, stream)
    if state.ended and after is not None and after >= state.last:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    reader = await journal().follow(stream, after)
    if reader.is_ahead:
        reader.close()
        raise BadRequest("this stream does not have the event yet after which it should be resumed")
    return _respond(request, JoinedStream(reader), stream)


async def head(request: HttpRequest, stream: str) -> HttpResponse:
    """The stream's state, in headers."""
    state = await find(request, stream)
    response = HttpResponse(content_type="text/event-stream; charset=utf-8")
    response["Stream-State"] = state.ended or "running"
    response["Stream-Last-Event-ID"] = f"{stream}:{state.last}"
    response["Cache-Control"] = "no-store"
    return response


async def stop(request: HttpRequest, stream: str) -> HttpResponse:
    """Stops the stream; one that has ended stays as it is. Denied without a CSRF token, for users with a session."""
    if (await find(request, stream)).info.owner:
        await require_caller(request)
    await journal().stop(stream)
    return HttpResponse(status=HTTPStatus.ACCEPTED)


async def begun_with_key_of(request: HttpRequest) -> str:
    """The stream that an earlier request began with this one's idempotency key, also if its response has not begun.

    Empty if there is none, or no more. Raises BadRequest without a key that is hard to guess, StoreUnavailable.
    """
    try:
        return await journal().claimed_by(await idempotency.claim_of(request))
    except UnknownStream:
        return ""


async def find(request: HttpRequest, stream: str) -> StreamState:
    """The stream's state. UnknownStream also if it belongs to another user or API key."""
    state = await journal().find(stream)
    is_foreign = state.info.owner and state.info.owner != (await caller_of(request)).subject
    if is_foreign or state.info.dialect == WHOLE:
        raise UnknownStream("there is no such stream, or it has expired")
    return state


_NUMBER = re.compile(r"-1|[0-9]{1,18}")


def _last_event_number(request: HttpRequest, stream: str) -> int | None:
    """The number of the last event that the client received; None if it has none."""
    if (after := request.GET.get("after")) is not None:
        if not _NUMBER.fullmatch(after):
            raise BadRequest("after has to be the number of an event, or -1", errors={"after": ["is not a number"]})
        return int(after)
    if not (last := request.headers.get("Last-Event-ID")):
        return None
    last_stream, _, number = last.rpartition(":")
    if last_stream != stream or not _NUMBER.fullmatch(number):
        raise BadRequest("the Last-Event-ID does not belong to this stream")
    return int(number)
