"""Sends requests to upstreams, up to the head of the response. Failures become UpstreamErrors."""

from __future__ import annotations

import asyncio
import logging
import ssl
import uuid
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import httpx

from streaming import request_cleanup
from streaming.counters import Slots, counters
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import HeaderLimitError, causes, raw
from streaming.upstreams.body_length import WrongLengthError, framed
from streaming.upstreams.errors import BadPrompt, Busy, Silent, Unreachable, UpstreamError
from streaming.upstreams.http_clients import client_of
from streaming.upstreams.proxies import UnusableProxyError
from streaming.upstreams.request import UpstreamRequest
from streaming.upstreams.response import ResponseBody, UpstreamResponse

logger = logging.getLogger(__name__)


async def send(request: UpstreamRequest) -> UpstreamResponse:
    """The response as soon as its head has arrived. Its errors are UpstreamErrors."""
    upstream = request.upstream
    slot = ConcurrencySlot(upstream)
    try:
        await slot.take()
        response = await _head(request)
        received = ResponseBody(upstream, raw(response), slot.release)
    except BaseException:
        slot.release()
        raise
    try:
        await received.read_first()
    except BaseException:
        received.close()
        raise
    # ISO 8859-1 gives each byte back when Django writes them.
    headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.headers.raw]
    reason = response.extensions["reason_phrase"].decode("utf-8", "surrogateescape")
    return UpstreamResponse(upstream.name, upstream.format, response.status_code, reason, headers, received)


_open = Counter[str]()  # the requests to each upstream that are not closed


class ConcurrencySlot:
    """One of an upstream's CONCURRENCY slots, which all workers share if there is Redis."""

    def __init__(self, upstream: UpstreamConfig) -> None:
        self._upstream = upstream
        self._slots = Slots(f"upstream:{upstream.name}", upstream.concurrency or 0)
        self._member = uuid.uuid4().hex
        self._is_taken = self._is_counted = False

    async def take(self) -> None:
        """Busy if all stay taken for the ``queue`` seconds of TIMEOUTS. Cancelling it leaves the queue."""
        seconds = self._upstream.timeouts.queue
        if self._slots.limit:
            self._is_taken = await counters().take(self._slots, self._member, seconds)
            if not self._is_taken:
                waited = f", and none ended within {seconds:g} s" if seconds else ""
                raise Busy(self._upstream.name, f"already has {self._slots.limit} open streams, its limit{waited}")
        self._is_counted = True
        _open[self._upstream.name] += 1
        request_cleanup.close_at_end(self.release)

    def release(self) -> None:
        """May be called more than once."""
        if self._is_taken:
            self._is_taken = False
            counters().release([self._slots.key], self._member)
        if self._is_counted:
            self._is_counted = False
            _open[self._upstream.name] -= 1
            request_cleanup.release(self.release)


async def _head(request: UpstreamRequest) -> httpx.Response:
    upstream, limit = request.upstream, request.timeout
    configured = {key.lower() for key in upstream.headers}
    headers = [(key, value) for key, value in request.headers if key.lower() not in configured]
    headers, body = framed([*headers, *upstream.headers.items()], request.body)
    timeout = asyncio.timeout(limit)
    if not isinstance(body, bytes) and limit is not None:
        body = _restarting(timeout, limit, body)
    try:
        async with timeout:
            sent = _httpx_request(replace(request, headers=headers, body=body))
            return await _client(upstream).send(sent, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        if timeout.expired():
            raise Silent(upstream.name, f"did not answer within {limit:g} s") from error
        raise _upstream_error(upstream, error) from error


def _httpx_request(request: UpstreamRequest) -> httpx.Request:
    """The URL, which httpx may log, is the configured one; the path and query of the client are in ``target``."""
    body = request.body
    return httpx.Request(
        request.method,
        _url(request.upstream.url),
        headers=httpx.Headers(request.headers, encoding="utf-8"),
        # As "content" it would get headers from httpx.
        stream=httpx.ByteStream(body) if isinstance(body, bytes) else _Stream(body),
        extensions={"target": request.target.encode(), "timeout": {"connect": request.upstream.timeouts.connect}},
    )


_url = lru_cache(httpx.URL)


class _Stream(httpx.AsyncByteStream):
    """A body of unknown length, as it arrives."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._pieces)


def _client(upstream: UpstreamConfig) -> httpx.AsyncClient:
    try:
        return client_of(upstream)
    except OSError as error:
        logger.exception("VERIFY or CERT of the upstream %r cannot be used", upstream.name)
        raise Unreachable(upstream.name, "cannot be reached over TLS") from error


async def _restarting(timeout: asyncio.Timeout, seconds: float, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body. Each chunk restarts the timeout: the upstream cannot respond to what it has not received."""
    async for piece in body:
        with suppress(RuntimeError):  # the response has begun already
            timeout.reschedule(asyncio.get_running_loop().time() + seconds)
        yield piece


def _upstream_error(upstream: UpstreamConfig, error: Exception) -> UpstreamError:
    """The UpstreamError for an exception of httpx."""
    name = upstream.name
    for cause in reversed(list(causes(error))):
        if isinstance(cause, WrongLengthError):
            return BadPrompt(name, f"did not get the whole request: {cause}")
        if isinstance(cause, ssl.SSLError):
            logger.warning("the upstream %r cannot be reached over TLS: %s", name, _tls_reason(cause))
            return Unreachable(name, "cannot be reached over TLS")
    match error:
        case httpx.ConnectTimeout():
            return Silent(name, f"could not be connected to within {upstream.timeouts.connect:g} s")
        case UnusableProxyError():
            logger.warning("the upstream %r cannot be reached: %s", name, error)
            return Unreachable(name, "cannot be reached through its proxy")
        case httpx.ProxyError():
            logger.warning("the upstream %r cannot be reached through its proxy: %s", name, error)
            return Unreachable(name, "cannot be reached through its proxy")
        case httpx.ConnectError():
            logger.warning("the upstream %r cannot be reached: %s", name, error)
            return Unreachable(name, "cannot be reached")
        case httpx.ReadError():
            return Unreachable(name, "closed the connection without an answer")
        case HeaderLimitError():
            return Unreachable(name, f"sent {error}")
        case httpx.RemoteProtocolError():
            return Unreachable(name, "answered, but not in HTTP")
    logger.warning("the upstream %r failed: %r", name, error)
    return Unreachable(name, "cannot be used")


def _tls_reason(error: BaseException) -> str:
    """OpenSSL's reason, and a hint for the usual one."""
    reason = str(getattr(error, "verify_message", "")) or str(getattr(error, "reason", "")) or str(error)
    is_unknown_issuer = "issuer" in reason or "self-signed" in reason
    hint = ": set VERIFY to the file of its certificate authority" if is_unknown_issuer else ""
    return reason.lower().replace("_", " ") + hint
