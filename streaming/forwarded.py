"""Where a request comes from, as the outermost trusted proxy saw it (``STREAMING_TRUSTED_PROXIES``).

Clients can send any ``X-Forwarded-For``, ``-Proto`` and ``-Host``. Only values that trusted proxies added count; the
last value of a list is that of the nearest proxy (RFC 7239, section 5.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from streaming import conf

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
"""In STREAMING_TRUSTED_PROXIES: peers that connect over a Unix socket, and so have no address."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The values for ``X-Forwarded-For``, ``-Proto`` and ``-Host``."""

    address: str
    """An IP address; empty if the server knows none, as over a Unix socket."""
    scheme: str
    host: str


def forwarded(request: HttpRequest) -> Forwarded:
    """The client's address, scheme and host as the outermost trusted proxy saw them, or as the connection has them."""
    peer = (getattr(request, "scope", {}).get("client") or [""])[0] or ""
    direct = Forwarded(_address_text(_parse_address(peer)), request.scheme or "http", request.get_host())
    if not is_trusted(peer):
        return direct
    address, hops = _outermost(_values(request.headers.get("X-Forwarded-For", "")))
    scheme = _value_of_hop(request.headers.get("X-Forwarded-Proto", ""), hops).lower()
    host = _value_of_hop(request.headers.get("X-Forwarded-Host", ""), hops)
    return Forwarded(
        address or direct.address,
        scheme if scheme in ("http", "https") else direct.scheme,
        host if _is_ours(host) else direct.host,
    )


def _outermost(chain: Sequence[str]) -> tuple[str, int]:
    """The address that the outermost trusted proxy saw, if any, and how many entries of ``X-Forwarded-For`` count."""
    address, hops = "", 0
    for entry in reversed(chain):
        hops += 1
        if (parsed := _parse_address(entry)) is None:
            break
        address = str(parsed)
        if not is_trusted(address):
            break
    return address, hops


def with_forwarded_scheme(scope: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope with the scheme that a trusted proxy names in ``X-Forwarded-Proto``.

    Django's SECURE_PROXY_SSL_HEADER would believe every client.
    """
    if not conf.trusted_proxies() or not is_trusted((scope.get("client") or [""])[0] or ""):
        return scope
    _, hops = _outermost(_values(_header(scope, b"x-forwarded-for")))
    scheme = _value_of_hop(_header(scope, b"x-forwarded-proto"), hops).lower()
    return {**scope, "scheme": scheme} if scheme in ("http", "https") else scope


def is_trusted(address: str) -> bool:
    """Whether this peer is one of ``STREAMING_TRUSTED_PROXIES``."""
    trusted = conf.trusted_proxies()
    if (parsed := _parse_address(address)) is None:
        return not address and UNIX in trusted
    return any(parsed in network for network in read_networks(trusted))


@lru_cache
def read_networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of the setting, in order. ValueError names an entry that is neither an address nor a network."""
    return tuple(ipaddress.ip_network(entry.strip(), strict=False) for entry in entries if entry.strip() != UNIX)


def _header(scope: dict[str, Any], wanted: bytes) -> str:
    return b",".join(value for name, value in scope["headers"] if name == wanted).decode("latin-1")


def _values(header: str) -> Sequence[str]:
    return [value.strip() for value in header.split(",") if value.strip()]


def _value_of_hop(header: str, hops: int) -> str:
    """The value that the outermost trusted proxy set: either each proxy added one, or there is one for all."""
    values = _values(header)
    return values[-min(max(hops, 1), len(values))] if values else ""


def _parse_address(entry: str) -> Address | None:
    """An address of ``X-Forwarded-For``, with or without a port; None if it is not one."""
    bare = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+", entry)
    try:
        address = ipaddress.ip_address((bare[1] or bare[2]) if bare else entry)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _address_text(address: Address | None) -> str:
    return "" if address is None else str(address)


def _is_ours(host: str) -> bool:
    """Whether ALLOWED_HOSTS has this name: a proxy may pass on what its client sent."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
