"""The entries of ``STREAMING_UPSTREAMS``, checked: where streams begin, and which models answer there."""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from yarl import URL

from streaming import conf

LLM_IDLE_SECONDS = 600.0
"""The idle limit of LLM APIs, where nothing else is said: models that think are silent for minutes."""

IDLE_SECONDS = 60.0
"""The same of everything else."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the head of the response, between two pieces of its body, in all.

    None is for ever: of the last two. Who asks for a stream is answered after ``head`` seconds; the upstream then has
    as long as between two pieces, if that is longer.
    """

    connect: float = 5.0
    head: float = 15.0
    idle: float | None = IDLE_SECONDS
    total: float | None = None


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One entry of ``STREAMING_UPSTREAMS``, checked."""

    name: str
    url: str
    format: str = "native"
    headers: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """The first is asked for where a request names none."""
    timeouts: Timeouts = Timeouts()
    forward: frozenset[str] = frozenset()
    """Headers of a client that go along, in lower case, though they are private or the request is asked anew."""
    verify: bool | str = True
    """Whether its certificate is checked; or the file or folder of the authorities that may have signed it."""
    cert: tuple[str, ...] = ()
    """The file of our own certificate, and that of its key unless both are in one."""
    socket: str = ""
    """The path of a Unix socket; ``url`` then says no more than the path and the Host header."""
    proxy_url: str | None = None
    """The outgoing proxy: as the environment says if this is None, and none if it is empty."""
    concurrency: int | None = None
    is_open_to_proxy: bool = False
    """Whether ``/proxy`` may be used for it."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The operator's credentials in its headers and addresses, each in every way that it may be quoted."""
        in_headers = (secret for key, value in self.headers.items() for secret in _secrets_in_header(key, value))
        in_urls = (secret for url in (self.url, self.proxy_url or "") for secret in _secrets_in_url(url))
        found = [*in_headers, *in_urls]
        ways = (way for secret in found for way in (secret, quote(secret, safe=""), unquote(secret)))
        return tuple(dict.fromkeys(way for way in ways if len(way) >= SHORTEST_SECRET))


def _secrets_in_header(name: str, value: str) -> Iterator[str]:
    """The values in a header whose name says that it is secret; in any other header what looks like a key."""
    if not SECRET.search(name):
        yield from LIKE_A_KEY.findall(value)
        return
    scheme, _, rest = value.strip().partition(" ")
    for part in re.split(r"[\s;,]+", rest if rest and _is_token(scheme) else value):
        yield part
        yield part.partition("=")[2].strip('"')  # a cookie's value, or a parameter of the scheme
    if scheme.lower() == "basic":
        with suppress(ValueError):
            login = base64.b64decode(rest).decode()
            yield from (login, login.partition(":")[2])


def _secrets_in_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield parts.password or ""
    # Some gateways take their key as the user's name, some as a segment of the path or a parameter.
    for words in (parts.username or "", parts.path, parts.query):
        yield from LIKE_A_KEY.findall(words)
    yield from (value for name, value in parse_qsl(parts.query) if SECRET.search(name))


SECRET = re.compile("auth|key|token|secret|cookie|pass|pwd|credential|signature|session", re.IGNORECASE)
"""In the name of a header or parameter whose value is a secret."""

LIKE_A_KEY = re.compile(r"\b(?=\w*[0-9])(?=\w*[A-Za-z])[A-Za-z0-9_]{16,}\b", re.ASCII)
"""Letters and digits, mixed and many: neither words nor a version look like that."""

SHORTEST_SECRET = 6
"""Characters: anything shorter may stand in a text by chance."""


_FORMATS = ("native", "openai", "text")
_KEYS = {
    *("URL", "FORMAT", "HEADERS", "API_KEY_ENV", "MODEL", "MODELS", "TIMEOUTS", "CONCURRENCY"),
    *("PROXY", "FORWARD", "VERIFY", "CERT", "UDS", "PROXY_URL"),
}


def read_config(name: str, entry: Mapping[str, Any]) -> UpstreamConfig:
    """An entry of the settings as a value. ImproperlyConfigured says which key is wrong, and how."""
    where = f"STREAMING_UPSTREAMS[{name!r}]"
    if unknown := sorted(set(entry) - _KEYS):
        meant = difflib.get_close_matches(unknown[0].upper(), _KEYS, 1)
        known = f"is {meant[0]!r} meant" if meant else f"it may have {', '.join(sorted(_KEYS))}"
        raise ImproperlyConfigured(f"{where} has {unknown[0]!r}, which means nothing: {known}.")
    url, socket = _read_address(where, entry)
    if (form := entry.get("FORMAT", "native")) not in _FORMATS:
        raise ImproperlyConfigured(f"{where}['FORMAT'] is {form!r}: it may be {', '.join(_FORMATS)}.")
    concurrency = entry.get("CONCURRENCY")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ImproperlyConfigured(f"{where}['CONCURRENCY'] is {concurrency!r}: it has to be a number of streams.")
    if type(entry.get("PROXY", False)) is not bool:
        raise ImproperlyConfigured(f"{where}['PROXY'] is {entry['PROXY']!r}: it has to be true or false.")
    return UpstreamConfig(
        name,
        url,
        form,
        headers=_read_headers(where, entry),
        models=_read_models(where, entry),
        timeouts=_read_timeouts(where, entry, form),
        forward=_read_forward(where, entry),
        verify=_read_verify(where, entry),
        cert=_read_cert(where, entry),
        socket=socket,
        proxy_url=_read_proxy_url(where, entry),
        concurrency=concurrency,
        is_open_to_proxy=entry.get("PROXY", False),
    )


def secrets_of(name: str) -> tuple[str, ...]:
    """The operator's credentials for the upstream of this name; none if it is this site's own."""
    entry = conf.upstreams().get(name)
    return read_config(name, entry).secrets if entry else ()


def _read_address(where: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """The URL, and the Unix socket if it is reached over one: ``unix:///run/llm.sock:/v1``, or UDS beside a URL."""
    url, socket = str(entry.get("URL", "")), entry.get("UDS") or ""
    if url.startswith("unix:"):
        if not (parts := re.fullmatch(r"unix:(?://)?(/[^:?#]+)(?::(/[^\s?#]*)?)?", url)):
            raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has to be like unix:///run/llm.sock:/v1.")
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
    """RFC 9110, section 5.6.2."""
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
    if not (variable := entry.get("API_KEY_ENV")):
        return dict(headers)
    if not (key := os.environ.get(str(variable), "").strip()):
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which the environment does not have.")
    return {"Authorization": f"Bearer {key}", **headers}


def _read_models(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    models = [entry["MODEL"]] if entry.get("MODEL") else []
    listed = entry.get("MODELS", ())
    if isinstance(listed, str) or not all(isinstance(model, str) and model for model in [*models, *listed]):
        raise ImproperlyConfigured(f"{where}['MODELS'] has to be a list of names, and MODEL one of them.")
    return tuple(dict.fromkeys([*models, *listed]))


def _read_timeouts(where: str, entry: Mapping[str, Any], form: str) -> Timeouts:
    try:
        idle = LLM_IDLE_SECONDS if form == "openai" else IDLE_SECONDS
        timeouts = Timeouts(**{"idle": idle, **entry.get("TIMEOUTS", {})})
    except TypeError as error:
        raise ImproperlyConfigured(f"{where}['TIMEOUTS'] may hold connect, head, idle and total.") from error
    for key, seconds in asdict(timeouts).items():
        if not isinstance(seconds, int | float) and not (seconds is None and key in ("idle", "total")):
            raise ImproperlyConfigured(f"{where}['TIMEOUTS'][{key!r}] is {seconds!r}: it has to be seconds.")
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
    """What the page has to know of an upstream to ask it."""

    name: str
    plays_documents: bool
    """Whether it takes the fields of ``/stream``. Servers of LLM APIs refuse a field that they do not know."""
    models: tuple[str, ...]


def choices() -> list[Choice]:
    """All upstreams, "default" first."""
    entries = {name: conf.upstreams().get(name) for name in names()}
    configs = {name: read_config(name, entry) if entry else None for name, entry in entries.items()}
    return [Choice(name, not it or it.format == "native", it.models if it else ()) for name, it in configs.items()]


def default_plays_documents() -> bool:
    """Whether "default" takes the fields of ``/stream``: this site itself does, or another one in its format.

    Servers of LLM APIs refuse a request with a field that they do not know.
    """
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).format == "native"


def default_is_open_to_proxy() -> bool:
    """Whether ``/proxy`` relays "default": this site's own ``/stream``, or one that its settings open."""
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).is_open_to_proxy


def models() -> dict[str, tuple[str, str]]:
    """What ``/v1/models`` lists: for each name the upstream, and the model's name there.

    Where two upstreams have a model of the same name, the second's is listed as ``upstream/model``.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        for model in upstream.models if upstream.format == "openai" else ():
            found[f"{name}/{model}" if model in found else model] = name, model
    return found


def find_model(model: str) -> tuple[str, str] | None:
    """The upstream that a model's name chooses, and the model's name there.

    An upstream that lists no models has any: the first such is asked for what nobody lists.
    """
    if found := models().get(model):
        return found
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        if upstream.format == "openai":
            if model.removeprefix(f"{name}/") in upstream.models:
                return name, model.removeprefix(f"{name}/")
            if not upstream.models:
                return name, model
    return None
