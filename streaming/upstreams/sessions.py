"""The HTTP client: one for each event loop and each way to connect. Its connections are kept alive in it."""

from __future__ import annotations

import asyncio
import os
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.proxies import UnusableProxyError, proxy_of, read_proxy
from streaming.upstreams.tls import tls_context

MAX_HEADER_BYTES = 64 * 1024
"""Of one header line of a response: some servers put a whole policy, or what they know of a user, into one."""

MAX_HEADERS = 1000


class Way(NamedTuple):
    """How an upstream is connected to. Those that have it in common share a client."""

    verify: bool | str
    cert: tuple[str, ...]
    socket: str
    is_kept: bool
    """Whether connections are kept alive, to be used again."""


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Way, aiohttp.ClientSession]] = WeakKeyDictionary()


def session_of(upstream: UpstreamConfig, *, is_kept: bool = True) -> aiohttp.ClientSession:
    """The client for an upstream, made when it is needed first. OSError if a file of VERIFY or CERT is of no use.

    A request that is given a list as ``trace_request_ctx`` finds True in it when its connection was not a new one.
    """
    way = Way(upstream.verify, upstream.cert, upstream.socket, is_kept)
    sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
    if way not in sessions:
        sessions[way] = _made(way)
    return sessions[way]


def _made(way: Way) -> aiohttp.ClientSession:
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
    session = aiohttp.ClientSession(
        connector=_connector(way),
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


async def _note_reuse(_session: Any, context: Any, _params: Any) -> None:
    context.trace_request_ctx.append(True)


def _connector(way: Way) -> aiohttp.BaseConnector:
    if way.socket:
        return aiohttp.UnixConnector(way.socket, limit=0, force_close=not way.is_kept)
    return aiohttp.TCPConnector(ssl=tls_context(way.verify, way.cert), limit=0, force_close=not way.is_kept)


def outgoing_proxy(upstream: UpstreamConfig) -> URL | None:
    """The proxy that an upstream is asked through: its PROXY_URL, or what the environment says."""
    if upstream.socket or upstream.proxy_url == "":
        return None
    return read_proxy(upstream.proxy_url) if upstream.proxy_url else proxy_of(URL(upstream.url), os.environ)


def problem_with_tls(upstream: UpstreamConfig) -> str:
    """Why VERIFY or CERT cannot be used; empty if they can."""
    try:
        tls_context(upstream.verify, upstream.cert)
    except OSError as error:
        return getattr(error, "reason", None) or error.strerror or str(error)
    return ""


def problem_with_proxy(upstream: UpstreamConfig) -> str:
    """Why the proxy that it is asked through cannot be used; empty if it can, or if there is none."""
    try:
        outgoing_proxy(upstream)
    except UnusableProxyError as error:
        return str(error)
    return ""


async def close() -> None:
    """Closes the connections that this event loop keeps alive. What is asked for afterwards makes new ones."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()
