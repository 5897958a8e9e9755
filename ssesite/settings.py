"""Everything that differs between machines, read from the environment. Every setting has a default that works on one.

The README's table "Settings" explains each to the person who sets it.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environs import Env

from streaming import sqlite
from streaming.conf import problem_with_access

BASE_DIR = Path(__file__).resolve().parent.parent
# An installed wheel has no folder of its own to keep a database or a key in: then it is the one it is started from.
STATE_DIR = BASE_DIR if (BASE_DIR / "manage.py").exists() else Path.cwd()

env = Env()


def kept_secret_key(path: Path) -> str:
    """The key in this file, which is made once and which only its owner may read."""
    try:
        if not path.exists():
            # Written aside and linked: of several workers that start at once, one makes the key and all read it whole.
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            aside.touch(0o600)
            aside.write_text(secrets.token_urlsafe(50), "ascii")
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
            aside.unlink()
        return path.read_text("ascii")
    except OSError as error:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and none can be kept in {path} ({error.strerror}). Set SECRET_KEY."
        ) from error


SECRET_KEY = env.str("SECRET_KEY", "") or kept_secret_key(STATE_DIR / ".secret-key")
DEBUG = env.bool("DEBUG", False)

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", []) or LOCAL_HOSTS
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

# Who may use the upstreams that are configured: streaming/access.py carries it out. This site's own documents are for
# everyone.
STREAMING_ACCESS = env.str("STREAMING_ACCESS", "login")
if problem := problem_with_access(STREAMING_ACCESS):
    raise ImproperlyConfigured(problem)
STREAMING_ALLOWED_ORIGINS: list[str] = env.list("STREAMING_ALLOWED_ORIGINS", [])


def configured_upstreams() -> dict[str, dict[str, Any]]:
    """In the manner of DATABASES; upstream_settings.py reads it. Empty: "default" is this site's own /stream."""
    try:
        upstreams = json.loads(env.str("STREAMING_UPSTREAMS", "") or "{}")
    except ValueError:
        upstreams = None
    if not isinstance(upstreams, dict) or not all(isinstance(entry, dict) for entry in upstreams.values()):
        raise ImproperlyConfigured('STREAMING_UPSTREAMS has to be JSON like {"name": {"URL": "http://host/path"}}.')
    # The short way to one. All of it is read, so that "check" knows these names.
    short = {"URL": env.str("UPSTREAM_URL", ""), "FORMAT": env.str("UPSTREAM_FORMAT", "native")}
    models: list[str] = env.list("UPSTREAM_MODELS", [])
    key = "UPSTREAM_API_KEY" if env.str("UPSTREAM_API_KEY", "") else ""
    more = {"MODELS": models, "API_KEY_ENV": key, "PROXY": env.bool("UPSTREAM_PROXY", False)}
    if short["URL"]:
        upstreams["default"] = {**short, **{name: value for name, value in more.items() if value}}
    return upstreams


STREAMING_UPSTREAMS = configured_upstreams()

# Proxies in front whose X-Forwarded-For, -Proto and -Host count: addresses, networks, or "unix" for a Unix socket.
STREAMING_TRUSTED_PROXIES: list[str] = env.list("STREAMING_TRUSTED_PROXIES", [])

# Whether the hits of moderation rules keep the text that was met; else only a keyed hash of it.
STREAMING_HIT_TEXTS = env.bool("STREAMING_HIT_TEXTS", True)

# How a stream outlives its connection: streaming/conf.py says what each means, in seconds and bytes.
STREAMING_GRACE = env.float("STREAMING_GRACE", 30)
STREAMING_KEEP = env.float("STREAMING_KEEP", 300)
STREAMING_JOURNAL_BYTES = env.int("STREAMING_JOURNAL_BYTES", 1 << 20)
STREAMING_JOURNAL_TOTAL = env.int("STREAMING_JOURNAL_TOTAL", 256 << 20)
REDIS_URL = env.str("REDIS_URL", "")

INSTALLED_APPS = [
    "daphne",  # first: runserver then serves ASGI, and streams
    "servestatic.runserver_nostatic",  # so that static files come the same way in development
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "streaming",
]

# Each of these is async or costs a thread hop at a request's start and end, none per event. None is sync only:
# one such would put every streaming request in a thread.
MIDDLEWARE = [
    "streaming.middleware.HealthHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "streaming.middleware.PageLocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "streaming.middleware.FormSizeMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "streaming.middleware.UnmigratedMiddleware",
    "streaming.middleware.IncorrectLookupMiddleware",
]

ROOT_URLCONF = "ssesite.urls"
ASGI_APPLICATION = "ssesite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# CONN_MAX_AGE stays 0: under ASGI a kept connection belongs to a thread, not to a request.
DATABASES = {"default": env.dj_db_url("DATABASE_URL", f"sqlite:///{STATE_DIR / 'db.sqlite3'}", conn_max_age=0)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Readers do not wait for a writer, and a writer waits for its turn instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "factory": sqlite.Connection,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
# Of every request: streaming/request_body.py carries it out, before anything is read or parsed.
STREAMING_MASK = env.str("STREAMING_MASK", "•")
STREAMING_MAX_BODY_BYTES = env.int("STREAMING_MAX_BODY_BYTES", 25_000_000)
STREAMING_HEAD_SECONDS = env.float("STREAMING_HEAD_SECONDS", 20)
STREAMING_BODY_IDLE_SECONDS = env.float("STREAMING_BODY_IDLE_SECONDS", 30)
# A list of words may be pasted, and the list of rules sends a few fields for each row; streaming/views.py says so
# when it is more.
DATA_UPLOAD_MAX_MEMORY_SIZE = STREAMING_MAX_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "page"
LOGOUT_REDIRECT_URL = "page"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
TIME_ZONE = "UTC"
USE_TZ = True

# Found where the apps keep them and served under their plain names, DEBUG or not, with no collectstatic.
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG  # looks each file up anew, so that an edit is seen at once
SERVESTATIC_USE_MANIFEST = False
SERVESTATIC_USE_STATIC_ROOT = False
SERVESTATIC_MAX_AGE = 0 if DEBUG else 60

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "streaming.log_lines.LineFormatter",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Whatever server runs the site: errors of Django's and of others' are seen.
    "root": {"handlers": ["console"]},
    "loggers": {
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "streaming": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}

# The names that were read here: "check" says which of those that are set mean nothing.
STREAMING_ENVIRONMENT = sorted(env.dump())
