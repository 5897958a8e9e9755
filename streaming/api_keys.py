"""API keys: how a request shows one, and whose it is."""

from __future__ import annotations

import hmac
import time

from django.http import HttpRequest

from streaming.models import API_KEY_BEGINNING, ApiKey, hash_of_secret

FRESH_SECONDS = 1.0
"""How long what the database said of a key is taken for true, so that a revoked one is refused a second later."""

MAX_REMEMBERED = 10_000

_remembered: dict[str, tuple[float, ApiKey | None]] = {}
"""By the hash of what was shown: when it was looked up, and the key that it is."""


def shown_in(request: HttpRequest) -> str:
    """What a request shows as its key: ``Authorization: Bearer``, or ``x-api-key`` as Anthropic's clients have it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return (
        token.strip() if scheme.lower() == "bearer" and token.strip() else request.headers.get("X-Api-Key", "").strip()
    )


async def find(shown: str) -> ApiKey | None:
    """The key that this is, with its owner; None if there is none, it is not enabled, or its owner is not active."""
    if not shown.startswith(API_KEY_BEGINNING):
        return None
    hashed, now = hash_of_secret(shown), time.monotonic()
    asked, key = _remembered.get(hashed, (float("-inf"), None))
    if now - asked < FRESH_SECONDS:
        return key
    key = await _look_up(shown, hashed)
    if len(_remembered) >= MAX_REMEMBERED:
        _remembered.clear()
    _remembered[hashed] = now, key
    return key


async def _look_up(shown: str, hashed: str) -> ApiKey | None:
    usable = ApiKey.objects.filter(enabled=True, owner__is_active=True).select_related("owner")
    async for key in usable.filter(prefix=ApiKey.prefix_of(shown)):
        if hmac.compare_digest(key.hashed, hashed):
            return key
    return None


def hide_from_upstreams(request: HttpRequest) -> None:
    """A key of this site opens this site: it is not relayed to anybody, whatever headers an upstream is given."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if not _has_key(name, value)]


def _has_key(name: bytes, value: bytes) -> bool:
    return name.lower() in (b"authorization", b"x-api-key") and API_KEY_BEGINNING.encode() in value
