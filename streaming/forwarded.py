"""From where a request comes, as the outermost trusted proxy saw it: ``STREAMING_TRUSTED_PROXIES``.

A client may write whatever it likes into ``X-Forwarded-For``, ``-Proto`` and ``-Host``. What is there counts as far as
proxies that are trusted wrote it; of a list, the last values are those of the nearest proxy (RFC 7239, section 5.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from streaming import conf

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
"""Among the trusted proxies: whoever connects over a Unix socket, and so has no address."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are to say of a request."""

    address: str
    """An IP address; empty where the server knows none, as over a Unix socket."""
    scheme: str
    host: str


def forwarded(request: HttpRequest) -> Forwarded:
    """The client's address, scheme and host as the outermost trusted proxy saw them; the peer's own without one."""
    peer = (getattr(request, "scope", {}).get("client") or [""])[0] or ""
    own = Forwarded(_text_of(_read_address(peer)), request.scheme or "http", request.get_host())
    if not is_trusted(peer):
        return own
    address, hops = own.address, 0
    for entry in reversed(_values(request, "X-Forwarded-For")):
        hops += 1
        if (read := _read_address(entry)) is None:
            break
        address = str(read)
        if not is_trusted(address):
            break
    scheme = _value_of_hop(request, "X-Forwarded-Proto", hops).lower()
    host = _value_of_hop(request, "X-Forwarded-Host", hops)
    return Forwarded(
        address, scheme if scheme in ("http", "https") else own.scheme, host if _is_ours(host) else own.host
    )


def is_trusted(address: str) -> bool:
    """Whether this peer is one of ``STREAMING_TRUSTED_PROXIES``."""
    trusted = conf.trusted_proxies()
    if (read := _read_address(address)) is None:
        return not address and UNIX in trusted
    return any(read in network for network in read_networks(trusted))


@lru_cache
def read_networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Addresses and networks, in the order of the setting. ValueError names the one that is neither."""
    return tuple(ipaddress.ip_network(entry.strip(), strict=False) for entry in entries if entry.strip() != UNIX)


def _values(request: HttpRequest, header: str) -> Sequence[str]:
    return [value.strip() for value in request.headers.get(header, "").split(",") if value.strip()]


def _value_of_hop(request: HttpRequest, header: str, hops: int) -> str:
    """The value that the outermost trusted proxy set: each proxy added one, or the only one is everybody's."""
    values = _values(request, header)
    return values[-min(max(hops, 1), len(values))] if values else ""


def _read_address(entry: str) -> Address | None:
    """An address as it stands in ``X-Forwarded-For``, with a port or without. None for what is none."""
    bare = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+", entry)
    try:
        address = ipaddress.ip_address((bare[1] or bare[2]) if bare else entry)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _text_of(address: Address | None) -> str:
    return "" if address is None else str(address)


def _is_ours(host: str) -> bool:
    """Whether this site goes by this name: a proxy may pass on what its client wrote."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
