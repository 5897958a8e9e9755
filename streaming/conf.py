"""All settings of this app, with their defaults. Nothing else in the app reads a ``STREAMING_`` setting or REDIS_URL.

They are ordinary Django settings. They are read at each use, so tests can override them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings

OPEN_BODY_BYTES = 1_000_000
"""The limit for request bodies at addresses that are open to everyone. Authenticated callers may send
``max_body_bytes()``."""

FORM_BYTES = 64_000
"""The limit for forms from users who have not logged in, such as the login form itself."""


def upstreams() -> dict[str, dict[str, Any]]:
    """``STREAMING_UPSTREAMS``: where streams come from, by name. ``upstream_settings.py`` documents an entry.

    Without an entry "default" that name is this site's own ``/stream``.
    """
    entries: dict[str, dict[str, Any]] = getattr(settings, "STREAMING_UPSTREAMS", {})
    return entries


def access() -> str:
    """``STREAMING_ACCESS``: who may use configured upstreams. ``login``: users and API keys; ``public``: everyone."""
    return str(getattr(settings, "STREAMING_ACCESS", "login"))


def problem_with_access(access: object) -> str | None:
    """What is wrong with this value of ``STREAMING_ACCESS``; None if it is valid."""
    if access in ("login", "public"):
        return None
    if access == "local":
        return (
            "STREAMING_ACCESS is 'local', which no longer exists: a proxy, a tunnel or a forwarded port makes everyone "
            "local. Leave it out: this site's own documents are open to everyone, and configured upstreams need a "
            "login or an API key. With 'public' they need neither."
        )
    return f"STREAMING_ACCESS is {access!r}. It may be 'login' or 'public'."


def allowed_origins() -> Collection[str]:
    """``STREAMING_ALLOWED_ORIGINS``: other sites whose pages may use this one (CORS), like ``https://app.example``."""
    origins: Collection[str] = getattr(settings, "STREAMING_ALLOWED_ORIGINS", ())
    return origins


def trusted_proxies() -> tuple[str, ...]:
    """``STREAMING_TRUSTED_PROXIES``: proxies in front whose X-Forwarded-For, -Proto and -Host are believed.

    Addresses, networks, or ``unix`` for a Unix socket.
    """
    return tuple(getattr(settings, "STREAMING_TRUSTED_PROXIES", ()))


def stores_hit_texts() -> bool:
    """``STREAMING_HIT_TEXTS``: whether hits of moderation rules store the matched text, or only a keyed hash of it."""
    return bool(getattr(settings, "STREAMING_HIT_TEXTS", True))


def usage_days() -> int:
    """``STREAMING_USAGE_DAYS``: days for which usage records are kept. 0: until ``manage.py prune_usage``."""
    return int(getattr(settings, "STREAMING_USAGE_DAYS", 400))


def mask() -> str:
    """``STREAMING_MASK``: replaces each character of masked text. One character that has no meaning in Markdown."""
    return str(getattr(settings, "STREAMING_MASK", "•"))


def max_body_bytes() -> int:
    """``STREAMING_MAX_BODY_BYTES``: the longest body of a request, in bytes."""
    return int(getattr(settings, "STREAMING_MAX_BODY_BYTES", 25_000_000))


def head_seconds() -> float:
    """``STREAMING_HEAD_SECONDS``: how long the head of a request may take. Only Daphne's limit can be set."""
    return float(getattr(settings, "STREAMING_HEAD_SECONDS", 20))


def body_idle_seconds() -> float:
    """``STREAMING_BODY_IDLE_SECONDS``: how long the body of a request may pause while it is read."""
    return float(getattr(settings, "STREAMING_BODY_IDLE_SECONDS", 30))


def stream_grace() -> float:
    """``STREAMING_GRACE``: seconds a stream goes on without a client. 0: it ends when its last client leaves."""
    return float(getattr(settings, "STREAMING_GRACE", 30))


def stream_keep() -> float:
    """``STREAMING_KEEP``: seconds a stream can still be read after its end."""
    return float(getattr(settings, "STREAMING_KEEP", 300))


def journal_bytes() -> int:
    """``STREAMING_JOURNAL_BYTES``: bytes kept of one stream, and sent ahead of its slowest client."""
    return int(getattr(settings, "STREAMING_JOURNAL_BYTES", 1 << 20))


def journal_total() -> int:
    """``STREAMING_JOURNAL_TOTAL``: how many bytes of memory a process keeps streams in."""
    return int(getattr(settings, "STREAMING_JOURNAL_TOTAL", 256 << 20))


def redis_url() -> str:
    """``REDIS_URL``: where streams are kept for all workers. Empty: each process keeps its own."""
    return str(getattr(settings, "REDIS_URL", ""))


def environment_names() -> frozenset[str]:
    """``STREAMING_ENVIRONMENT``: the environment variables that the project reads, so that "check" can report typos.

    Empty: the project does not say, and nothing is reported.
    """
    return frozenset(getattr(settings, "STREAMING_ENVIRONMENT", ()))
