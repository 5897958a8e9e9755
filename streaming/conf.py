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
