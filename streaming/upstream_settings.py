"""Reads and validates ``STREAMING_UPSTREAMS``: the addresses of the upstreams, and the models that each one has."""

from __future__ import annotations

import base64
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from yarl import URL

from streaming import conf

LLM_IDLE_SECONDS = 600.0
"""The default idle timeout of LLM APIs: reasoning models can be silent for minutes."""

IDLE_SECONDS = 60.0
"""The default idle timeout of all other upstreams."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds: to connect, until the response head, between two chunks of the body, and in total; and how
    long to wait for one of the upstream's CONCURRENCY slots (0: not at all).

    ``idle`` and ``total`` may be None: no limit. A client that requests a stream is answered after ``head`` seconds at
    the latest; the upstream's response head may then still take ``idle`` seconds, if that is longer.
    """

    connect: float = 5.0
    head: float = 15.0
    idle: float | None = IDLE_SECONDS
    total: float | None = None
    queue: float = 0.0


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One entry of ``STREAMING_UPSTREAMS``, validated."""

    name: str
    url: str
    format: str = "native"
    headers: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """The public names of its models. The first is the default, for requests that name no model."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Its own names of models that have another one in public."""
    discovers: bool = False
    """Whether it also has the models that its own ``/models`` lists."""
    order: int = 0
    """Of several upstreams that have a model, those of the lowest order are tried first."""
    weight: float = 1.0
    """Its share of the requests among upstreams of the same order."""
    cooldown: float = 15.0
    """Seconds after a failure for which other upstreams of the model are tried before it."""
    timeouts: Timeouts = Timeouts()
    forward: frozenset[str] = frozenset()
    """Additional client headers to forward, in lower case: private ones, or ones that a new request would not have."""
    verify: bool | str = True
    """Whether its certificate is verified; or the file or folder of the certificate authorities to trust."""
    cert: tuple[str, ...] = ()
    """The file of the client certificate, and the file of its key unless one file contains both."""
    socket: str = ""
    """The path of a Unix socket; ``url`` then only supplies the path and the Host header."""
    proxy_url: str | None = None
    """The outgoing proxy: taken from the environment if this is None; no proxy if it is empty."""
    concurrency: int | None = None
    is_open_to_proxy: bool = False
    """Whether clients may reach it through ``/proxy``."""
    reports_usage: bool = False
    """Whether it is asked to report the tokens of a stream (``stream_options.include_usage``)."""

    def own_name(self, model: str) -> str:
        """The upstream's own name of a model that has this public name."""
        return self.aliases.get(model, model)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The operator's credentials in its headers and URLs, in every encoding in which they may be quoted."""
        in_headers = (secret for key, value in self.headers.items() for secret in _secrets_in_header(key, value))
        in_urls = (secret for url in (self.url, self.proxy_url or "") for secret in _secrets_in_url(url))
        found = [*in_headers, *in_urls]
        encoded = (form for secret in found for form in (secret, quote(secret, safe=""), unquote(secret)))
        return tuple(dict.fromkeys(form for form in encoded if len(form) >= SHORTEST_SECRET))


def _secrets_in_header(name: str, value: str) -> Iterator[str]:
    """The values of a header whose name marks it as secret; in any other header, the words that look like keys."""
    if not SECRET.search(name):
        yield from LIKE_A_KEY.findall(value)
        return
    scheme, _, rest = value.strip().partition(" ")
    for part in re.split(r"[\s;,]+", rest if rest and _is_token(scheme) else value):
        yield part
        yield part.partition("=")[2].strip('"')  # a cookie's value, or an authentication parameter
    if scheme.lower() == "basic":
        with suppress(ValueError):
            login = base64.b64decode(rest).decode()
            yield from (login, login.partition(":")[2])


def _secrets_in_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield parts.password or ""
    # Some gateways expect their key as the user name, others as a path segment or a query parameter.
    for words in (parts.username or "", parts.path, parts.query):
        yield from LIKE_A_KEY.findall(words)
    yield from (value for name, value in parse_qsl(parts.query) if SECRET.search(name))


SECRET = re.compile("auth|key|token|secret|cookie|pass|pwd|credential|signature|session", re.IGNORECASE)
"""Found in the names of headers and parameters whose values are secret."""

LIKE_A_KEY = re.compile(r"\b(?=\w*[0-9])(?=\w*[A-Za-z])[A-Za-z0-9_]{16,}\b", re.ASCII)
"""At least 16 mixed letters and digits, which neither words nor version numbers are."""

SHORTEST_SECRET = 6
"""Characters: anything shorter could occur in a text by chance."""


_FORMATS = ("native", "openai", "text")
_KEYS = {
    *("URL", "FORMAT", "HEADERS", "API_KEY_ENV", "API_KEY_FILE", "MODEL", "MODELS", "TIMEOUTS", "CONCURRENCY"),
    *("ORDER", "WEIGHT", "COOLDOWN", "DISCOVER"),
    *("PROXY", "USAGE", "FORWARD", "VERIFY", "CERT", "UDS", "PROXY_URL"),
}


def read_config(name: str, entry: Mapping[str, Any]) -> UpstreamConfig:
    """Validates an entry of the settings. Raises ImproperlyConfigured, which names the invalid key and the reason."""
    where = f"STREAMING_UPSTREAMS[{name!r}]"
    if unknown := sorted(set(entry) - _KEYS):
        meant = difflib.get_close_matches(unknown[0].upper(), _KEYS, 1)
        known = f"is {meant[0]!r} meant?" if meant else f"it may have {', '.join(sorted(_KEYS))}."
        raise ImproperlyConfigured(f"{where} has {unknown[0]!r}, which is not a known key: {known}")
    url, socket = _read_address(where, entry)
    if (form := entry.get("FORMAT", "native")) not in _FORMATS:
        raise ImproperlyConfigured(f"{where}['FORMAT'] is {form!r}: it may be {', '.join(_FORMATS)}.")
    concurrency = entry.get("CONCURRENCY")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ImproperlyConfigured(f"{where}['CONCURRENCY'] is {concurrency!r}: it has to be a number of streams.")
    for key in ("PROXY", "USAGE", "DISCOVER"):
        if type(entry.get(key, False)) is not bool:
            raise ImproperlyConfigured(f"{where}[{key!r}] is {entry[key]!r}: it has to be true or false.")
    return UpstreamConfig(
        name,
        url,
        form,
        headers=_read_headers(where, entry),
        models=tuple(dict.fromkeys([*_read_models(where, entry), *_discovered.get((name, url), ())])),
        discovers=form == "openai" and entry.get("DISCOVER", False),
        aliases=dict(entry["MODELS"]) if isinstance(entry.get("MODELS"), Mapping) else {},
        order=int(_read_number(where, entry, "ORDER", 0, "a whole number", lambda it: it == int(it))),
        weight=_read_number(where, entry, "WEIGHT", 1, "a number above 0", lambda it: it > 0),
        cooldown=_read_number(where, entry, "COOLDOWN", 15, "a number of seconds", lambda it: it >= 0),
        timeouts=_read_timeouts(where, entry, form),
        forward=_read_forward(where, entry),
        verify=_read_verify(where, entry),
        cert=_read_cert(where, entry),
        socket=socket,
        proxy_url=_read_proxy_url(where, entry),
        concurrency=concurrency,
        is_open_to_proxy=entry.get("PROXY", False),
        reports_usage=form == "openai" and entry.get("USAGE", True),
    )


def secrets_of(name: str) -> tuple[str, ...]:
    """The operator's credentials for the upstream of this name; none for this site's built-in one."""
    entry = conf.upstreams().get(name)
    return read_config(name, entry).secrets if entry else ()


def _read_address(where: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """The URL and the path of the Unix socket, if any: from ``unix:///run/llm.sock:/v1``, or from UDS next to a URL."""
    url, socket = str(entry.get("URL", "")), entry.get("UDS") or ""
    if url.startswith("unix:"):
        if not (parts := re.fullmatch(r"unix:(?://)?(/[^:?#]+)(?::(/[^\s?#]*)?)?", url)):
            raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has to look like unix:///run/llm.sock:/v1.")
        url, socket = f"http://localhost{parts[2] or ''}", parts[1]
    if not isinstance(socket, str) or (socket and not socket.startswith("/")):
        raise ImproperlyConfigured(f"{where}['UDS'] is {socket!r}: it has to be the path of a Unix socket.")
    if url != url.strip():
        raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has a space at its beginning or end.")
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url) or not _is_readable(url):
        raise ImproperlyConfigured(f"{where}['URL'] is {_masked(url)!r}: it has to be like http://host:port/path.")
    if "@" in url.split("/")[2]:
        words = "it has a password in it, which would show up in logs: put that into HEADERS or API_KEY_ENV"
        raise ImproperlyConfigured(f"{where}['URL'] is {_masked(url)!r}: {words}.")
    if socket and url.startswith("https:"):
        raise ImproperlyConfigured(f"{where}['UDS'] goes with a URL that begins with http://: it has no use for TLS.")
    return url, socket


def _masked(url: str) -> str:
    return re.sub(r"(?<=//)[^/?#]*@", "***@", url)


def _read_forward(where: str, entry: Mapping[str, Any]) -> frozenset[str]:
    names = entry.get("FORWARD", ())
    if isinstance(names, str) or not all(isinstance(name, str) and _is_token(name) for name in names):
        raise ImproperlyConfigured(f"{where}['FORWARD'] has to be a list of headers.")
    return frozenset(name.lower() for name in names)


def _is_token(name: str) -> bool:
    """Whether it is a token as defined by RFC 9110, section 5.6.2."""
    return re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is not None


def _read_verify(where: str, entry: Mapping[str, Any]) -> bool | str:
    verify = entry.get("VERIFY", True)
    if isinstance(verify, bool) or (isinstance(verify, str) and verify and Path(verify).exists()):
        return verify
    words = "it has to be true, false, or the file of the certificate authorities to trust"
    raise ImproperlyConfigured(f"{where}['VERIFY'] is {verify!r}: {words}.")


def _read_cert(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    cert = entry.get("CERT") or ()
    files = (cert,) if isinstance(cert, str) else tuple(cert) if isinstance(cert, list | tuple) else (None,)
    if len(files) <= 2 and all(isinstance(file, str) and Path(file).is_file() for file in files):
        return files
    words = "it has to be the file of a certificate with its key, or a list of both files"
    raise ImproperlyConfigured(f"{where}['CERT'] is {cert!r}: {words}.")


def _read_proxy_url(where: str, entry: Mapping[str, Any]) -> str | None:
    if "PROXY_URL" not in entry:
        return None
    proxy = entry["PROXY_URL"] or ""
    if proxy and not (isinstance(proxy, str) and re.match(r"https?://[^\s/?#]", proxy) and _is_readable(proxy)):
        words = "it has to be like http://host:port, or empty for none"
        raise ImproperlyConfigured(f"{where}['PROXY_URL'] is {_masked(str(proxy))!r}: {words}.")
    return proxy


def _read_headers(where: str, entry: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(headers := entry.get("HEADERS", {}), Mapping):
        raise ImproperlyConfigured(f"{where}['HEADERS'] has to be a dict.")
    key = _read_key_file(where, entry) or _read_key_variable(where, entry)
    headers = {"Authorization": f"Bearer {key}", **headers} if key else dict(headers)
    for name, value in headers.items():
        if not (isinstance(name, str) and _is_token(name)):
            raise ImproperlyConfigured(f"{where}['HEADERS'] has {name!r}, which is no name of a header.")
        if not (isinstance(value, str) and re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f]*", value)):
            raise ImproperlyConfigured(f"{where}['HEADERS'][{name!r}] has to be one line of text.")
    return headers


def _read_key_variable(where: str, entry: Mapping[str, Any]) -> str:
    if not (variable := entry.get("API_KEY_ENV")):
        return ""
    if not (key := os.environ.get(str(variable), "").strip()):
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which is not set in the environment.")
    if not key.isprintable():
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which has not one line with a key.")
    return key


def _read_key_file(where: str, entry: Mapping[str, Any]) -> str:
    """The key in API_KEY_FILE, such as a Docker secret. It is read again when the file changes."""
    if not (path := entry.get("API_KEY_FILE")):
        return ""
    if "API_KEY_ENV" in entry:
        raise ImproperlyConfigured(f"{where} has both API_KEY_ENV and API_KEY_FILE: one of them has to go.")
    try:
        status = Path(path).stat()
        key = _key_in(str(path), status.st_mtime_ns, status.st_ino, status.st_size)
    except (OSError, TypeError, ValueError) as error:
        words = f"which cannot be read: {getattr(error, 'strerror', None) or 'it is no text file'}"
        raise ImproperlyConfigured(f"{where}['API_KEY_FILE'] names {path!r}, {words}.") from None
    if not key or not key.isprintable():
        raise ImproperlyConfigured(f"{where}['API_KEY_FILE'] names {path!r}, which has not one line with a key.")
    return key


@lru_cache(maxsize=64)
def _key_in(path: str, *version: int) -> str:
    return Path(path).read_text("utf-8").strip()


def _read_models(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    models = [entry["MODEL"]] if entry.get("MODEL") else []
    listed = entry.get("MODELS", ())
    own = listed.values() if isinstance(listed, Mapping) else ()
    if isinstance(listed, str) or not all(isinstance(model, str) and model for model in [*models, *listed, *own]):
        words = "a list of names, or a dict from public names to the upstream's own; and MODEL one of them"
        raise ImproperlyConfigured(f"{where}['MODELS'] has to be {words}.")
    return tuple(dict.fromkeys([*models, *listed]))


def _read_number(
    where: str, entry: Mapping[str, Any], key: str, default: float, words: str, is_valid: Callable[[float], bool]
) -> float:
    number = entry.get(key, default)
    if type(number) not in (int, float) or not math.isfinite(number) or not is_valid(number):
        raise ImproperlyConfigured(f"{where}[{key!r}] is {number!r}: it has to be {words}.")
    return float(number)


def _read_timeouts(where: str, entry: Mapping[str, Any], form: str) -> Timeouts:
    try:
        idle = LLM_IDLE_SECONDS if form == "openai" else IDLE_SECONDS
        timeouts = Timeouts(**{"idle": idle, **entry.get("TIMEOUTS", {})})
    except TypeError as error:
        raise ImproperlyConfigured(f"{where}['TIMEOUTS'] may hold connect, head, idle, total and queue.") from error
    for key, seconds in asdict(timeouts).items():
        if not isinstance(seconds, int | float) and not (seconds is None and key in ("idle", "total")):
            raise ImproperlyConfigured(
                f"{where}['TIMEOUTS'][{key!r}] is {seconds!r}: it has to be a number of seconds."
            )
    return timeouts


def _is_readable(url: str) -> bool:
    try:
        return bool(URL(url).host)
    except ValueError:
        return False


def names() -> list[str]:
    return list(dict.fromkeys(["default", *conf.upstreams()]))


@dataclass(frozen=True, slots=True)
class Choice:
    """What the page needs to know about an upstream to send requests to it."""

    name: str
    plays_documents: bool
    """Whether it accepts the fields of ``/stream``. LLM APIs reject fields that they do not know."""
    models: tuple[str, ...]


def choices() -> list[Choice]:
    """All upstreams, "default" first."""
    entries = {name: conf.upstreams().get(name) for name in names()}
    configs = {name: read_config(name, entry) if entry else None for name, entry in entries.items()}
    return [Choice(name, not it or it.format == "native", it.models if it else ()) for name, it in configs.items()]


def default_plays_documents() -> bool:
    """Whether "default" accepts the fields of ``/stream``: if it is this site or another one with the native format.

    LLM APIs reject requests with fields that they do not know.
    """
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).format == "native"


def default_is_open_to_proxy() -> bool:
    """Whether ``/proxy`` relays "default": if it is this site's ``/stream``, or if its entry has PROXY."""
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).is_open_to_proxy


@dataclass(frozen=True, slots=True)
class Route:
    """An upstream that has a model, and the model's name there."""

    upstream: UpstreamConfig
    model: str


def routes() -> dict[str, list[Route]]:
    """The models that ``/v1/models`` lists, and all upstreams that have each of them."""
    found: dict[str, list[Route]] = {}
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        for model in upstream.models if upstream.format == "openai" else ():
            found.setdefault(model, []).append(Route(upstream, upstream.own_name(model)))
    return found


def models() -> dict[str, tuple[str, str]]:
    """The listed models: a dict from the name to the first upstream that has it, and the model's name there."""
    return {model: (found[0].upstream.name, found[0].model) for model, found in routes().items()}


def public_names(upstream: str, model: str) -> list[str]:
    """The names by which clients may ask for this model of this upstream."""
    config = read_config(upstream, conf.upstreams()[upstream])
    listed = [name for name in config.models if config.own_name(name) == model]
    is_unlisted = not config.models  # it is asked for any model
    return [*listed, *(f"{upstream}/{name}" for name in listed or [model]), *([model] if is_unlisted else [])]


def find_routes(model: str) -> list[Route]:
    """The upstreams that have this model; none if there is none. ``upstream/model`` names one of them.

    The first upstream that lists no models gets the requests for models that no upstream lists.
    """
    if found := routes().get(model):
        return found
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        if upstream.format == "openai":
            if (public := model.removeprefix(f"{name}/")) in upstream.models:
                return [Route(upstream, upstream.own_name(public))]
            if not upstream.models:
                return [Route(upstream, model)]
    return []


_discovered: dict[tuple[str, str], tuple[str, ...]] = {}
"""By name and URL of an upstream: the models that its own ``/models`` has listed."""


def set_discovered(upstream: UpstreamConfig, models: Iterable[str]) -> None:
    _discovered[upstream.name, upstream.url] = tuple(models)


def discovering() -> list[UpstreamConfig]:
    """The upstreams with DISCOVER."""
    configs = (read_config(name, entry) for name, entry in conf.upstreams().items())
    return [upstream for upstream in configs if upstream.discovers]
