"""Who makes a request: a user, through an API key or a session; or nobody, where no login is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from streaming import api_keys
from streaming.models import ApiKey


@dataclass(frozen=True, slots=True)
class Caller:
    """The user (Django's AnonymousUser for nobody), and the API key that acts for them, if the request shows one."""

    user: Any
    api_key: ApiKey | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is an active user, or an API key of one."""
        return bool(self.user.is_authenticated and self.user.is_active)

    @property
    def username(self) -> str:
        """The user's name, or that of the key's owner; empty for nobody."""
        return str(self.user.get_username())

    @property
    def subject(self) -> str:
        """Whose streams, limits and usage these are: ``key:7``, ``user:3``, or empty for nobody.

        Each key counts for itself: programs of one owner neither read nor use up what belongs to another.
        """
        if self.api_key:
            return f"key:{self.api_key.pk}"
        return f"user:{self.user.pk}" if self.user.is_authenticated else ""


NOBODY = Caller(AnonymousUser())


async def caller_of(request: HttpRequest) -> Caller:
    """The caller, looked up once per request. A valid API key comes before a session."""
    found: Caller | None = getattr(request, "_streaming_caller", None)
    if found is None:
        found = await _look_up(request)
        request._streaming_caller = found  # type: ignore[attr-defined]
    return found


def _act_for(request: HttpRequest, key: ApiKey) -> None:
    """Whoever asks the request for its user gets the key's owner."""

    async def owner() -> Any:
        return key.owner

    request.auser = owner


async def _look_up(request: HttpRequest) -> Caller:
    if (secret := api_keys.key_in(request)) and (key := await api_keys.find(secret)):
        _act_for(request, key)
        return Caller(key.owner, key)
    return Caller(await request.auser()) if hasattr(request, "auser") else NOBODY
