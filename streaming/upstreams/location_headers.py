"""Rewrites ``Location`` and ``Content-Location`` of relayed responses (RFC 9110, sections 10.2.2 and 8.7)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from django.urls import reverse

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.request import Header

LOCATION_HEADERS = {"location", "content-location"}


def with_public_locations(upstream: UpstreamConfig, target: str, headers: Iterable[Header]) -> list[Header]:
    """The headers of a response, with locations below the upstream's URL replaced by their addresses on this site.

    The original locations would name a host that clients cannot reach and need not know. Other locations are unchanged.
    ``target`` is the path and query of the upstream request: relative references are resolved against it.
    """
    return [
        (key, _public(upstream, target, value) if value and key.lower() in LOCATION_HEADERS else value)
        for key, value in headers
    ]


def _public(upstream: UpstreamConfig, target: str, location: str) -> str:
    try:
        base = urlsplit(upstream.url)
        resolved = urlsplit(urljoin(f"{base.scheme}://{base.netloc}{target}", location))
        if _origin(resolved) != _origin(base):
            return location
    except ValueError:  # not a valid URL
        return location
    prefix = base.path.rstrip("/")
    below = resolved.path.removeprefix(prefix)
    if not resolved.path.startswith(prefix) or (below and not below.startswith("/")) or ".." in below.split("/"):
        return location
    path = f"{reverse('streaming:proxy')}/{quote(upstream.name, safe='')}{below}"
    return urlunsplit(("", "", path, resolved.query, resolved.fragment))


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme)
