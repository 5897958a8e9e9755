"""Every setting of this app that need not be set, with its default."""

from __future__ import annotations

from django.conf import settings

OPEN_BODY_BYTES = 1_000_000
"""Of a request's body where everybody may come in: who is known may send ``max_body_bytes()``."""

FORM_BYTES = 64_000
"""Of a form that is sent by somebody who has not logged in, such as the login itself."""


def problem_with_access(access: object) -> str | None:
    """What is wrong with this ``STREAMING_ACCESS``; None if it is one that there is."""
    if access in ("login", "public"):
        return None
    if access == "local":
        return (
            "STREAMING_ACCESS is 'local', which is gone: a proxy, a tunnel or a forwarded port makes everyone local. "
            "Leave it out: this site's own documents are open to everyone, and configured upstreams need a login or an "
            "API key. With 'public' they need neither."
        )
    return f"STREAMING_ACCESS is {access!r}. It may be 'login' or 'public'."


def access() -> str:
    """``STREAMING_ACCESS``: who may use configured upstreams. ``login``: users and API keys; ``public``: everyone."""
    return str(getattr(settings, "STREAMING_ACCESS", "login"))


def max_body_bytes() -> int:
    """``STREAMING_MAX_BODY_BYTES``: the longest body of a request, in bytes."""
    return int(getattr(settings, "STREAMING_MAX_BODY_BYTES", 25_000_000))


def head_seconds() -> float:
    """``STREAMING_HEAD_SECONDS``: how long the head of a request may take; only Daphne can be told."""
    return float(getattr(settings, "STREAMING_HEAD_SECONDS", 20))


def body_idle_seconds() -> float:
    """``STREAMING_BODY_IDLE_SECONDS``: how long the body of a request may pause while it is read."""
    return float(getattr(settings, "STREAMING_BODY_IDLE_SECONDS", 30))


def stream_grace() -> float:
    """``STREAMING_GRACE``: seconds for which a stream goes on without a client. 0: it ends when the last one leaves."""
    return float(getattr(settings, "STREAMING_GRACE", 30))


def stream_keep() -> float:
    """``STREAMING_KEEP``: seconds for which a stream can still be read after its end."""
    return float(getattr(settings, "STREAMING_KEEP", 300))


def journal_bytes() -> int:
    """``STREAMING_JOURNAL_BYTES``: how much of one stream is kept, and sent ahead of its slowest client."""
    return int(getattr(settings, "STREAMING_JOURNAL_BYTES", 1 << 20))


def journal_total() -> int:
    """``STREAMING_JOURNAL_TOTAL``: how many bytes of all streams a process keeps."""
    return int(getattr(settings, "STREAMING_JOURNAL_TOTAL", 256 << 20))


def redis_url() -> str:
    """``REDIS_URL``: where streams are kept for all workers. Empty: each process keeps its own."""
    return str(getattr(settings, "REDIS_URL", ""))


def mask() -> str:
    """``STREAMING_MASK``: what stands for each character of what is masked; one character that is no syntax."""
    return str(getattr(settings, "STREAMING_MASK", "•"))
