"""The outgoing proxy for a URL, from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

They have no standard. This follows curl (section ENVIRONMENT of its manual page), with one exception: addresses of this
machine never use a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from yarl import URL


class UnusableProxyError(ValueError):
    """A proxy of an unsupported kind, or not a URL."""


def proxy_of(url: URL, environment: Mapping[str, str]) -> URL | None:
    """The proxy for a URL; None without one. UnusableProxyError if it cannot be used."""
    if is_this_machine(url.host or "") or is_excepted(url, _read(environment, "no_proxy")):
        return None
    named = _read(environment, f"{url.scheme}_proxy") or _read(environment, "all_proxy")
    return read_proxy(named) if named else None


def read_proxy(text: str) -> URL:
    """A proxy's URL; the default scheme is ``http``. The message of UnusableProxyError contains no password."""
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise UnusableProxyError("the proxy's address is no URL") from error
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise UnusableProxyError(f"a proxy of the kind {proxy.scheme!r} is not known: it may be http or https")
    return proxy


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is this machine's."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def is_excepted(url: URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names the URL's host: itself, a domain above it, its network, with a port or without, or all."""
    return any(_names(entry, url) for entry in no_proxy.replace(",", " ").split())


def _names(entry: str, url: URL) -> bool:
    host = (url.host or "").lower().rstrip(".")
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name
    name, colon, port = entry.lower().rpartition(":")
    if not colon or not port.isdigit():
        name, port = entry.lower(), ""
    name = name.strip("[]").removeprefix("*").strip(".")
    return (host == name or host.endswith(f".{name}")) and port in ("", str(url.port))


def _read(environment: Mapping[str, str], name: str) -> str:
    """Lower case takes precedence. Under CGI a client's header ``Proxy`` becomes HTTP_PROXY, which is ignored."""
    if name == "http_proxy" and "REQUEST_METHOD" in environment:
        return environment.get(name, "").strip()
    return (environment.get(name) or environment.get(name.upper(), "")).strip()
