"""Requests and responses as they are on the network. The only file that knows httpx, and aiohttp below it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from aiohttp.http_exceptions import LineTooLong
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from multidict import CIMultiDict
from yarl import URL

from streaming import request_scope
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.errors import BadPrompt, Busy, Silent, Unreachable, UpstreamError
from streaming.upstreams.framing import WrongLengthError, framed
from streaming.upstreams.headers import Header
from streaming.upstreams.response import ResponseBody, UpstreamResponse

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 64 * 1024
"""Of one header line of a response: some servers put a whole policy, or what they know of a user, into one."""

MAX_HEADERS = 1000


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
        received = ResponseBody(upstream, response.extensions[AIOHTTP_RESPONSE], slot.leave)
    except BaseException:
        slot.leave()
        raise
    try:
        await received.read_first()
    except BaseException:
        received.close()
        raise
    # ISO 8859-1 gives each byte back when Django writes them.
    raw = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.headers.raw]
    return UpstreamResponse(upstream.name, upstream.format, response.status_code, response.reason_phrase, raw, received)


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
) -> httpx.Response:
    own = {key.lower() for key in upstream.headers}
    headers = [(key, value) for key, value in headers if key.lower() not in own] + list(upstream.headers.items())
    headers, body = framed(headers, body)
    timeouts = upstream.timeouts
    patience = asyncio.timeout(limit)
    if not isinstance(body, bytes) and limit is not None:
        body = _restarting(patience, limit, body)
    # httpx sees the upstream's URL alone: the target goes past its checks, as it was written.
    request = httpx.Request(method, upstream.url, content=body, extensions={"target": target, "headers": headers})
    # The idle limit is ours to keep, see ResponseBody; httpx's own default of 5 s would end a silent LLM.
    request.extensions["timeout"] = {"connect": timeouts.connect, "read": None, "write": 10.0, "pool": None}
    try:
        async with patience:
            return await _client(upstream.verify).send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
        if patience.expired():
            raise Silent(upstream.name, f"did not answer within {limit:g} s") from error
        raise _translated(upstream, error) from error


async def _restarting(patience: asyncio.Timeout, seconds: float, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body, each piece of which gives the upstream its time anew: it need not answer what has not arrived."""
    async for piece in body:
        with suppress(RuntimeError):  # it has answered already
            patience.reschedule(asyncio.get_running_loop().time() + seconds)
        yield piece


def _translated(upstream: UpstreamConfig, error: Exception) -> UpstreamError:
    """The situation behind an exception, most of them aiohttp's own; its kinds overlap, so the order counts."""
    if isinstance(wrong := error.__cause__, WrongLengthError):
        return BadPrompt(upstream.name, f"was not sent all: {wrong}")
    if isinstance(error, TimeoutError):
        return Silent(upstream.name, f"could not be connected to within {upstream.timeouts.connect:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(upstream.name, "cannot be reached")
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return Unreachable(upstream.name, "closed the connection without an answer")
    if isinstance(error, aiohttp.ClientResponseError):
        return Unreachable(upstream.name, _what_is_wrong_with_the_head(error))
    logger.warning("the upstream %r failed: %r", upstream.name, error)
    return Unreachable(upstream.name, "cannot be used")


def _what_is_wrong_with_the_head(error: BaseException) -> str:
    causes = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    if any(isinstance(each, LineTooLong) for each in causes):
        return f"sent a header line of more than {MAX_HEADER_BYTES:,} bytes"
    if "Too many headers" in str(error):
        return f"sent more than {MAX_HEADERS} headers"
    return "answered, but not in HTTP"


AIOHTTP_RESPONSE = "aiohttp_response"
"""The extension of a response in which its body is read: past httpx's layers of generators, at half the cost."""


class _ExactTransport(AiohttpTransport):
    """httpx-aiohttp's, but a request goes out as it was written: path unquoted by nobody, repeated headers apart."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._fresh: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        reused: list[bool] = []
        try:
            response = await self._ask(self.client, request, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not (reused and _was_closed_without_a_byte(error) and isinstance(request.stream, httpx.ByteStream)):
                raise
            # The server closed it for having been idle while the request was on its way (RFC 9112, section 9.3.1).
            # The next idle one may be closed as well, so this time the connection is a new one.
            self._fresh = self._fresh or self.get_client(force_close=True)
            response = await self._ask(self._fresh, request, [])
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            request=request,
            extensions={"reason_phrase": (response.reason or "").encode(), AIOHTTP_RESPONSE: response},
        )

    async def _ask(
        self, session: aiohttp.ClientSession, request: httpx.Request, reused: list[bool]
    ) -> aiohttp.ClientResponse:
        timeout = request.extensions["timeout"]
        headers: CIMultiDict[str] = CIMultiDict(request.extensions["headers"])
        return await session.request(
            request.method,
            request.extensions["target"],
            headers=headers,
            data=_body(request),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout["connect"], sock_read=timeout["read"]),
            trace_request_ctx=reused,
        )

    def get_client(self, *, force_close: bool = False) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.ssl_context, limit=0, force_close=force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Nothing of its own in a request that is somebody else's.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            trace_configs=[tracing],
        )
        # Its own way to ask again knows neither a POST nor whether the connection was a new one.
        session._retry_connection = False
        return session

    async def aclose(self) -> None:
        await super().aclose()
        if self._fresh:
            await self._fresh.close()


async def _note_reuse(_session: Any, context: Any, _params: Any) -> None:
    context.trace_request_ctx.append(True)


def _was_closed_without_a_byte(error: Exception) -> bool:
    return not isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(error.message, str)


def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes] | None:
    if isinstance(request.stream, httpx.ByteStream):
        return request.content or None
    return aiter(request.stream)  # type: ignore[arg-type]


# One client for each event loop: making one costs 100 ms, and its connections are kept alive in it.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, httpx.AsyncClient]] = WeakKeyDictionary()


def _client(verify: bool) -> httpx.AsyncClient:
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if verify not in clients:
        # No cookie of one reader's stream may travel with another's.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        transport = _ExactTransport(verify=verify)
        clients[verify] = httpx.AsyncClient(transport=transport, cookies=no_cookies, follow_redirects=False)
    return clients[verify]


async def close() -> None:
    """Closes the connections that this event loop keeps alive. What is asked for afterwards makes new ones."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()
