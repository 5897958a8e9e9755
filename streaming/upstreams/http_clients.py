"""The HTTP clients: one for each event loop and connection configuration. A client keeps its connections alive."""

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


class ConnectionConfig(NamedTuple):
    """The connection configuration of an upstream. Upstreams with the same configuration share a client."""

    verify: bool | str
    cert: tuple[str, ...]
    socket: str
    proxy: str


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionConfig, httpx.AsyncClient]] = WeakKeyDictionary()


def client_of(upstream: UpstreamConfig) -> httpx.AsyncClient:
    """The client for an upstream, created when it is first needed.

    Raises UnusableProxyError if its proxy cannot be used, and OSError if a file of VERIFY or CERT cannot be used.
    """
    config = ConnectionConfig(upstream.verify, upstream.cert, upstream.socket, str(outgoing_proxy(upstream) or ""))
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if config not in clients:
        clients[config] = _new_client(config)
    return clients[config]


def _new_client(config: ConnectionConfig) -> httpx.AsyncClient:
    # httpx's own reading of the environment (trust_env) is not used: it sends even local requests through a proxy, does
    # not support networks in NO_PROXY, and trusts Mozilla's certificate authorities instead of the system's. proxies.py
    # and tls.py read the environment instead.
    context = tls_context(config.verify, config.cert)
    transport = ExactTransport(verify=context, uds=config.socket or None, proxy_url=config.proxy, trust_env=False)
    return httpx.AsyncClient(transport=transport, cookies=_NoCookies(), follow_redirects=False, trust_env=False)


class _NoCookies(CookieJar):
    """A cookie of one client's stream must never be sent with another's."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Does nothing, so that no cookie is stored."""


def outgoing_proxy(upstream: UpstreamConfig) -> URL | None:
    """The outgoing proxy for an upstream: its PROXY_URL, or the one from the environment."""
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
    """Why its outgoing proxy cannot be used; empty if it can, or if there is none."""
    try:
        outgoing_proxy(upstream)
    except UnusableProxyError as error:
        return str(error)
    return ""


async def close() -> None:
    """Closes this event loop's connections. Later requests open new ones."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()
