"""Logging in: passwords that cannot be tried at will, and links that log somebody in once.

Packages for the first (django-axes, django-defender) bring tables or Redis, and a login by an attacker's choice is
locked for everyone; here attempts are counted in Django's cache, for each address and name together.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model, login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import LoginView
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils.encoding import force_str
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from streaming.forwarded import forwarded

WINDOW_SECONDS = 300
"""How long attempts are remembered, from the first one on."""

ATTEMPTS = 10
"""For one name from one address. A login that succeeds forgets them."""

ATTEMPTS_OF_ADDRESS = 50
"""For whatever names: each costs a slow hash."""

ATTEMPTS_AT_NAME = 200
"""From whatever addresses. It is high, so that nobody can lock somebody else out without an army."""


class _ThrottledForm(AuthenticationForm):
    """Counts attempts before a password is looked at, so that those at the same time count too."""

    def clean(self) -> dict[str, Any]:
        address = _address_of(self.request)
        name = str(self.cleaned_data.get("username", "")).casefold()
        pair, of_address, at_name = _key("pair", address, name), _key("address", address), _key("name", name)
        counted = [
            (_count(pair), ATTEMPTS),
            (_count(of_address), ATTEMPTS_OF_ADDRESS),
            (_count(at_name), ATTEMPTS_AT_NAME),
        ]
        if any(attempts > limit for attempts, limit in counted):
            sentence = _("Too many failed attempts. Try again in %(minutes)d minutes.")
            raise ValidationError(sentence, code="throttled", params={"minutes": WINDOW_SECONDS // 60})
        cleaned = super().clean()
        # Whoever has one account must not gain attempts at others.
        cache.delete(pair)
        for key in (of_address, at_name):
            _count(key, -1)
        return cleaned


def _address_of(request: HttpRequest | None) -> str:
    return (forwarded(request).address or request.META.get("REMOTE_ADDR", "")) if request else ""


class ThrottledLoginForm(_ThrottledForm):
    """For this site's own page."""


class ThrottledAdminLoginForm(_ThrottledForm, AdminAuthenticationForm):
    """For the admin's."""


def _key(*parts: str) -> str:
    return "streaming.login." + hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


def _count(key: str, step: int = 1) -> int:
    """One more attempt; how many there were within the window."""
    cache.add(key, 0, WINDOW_SECONDS)
    try:
        return cache.incr(key, step)
    except ValueError:  # it expired in between
        return step


class _OneTimeTokens(PasswordResetTokenGenerator):
    """Django's tokens for new passwords, which a login makes invalid: under another salt."""

    key_salt = "streaming.login.one_time"


_tokens = _OneTimeTokens()


def one_time_path(user: Any) -> str:
    """The path of a link that logs this user in, once, within PASSWORD_RESET_TIMEOUT."""
    return reverse("login-once", args=[urlsafe_base64_encode(str(user.pk).encode()), _tokens.make_token(user)])


@never_cache
@require_GET
def login_once(request: HttpRequest, user: str, token: str) -> HttpResponseBase:
    """Logs in whoever has the link; the page to log in by hand if it was used before, or is too old."""
    found = _find_user(user)
    if found is None or not found.is_active or not _tokens.check_token(found, token):
        return LoginView.as_view(template_name="streaming/login.html", extra_context={"link_is_stale": True})(request)
    login(request, found, backend="django.contrib.auth.backends.ModelBackend")
    return redirect(resolve_url("page"))


def _find_user(encoded: str) -> Any:
    try:
        return get_user_model().objects.filter(pk=force_str(urlsafe_base64_decode(encoded))).first()
    except (ValueError, OverflowError, ValidationError):
        return None
