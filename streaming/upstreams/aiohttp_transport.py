"""The transport of the HTTP client: aiohttp's connections, on which a chunk costs half as much as on httpx's.

This is the only module that uses aiohttp.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from multidict import CIMultiDict
from yarl import URL

MAX_HEADER_BYTES = 64 * 1024
"""The limit for one header line of a response: some servers send a whole policy, or a user's data, in one header."""

MAX_HEADERS = 1000

RawResponse = aiohttp.ClientResponse

READ_ERRORS = (aiohttp.ClientError, OSError)
"""The exceptions that reading a body from a RawResponse's ``content`` can raise."""


def raw(response: httpx.Response) -> RawResponse:
    """The underlying aiohttp response: its body is read directly, without the overhead of httpx's generators."""
    found: RawResponse = response.extensions["aiohttp_response"]
    return found


class HeaderLimitError(httpx.RemoteProtocolError):
    """A response head exceeds a limit, which the message names."""


class ExactTransport(AiohttpTransport):
    """httpx-aiohttp's transport, but it sends exactly the request's headers and its extension ``target``, unchanged.

    Responses are unchanged too: still compressed, with the original case of header names, and within our size limits.
    The exceptions are those that httpx's default transport would raise, with aiohttp's as their causes.
    """

    def __init__(self, *, proxy_url: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._proxy_url = proxy_url or None
        self._session: aiohttp.ClientSession | None = None
        self._session_of_new_connections: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._ask(request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _as_httpx(error) from error
        return _FinalResponse(
            response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            extensions={
                "aiohttp_response": response,
                "reason_phrase": (response.reason or "").encode("utf-8", "surrogateescape"),
            },
        )

    async def aclose(self) -> None:
        for session in (self._session, self._session_of_new_connections):
            if session:
                await session.close()

    async def _ask(self, request: httpx.Request) -> RawResponse:
        """Sends the request. Retries it once if the server had closed a reused connection before any response."""
        self._session = self._session or self._new_session(is_kept=True)
        reused: list[bool] = []
        try:
            return await self._send(self._session, request, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            is_repeatable = isinstance(request.stream, httpx.ByteStream)
            if not (reused and is_repeatable and _was_closed_without_a_byte(error)):
                raise
        # The server closed the idle connection while the request was being sent (RFC 9112, section 9.3.1). Other idle
        # connections may be closed as well, so the retry uses a new one.
        self._session_of_new_connections = self._session_of_new_connections or self._new_session(is_kept=False)
        return await self._send(self._session_of_new_connections, request, reused)

    async def _send(self, session: aiohttp.ClientSession, request: httpx.Request, reused: list[bool]) -> RawResponse:
        stream = request.stream
        return await session.request(
            request.method,
            _url(request),
            headers=CIMultiDict((key.decode("latin-1"), value.decode()) for key, value in request.headers.raw),
            data=b"".join(stream) or None if isinstance(stream, httpx.ByteStream) else stream,
            allow_redirects=False,
            proxy=self._proxy_url,
            # ResponseBody enforces the body's timeouts; aiohttp's default of 300 s in total would end long streams.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=request.extensions["timeout"]["connect"]),
            trace_request_ctx=reused,
        )

    def _new_session(self, *, is_kept: bool) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        session = aiohttp.ClientSession(
            connector=self._connector(is_kept),
            # A cookie of one client's stream must never be sent with another's.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            # aiohttp must not add headers to a relayed request.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trace_configs=[tracing],
        )
        # aiohttp's retries exclude POST, and do not consider whether the connection was new.
        session._retry_connection = False
        return session

    def _connector(self, is_kept: bool) -> aiohttp.BaseConnector:
        if self.uds:
            return aiohttp.UnixConnector(self.uds, limit=0, force_close=not is_kept)
        return aiohttp.TCPConnector(ssl=self.ssl_context, limit=0, force_close=not is_kept)


class _FinalResponse(httpx.Response):
    """A response that httpx does not treat as a redirect: it would parse the Location, which may be invalid."""

    @property
    def has_redirect_location(self) -> bool:
        return False


def _url(request: httpx.Request) -> URL:
    origin = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    return URL(origin + request.extensions["target"].decode(), encoded=True)


async def _note_reuse(_session: Any, context: Any, _params: Any) -> None:
    context.trace_request_ctx.append(True)


def _was_closed_without_a_byte(error: Exception) -> bool:
    return not isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(error.message, str)


def _as_httpx(error: Exception) -> httpx.TransportError:
    """httpx's exception for one of aiohttp's. aiohttp's classes overlap, so the order of the cases matters.

    httpx-aiohttp's mapping turns a refused connection into a ConnectTimeout, and lacks malformed responses.
    """
    for cause in causes(error):
        if isinstance(cause, LineTooLong):
            return HeaderLimitError(f"a header line of more than {MAX_HEADER_BYTES:,} bytes")
        if isinstance(cause, BadHttpMessage) and "Too many headers" in str(cause):
            return HeaderLimitError(f"more than {MAX_HEADERS} headers")
    match error:
        case TimeoutError():
            return httpx.ConnectTimeout(str(error))
        case aiohttp.ClientProxyConnectionError():
            return httpx.ProxyError("the connection to it failed")
        case aiohttp.ClientHttpProxyError():
            reason = ": it requires a password" if error.status == 407 else ""
            return httpx.ProxyError(f"it answered {error.status}{reason}")
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(str(error.os_error))
        case aiohttp.ServerDisconnectedError() | OSError():
            return httpx.ReadError(str(error))
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError(error.message)
    return httpx.TransportError(repr(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, followed by its causes."""
    while error is not None:
        yield error
        error = error.__cause__
