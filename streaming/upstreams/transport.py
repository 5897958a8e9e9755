"""Requests as they are sent, responses as far as their head, and what went wrong before it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from contextlib import suppress

import aiohttp
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from multidict import CIMultiDict
from yarl import URL

from streaming import request_scope
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.errors import BadPrompt, Busy, Silent, Unreachable, UpstreamError
from streaming.upstreams.framing import WrongLengthError, framed
from streaming.upstreams.headers import Header
from streaming.upstreams.proxies import UnusableProxyError
from streaming.upstreams.response import ResponseBody, UpstreamResponse
from streaming.upstreams.sessions import MAX_HEADER_BYTES, MAX_HEADERS, outgoing_proxy, session_of

logger = logging.getLogger(__name__)


async def send(
    upstream: UpstreamConfig,
    method: str,
    target: URL,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> UpstreamResponse:
    """The response's head, ``limit`` seconds after the request at the latest."""
    slot = ConcurrencySlot(upstream)
    try:
        response = await _sent(upstream, method, target, headers, body, limit)
        received = ResponseBody(upstream, response, slot.leave)
    except BaseException:
        slot.leave()
        raise
    try:
        await received.read_first()
    except BaseException:
        received.close()
        raise
    # ISO 8859-1 gives each byte back when Django writes them.
    raw = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.raw_headers]
    return UpstreamResponse(upstream.name, upstream.format, response.status, response.reason or "", raw, received)


_open = Counter[str]()  # the requests to each upstream that are not closed


class ConcurrencySlot:
    """One of those that an upstream has. Busy if there is none."""

    def __init__(self, upstream: UpstreamConfig) -> None:
        if upstream.concurrency is not None and _open[upstream.name] >= upstream.concurrency:
            raise Busy(upstream.name, f"has {upstream.concurrency} open streams already, and takes no more")
        self._name: str | None = upstream.name
        _open[upstream.name] += 1
        request_scope.own(self.leave)

    def leave(self) -> None:
        """More than once does no harm."""
        if self._name is not None:
            _open[self._name] -= 1
            self._name = None
            request_scope.release(self.leave)


async def _sent(
    upstream: UpstreamConfig,
    method: str,
    target: URL,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> aiohttp.ClientResponse:
    own = {key.lower() for key in upstream.headers}
    headers = [(key, value) for key, value in headers if key.lower() not in own] + list(upstream.headers.items())
    headers, body = framed(headers, body)
    patience = asyncio.timeout(limit)
    if not isinstance(body, bytes) and limit is not None:
        body = _restarting(patience, limit, body)
    try:
        async with patience:
            return await _asked(upstream, method, target, headers, body)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if patience.expired():
            raise Silent(upstream.name, f"did not answer within {limit:g} s") from error
        raise _translated(upstream, error) from error


async def _asked(
    upstream: UpstreamConfig, method: str, target: URL, headers: list[Header], body: AsyncIterable[bytes] | bytes
) -> aiohttp.ClientResponse:
    """The response; asked for once more if the server had closed the connection, which was an old one, before that."""
    reused: list[bool] = []

    def ask(session: aiohttp.ClientSession) -> Awaitable[aiohttp.ClientResponse]:
        return session.request(
            method,
            target,
            headers=CIMultiDict(headers),
            data=body or None,
            allow_redirects=False,
            proxy=outgoing_proxy(upstream),
            # The idle limit is ours to keep, see ResponseBody; aiohttp's own default of 300 s would end a stream.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=upstream.timeouts.connect),
            trace_request_ctx=reused,
        )

    try:
        return await ask(_session(upstream))
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if not (reused and _was_closed_without_a_byte(error) and isinstance(body, bytes)):
            raise
        # The server closed it for having been idle while the request was on its way (RFC 9112, section 9.3.1).
        # The next idle one may be closed as well, so this time the connection is a new one.
        return await ask(_session(upstream, is_kept=False))


def _was_closed_without_a_byte(error: Exception) -> bool:
    return not isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(error.message, str)


def _session(upstream: UpstreamConfig, *, is_kept: bool = True) -> aiohttp.ClientSession:
    try:
        return session_of(upstream, is_kept=is_kept)
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
    """The situation behind an exception, most of them aiohttp's own; its kinds overlap, so the order counts."""
    name = upstream.name
    for cause in reversed(list(_causes(error))):
        if isinstance(cause, WrongLengthError):
            return BadPrompt(name, f"was not sent all: {cause}")
        if isinstance(cause, ssl.SSLError):
            logger.warning("the upstream %r cannot be reached over TLS: %s", name, _tls_reason(cause))
            return Unreachable(name, "cannot be reached over TLS")
        if isinstance(cause, LineTooLong):
            return Unreachable(name, f"sent a header line of more than {MAX_HEADER_BYTES:,} bytes")
        if isinstance(cause, BadHttpMessage) and "Too many headers" in str(cause):
            return Unreachable(name, f"sent more than {MAX_HEADERS} headers")
    match error:
        case TimeoutError():
            return Silent(name, f"could not be connected to within {upstream.timeouts.connect:g} s")
        case UnusableProxyError():
            logger.warning("the upstream %r cannot be reached: %s", name, error)
            return Unreachable(name, "cannot be reached through its proxy")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            logger.warning("the upstream %r cannot be reached through its proxy: %s", name, _proxy_reason(error))
            return Unreachable(name, "cannot be reached through its proxy")
        case aiohttp.ClientConnectorError():
            logger.warning("the upstream %r cannot be reached: %s", name, error.os_error)
            return Unreachable(name, "cannot be reached")
        case aiohttp.ServerDisconnectedError() | OSError():
            return Unreachable(name, "closed the connection without an answer")
        case aiohttp.ClientResponseError():
            return Unreachable(name, "answered, but not in HTTP")
    logger.warning("the upstream %r failed: %r", name, error)
    return Unreachable(name, "cannot be used")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it: aiohttp keeps the system's own as a cause, or as ``os_error``."""
    while error is not None:
        yield error
        error = getattr(error, "os_error", None) or error.__cause__


def _tls_reason(error: BaseException) -> str:
    """OpenSSL's words without the place in its source, and what helps against the usual reason."""
    said = str(getattr(error, "verify_message", "")) or str(getattr(error, "reason", "")) or str(error)
    hint = ": set VERIFY to the file of its certificate authority" if "issuer" in said or "self-signed" in said else ""
    return said.lower().replace("_", " ") + hint


def _proxy_reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered {error.status}" + (": it wants a password" if error.status == 407 else "")
    return "nobody answers there"
