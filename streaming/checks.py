"""What ``manage.py check`` says before a reader would find out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from streaming import conf
from streaming.upstream_settings import read_config


@register()
def check_daphne_is_first(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.INSTALLED_APPS[:1] == ["daphne"]:
        return []
    return [
        checks.Warning(
            "'daphne' is not the first of INSTALLED_APPS: runserver would use WSGI, and not send one byte of a stream.",
            hint="Put 'daphne' first.",
            id="streaming.W001",
        )
    ]


@register()
def check_access(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    problem = conf.problem_with_access(conf.access())
    return [Error(problem, id="streaming.E003")] if problem else []


@register(deploy=True)
def check_access_for_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.DEBUG or conf.access() != "public":
        return []
    return [
        checks.Warning(
            "STREAMING_ACCESS is 'public': whoever finds this site uses the configured upstreams, with your API keys "
            "and at your expense.",
            hint="Leave it out, and make API keys for programs (manage.py create_key).",
            id="streaming.W002",
        )
    ]


@register()
def check_upstreams(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for name, entry in settings.STREAMING_UPSTREAMS.items():
        try:
            read_config(name, entry)
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), id="streaming.E001"))
    return errors


@register()
def check_the_browser_library_is_there(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if finders.find("streaming/vendor/markdown-it.js"):
        return []
    return [
        Error(
            "static/streaming/vendor/markdown-it.js is missing: the page cannot show Markdown.",
            hint="The build fetches it: run 'uv sync --reinstall-package ssesite', or 'pip install -e .'.",
            id="streaming.E002",
        )
    ]
