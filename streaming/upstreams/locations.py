"""Where a relayed response leads: ``Location`` and ``Content-Location`` (RFC 9110, sections 10.2.2 and 8.7)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from django.urls import reverse

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.request import Header

LEADING = {"location", "content-location"}


def with_public_locations(upstream: UpstreamConfig, target: str, headers: Iterable[Header]) -> list[Header]:
    """A response's headers, in which what lies below the upstream's URL has the address that it has at this site.

    As it came it would name a host that clients cannot reach, and need not know. What lies elsewhere passes as it came.
    ``target`` is the path and query that the upstream was asked for: relative references begin there.
    """
    return [
        (key, _public(upstream, target, value) if value and key.lower() in LEADING else value) for key, value in headers
    ]


def _public(upstream: UpstreamConfig, target: str, location: str) -> str:
    try:
        base = urlsplit(upstream.url)
        there = urlsplit(urljoin(f"{base.scheme}://{base.netloc}{target}", location))
        if _origin(there) != _origin(base):
            return location
    except ValueError:  # it is no URL
        return location
    above = base.path.rstrip("/")
    below = there.path.removeprefix(above)
    if not there.path.startswith(above) or (below and not below.startswith("/")) or ".." in below.split("/"):
        return location
    path = f"{reverse('proxy')}/{quote(upstream.name, safe='')}{below}"
    return urlunsplit(("", "", path, there.query, there.fragment))


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme)
