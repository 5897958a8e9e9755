"""API keys: how requests carry them, and who owns them."""

from __future__ import annotations

import hmac
import time

from django.http import HttpRequest

from streaming.models import API_KEY_BEGINNING, ApiKey, hash_of_secret

FRESH_SECONDS = 1.0
"""How long a looked-up key is cached. A revoked key is refused after this at the latest."""

MAX_CACHED = 10_000

_cache: dict[str, tuple[float, ApiKey | None]] = {}
"""By the hash of the secret: when it was looked up, and the key found."""


def key_in(request: HttpRequest) -> str:
    """The secret in a request: ``Authorization: Bearer``, or ``X-Api-Key`` as Anthropic's clients send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return (
        token.strip() if scheme.lower() == "bearer" and token.strip() else request.headers.get("X-Api-Key", "").strip()
    )


async def find(secret: str) -> ApiKey | None:
    """The key with this secret, and its owner. None if it does not exist or is disabled, or its owner is inactive."""
    if not secret.startswith(API_KEY_BEGINNING):
        return None
    hashed, now = hash_of_secret(secret), time.monotonic()
    looked_up, key = _cache.get(hashed, (float("-inf"), None))
    if now - looked_up < FRESH_SECONDS:
        return key
    key = await _look_up(secret, hashed)
    if len(_cache) >= MAX_CACHED:
        _cache.clear()
    _cache[hashed] = now, key
    return key


async def _look_up(secret: str, hashed: str) -> ApiKey | None:
    usable = ApiKey.objects.filter(enabled=True, owner__is_active=True).select_related("owner")
    async for key in usable.filter(prefix=ApiKey.prefix_of(secret)):
        if hmac.compare_digest(key.hashed, hashed):
            return key
    return None


def hide_from_upstreams(request: HttpRequest) -> None:
    """Removes this site's own API keys from the request's headers, so that no upstream ever gets one."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if not _has_key(name, value)]


def _has_key(name: bytes, value: bytes) -> bool:
    return name.lower() in (b"authorization", b"x-api-key") and API_KEY_BEGINNING.encode() in value
