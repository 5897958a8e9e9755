"""Request targets below the URL of an upstream, and none outside it."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.errors import (
    Outside,
)


def target_of(upstream: UpstreamConfig, path: str, query: str) -> str:
    """The raw request target: the path of the upstream's URL, ``path`` below it, and the query. Encoded as given."""
    if leaves_its_base(path):
        raise Outside(upstream.name, "cannot be asked for a path outside its URL")
    base = "/" + upstream.url.partition("://")[2].partition("/")[2]
    full_path = base.rstrip("/") + f"/{path}" if path else base
    return f"{full_path}?{query}" if query else full_path


def leaves_its_base(path: str) -> bool:
    """Whether a raw path contains ``..``, percent-encoded any number of times and with either kind of slash.

    Some servers (Tomcat) also take ``..;name`` for it: parameters follow ``;`` (RFC 3986, section 3.3).
    """
    raw, before = path.encode(), b""
    while raw != before:
        raw, before = unquote_to_bytes(raw), raw
    segments = (segment.partition(b";")[0] for segment in re.split(rb"[/\\]", raw))
    return b".." in segments or any(byte < 0x20 for byte in raw)
