"""API keys: how requests carry them, and which of them are valid."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest
from django.utils import timezone

from streaming.models import API_KEY_BEGINNING, ApiKey, hash_of_secret
from streaming.write_behind import WriteBehind

FRESH_SECONDS = 1.0
"""How long a looked-up key is cached. A revoked key is refused after this at the latest."""

MAX_CACHED = 10_000

USE_SECONDS = 60.0
"""How often the use of a key is recorded, at most: ``last_used`` is exact to about a minute."""


class _LookUp(NamedTuple):
    at: float
    key: ApiKey | None
    change: object
    """The last change of any key in this process that was known then."""


_cache: dict[str, _LookUp] = {}
"""By the hash of the secret."""

_last_change = object()


def key_in(request: HttpRequest) -> str:
    """The secret in a request: ``Authorization: Bearer``, or ``X-Api-Key`` as Anthropic's clients send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return (
        token.strip() if scheme.lower() == "bearer" and token.strip() else request.headers.get("X-Api-Key", "").strip()
    )


async def find(secret: str) -> ApiKey | None:
    """The valid key with this secret, and its owner. None if there is none, it has expired, or its owner is inactive.

    A key is valid at most FRESH_SECONDS longer than the database says, in every process.
    """
    if not secret.startswith(API_KEY_BEGINNING):
        return None
    hashed, now = hash_of_secret(secret), time.monotonic()
    known = _cache.get(hashed)
    if known is None or known.change is not _last_change or now - known.at >= FRESH_SECONDS:
        known = await _looked_up(secret, hashed, now)
    key = known.key
    if key is None or not key.is_valid_at(timezone.now()):
        return None
    _last_used.note(key, now)
    return key


async def _looked_up(secret: str, hashed: str, now: float) -> _LookUp:
    change = _last_change  # one from now on may come too late for the answer
    found = _LookUp(now, await _look_up(secret, hashed), change)
    if len(_cache) >= MAX_CACHED:
        _cache.clear()
    if (other := _cache.get(hashed)) is None or other.at <= now:
        _cache[hashed] = found
    return found


def _forget(**_: Any) -> None:
    """A key is changed in this process: once that is committed, all are looked up again when they are next used."""
    _note_change()
    transaction.on_commit(_note_change)


def _note_change() -> None:
    global _last_change
    _last_change = object()


post_save.connect(_forget, sender=ApiKey)
post_delete.connect(_forget, sender=ApiKey)


async def _look_up(secret: str, hashed: str) -> ApiKey | None:
    usable = ApiKey.objects.filter(enabled=True, owner__is_active=True).select_related("owner")
    async for key in usable.filter(prefix=ApiKey.prefix_of(secret)):
        if hmac.compare_digest(key.hashed, hashed):
            return key
    return None


class _LastUsed(WriteBehind[tuple[int, datetime]]):
    """Writes when keys were last used, each at most once in USE_SECONDS, and never in a request's way."""

    def __init__(self) -> None:
        super().__init__("uses of API keys", _write, _probe)
        self._noted_at: dict[int, float] = {}

    def note(self, key: ApiKey, now: float) -> None:
        if now - self._noted_at.get(key.pk, float("-inf")) >= USE_SECONDS:
            self._noted_at[key.pk] = now
            self.put((key.pk, timezone.now()))


def _write(uses: Sequence[tuple[int, datetime]], lost: int) -> None:
    with transaction.atomic():
        for pk, when in uses:
            earlier = Q(last_used=None) | Q(last_used__lt=when)
            ApiKey.objects.filter(earlier, pk=pk).update(last_used=when)


def _probe() -> None:
    with transaction.atomic():
        ApiKey.objects.filter(pk=0).update(last_used=None)


_last_used = _LastUsed()


def hide_from_upstreams(request: HttpRequest) -> None:
    """Removes this site's own API keys from the request's headers, so that no upstream ever gets one."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if not _has_key(name, value)]


def _has_key(name: bytes, value: bytes) -> bool:
    return name.lower() in (b"authorization", b"x-api-key") and API_KEY_BEGINNING.encode() in value


def state() -> dict[str, Any]:
    """The figures of this process, for operators."""
    return _last_used.state()
