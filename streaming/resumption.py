"""Coming back to a stream: what is kept of it, under which id and key, and who may have it."""

from __future__ import annotations

import asyncio
import copy
import hashlib
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

from streaming import conf, registry, request_scope, sse
from streaming.access import may_use_upstreams, require_caller
from streaming.errors import BadRequest
from streaming.formats import Failure, Writer
from streaming.journal import (
    AlreadyClaimed,
    Journal,
    Limits,
    MemoryJournal,
    StreamInfo,
    StreamLog,
    StreamState,
    UnknownStream,
)
from streaming.live_stream import JoinedStream, LiveStream
from streaming.relay import Relay
from streaming.requests import is_reconnect, read_body
from streaming.responses import EventStreamResponse, Source, label_of

Start = Callable[[], Awaitable[tuple[Source, Relay]]]
"""Opens the source of a stream, and makes the relay that is fed from it."""

_journals: WeakKeyDictionary[asyncio.AbstractEventLoop, Journal] = WeakKeyDictionary()

_DEAD_WORKER = Failure(503, "Service Unavailable", "the server process that answered is gone")


def journal() -> Journal:
    """The one of this process, or rather of its event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _journals:
        _journals[loop] = _made_journal()
    return _journals[loop]


def _made_journal() -> Journal:
    limits = Limits(conf.stream_keep(), conf.journal_bytes(), conf.journal_total())
    if not (url := conf.redis_url()):
        return MemoryJournal(limits)
    try:
        from streaming.journal.redis import RedisJournal
    except ImportError as error:
        raise ImproperlyConfigured(
            "REDIS_URL is set, and redis is not installed: pip install 'ssesite[redis]'"
        ) from error
    return RedisJournal(url, limits)


async def state() -> dict[str, Any]:
    """For operators."""
    kept = journal()
    await kept.start()
    return kept.state()


async def close() -> None:
    """What was sent last is stored, so that other workers can show it."""
    if kept := _journals.pop(asyncio.get_running_loop(), None):
        await kept.close()


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
    """The answer that a stream begins with, or that joins the stream of an earlier request with this idempotency key.

    ``grace``: for how many seconds it goes on when its clients have left; STREAMING_GRACE unless it is given.
    BadRequest if the key came with another body before; what ``start`` raises.
    """
    grace = conf.stream_grace() if grace is None else grace
    if request.method == "HEAD":
        return EventStreamResponse(request, LiveStream(*await start(), label=label_of(request)))  # it never begins
    key = _idempotency_key(request)
    owner = await owner_of(request)
    info = StreamInfo(
        stream,
        owner,
        dialect,
        _last_words(writer),
        claim=_digest(owner, key) if key else "",
        fingerprint=_fingerprint(request) if key else "",
    )
    while True:
        try:
            return _answer(request, await _opened(request, info, start, grace), stream)
        except AlreadyClaimed as claimed:
            if claimed.fingerprint != info.fingerprint:
                detail = "this Idempotency-Key came with another request before"
                raise BadRequest(detail, HTTPStatus.CONFLICT, code="idempotency_error") from claimed
            if joined := await _joined_once_begun(claimed.stream):
                return _answer(request, joined, claimed.stream)


async def _opened(request: HttpRequest, info: StreamInfo, start: Start, grace: float) -> LiveStream:
    opening = _Opening(label_of(request), start, grace)
    log = await journal().open(info, opening.stop)
    task = asyncio.get_running_loop().create_task(opening.run(log), context=request_scope.detached_context())
    try:
        # The upstream is asked once, also if the client leaves meanwhile and asks again.
        live = await asyncio.shield(task)
    except asyncio.CancelledError:
        if not grace:
            task.cancel()
        task.add_done_callback(partial(_unattended, log))
        raise
    except BaseException:
        await journal().discard(log)
        raise
    return live


class _Opening:
    """Between the request for a stream and its source."""

    def __init__(self, label: str, start: Start, grace: float) -> None:
        self._label = label
        self._start = start
        self._grace = grace
        self._live: LiveStream | None = None
        self._stopped = ""

    async def run(self, log: StreamLog) -> LiveStream:
        source, relay = await self._start()
        self._live = LiveStream(source, relay, log, label=self._label, grace=self._grace)
        if self._stopped:
            self._live.stop(self._stopped)
        return self._live

    def stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        if self._live:
            self._live.stop(reason)


_discarding = set[asyncio.Task[None]]()


def _unattended(log: StreamLog, opening: asyncio.Task[LiveStream]) -> None:
    """The client left before there was a source."""
    if opening.cancelled() or opening.exception():
        task = asyncio.get_running_loop().create_task(journal().discard(log))
        _discarding.add(task)
        task.add_done_callback(_discarding.discard)
    else:
        opening.result().close()


def _answer(request: HttpRequest, stream: LiveStream | JoinedStream, identity: str) -> EventStreamResponse:
    request_scope.own(stream.close)  # a client that is gone must not hold the others back
    response = EventStreamResponse(request, stream)
    response["Content-Location"] = reverse("streams", args=[identity])
    return registry.watch(response)


async def _joined_once_begun(stream: str) -> JoinedStream | None:
    """None if it failed before it began: then the key is free again."""
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


def _last_words(writer: Writer) -> bytes:
    """What ends the stream should this process die, with a NUL wherever a message has its number."""
    data = b"".join(map(sse.encode, copy.deepcopy(writer).final_messages("error", _DEAD_WORKER)))
    return re.sub(rb"(?m)^(id: .*:)[0-9]+$", rb"\1\0", data)


# --- A client comes back


async def returned(request: HttpRequest) -> HttpResponseBase | None:
    """The answer to an EventSource that comes back with Last-Event-ID; None if the request is no such thing.

    It would otherwise start, and pay for, the same stream again and again. 204 tells it that there is nothing to come
    back to.
    """
    if not is_reconnect(request):
        return None
    stream, _, _ = request.headers["Last-Event-ID"].partition(":")
    try:
        return await resume(request, stream)
    except (BadRequest, UnknownStream):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)


async def resume(request: HttpRequest, stream: str) -> HttpResponseBase:
    """What follows the event that the client has, or all of the stream. 204 if nothing follows any more.

    BadRequest if the id is not one of this stream's, UnknownStream, Gap, StoreUnavailable.
    """
    after = _position(request, stream)
    state = await find(request, stream)
    if state.ended and after is not None and after >= state.last:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return _answer(request, JoinedStream(await journal().follow(stream, after)), stream)


async def head(request: HttpRequest, stream: str) -> HttpResponse:
    """How the stream stands, in headers."""
    state = await find(request, stream)
    response = HttpResponse(content_type="text/event-stream; charset=utf-8")
    response["Stream-State"] = state.ended or "running"
    response["Stream-Last-Event-ID"] = f"{stream}:{state.last}"
    response["Cache-Control"] = "no-store"
    return response


async def stop(request: HttpRequest, stream: str) -> HttpResponse:
    """Ends the stream. What ended already stays as it is. Denied to other sites' forms, where a session is the key."""
    if (await find(request, stream)).info.owner:
        await require_caller(request)
    await journal().stop(stream)
    return HttpResponse(status=HTTPStatus.ACCEPTED)


async def find(request: HttpRequest, stream: str) -> StreamState:
    """UnknownStream, also if it is somebody else's."""
    state = await journal().find(stream)
    if state.info.owner:
        await may_use_upstreams(request)  # which finds out whose API key it is
        if state.info.owner != await owner_of(request):
            raise UnknownStream("there is no such stream, or not any more")
    return state


async def owner_of(request: HttpRequest) -> str:
    """Whose the streams are that this request begins. Empty if nobody is logged in: whoever knows the id may come."""
    user: Any = await request.auser()
    return f"user:{user.pk}" if user.is_authenticated else ""


_NUMBER = re.compile(r"-1|[0-9]{1,18}")


def _position(request: HttpRequest, stream: str) -> int | None:
    """The number of the last event that the client has."""
    if (after := request.GET.get("after")) is not None:
        if not _NUMBER.fullmatch(after):
            raise BadRequest("after has to be the number of an event, or -1", errors={"after": ["is no number"]})
        return int(after)
    if not (last := request.headers.get("Last-Event-ID")):
        return None
    of, _, number = last.rpartition(":")
    if of != stream or not _NUMBER.fullmatch(number):
        raise BadRequest("the Last-Event-ID is not one of this stream's")
    return int(number)


# --- Idempotency keys


_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "") if request.method == "POST" else ""
    if key and not _KEY.fullmatch(key):
        raise BadRequest("an Idempotency-Key is 1 to 255 printable characters of ASCII")
    return key


def _fingerprint(request: HttpRequest) -> str:
    return _digest(request.path, request.META.get("QUERY_STRING", ""), request.content_type or "", read_body(request))


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()
