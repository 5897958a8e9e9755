"""System checks: what ``manage.py check`` reports about the settings before a request fails because of them."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.staticfiles import finders
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from yarl import URL

from streaming import conf, resumption, upstreams
from streaming.forwarded import read_networks
from streaming.moderation import check_mask
from streaming.upstream_settings import UpstreamConfig, read_config

Check = Callable[..., list[CheckMessage]]


def _register(**options: Any) -> Callable[[Check], Check]:
    """Registers a check that says nothing where it cannot read a setting: ``check_kinds`` does."""

    def decorate(check: Check) -> Check:
        @functools.wraps(check)
        def checked(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
            try:
                return check(app_configs)
            except ImproperlyConfigured:
                return []

        register(**options)(checked)
        return checked

    return decorate


@register()
def check_kinds(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Settings of the wrong kind: a text where a number belongs, and the like."""
    readers = [value for name, value in vars(conf).items() if inspect.isfunction(value) and not name.startswith("_")]
    messages: list[CheckMessage] = []
    for read in readers:
        try:
            if not inspect.signature(read).parameters:
                read()
        except ImproperlyConfigured as error:
            messages.append(Error(str(error), id="streaming.E013"))
    return messages


@_register()
def check_daphne_is_first(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.INSTALLED_APPS[:1] == ["daphne"]:
        return []
    return [
        checks.Warning(
            "'daphne' is not the first of INSTALLED_APPS: runserver would use WSGI, which cannot stream.",
            hint="Put 'daphne' first.",
            id="streaming.W001",
        )
    ]


@_register()
def check_asgi(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    path = conf.asgi_application()
    if not path:
        hint = "ASGI_APPLICATION = 'yourproject.asgi.application'"
        return [checks.Warning("ASGI_APPLICATION is not set: runserver cannot stream.", hint=hint, id="streaming.W009")]
    module = path.rpartition(".")[0]
    spec = find_spec(module)
    if spec is None or spec.origin is None or "streaming.asgi" in Path(spec.origin).read_text("utf-8"):
        return []
    return [
        checks.Warning(
            f"{module} does not use streaming.asgi: each open stream holds a thread, and a restart cuts streams off.",
            hint="from streaming.asgi import wrap; application = wrap(get_asgi_application())",
            id="streaming.W009",
        )
    ]


@_register()
def check_urls(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if not hasattr(settings, "ROOT_URLCONF"):
        return []
    try:
        reverse("streaming:page")
    except NoReverseMatch:
        problem = f"{settings.ROOT_URLCONF} does not include streaming.urls: no page, stream or API has an address."
        hint = "from django.urls import include; urlpatterns += [path('ai/', include('streaming.urls'))]"
        return [checks.Warning(problem, hint=hint, id="streaming.W012")]
    return []


@_register()
def check_middleware(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Django's own are run inline (see ``asgi.wrap``); others that are only synchronous take a thread per stream."""
    messages: list[CheckMessage] = []
    classes = {path: import_string(path) for path in settings.MIDDLEWARE}
    if not any(isinstance(each, type) and issubclass(each, AuthenticationMiddleware) for each in classes.values()):
        problem = "MIDDLEWARE has no AuthenticationMiddleware: the page and /transfer cannot tell who asks."
        hint = "Add SessionMiddleware and AuthenticationMiddleware of django.contrib, in this order."
        messages.append(Error(problem, hint=hint, id="streaming.E008"))
    for path, middleware in classes.items():
        if not getattr(middleware, "async_capable", False):
            problem = f"MIDDLEWARE has {path}, which is only synchronous: each open stream holds a thread."
            messages.append(checks.Warning(problem, hint=_ASYNC_RELATIVES.get(path), id="streaming.W010"))
    return messages


_ASYNC_RELATIVES = {
    "whitenoise.middleware.WhiteNoiseMiddleware": "ServeStaticMiddleware of servestatic does the same under ASGI.",
}


@_register()
def check_redis(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if not conf.redis_url():
        return []
    if not find_spec("redis"):
        hint = "pip install 'django-streaming-llm[redis]'"
        return [Error("REDIS_URL is set, and the package redis is not installed.", hint=hint, id="streaming.E007")]
    try:
        resumption.create_journal()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="streaming.E009")]
    return []


@_register()
def check_times_and_sizes(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    bytes_of_one = conf.journal_bytes()
    values = [
        ("STREAMING_GRACE", conf.stream_grace(), 0, "a number of seconds, 0 or more"),
        ("STREAMING_KEEP", conf.stream_keep(), 0, "a number of seconds, 0 or more"),
        ("STREAMING_JOURNAL_BYTES", bytes_of_one, 1, "a number of bytes above 0"),
        ("STREAMING_JOURNAL_TOTAL", conf.journal_total(), bytes_of_one, "at least STREAMING_JOURNAL_BYTES"),
        ("STREAMING_HEAD_SECONDS", conf.head_seconds(), 0.001, "a number of seconds above 0"),
        ("STREAMING_BODY_IDLE_SECONDS", conf.body_idle_seconds(), 0.001, "a number of seconds above 0"),
        ("STREAMING_MAX_BODY_BYTES", conf.max_body_bytes(), 1, "a number of bytes above 0"),
        ("STREAMING_USAGE_DAYS", conf.usage_days(), 0, "a number of days, 0 or more"),
    ]
    return [
        Error(f"{name} is {value:g}: it has to be {words}.", id="streaming.E010")
        for name, value, least, words in values
        if not (math.isfinite(value) and value >= least)
    ]


@_register()
def check_limits(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Below 0 nothing would be limited: probably not what was meant."""
    limits = {
        "STREAMING_MAX_STREAMS": conf.max_streams(),
        "STREAMING_STREAMS_PER_CALLER": conf.streams_per_caller(),
        "STREAMING_STREAMS_PER_ADDRESS": conf.streams_per_address(),
        "STREAMING_REQUESTS_PER_MINUTE": conf.requests_per_minute(),
        "STREAMING_TOKENS_PER_DAY": conf.tokens_per_day(),
        "STREAMING_MAX_PROMPT_CHARS": conf.max_prompt_chars(),
        "STREAMING_MAX_MESSAGE_CHARS": conf.max_message_chars(),
        "STREAMING_MAX_STREAM_BYTES": conf.max_stream_bytes(),
        "STREAMING_MAX_STREAM_SECONDS": conf.max_stream_seconds(),
    }
    return [
        Error(f"{name} is {value:g}: it has to be above 0, or 0 for no limit.", id="streaming.E012")
        for name, value in limits.items()
        if not (math.isfinite(value) and value >= 0)
    ]


@_register()
def check_access(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    problem = conf.problem_with_access(conf.access())
    return [Error(problem, id="streaming.E003")] if problem else []


@_register(deploy=True)
def check_access_for_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.DEBUG or conf.access() != "public":
        return []
    return [
        checks.Warning(
            "STREAMING_ACCESS is 'public': anyone who finds this project can use the configured upstreams, with your "
            "API keys and at your expense.",
            hint="Remove the setting, and create API keys for programs (manage.py create_key).",
            id="streaming.W002",
        )
    ]


@_register()
def check_metrics(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if (readers := conf.metrics()) in ("staff", "public"):
        return []
    return [Error(f"STREAMING_METRICS is {readers!r}. It may be 'staff' or 'public'.", id="streaming.E011")]


@_register()
def check_upstreams(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name, entry in conf.upstreams().items():
        try:
            messages += _problems_with(read_config(name, entry))
        except ImproperlyConfigured as error:
            messages.append(Error(_as_it_was_set(str(error)), id="streaming.E001"))
    return messages


def _as_it_was_set(problem: str) -> str:
    """The problem, with the names of the short settings if the upstream "default" comes from them."""
    if _short_url() == conf.upstreams().get("default", {}).get("URL"):
        return re.sub(r"STREAMING_UPSTREAMS\['default'\]\['(URL|FORMAT|MODELS|PROXY)'\]", r"UPSTREAM_\1", problem)
    return problem


def _problems_with(upstream: UpstreamConfig) -> Iterator[CheckMessage]:
    """Entries that are valid, but will probably not do what was intended."""
    where = f"STREAMING_UPSTREAMS[{upstream.name!r}]"
    if problem := upstreams.problem_with_tls(upstream):
        yield Error(f"VERIFY or CERT of {where} cannot be used: {problem}.", id="streaming.E005")
    if problem := upstreams.problem_with_proxy(upstream):
        yield checks.Warning(f"{where} uses an outgoing proxy that cannot be used: {problem}.", id="streaming.W005")
    if upstream.format == "native" and _looks_like_openai(upstream.url):
        yield checks.Warning(
            f"{where} has a URL that looks like an OpenAI API, but FORMAT is 'native': another site like this one.",
            hint="Set FORMAT (in the environment UPSTREAM_FORMAT) to 'openai'.",
            id="streaming.W003",
        )
    if useless := sorted(upstream.forward & upstreams.NEVER_FORWARDED):
        yield checks.Warning(
            f"{where}['FORWARD'] names {', '.join(useless)}, which are set here or never forwarded.",
            id="streaming.W004",
        )


def _looks_like_openai(url: str) -> bool:
    """By its path, or by a well-known host or port (11434 is Ollama's)."""
    parsed = URL(url)
    path = parsed.path.rstrip("/")
    known = parsed.host in ("api.openai.com", "api.deepseek.com", "api.mistral.ai") or parsed.port == 11434
    return known or path.endswith(("/v1", "/chat/completions", "/openai"))


@_register()
def check_trusted_proxies(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    try:
        read_networks(conf.trusted_proxies())
    except ValueError as error:
        problem = f"STREAMING_TRUSTED_PROXIES may hold addresses, networks and 'unix': {error}."
        return [Error(problem, id="streaming.E004")]
    return []


@_register()
def check_hosts_and_origins(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Entries that Django accepts, but that can never match anything."""
    host = re.compile(r"\*|\.?[^\s/:@]+|\[[0-9a-fA-F:.]+\]")
    origin = re.compile(r"https?://[^\s/?#@]+")
    an_origin = "a scheme and a host without a trailing slash, like"
    wanted = [
        ("ALLOWED_HOSTS", settings.ALLOWED_HOSTS, host, "a host without scheme, port and spaces, like streams.example"),
        ("CSRF_TRUSTED_ORIGINS", settings.CSRF_TRUSTED_ORIGINS, origin, f"{an_origin} https://streams.example"),
        ("STREAMING_ALLOWED_ORIGINS", conf.allowed_origins(), origin, f"{an_origin} https://app.example"),
    ]
    return [
        checks.Warning(f"{name} has {entry!r}, which matches nothing: it has to be {like}.", id="streaming.W008")
        for name, entries, pattern, like in wanted
        for entry in entries
        if not pattern.fullmatch(entry)
    ]


@_register()
def check_script_name(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    prefix = settings.FORCE_SCRIPT_NAME
    if not prefix or re.fullmatch(r"(/[^/?#\s]+)+", prefix):
        return []
    problem = f"FORCE_SCRIPT_NAME is {prefix!r}: it has to begin with a slash and end without one, like /ai."
    return [Error(problem, id="streaming.E014")]


@_register()
def check_names(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Settings and environment variables with this app's prefixes that it does not read: probably typing mistakes."""
    known = _known_settings()
    set_here = {name for name in dir(settings) if name.startswith(_PREFIXES)}
    messages = [*_unknown("setting", {name for name in set_here if not _is_of_another_app(name, known)}, known)]
    read = conf.environment_names()
    in_environment = {name for name in os.environ if name.startswith(_PREFIXES)}
    if not read:  # the project does not read the environment the way this one does
        return [*messages, *_without_effect(set_here), *_only_in_the_environment(in_environment & known - set_here)]
    keys = {entry.get("API_KEY_ENV") for entry in conf.upstreams().values()}
    return [*messages, *_unknown("variable", in_environment - keys, read), *_without_effect(in_environment)]


def _is_of_another_app(name: str, known: frozenset[str]) -> bool:
    """Whether a project may well have this setting for something else: ``UPSTREAM_`` is a common word."""
    return name.startswith("UPSTREAM_") and not conf.upstream_url() and not _meant(name, known)


def _short_url() -> str:
    """``UPSTREAM_URL``, from the settings or from the environment, as this project's settings read it."""
    return conf.upstream_url() or os.environ.get("UPSTREAM_URL", "")


def _without_effect(names: set[str]) -> Iterator[CheckMessage]:
    """The short settings of an upstream that nothing reads, because another one is missing or goes before them."""
    url = _short_url()
    if "UPSTREAM_URL" not in names:
        if lost := sorted(names & _SHORT):
            problem = f"{lost[0]} has no effect, because UPSTREAM_URL is not set."
            yield checks.Warning(problem, id="streaming.W007")
    elif url and conf.upstreams().get("default", {}).get("URL") != url:
        problem = "UPSTREAM_URL has no effect, because STREAMING_UPSTREAMS has a 'default', too."
        yield checks.Warning(problem, id="streaming.W007")


def _only_in_the_environment(names: set[str]) -> Iterator[CheckMessage]:
    """Variables that ``ssesite`` would read, in a project that has Django settings for that."""
    if "default" in conf.upstreams():  # its settings may have taken them for that
        names = {name for name in names if not name.startswith("UPSTREAM_")}
    for name in sorted(names):
        problem = f"The variable {name} has no effect: this project's settings do not read it."
        hint = f"In the settings: {name} = os.environ[{name!r}], or the value itself."
        yield checks.Warning(problem, hint=hint, id="streaming.W011")


_PREFIXES = ("STREAMING_", "UPSTREAM_")
_SHORT = {"UPSTREAM_FORMAT", "UPSTREAM_MODELS", "UPSTREAM_API_KEY", "UPSTREAM_PROXY"}
_LONG = "STREAMING_UPSTREAMS can say more of an upstream than UPSTREAM_URL, _FORMAT, _MODELS, _API_KEY and _PROXY."


def _known_settings() -> frozenset[str]:
    """The settings that conf.py documents."""
    return frozenset(re.findall(r"\b(?:STREAMING|UPSTREAM)_[A-Z_]*[A-Z]", Path(conf.__file__).read_text("utf-8")))


def _meant(name: str, known: frozenset[str]) -> str:
    """The known name that was probably meant; empty if there is none."""
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff=0.8)), "")


def _unknown(kind: str, names: Iterable[str], known: frozenset[str]) -> Iterator[CheckMessage]:
    for name in sorted(set(names) - known):
        meant = _meant(name, known)
        hint = f"Is {meant} meant?" if meant else _LONG if name.startswith("UPSTREAM_") else None
        yield checks.Warning(f"The {kind} {name} means nothing to this project.", hint=hint, id="streaming.W006")


@_register()
def check_the_mask(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    try:
        check_mask(conf.mask())
    except ValueError as error:
        return [Error(f"STREAMING_MASK: {error}.", id="streaming.E006")]
    return []


@_register()
def check_the_browser_library_is_there(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if finders.find("streaming/vendor/markdown-it.js"):
        return []
    return [
        Error(
            "static/streaming/vendor/markdown-it.js is missing: the page cannot show Markdown.",
            hint="The build fetches it: run 'uv sync --reinstall-package django-streaming-llm', or 'pip install -e .'.",
            id="streaming.E002",
        )
    ]
