"""The page where users make, see, rotate and revoke their own API keys, if their group has that permission."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from streaming.access import login_path
from streaming.models import ApiKey

PERMISSION = "streaming.own_apikey"

MAX_KEYS = 50
"""Enabled keys that a user may make."""


class NewKeyForm(forms.Form):
    name = forms.CharField(label=_("What it is for"), max_length=100)
    days = forms.TypedChoiceField(
        label=_("Expires"),
        coerce=int,
        choices=[(30, _("after 30 days")), (90, _("after 90 days")), (365, _("after a year")), (0, _("never"))],
        initial=90,
    )

    def __init__(self, *args: Any, owner: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._owner = owner

    def clean(self) -> dict[str, Any]:
        if ApiKey.objects.filter(owner=self._owner, enabled=True).count() >= MAX_KEYS:
            raise forms.ValidationError(_("You have %(number)d keys: revoke one first."), params={"number": MAX_KEYS})
        return super().clean() or {}

    def create(self) -> tuple[ApiKey, str]:
        days = self.cleaned_data["days"]
        expires = timezone.now() + timedelta(days=days) if days else None
        key = ApiKey(name=self.cleaned_data["name"], owner=self._owner, expires=expires)
        secret = key.make_secret()
        key.save()
        return key, secret


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def own_keys(request: HttpRequest) -> HttpResponseBase:
    """Shows the keys; on POST creates, rotates or revokes one. A new secret is in this one response only.

    A key that has expired cannot be rotated: it would be refused with its new secret, too.
    """
    if not request.user.is_authenticated:
        return redirect(f"{login_path()}?{urlencode({'next': request.path})}")
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    form = NewKeyForm(owner=request.user)
    if request.method != "POST":
        return _page(request, form)
    match request.POST.get("action"):
        case "create":
            form = NewKeyForm(request.POST, owner=request.user)
            with transaction.atomic():
                _lock(request.user)
                if form.is_valid():
                    return _page(request, NewKeyForm(owner=request.user), *form.create())
            return _page(request, form)
        case "rotate":
            key = _own_key(request)
            if not key.is_valid_at(timezone.now()):
                raise Http404
            return _page(request, form, key, key.rotate())
        case "revoke":
            key = _own_key(request)
            key.enabled = False
            key.save(update_fields=["enabled"])
    return redirect(request.path)


def _lock(owner: Any) -> None:
    """Until the transaction ends no other request counts this user's keys: each would see room for one more."""
    list(get_user_model().objects.select_for_update().filter(pk=owner.pk))


def _own_key(request: HttpRequest) -> ApiKey:
    """The enabled key that the form names. 404 if it is somebody else's."""
    pk = request.POST.get("key", "")
    return get_object_or_404(ApiKey, pk=pk if pk.isascii() and pk.isdigit() else 0, owner=request.user, enabled=True)


def _page(request: HttpRequest, form: NewKeyForm, new: ApiKey | None = None, secret: str = "") -> HttpResponse:
    keys = ApiKey.objects.filter(owner=request.user.pk)
    context = {"form": form, "keys": keys, "new": new, "secret": secret, "now": timezone.now()}
    response = render(request, "streaming/keys.html", context)
    # The page needs no script, and may show a secret.
    response["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )
    return response
