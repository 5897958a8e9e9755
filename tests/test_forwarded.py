"""The address, scheme and host of a request behind trusted proxies."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory

from streaming.forwarded import Forwarded, forwarded, with_forwarded_scheme


def request(peer: str | None, **headers: str) -> HttpRequest:
    made = AsyncRequestFactory().get("/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    made.scope["client"] = None if peer is None else (peer, 5000)
    return made


@pytest.fixture(autouse=True)
def trusted(settings: Any) -> None:
    settings.STREAMING_TRUSTED_PROXIES = ["10.0.0.0/8", "2001:db8::1", "127.0.0.1"]
    settings.ALLOWED_HOSTS = ["testserver", "streams.example"]


@pytest.mark.parametrize(
    ("peer", "sent", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # whoever is not trusted speaks for nobody
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the first is the client's own word
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:8443", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::9]:8443", "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9, 2001:db8::1", "2001:db8::9"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8::2", "198.51.100.1", "2001:db8::2"),
        (None, "198.51.100.1", ""),
    ],
)
def test_the_client_address_is_the_last_one_that_is_not_a_trusted_proxy(
    peer: str | None, sent: str, address: str
) -> None:
    assert forwarded(request(peer, X_Forwarded_For=sent)).address == address


@pytest.mark.parametrize(
    ("chain", "sent", "scheme"),
    [
        ("198.51.100.1", "https", "https"),
        ("198.51.100.1", "HTTPS", "https"),
        ("198.51.100.1", "http, https", "https"),  # the first is the client's own word
        ("198.51.100.1, 10.0.0.2", "https, http", "https"),  # the outer proxy spoke TLS, the inner was asked in clear
        ("198.51.100.1, 10.0.0.2", "http, https, http", "https"),
        ("198.51.100.1, 10.0.0.2", "https", "https"),
        ("", "https", "https"),
        ("198.51.100.1", "", "http"),
        ("198.51.100.1", "gopher", "http"),
    ],
)
def test_the_scheme_is_taken_from_the_outermost_trusted_proxy(chain: str, sent: str, scheme: str) -> None:
    asked = {"X_Forwarded_For": chain, "X_Forwarded_Proto": sent}

    assert forwarded(request("10.0.0.1", **asked)).scheme == scheme
    assert forwarded(request("203.0.113.7", **asked)).scheme == "http"
    # Django sees the same: cookies are secure, and CSRF's Referer is checked.
    assert with_forwarded_scheme(request("10.0.0.1", **asked).scope)["scheme"] == scheme
    assert with_forwarded_scheme(request("203.0.113.7", **asked).scope)["scheme"] == "http"


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        ("streams.example", "streams.example"),
        ("streams.example:8443", "streams.example:8443"),
        ("liar.example, streams.example", "streams.example"),
        ("liar.example", "testserver"),  # a proxy may pass on what its client wrote
        ("streams.example/evil", "testserver"),
        ("", "testserver"),
    ],
)
def test_a_forwarded_host_has_to_be_allowed(sent: str, host: str) -> None:
    asked = {"X_Forwarded_For": "198.51.100.1", "X_Forwarded_Host": sent}

    assert forwarded(request("10.0.0.1", **asked)).host == host
    assert forwarded(request("203.0.113.7", **asked)).host == "testserver"


def test_no_proxy_is_trusted_by_default(settings: Any) -> None:
    del settings.STREAMING_TRUSTED_PROXIES

    seen = forwarded(request("127.0.0.1", X_Forwarded_For="198.51.100.1", X_Forwarded_Proto="https"))

    assert seen == Forwarded("127.0.0.1", "http", "testserver")


def test_a_proxy_on_a_unix_socket_is_trusted_with_the_word_unix(settings: Any) -> None:
    asked = request(None, X_Forwarded_For="198.51.100.1", X_Forwarded_Proto="https")
    assert forwarded(asked) == Forwarded("", "http", "testserver")

    settings.STREAMING_TRUSTED_PROXIES = ["unix"]

    assert forwarded(asked) == Forwarded("198.51.100.1", "https", "testserver")
