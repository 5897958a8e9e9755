"""One upstream as the settings describe it, with its credentials, which have to stay secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

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
    for part in re.split(r"[\s;,]+", rest if rest and is_token(scheme) else value):
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


def is_token(name: str) -> bool:
    """Whether it is a token as defined by RFC 9110, section 5.6.2."""
    return re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is not None
