"""All settings of this app, with their defaults. Nothing else in the app reads a ``STREAMING_`` or
``UPSTREAM_`` setting or REDIS_URL.

They are ordinary Django settings. They are read at each use, so tests can override them. ImproperlyConfigured, with a
sentence, if a value is of the wrong kind: ``checks.py`` reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", int, float)

OPEN_BODY_BYTES = 1_000_000
"""The limit for request bodies at addresses that are open to everyone. Authenticated callers may send
``max_body_bytes()``."""

FORM_BYTES = 64_000
"""The limit for forms from users who have not logged in, such as the login form itself."""


def upstreams() -> dict[str, dict[str, Any]]:
    """``STREAMING_UPSTREAMS``: where streams come from, by name. ``upstream_settings.py`` documents an entry.

    Without an entry "default" that is the one of ``UPSTREAM_URL``, and without that this site's own ``/stream``.
    """
    entries: dict[str, dict[str, Any]] = getattr(settings, "STREAMING_UPSTREAMS", {})
    if not isinstance(entries, Mapping) or not all(isinstance(entry, Mapping) for entry in entries.values()):
        # Without the value, which may have keys of LLM services in it.
        raise ImproperlyConfigured("STREAMING_UPSTREAMS has to be a dict from names to dicts, like DATABASES.")
    key = str(getattr(settings, "UPSTREAM_API_KEY", "") or "").strip()
    short = upstream_of_short_settings(
        upstream_url(),
        FORMAT=getattr(settings, "UPSTREAM_FORMAT", ""),
        MODELS=getattr(settings, "UPSTREAM_MODELS", ()),
        HEADERS={"Authorization": f"Bearer {key}"} if key else {},
        PROXY=getattr(settings, "UPSTREAM_PROXY", False),
    )
    return {**short, **entries}


def upstream_url() -> str:
    """``UPSTREAM_URL``: the URL of the upstream "default", if ``STREAMING_UPSTREAMS`` has none of this name."""
    return str(getattr(settings, "UPSTREAM_URL", "") or "")


def upstream_of_short_settings(url: str, **more: Any) -> dict[str, dict[str, Any]]:
    """The upstream "default", as ``UPSTREAM_URL``, ``UPSTREAM_FORMAT`` and so on describe it; none without a URL.

    ``more`` has further keys of its entry. Of those that are empty the defaults hold; MODELS may have commas.
    """
    if not url:
        return {}
    if isinstance(models := more.get("MODELS"), str):
        more["MODELS"] = [name.strip() for name in models.split(",") if name.strip()]
    return {"default": {"URL": url, "FORMAT": "native", **{key: value for key, value in more.items() if value}}}


def access() -> str:
    """``STREAMING_ACCESS``: who may use configured upstreams. ``login``: users and API keys; ``public``: everyone."""
    return str(getattr(settings, "STREAMING_ACCESS", "login"))


def problem_with_access(access: object) -> str | None:
    """What is wrong with this value of ``STREAMING_ACCESS``; None if it is valid."""
    if access in ("login", "public"):
        return None
    if access == "local":
        return (
            "STREAMING_ACCESS is 'local', which no longer exists: a proxy, a tunnel or a forwarded port makes everyone "
            "local. Leave it out: this site's own documents are open to everyone, and configured upstreams need a "
            "login or an API key. With 'public' they need neither."
        )
    return f"STREAMING_ACCESS is {access!r}. It may be 'login' or 'public'."


def allowed_origins() -> Collection[str]:
    """``STREAMING_ALLOWED_ORIGINS``: other sites whose pages may use this one (CORS), like ``https://app.example``."""
    return _texts("STREAMING_ALLOWED_ORIGINS")


def trusted_proxies() -> tuple[str, ...]:
    """``STREAMING_TRUSTED_PROXIES``: proxies in front whose X-Forwarded-For, -Proto and -Host are believed.

    Addresses, networks, or ``unix`` for a Unix socket.
    """
    return tuple(_texts("STREAMING_TRUSTED_PROXIES"))


def stores_hit_texts() -> bool:
    """``STREAMING_HIT_TEXTS``: whether hits of moderation rules store the matched text, or only a keyed hash of it."""
    return bool(getattr(settings, "STREAMING_HIT_TEXTS", True))


def usage_days() -> int:
    """``STREAMING_USAGE_DAYS``: days for which usage records are kept. 0: until ``manage.py prune_usage``."""
    return _whole_number("STREAMING_USAGE_DAYS", 400)


def metrics() -> str:
    """``STREAMING_METRICS``: who may read ``/metrics``: ``staff`` (and API keys of theirs), or ``public``: everyone."""
    return str(getattr(settings, "STREAMING_METRICS", "staff"))


def webhooks_may_be_private() -> bool:
    """``STREAMING_PRIVATE_WEBHOOKS``: whether alerts may be sent to this machine and to private networks.

    Off, because moderators enter the addresses, and what is reachable from here may trust this machine.
    """
    return bool(getattr(settings, "STREAMING_PRIVATE_WEBHOOKS", False))


def mask() -> str:
    """``STREAMING_MASK``: replaces each character of masked text. One character that has no meaning in Markdown."""
    return str(getattr(settings, "STREAMING_MASK", "•"))


def max_body_bytes() -> int:
    """``STREAMING_MAX_BODY_BYTES``: the longest body of a request, in bytes."""
    return _whole_number("STREAMING_MAX_BODY_BYTES", 25_000_000)


def max_streams() -> int:
    """``STREAMING_MAX_STREAMS``: streams that are open at once in one process. 0: no limit, here as below."""
    return _whole_number("STREAMING_MAX_STREAMS", 5_000)


def streams_per_caller() -> int:
    """``STREAMING_STREAMS_PER_CALLER``: streams that a user has open at once. An API key may have its own limit."""
    return _whole_number("STREAMING_STREAMS_PER_CALLER", 50)


def streams_per_address() -> int:
    """``STREAMING_STREAMS_PER_ADDRESS``: streams that callers without a login have open at once from one address."""
    return _whole_number("STREAMING_STREAMS_PER_ADDRESS", 200)


def requests_per_minute() -> int:
    """``STREAMING_REQUESTS_PER_MINUTE``: requests to configured upstreams of one user, or from one address.

    An API key may have a limit of its own.
    """
    return _whole_number("STREAMING_REQUESTS_PER_MINUTE", 600)


def tokens_per_day() -> int:
    """``STREAMING_TOKENS_PER_DAY``: tokens of prompts and answers of one user, from midnight to midnight (TIME_ZONE).

    An API key may have a limit of its own. The request that reaches the limit is still answered.
    """
    return _whole_number("STREAMING_TOKENS_PER_DAY", 0)


def max_prompt_chars() -> int:
    """``STREAMING_MAX_PROMPT_CHARS``: characters of text in one prompt."""
    return _whole_number("STREAMING_MAX_PROMPT_CHARS", 2_000_000)


def max_message_chars() -> int:
    """``STREAMING_MAX_MESSAGE_CHARS``: characters of one message of an upstream. An image comes in one message."""
    return _whole_number("STREAMING_MAX_MESSAGE_CHARS", 8 << 20)


def max_stream_bytes() -> int:
    """``STREAMING_MAX_STREAM_BYTES``: bytes of one answer. It then ends as ``length``."""
    return _whole_number("STREAMING_MAX_STREAM_BYTES", 100_000_000)


def max_stream_seconds() -> float:
    """``STREAMING_MAX_STREAM_SECONDS``: how long one answer may take. It then ends as ``length``."""
    return _number("STREAMING_MAX_STREAM_SECONDS", 3600)


def head_seconds() -> float:
    """``STREAMING_HEAD_SECONDS``: how long the head of a request may take. Only Daphne's limit can be set."""
    return _number("STREAMING_HEAD_SECONDS", 20)


def body_idle_seconds() -> float:
    """``STREAMING_BODY_IDLE_SECONDS``: how long the body of a request may pause while it is read."""
    return _number("STREAMING_BODY_IDLE_SECONDS", 30)


def stream_grace() -> float:
    """``STREAMING_GRACE``: seconds a stream goes on without a client. 0: it ends when its last client leaves."""
    return _number("STREAMING_GRACE", 30)


def stream_keep() -> float:
    """``STREAMING_KEEP``: seconds a stream can still be read after its end."""
    return _number("STREAMING_KEEP", 300)


def journal_bytes() -> int:
    """``STREAMING_JOURNAL_BYTES``: bytes kept of one stream, and sent ahead of its slowest client."""
    return _whole_number("STREAMING_JOURNAL_BYTES", 1 << 20)


def journal_total() -> int:
    """``STREAMING_JOURNAL_TOTAL``: how many bytes of memory a process keeps streams in."""
    return _whole_number("STREAMING_JOURNAL_TOTAL", 256 << 20)


def redis_url() -> str:
    """``REDIS_URL``: where streams are kept for all workers. Empty: each process keeps its own."""
    return str(getattr(settings, "REDIS_URL", ""))


def asgi_application() -> str:
    """``ASGI_APPLICATION``, by which Daphne's runserver finds the application: ``mysite.asgi.application``."""
    return str(getattr(settings, "ASGI_APPLICATION", None) or "")


def environment_names() -> frozenset[str]:
    """``STREAMING_ENVIRONMENT``: the environment variables that the project reads, so that "check" can report typos.

    Empty: the project does not say, and nothing is reported.
    """
    return frozenset(_texts("STREAMING_ENVIRONMENT"))


def _whole_number(name: str, default: int) -> int:
    return _converted(name, default, int, "a whole number")


def _number(name: str, default: float) -> float:
    return _converted(name, default, float, "a number")


def _converted(name: str, default: T, convert: Callable[[Any], T], words: str) -> T:
    value = getattr(settings, name, default)
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise ImproperlyConfigured(f"{name} is {value!r}: it has to be {words}.") from None


def _texts(name: str) -> Collection[str]:
    texts: Collection[str] = getattr(settings, name, ())
    is_list = isinstance(texts, Collection) and not isinstance(texts, str | bytes | Mapping)
    if not is_list or not all(isinstance(text, str) for text in texts):
        raise ImproperlyConfigured(f"{name} is {texts!r}: it has to be a list of strings.")
    return texts
