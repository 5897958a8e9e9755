"""Which headers go along with what is relayed, there and back: RFC 9110, section 7.6.1."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest

from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.builtin import SIGNATURE_HEADER
from streaming.upstreams.framing import announced_length

Header = tuple[str, str]

# RFC 9110 section 7.6.1: they speak of one connection, not of the message.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)

# What of a reader's request never reaches an upstream, unless its settings FORWARD it.
PRIVATE = frozenset({"authorization", "cookie"})

# Set here, or of use to this site alone.
OURS = frozenset(
    {"host", "content-length", "expect", "forwarded", "x-csrftoken", SIGNATURE_HEADER.lower()}
    | {f"x-forwarded-{name}" for name in ("for", "host", "proto", "port", "server", "prefix")}
)


def relayed_headers(upstream: UpstreamConfig, request: HttpRequest) -> list[Header]:
    """The reader's end-to-end headers, in their order and as often as they came."""
    scope = getattr(request, "scope", {})
    came = [(key.decode("latin-1"), _text(value)) for key, value in scope.get("headers", ())]
    dropped = HOP_BY_HOP | OURS | _named_by_connection(came) | (PRIVATE - upstream.forward)
    headers = [(key, value) for key, value in came if key.lower() not in dropped]
    headers = [(key, _without_own_cookies(value) if key.lower() == "cookie" else value) for key, value in headers]
    if (length := announced_length(came)) is not None:
        headers.append(("Content-Length", str(length)))
    client = (scope.get("client") or [""])[0]
    before = ", ".join(value for key, value in came if key.lower() == "x-forwarded-for")
    headers += [
        ("X-Forwarded-For", f"{before}, {client}" if before else client),
        ("X-Forwarded-Proto", request.scheme or "http"),
        ("X-Forwarded-Host", request.get_host()),
    ]
    return [(key, value) for key, value in headers if value or key.lower() != "cookie"]


def _without_own_cookies(cookies: str) -> str:
    own = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}
    return "; ".join(pair for part in cookies.split(";") if (pair := part.strip()).partition("=")[0] not in own)


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """A response's headers without those of the connection, nor the upstream's cookies."""
    headers = list(headers)
    dropped = HOP_BY_HOP | _named_by_connection(headers) | {"set-cookie", "set-cookie2"}
    return [(key, value) for key, value in headers if key.lower() not in dropped]


def _named_by_connection(headers: Iterable[Header]) -> set[str]:
    return {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}


def _text(value: bytes) -> str:
    """A header's value: UTF-8 goes out as it came in, and what is not is taken for ISO 8859-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
