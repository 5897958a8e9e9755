"""Which response headers are relayed and which this site sets itself."""

from __future__ import annotations

import pytest

from streaming.upstreams.headers import SHUT_IN, end_to_end

Headers = list[tuple[str, str]]

FOR_THE_WHOLE_SITE = [
    ("Clear-Site-Data", '"*"'),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("Alt-Svc", 'h3="evil.example:443"'),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Timing-Allow-Origin", "*"),
    ("Service-Worker-Allowed", "/"),
    ("Refresh", "0; url=https://evil.example/"),
    ("X-Frame-Options", "ALLOWALL"),
    ("X-Content-Type-Options", "none"),
    ("Content-Security-Policy-Report-Only", "default-src 'none'; report-uri https://evil.example/"),
    ("Referrer-Policy", "unsafe-url"),
    ("Permissions-Policy", "camera=*"),
    ("Public-Key-Pins", 'pin-sha256="x"; max-age=5184000'),
    ("NEL", '{"report_to": "x", "max_age": 86400}'),
    ("Report-To", "{}"),
    ("Reporting-Endpoints", 'x="https://evil.example/"'),
    ("Origin-Agent-Cluster", "?1"),
    ("Cross-Origin-Opener-Policy", "unsafe-none"),
    ("Cross-Origin-Embedder-Policy-Report-Only", "require-corp"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Accept-CH", "Sec-CH-UA-Full-Version"),
    ("Use-As-Dictionary", 'match="/*"'),
    ("Set-Login", "logged-out"),
    ("Set-Cookie", "sessionid=x; Path=/"),
    ("Set-Cookie2", "a=b"),
]
TO_THE_SERVER_IN_FRONT = [
    ("X-Accel-Redirect", "/protected/db.sqlite3"),
    ("X-Accel-Expires", "3600"),
    ("X-Accel-Buffering", "yes"),
    ("X-Sendfile", "/etc/passwd"),
    ("X-Reproxy-URL", "http://127.0.0.1/"),
    ("Surrogate-Control", "max-age=3600"),
    ("CDN-Cache-Control", "public"),
]
OF_THE_SERVER = [("Date", "Thu, 01 Jan 2026 00:00:00 GMT"), ("Server", "llm/1.0")]
OF_THE_CONNECTION = [
    ("Connection", "close"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "Basic"),
    ("TE", "trailers"),
    ("Trailer", "Expires"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "h2c"),
]


WHAT_STAYS = [*FOR_THE_WHOLE_SITE, *TO_THE_SERVER_IN_FRONT, *OF_THE_SERVER, *OF_THE_CONNECTION]


@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
@pytest.mark.parametrize(("name", "value"), WHAT_STAYS)
def test_headers_that_would_act_for_this_site_are_removed(name: str, value: str, spelled: object) -> None:
    assert end_to_end([(spelled(name), value)]) == SHUT_IN  # type: ignore[operator]


def test_other_headers_are_relayed_unchanged() -> None:
    headers = [
        ("Content-Type", "application/json"),
        ("x-two", "1"),
        ("X-Two", "2"),
        ("ETag", '"1"'),
        ("X-RateLimit-Remaining", "5"),
        ("Retry-After", "1.5"),
        ("Location", "/elsewhere"),
        ("Link", "</?page=2>; rel=next"),
        ("Vary", "Origin"),
        ("Cache-Control", "max-age=5"),
        ("X-Empty", ""),
        ("Content-Encoding", "br"),
    ]

    assert end_to_end(headers) == [*headers, *SHUT_IN]


def test_headers_named_in_connection_are_removed() -> None:
    assert end_to_end([("Connection", "X-Hop, close"), ("x-hop", "1"), ("X-Other", "2")]) == [
        ("X-Other", "2"),
        *SHUT_IN,
    ]


def test_the_upstreams_content_security_policy_is_kept_beside_the_sandbox() -> None:
    policies = [value for key, value in end_to_end([("Content-Security-Policy", "img-src 'self'")]) if "Sec" in key]

    assert policies == ["img-src 'self'", "sandbox"]


@pytest.mark.parametrize(
    ("headers", "status", "length"),
    [
        ([("Content-Length", "5")], 200, "5"),
        ([("content-length", "5"), ("Content-Length", "5")], 200, "5"),
        ([("Content-Length", "5"), ("Content-Length", "6")], 200, None),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], 200, None),
        ([("Content-Length", "five")], 200, None),
        ([("Content-Length", "5")], 304, None),
        ([("Content-Length", "0")], 204, None),
    ],
)
def test_content_length_is_sent_once_and_only_if_unambiguous(headers: Headers, status: int, length: str | None) -> None:
    assert dict(end_to_end(headers, status)).get("Content-Length") == length
    assert [key.lower() for key, _ in end_to_end(headers, status)].count("content-length") == (length is not None)


@pytest.mark.parametrize(
    ("kind", "is_live"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/x-ndjson", True),
        ("application/json", False),
        ("text/event-stream-of-another-kind", False),
    ],
)
def test_streams_turn_off_buffering_in_a_proxy_in_front(kind: str, is_live: bool) -> None:
    headers = end_to_end([("Content-Type", kind), ("X-Accel-Buffering", "yes")])

    assert [value for key, value in headers if key == "X-Accel-Buffering"] == (["no"] if is_live else [])
