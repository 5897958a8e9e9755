"""The HTTP client: one for each event loop and each way to connect. Its connections are kept alive in it."""

from __future__ import annotations

import asyncio
import os
from http.cookiejar import CookieJar
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import httpx
from yarl import URL

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import ExactTransport
from streaming.upstreams.proxies import UnusableProxyError, proxy_of, read_proxy
from streaming.upstreams.tls import tls_context


class Way(NamedTuple):
    """How an upstream is connected to. Those that have it in common share a client."""

    verify: bool | str
    cert: tuple[str, ...]
    socket: str
    proxy: str


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Way, httpx.AsyncClient]] = WeakKeyDictionary()


def client_of(upstream: UpstreamConfig) -> httpx.AsyncClient:
    """The client for an upstream, made when it is needed first.

    UnusableProxyError if its proxy is of no use; OSError if a file of VERIFY or CERT is not.
    """
    way = Way(upstream.verify, upstream.cert, upstream.socket, str(outgoing_proxy(upstream) or ""))
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if way not in clients:
        clients[way] = _made(way)
    return clients[way]


def _made(way: Way) -> httpx.AsyncClient:
    # httpx reads the environment otherwise (trust_env): it asks even this machine through a proxy, knows no networks in
    # NO_PROXY, and trusts Mozilla's authorities, whatever is installed on the system. So proxies.py and tls.py do it.
    context = tls_context(way.verify, way.cert)
    transport = ExactTransport(verify=context, uds=way.socket or None, proxy_url=way.proxy, trust_env=False)
    return httpx.AsyncClient(transport=transport, cookies=_NoCookies(), follow_redirects=False, trust_env=False)


class _NoCookies(CookieJar):
    """No cookie of one client's stream may travel with another's."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Takes none."""


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
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()
