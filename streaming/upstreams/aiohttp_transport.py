"""What the HTTP client sends by: aiohttp's connections, on which a chunk costs half as much as on httpx's own.

The only file that knows aiohttp.
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
"""Of one header line of a response: some servers put a whole policy, or what they know of a user, into one."""

MAX_HEADERS = 1000

RawResponse = aiohttp.ClientResponse

READ_ERRORS = (aiohttp.ClientError, OSError)
"""What reading a body from a RawResponse's ``content`` raises."""


def raw(response: httpx.Response) -> RawResponse:
    """The response as the connection has it: its body is read from there, past the generators of httpx."""
    found: RawResponse = response.extensions["aiohttp_response"]
    return found


class HeaderLimitError(httpx.RemoteProtocolError):
    """The message says what there is too much of in a response's head."""


class ExactTransport(AiohttpTransport):
    """httpx-aiohttp's, but what goes out is what a request says: its headers and its extension ``target``, as they are.

    What comes in passes as it came, too: compressed, with its own case of headers, and under our limits of length. The
    exceptions are httpx's, of the kinds that httpx's own transport would raise; their causes are the facts behind them.
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
        """The response; asked for once more if the server had closed the connection, which was an old one, before."""
        self._session = self._session or self._new_session(is_kept=True)
        reused: list[bool] = []
        try:
            return await self._send(self._session, request, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            is_repeatable = isinstance(request.stream, httpx.ByteStream)
            if not (reused and is_repeatable and _was_closed_without_a_byte(error)):
                raise
        # The server closed it for having been idle while the request was on its way (RFC 9112, section 9.3.1).
        # The next idle one may be closed as well, so this time the connection is a new one.
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
            # The limits of a body's time are ResponseBody's to keep; aiohttp's own default of 300 s would end a stream.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=request.extensions["timeout"]["connect"]),
            trace_request_ctx=reused,
        )

    def _new_session(self, *, is_kept: bool) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        session = aiohttp.ClientSession(
            connector=self._connector(is_kept),
            # No cookie of one client's stream may travel with another's.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            # Nothing of its own in a request that is somebody else's.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trace_configs=[tracing],
        )
        # Its own way to ask again knows neither a POST nor whether the connection was a new one.
        session._retry_connection = False
        return session

    def _connector(self, is_kept: bool) -> aiohttp.BaseConnector:
        if self.uds:
            return aiohttp.UnixConnector(self.uds, limit=0, force_close=not is_kept)
        return aiohttp.TCPConnector(ssl=self.ssl_context, limit=0, force_close=not is_kept)


class _FinalResponse(httpx.Response):
    """A response that is what was asked for even if it leads elsewhere: httpx would read where, and may not like it."""

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
    """httpx's exception for one of aiohttp's, whose kinds overlap, so the order counts.

    httpx-aiohttp's own table makes a refused connection a ConnectTimeout, and leaves a garbled response out.
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
            return httpx.ProxyError("nobody answers there")
        case aiohttp.ClientHttpProxyError():
            wish = ": it wants a password" if error.status == 407 else ""
            return httpx.ProxyError(f"it answered {error.status}{wish}")
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(str(error.os_error))
        case aiohttp.ServerDisconnectedError() | OSError():
            return httpx.ReadError(str(error))
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError(error.message)
    return httpx.TransportError(repr(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those behind it."""
    while error is not None:
        yield error
        error = error.__cause__
