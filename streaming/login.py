"""Logging in: throttled password attempts, and one-time login links.

Attempts are counted in Django's cache, which all workers share if the project sets up a shared one, as this one does
with REDIS_URL; per process otherwise. While a shared cache is away, each process counts for itself.

Why no package: django-axes and django-defender count failures after they have happened, so attempts made at the same
moment pass together; they have one limit for all their parameters, where a name and an address need different ones, or
anybody can lock out any user; and both would add middleware, tables or an authentication backend.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model, login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import LoginView
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_str
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from streaming.forwarded import forwarded

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 300
"""How long attempts count, starting with the first."""

ATTEMPTS = 10
"""Per name and address. A successful login resets the count."""

ATTEMPTS_OF_ADDRESS = 50
"""Per address, for any names: each attempt costs a slow hash."""

ATTEMPTS_AT_NAME = 200
"""Per name, from any addresses. High, so that locking out another user takes many addresses."""


class _ThrottledForm(AuthenticationForm):
    """Counts an attempt before it checks the password, so that simultaneous attempts count too."""

    def clean(self) -> dict[str, Any]:
        address = _address_of(self.request)
        name = str(self.cleaned_data.get("username", "")).casefold()
        pair, of_address, at_name = _key("pair", address, name), _key("address", address), _key("name", name)
        counts = [
            (_count(pair), ATTEMPTS),
            (_count(of_address), ATTEMPTS_OF_ADDRESS),
            (_count(at_name), ATTEMPTS_AT_NAME),
        ]
        if any(attempts > limit for attempts, limit in counts):
            sentence = _("Too many failed attempts. Try again in %(minutes)d minutes.")
            raise ValidationError(sentence, code="throttled", params={"minutes": WINDOW_SECONDS // 60})
        cleaned = super().clean()
        # The counts per address and per name are only decremented: one valid account must not reset them.
        _forget(pair)
        for key in (of_address, at_name):
            _count(key, -1)
        return cleaned


def _address_of(request: HttpRequest | None) -> str:
    return (forwarded(request).address or request.META.get("REMOTE_ADDR", "")) if request else ""


class ThrottledLoginForm(_ThrottledForm):
    """For this site's login page."""


class ThrottledAdminLoginForm(_ThrottledForm, AdminAuthenticationForm):
    """For the admin's login page."""


def _key(*parts: str) -> str:
    return "streaming.login." + hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


_own_cache = LocMemCache("streaming.login", {})
"""The cache of this process, while the shared one is away."""


def _count(key: str, step: int = 1) -> int:
    """Adds an attempt and returns the number within the window."""
    try:
        return _count_in(cache, key, step)
    except Exception as error:  # noqa: BLE001 (each cache has errors of its own; nobody gets in uncounted)
        logger.warning("the cache is away, so this process counts logins for itself: %s", type(error).__name__)
        return _count_in(_own_cache, key, step)


def _count_in(cache: BaseCache, key: str, step: int) -> int:
    cache.add(key, 0, WINDOW_SECONDS)
    try:
        count = cache.incr(key, step)
    except ValueError:  # it expired in between
        return step
    if count == step:
        cache.touch(key, WINDOW_SECONDS)  # it may have expired in between, and have been made again without an end
    return count


def _forget(key: str) -> None:
    with suppress(Exception):
        cache.delete(key)
    _own_cache.delete(key)


class _OneTimeTokens(PasswordResetTokenGenerator):
    """Django's password reset tokens, which a login invalidates, with another salt."""

    key_salt = "streaming.login.one_time"


_tokens = _OneTimeTokens()


def one_time_path(user: Any) -> str:
    """The path of a link that logs this user in once, within PASSWORD_RESET_TIMEOUT."""
    encoded = urlsafe_base64_encode(str(user.pk).encode())
    return reverse("streaming:login-once", args=[encoded, _tokens.make_token(user)])


@never_cache
@require_GET
def login_once(request: HttpRequest, user: str, token: str) -> HttpResponseBase:
    """Logs in with a one-time link; shows the login page if the link was used before or expired."""
    found = _find_user(user)
    if found is None or not found.is_active or not (_tokens.check_token(found, token) and _is_first(found)):
        return LoginView.as_view(template_name="streaming/login.html", extra_context={"link_is_stale": True})(request)
    login(request, found, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("streaming:page")


def _is_first(user: Any) -> bool:
    """Whether nobody else has logged in with the link since its token was checked: a login changes ``last_login``."""
    if getattr(type(user), "last_login", None) is None:  # a user model may be without
        return True
    same = type(user)._default_manager.filter(pk=user.pk, last_login=user.last_login)
    return bool(same.update(last_login=timezone.now()))


def _find_user(encoded: str) -> Any:
    try:
        return get_user_model().objects.filter(pk=force_str(urlsafe_base64_decode(encoded))).first()
    except (ValueError, OverflowError, ValidationError):
        return None
