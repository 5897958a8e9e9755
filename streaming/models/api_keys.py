"""API keys. Of a secret only a hash is stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

API_KEY_BEGINNING = "streams-"
"""The prefix of every API key, by which this site and scanners for leaked secrets recognize one."""


def hash_of_secret(secret: str) -> str:
    """SHA-256 in hex. A secret of 256 random bits needs no slow password hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKey(models.Model):
    """Authenticates a program as its owner. The key is shown once, when it is created; only its hash is stored."""

    name = models.CharField(_("name"), max_length=100, help_text=_("What it is for."))
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, verbose_name=_("owner"), related_name="streaming_api_keys"
    )
    prefix = models.CharField(_("begins with"), max_length=16, db_index=True, editable=False)
    last4 = models.CharField(_("ends with"), max_length=4, editable=False)
    hashed = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A key that is not enabled is refused within a second.")
    )
    expires = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Leave empty for no end."))
    last_used = models.DateTimeField(_("last used"), null=True, editable=False)
    allowed_upstreams = models.JSONField(
        _("upstreams"), default=list, blank=True, help_text=_("If none is chosen, it may use all.")
    )
    allowed_models = models.JSONField(
        _("models"),
        default=list,
        blank=True,
        help_text=_("Names that clients ask for, one per line; gpt-* is any that begins so. Empty: it may use all."),
    )
    requests_per_minute = models.PositiveIntegerField(
        _("requests a minute"),
        null=True,
        blank=True,
        help_text=_("Leave empty for the site's limit. 0 means no limit."),
    )
    streams_at_once = models.PositiveIntegerField(
        _("streams at once"), null=True, blank=True, help_text=_("Leave empty for the site's limit. 0 means no limit.")
    )
    tokens_per_day = models.PositiveBigIntegerField(
        _("tokens a day"), null=True, blank=True, help_text=_("Leave empty for the site's limit. 0 means no limit.")
    )

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created", "-pk"]
        permissions = [("own_apikey", _("Can make API keys of their own, and see and revoke them"))]

    def __str__(self) -> str:
        return f"{self.name} ({self.shown})"

    @property
    def shown(self) -> str:
        """What may be seen of the key: its first and its last characters."""
        return f"{self.prefix}…{self.last4}"

    def clean(self) -> None:
        for name in ("allowed_upstreams", "allowed_models"):
            listed = getattr(self, name)
            if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
                raise ValidationError({name: _("Enter a list of names.")})

    def is_valid_at(self, now: datetime) -> bool:
        return self.enabled and (self.expires is None or now < self.expires)

    def may_use(self, upstream: str, models: Iterable[str]) -> bool:
        """Whether it may use this upstream, for a model with one of these names."""
        if self.allowed_upstreams and upstream not in self.allowed_upstreams:
            return False
        return not self.allowed_models or any(self._allows_model(model) for model in models)

    def _allows_model(self, model: str) -> bool:
        return any(fnmatchcase(model, pattern.replace("[", "[[]")) for pattern in self.allowed_models)

    @staticmethod
    def prefix_of(secret: str) -> str:
        return secret[: len(API_KEY_BEGINNING) + 6]

    def make_secret(self) -> str:
        """Generate and return the secret. Only its hash is set on the instance, which the caller has to save."""
        secret = API_KEY_BEGINNING + secrets.token_urlsafe(32)
        self.prefix, self.last4, self.hashed = self.prefix_of(secret), secret[-4:], hash_of_secret(secret)
        return secret

    def rotate(self) -> str:
        """Replace the secret, and return the new one. Nothing else is written: the key may just have been revoked."""
        secret = self.make_secret()
        self.save(update_fields=["prefix", "last4", "hashed"])
        return secret
