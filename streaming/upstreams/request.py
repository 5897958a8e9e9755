"""A request to an upstream, ready to be sent."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass

from streaming.upstream_settings import UpstreamConfig

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent to an upstream, in addition to the headers of its configuration."""

    upstream: UpstreamConfig
    method: str
    target: str
    """The raw path and query (RFC 9112, section 3.2.1)."""
    headers: list[Header]
    body: AsyncIterable[bytes] | bytes
    timeout: float | None
    """Seconds until the head of the response has to be there. None: no limit."""
    body_without_usage: bytes | None = None
    """Sent instead if the upstream refuses ``stream_options``, which the client did not send."""
