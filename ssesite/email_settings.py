"""``EMAIL_URL`` as settings of Django: ``MAILERS`` where Django has it (6.1), the ``EMAIL_`` settings before."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import dj_email_url
import django
from django.core.exceptions import ImproperlyConfigured

STARTTLS, TLS = "smtp+tls", "smtp+ssl"
SCHEMES = ("smtp", STARTTLS, TLS, "submission", "console", "file", "memory", "dummy")
"""Those of dj-email-url without ``smtps``, which it reads as STARTTLS and others as TLS; and a clear one for each."""

OPTIONS = {
    "django.core.mail.backends.smtp.EmailBackend": {
        "host": "EMAIL_HOST",
        "port": "EMAIL_PORT",
        "username": "EMAIL_HOST_USER",
        "password": "EMAIL_HOST_PASSWORD",
        "use_tls": "EMAIL_USE_TLS",
        "use_ssl": "EMAIL_USE_SSL",
        "timeout": "EMAIL_TIMEOUT",
    },
    "django.core.mail.backends.filebased.EmailBackend": {"file_path": "EMAIL_FILE_PATH"},
}
"""The options of a mailer, by the setting that was their name before Django 6.1."""


def email_settings(url: str) -> dict[str, Any]:
    """Settings by name, for the project's settings module. ImproperlyConfigured if the URL means nothing."""
    try:
        settings = _parse(url)
    except ValueError as error:
        raise ImproperlyConfigured(f"EMAIL_URL cannot be read: {error}.") from error
    return settings if django.VERSION < (6, 1) else _as_mailers(settings)


def _parse(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"it begins with {parts.scheme!r}, and may begin with {', '.join(SCHEMES)}")
    if parts.scheme not in (STARTTLS, TLS):
        return dict(dj_email_url.parse(url))
    settings = dict(dj_email_url.parse(parts._replace(scheme="submission").geturl()))
    if parts.scheme == TLS:
        settings |= {"EMAIL_USE_TLS": False, "EMAIL_USE_SSL": True, "EMAIL_PORT": parts.port or 465}
    return settings


def _as_mailers(settings: dict[str, Any]) -> dict[str, Any]:
    backend = settings["EMAIL_BACKEND"]
    options = {option: settings[name] for option, name in OPTIONS.get(backend, {}).items()}
    return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
