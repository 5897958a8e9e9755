"""Requests as they are sent, responses as far as their head, and what went wrong before it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from functools import lru_cache

import httpx

from streaming import request_scope
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import HeaderLimitError, causes, raw
from streaming.upstreams.errors import BadPrompt, Busy, Silent, Unreachable, UpstreamError
from streaming.upstreams.framing import WrongLengthError, framed
from streaming.upstreams.headers import Header
from streaming.upstreams.http_clients import client_of
from streaming.upstreams.proxies import UnusableProxyError
from streaming.upstreams.response import ResponseBody, UpstreamResponse

logger = logging.getLogger(__name__)


async def send(
    upstream: UpstreamConfig,
    method: str,
    target: str,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> UpstreamResponse:
    """The response's head, ``limit`` seconds after the request at the latest."""
    slot = ConcurrencySlot(upstream)
    try:
        response = await _sent(upstream, method, target, headers, body, limit)
        received = ResponseBody(upstream, raw(response), slot.leave)
    except BaseException:
        slot.leave()
        raise
    try:
        await received.read_first()
    except BaseException:
        received.close()
        raise
    # ISO 8859-1 gives each byte back when Django writes them.
    came = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.headers.raw]
    reason = response.extensions["reason_phrase"].decode("utf-8", "surrogateescape")
    return UpstreamResponse(upstream.name, upstream.format, response.status_code, reason, came, received)


_open = Counter[str]()  # the requests to each upstream that are not closed


class ConcurrencySlot:
    """One of those that an upstream has. Busy if there is none."""

    def __init__(self, upstream: UpstreamConfig) -> None:
        if upstream.concurrency is not None and _open[upstream.name] >= upstream.concurrency:
            raise Busy(upstream.name, f"has {upstream.concurrency} open streams already, and takes no more")
        self._name: str | None = upstream.name
        _open[upstream.name] += 1
        request_scope.close_at_end(self.leave)

    def leave(self) -> None:
        """More than once does no harm."""
        if self._name is not None:
            _open[self._name] -= 1
            self._name = None
            request_scope.release(self.leave)


async def _sent(
    upstream: UpstreamConfig,
    method: str,
    target: str,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> httpx.Response:
    own = {key.lower() for key in upstream.headers}
    headers = [(key, value) for key, value in headers if key.lower() not in own] + list(upstream.headers.items())
    headers, body = framed(headers, body)
    patience = asyncio.timeout(limit)
    if not isinstance(body, bytes) and limit is not None:
        body = _restarting(patience, limit, body)
    try:
        request = _request(upstream, method, target, headers, body)
        async with patience:
            return await _client(upstream).send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        if patience.expired():
            raise Silent(upstream.name, f"did not answer within {limit:g} s") from error
        raise _translated(upstream, error) from error


def _request(
    upstream: UpstreamConfig, method: str, target: str, headers: list[Header], body: AsyncIterable[bytes] | bytes
) -> httpx.Request:
    """Its URL is the upstream's alone, which httpx may read and log; what a client asked for stands in ``target``."""
    return httpx.Request(
        method,
        _url(upstream.url),
        headers=httpx.Headers(headers, encoding="utf-8"),
        # Given as "content" it would get headers of httpx's making.
        stream=httpx.ByteStream(body) if isinstance(body, bytes) else _Stream(body),
        extensions={"target": target.encode(), "timeout": {"connect": upstream.timeouts.connect}},
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


async def _restarting(patience: asyncio.Timeout, seconds: float, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body, each piece of which gives the upstream its time anew: it need not answer what has not arrived."""
    async for piece in body:
        with suppress(RuntimeError):  # it has answered already
            patience.reschedule(asyncio.get_running_loop().time() + seconds)
        yield piece


def _translated(upstream: UpstreamConfig, error: Exception) -> UpstreamError:
    """The situation behind an exception."""
    name = upstream.name
    for cause in reversed(list(causes(error))):
        if isinstance(cause, WrongLengthError):
            return BadPrompt(name, f"was not sent all: {cause}")
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
    """OpenSSL's words without the place in its source, and what helps against the usual reason."""
    said = str(getattr(error, "verify_message", "")) or str(getattr(error, "reason", "")) or str(error)
    hint = ": set VERIFY to the file of its certificate authority" if "issuer" in said or "self-signed" in said else ""
    return said.lower().replace("_", " ") + hint
