"""Everything that differs between machines is read from the environment. The defaults suit a development machine.

The README documents each setting in its table "Settings".
"""

import contextlib
import json
import os
import re
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError

from ssesite.email_settings import email_settings
from streaming import sqlite_connection
from streaming.conf import problem_with_access, upstream_of_short_settings

BASE_DIR = Path(__file__).resolve().parent.parent
# An installed wheel has no project folder for the database and the key: they are then in the working directory.
STATE_DIR = BASE_DIR if (BASE_DIR / "manage.py").exists() else Path.cwd()

env = Env()


def kept_secret_key(path: Path) -> str:
    """The secret key in this file, which is created on first use and readable by its owner only."""
    try:
        if not path.exists():
            # Written to a temporary file and linked: if several workers start at once, all read one complete key.
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            temporary.touch(0o600)
            temporary.write_text(secrets.token_urlsafe(50), "ascii")
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
            temporary.unlink()
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

# Who may use the configured upstreams: see streaming/access.py. The built-in documents are open to everyone.
STREAMING_ACCESS = env.str("STREAMING_ACCESS", "login")
if problem := problem_with_access(STREAMING_ACCESS):
    raise ImproperlyConfigured(problem)
STREAMING_ALLOWED_ORIGINS: list[str] = env.list("STREAMING_ALLOWED_ORIGINS", [])


def configured_upstreams() -> dict[str, dict[str, Any]]:
    """The upstreams, in the style of DATABASES; see upstream_settings.py. Empty: "default" is this site's /stream."""
    try:
        upstreams = json.loads(env.str("STREAMING_UPSTREAMS", "") or "{}")
    except ValueError:
        upstreams = None
    if not isinstance(upstreams, dict) or not all(isinstance(entry, dict) for entry in upstreams.values()):
        raise ImproperlyConfigured('STREAMING_UPSTREAMS has to be JSON like {"name": {"URL": "http://host/path"}}.')
    # Shorthand for a single upstream. All variables are read in any case, so that "check" knows their names.
    short = upstream_of_short_settings(
        env.str("UPSTREAM_URL", ""),
        FORMAT=env.str("UPSTREAM_FORMAT", ""),
        MODELS=env.str("UPSTREAM_MODELS", ""),
        API_KEY_ENV="UPSTREAM_API_KEY" if env.str("UPSTREAM_API_KEY", "") else "",
        PROXY=env.bool("UPSTREAM_PROXY", False),
    )
    return {**short, **upstreams}


STREAMING_UPSTREAMS = configured_upstreams()

# Reverse proxies whose X-Forwarded-For, -Proto and -Host are trusted: addresses, networks, or "unix" for a Unix socket.
STREAMING_TRUSTED_PROXIES: list[str] = env.list("STREAMING_TRUSTED_PROXIES", [])

# Whether hits of moderation rules store the matched text; otherwise only a keyed hash of it.
STREAMING_HIT_TEXTS = env.bool("STREAMING_HIT_TEXTS", True)

# Alerts go to webhooks, which may be on this machine and in private networks only if this is on, and by e-mail.
STREAMING_PRIVATE_WEBHOOKS = env.bool("STREAMING_PRIVATE_WEBHOOKS", False)
# MAILERS, or before Django 6.1 EMAIL_HOST and the like.
globals().update(email_settings(env.str("EMAIL_URL", "") or "smtp://localhost:25"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "webmaster@localhost")

# Who may read /metrics: "staff", with a login or an API key of theirs, or "public".
STREAMING_METRICS = env.str("STREAMING_METRICS", "staff")

# How long the record of each request's usage is kept; 0: forever.
STREAMING_USAGE_DAYS = env.int("STREAMING_USAGE_DAYS", 400)

# How long streams outlive their connections, in seconds and bytes: streaming/conf.py documents each setting.
STREAMING_GRACE = env.float("STREAMING_GRACE", 30)
STREAMING_KEEP = env.float("STREAMING_KEEP", 300)
STREAMING_JOURNAL_BYTES = env.int("STREAMING_JOURNAL_BYTES", 1 << 20)
STREAMING_JOURNAL_TOTAL = env.int("STREAMING_JOURNAL_TOTAL", 256 << 20)
REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL:  # so that all workers count logins together
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
            "KEY_PREFIX": "streams:cache",
        }
    }

INSTALLED_APPS = [
    "daphne",  # has to be first, so that runserver serves ASGI and can stream
    "servestatic.runserver_nostatic",  # so that static files are served the same way in development
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "streaming",
]

# Each middleware is async, or costs a thread switch at the start and end of a request, but never per event. None is
# sync-only: that would run every streaming request in a thread.
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
    "streaming.middleware.AddedTwiceMiddleware",
]

ROOT_URLCONF = "ssesite.urls"
# The path below which a proxy serves the site, like /streams; the server's --root-path does the same.
FORCE_SCRIPT_NAME = env.str("FORCE_SCRIPT_NAME", "") or None
ASGI_APPLICATION = "ssesite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", BASE_DIR / "ssesite" / "templates"],
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

# Behind TLS, HTTPS=1 turns these on together; each can also be set by itself.
HTTPS = env.bool("HTTPS", False)
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", HTTPS)
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SESSION_COOKIE_SECURE = env.bool("SESSION_COOKIE_SECURE", HTTPS)
CSRF_COOKIE_SECURE = env.bool("CSRF_COOKIE_SECURE", HTTPS)
# These bind browsers for as long as they say, so they have to be asked for.
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", False)


# CONN_MAX_AGE stays 0: under ASGI a persistent connection belongs to a thread, not to a request.
def configured_database() -> dict[str, Any]:
    scheme, _, rest = env.str("DATABASE_URL", "").partition("://")
    after_host = re.sub(r"^[^/?#]*", "", rest)
    if not scheme.startswith("sqlite") and ("@" in after_host or "#" in after_host or rest.count("@") > 1):
        raise ImproperlyConfigured(
            "DATABASE_URL has a sign in its password that belongs to the URL: write %40 for @, %2F for /, %3F for ?, "
            "%23 for # and %25 for %."
        )
    try:
        return dict(env.dj_db_url("DATABASE_URL", f"sqlite:///{STATE_DIR / 'db.sqlite3'}", conn_max_age=0))
    except EnvError as error:
        words = "it has to be like sqlite:///db.sqlite3 or postgres://user:password@host/name"
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {words}.") from error


DATABASES = {"default": configured_database()}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql" and not find_spec("psycopg"):
    raise ImproperlyConfigured(
        "DATABASE_URL names PostgreSQL, and its driver is not installed: pip install 'django-streaming-llm[postgres]'."
    )
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Readers do not wait for a writer, and a writer waits for the lock instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "factory": sqlite_connection.Connection,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
# The limit for every request body: streaming/request_body.py enforces it before anything is read or parsed.
STREAMING_MASK = env.str("STREAMING_MASK", "•")
STREAMING_MAX_BODY_BYTES = env.int("STREAMING_MAX_BODY_BYTES", 25_000_000)
STREAMING_MAX_STREAMS = env.int("STREAMING_MAX_STREAMS", 5_000)
STREAMING_STREAMS_PER_CALLER = env.int("STREAMING_STREAMS_PER_CALLER", 50)
STREAMING_STREAMS_PER_ADDRESS = env.int("STREAMING_STREAMS_PER_ADDRESS", 200)
STREAMING_REQUESTS_PER_MINUTE = env.int("STREAMING_REQUESTS_PER_MINUTE", 600)
STREAMING_TOKENS_PER_DAY = env.int("STREAMING_TOKENS_PER_DAY", 0)
STREAMING_MAX_PROMPT_CHARS = env.int("STREAMING_MAX_PROMPT_CHARS", 2_000_000)
STREAMING_MAX_MESSAGE_CHARS = env.int("STREAMING_MAX_MESSAGE_CHARS", 8 << 20)
STREAMING_MAX_STREAM_BYTES = env.int("STREAMING_MAX_STREAM_BYTES", 100_000_000)
STREAMING_MAX_STREAM_SECONDS = env.float("STREAMING_MAX_STREAM_SECONDS", 3600)
STREAMING_HEAD_SECONDS = env.float("STREAMING_HEAD_SECONDS", 20)
STREAMING_BODY_IDLE_SECONDS = env.float("STREAMING_BODY_IDLE_SECONDS", 30)
# Enough for a pasted word list, and for the admin's list of rules with a few fields per row; streaming/views.py answers
# requests with more.
DATA_UPLOAD_MAX_MEMORY_SIZE = STREAMING_MAX_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "streaming:login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "streaming:page"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
TIME_ZONE = "UTC"
USE_TZ = True

# Static files are served from the apps' folders under their plain names, without collectstatic, whatever DEBUG is.
STATIC_URL = "static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "ssesite.static_files.StaticFilesStorage"},
}
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG  # looks up each file on every request, so that an edit is visible at once
SERVESTATIC_USE_MANIFEST = False
SERVESTATIC_USE_STATIC_ROOT = False
SERVESTATIC_MAX_AGE = 0 if DEBUG else 60

SERVER_LOGGERS = [
    *("daphne.access", "uvicorn", "uvicorn.access", "gunicorn.error", "gunicorn.access"),
    *("_granian", "granian.access", "hypercorn.error", "hypercorn.access"),
]
if (LOG_FORMAT := env.str("LOG_FORMAT", "line")) not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT is {LOG_FORMAT!r}. It may be 'line' or 'json'.")
ON_CONSOLE = {"handlers": ["console"], "level": "INFO", "propagate": False}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "streaming.log_lines.LineFormatter",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "streaming.log_lines.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    # Errors of Django and of the libraries are logged under every server.
    "root": {"handlers": ["console"]},
    "loggers": {
        "django": ON_CONSOLE,
        "streaming": ON_CONSOLE,
        # Servers have formats of their own: with LOG_FORMAT=json their lines are JSON, too.
        **(dict.fromkeys(SERVER_LOGGERS, ON_CONSOLE) if LOG_FORMAT == "json" else {}),
    },
}

# The variables that were read here: "check" reports those with our prefixes that are set but never read.
STREAMING_ENVIRONMENT = sorted(env.dump())
