"""Which headers are relayed to upstreams and back (RFC 9110, section 7.6.1).

To a browser a relayed response belongs to this site's origin. So headers that would affect the whole site, or the
servers in front of it, are dropped. All headers not listed here are relayed unchanged, in order, repeated or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest

from streaming.forwarded import forwarded
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.body_length import announced_length
from streaming.upstreams.builtin import SIGNATURE_HEADER
from streaming.upstreams.errors import BadPrompt
from streaming.upstreams.request import Header

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-authentication-info"}
)
"""Headers about one connection, not the message (section 7.6.1); also those that ``Connection`` names."""

PRIVATE = frozenset({"authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"})
"""A client's credentials for this site. An upstream only gets those that its FORWARD names."""

NOT_FORWARDED = frozenset(
    # Set here, for the request that is actually sent.
    {"host", "content-length", "expect", "forwarded"}
    | {f"x-forwarded-{name}" for name in ("for", "host", "proto", "port", "server", "prefix", "scheme", "ssl")}
    # Other headers with the client's address: an upstream may trust them as set by a proxy.
    | {"x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "client-ip"}
    | {"true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "fastly-client-ip", "x-envoy-external-address"}
    # Other headers with the path or host: some servers would serve a path outside the upstream's URL.
    | {"x-original-url", "x-rewrite-url", "x-original-uri", "x-original-host", "x-host"}
    # Meant for this site only.
    | {"x-csrftoken", SIGNATURE_HEADER.lower(), "daphne-root-path"}
)
"""Request headers that are never relayed, even if FORWARD names them."""

NEVER_FORWARDED = HOP_BY_HOP | NOT_FORWARDED

COOKIES = {"set-cookie", "set-cookie2"}
"""A cookie would be set for this whole site: it could replace the site's own, and other upstreams would get it."""

SPEAKS_FOR_THE_SITE = (
    # What a browser remembers of an origin: the site's owner decides it, by its own server's configuration.
    {"clear-site-data", "strict-transport-security", "alt-svc", "public-key-pins", "public-key-pins-report-only"}
    | {"expect-ct", "nel", "report-to", "reporting-endpoints", "origin-agent-cluster", "accept-ch", "critical-ch"}
    | {"accept-ch-lifetime", "set-login", "use-as-dictionary", "origin-trial", "service-worker-allowed"}
    | {"secure-session-registration", "sec-session-registration", "speculation-rules", "supports-loading-mode"}
    | {"activate-storage-access", "x-permitted-cross-domain-policies"}
    # Which other sites may read it: STREAMING_ALLOWED_ORIGINS says so.
    | {"timing-allow-origin"}
    # How a page may be shown and what it may do: said below, or by Django's middleware, for all that is relayed.
    | {"content-security-policy-report-only", "x-content-security-policy", "x-webkit-csp"}
    | {"x-frame-options", "x-content-type-options", "referrer-policy", "permissions-policy", "feature-policy"}
    | {"permissions-policy-report-only", "document-policy", "document-isolation-policy", "x-xss-protection"}
    | {"x-dns-prefetch-control", "x-ua-compatible", "x-download-options", "refresh"}
)
"""Headers that would tell a browser something about this whole site."""

SAID_BY_OUR_SERVER = {"date", "server"}
"""The server of this site says them of itself: uvicorn even beside others'. nginx keeps an upstream's back as well."""

SPEAKS_TO_OUR_SERVER = {"x-sendfile", "x-lighttpd-send-file", "x-lighttpd-send-tempfile", "x-reproxy-url"} | {
    *("surrogate-control", "surrogate-key", "cache-tag", "cdn-cache-control", "cloudflare-cdn-cache-control"),
    *("edge-control", "edge-cache-tag"),
}
"""Instructions for the proxy or cache in front: with X-Accel-Redirect nginx would serve the site's own files."""

DROPPED_PREFIXES = ("access-control-", "cross-origin-", "x-accel-", "attribution-reporting-")
"""CORS and isolation, which are this site's to say; nginx's orders; advertising that speaks for an origin."""

DROPPED_FROM_RESPONSES = HOP_BY_HOP | COOKIES | SPEAKS_FOR_THE_SITE | SPEAKS_TO_OUR_SERVER | SAID_BY_OUR_SERVER

SHUT_IN = [
    ("Content-Security-Policy", "sandbox"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # As a script it is refused (see access.py), and then a browser may not take it out of its cache either.
    ("Vary", "Sec-Fetch-Dest"),
]
"""Were the response a page it would be one of this site's own: so it runs nothing, is taken for nothing else, and
shown in no frame. An upstream's own Content-Security-Policy stays beside it: of several each only forbids more."""

LIVE = {"text/event-stream", "application/x-ndjson", "application/jsonl"}
"""Media types of streams, which a proxy in front must not buffer."""


def relayed_headers(upstream: UpstreamConfig, request: HttpRequest) -> list[Header]:
    """The client's end-to-end headers, and X-Forwarded-For, -Proto and -Host."""
    received = _received(request)
    dropped = NEVER_FORWARDED | _named_by_connection(received) | (PRIVATE - upstream.forward)
    headers = [(key, value) for key, value in _without_own_cookies(received) if key.lower() not in dropped]
    _refuse_if_broken(upstream, headers)
    if (length := announced_length(received)) is not None:
        headers.append(("Content-Length", str(length)))
    client = forwarded(request)
    said = {"For": client.address, "Proto": client.scheme, "Host": client.host}
    return headers + [(f"X-Forwarded-{name}", value) for name, value in said.items() if value]


def forwarded_headers(upstream: UpstreamConfig, request: HttpRequest) -> list[Header]:
    """The client's headers for a request of our own: the language, the request id, and those that FORWARD names."""
    named = ({"accept-language", "x-request-id"} | upstream.forward) - NEVER_FORWARDED - SET_BY_US
    headers = _without_own_cookies((key, value) for key, value in _received(request) if key.lower() in named)
    _refuse_if_broken(upstream, headers)
    return headers


SET_BY_US = {"accept", "accept-encoding", "cache-control", "content-type", "content-encoding"}
"""``/transfer`` and ``/v1`` send a body of their own, and set these headers for it."""


def _refuse_if_broken(upstream: UpstreamConfig, headers: Iterable[Header]) -> None:
    """RFC 9110, sections 5.1 and 5.5. Servers refuse most of these themselves."""
    for key, value in headers:
        if not TOKEN.fullmatch(key) or CONTROL.search(value):
            raise BadPrompt(upstream.name, "cannot be sent a header with control characters or a malformed name")


TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _received(request: HttpRequest) -> list[Header]:
    headers = getattr(request, "scope", {}).get("headers", ())
    return [(key.decode("latin-1"), _text(value)) for key, value in headers]


def _without_own_cookies(headers: Iterable[Header]) -> list[Header]:
    own = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME, "messages"}

    def others(cookies: str) -> str:
        return "; ".join(pair for part in cookies.split(";") if (pair := part.strip()).partition("=")[0] not in own)

    headers = [(key, others(value) if key.lower() == "cookie" else value) for key, value in headers]
    return [(key, value) for key, value in headers if value or key.lower() != "cookie"]


def end_to_end(headers: Iterable[Header], status: int = HTTPStatus.OK) -> list[Header]:
    """A response's headers as this site relays them: see the tables above."""
    headers = list(headers)
    dropped = DROPPED_FROM_RESPONSES | _named_by_connection(headers) | {"content-length"}
    kept = [
        (key, CONTROL.sub(" ", value))  # as section 5.5 of RFC 9110 has it
        for key, value in headers
        if TOKEN.fullmatch(key) and key.lower() not in dropped and not key.lower().startswith(DROPPED_PREFIXES)
    ]
    # RFC 9110, section 8.6: where there is no body, there need be no length of one. (uvicorn would wait for it.)
    has_body = status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
    if has_body and (length := announced_length(headers)) is not None:
        kept.append(("Content-Length", str(length)))
    kind = next((value for key, value in headers if key.lower() == "content-type"), "")
    if kind.partition(";")[0].strip().lower() in LIVE:
        kept.append(("X-Accel-Buffering", "no"))
    return [*kept, *SHUT_IN]


def without_challenge(upstream: UpstreamConfig, headers: Iterable[Header]) -> list[Header]:
    """A response's headers without the question for a password, unless its answer would reach the upstream.

    A browser would show the question as coming from this site, and send the password to this site from then on.
    """
    is_answered = "authorization" in upstream.forward
    return [(key, value) for key, value in headers if is_answered or key.lower() != "www-authenticate"]


def _named_by_connection(headers: Iterable[Header]) -> set[str]:
    return {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}


def _text(value: bytes) -> str:
    """A header's value, decoded as UTF-8, or as ISO 8859-1 if it is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
