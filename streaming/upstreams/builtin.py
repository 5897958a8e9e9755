"""This site's own ``/stream`` as an upstream, reached over a real socket like any other."""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.urls import get_script_prefix, reverse

from streaming import conf
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.errors import Unreachable

SIGNATURE_HEADER = "X-Streaming-Signature"
"""Marks requests of this site to its own ``/stream``: see ``sign`` and ``is_signed``."""

SIGNATURE_SECONDS = 60


def is_builtin(name: str = "default", **_: object) -> bool:
    """Whether this name stands for this site's own ``/stream``, which costs nothing to use."""
    return name == "default" and name not in conf.upstreams()


def builtin_config(request: HttpRequest) -> UpstreamConfig:
    """The configuration for this site's own ``/stream``, at the address where this request arrived."""
    server = getattr(request, "scope", {}).get("server")
    if not server or not server[1]:
        raise Unreachable("default", "is this site's own /stream, which needs a server that listens on a TCP port")
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    # With this header a proxy in front terminated TLS: the server itself speaks plain HTTP.
    scheme = "http" if "X-Forwarded-Proto" in request.headers else request.scheme
    return UpstreamConfig(
        "default",
        f"{scheme}://{host}:{server[1]}{path_on_server('streaming:stream')}",
        headers={"Host": allowed_host(), SIGNATURE_HEADER: sign()},
        proxy_url="",
        is_open_to_proxy=True,
        verify=False,  # the certificate names the site, not the loopback address
    )


def path_on_server(name: str, urlconf: str | None = None) -> str:
    """The path of an address of this site without the script name, which proxies or the server itself may add."""
    return reverse(name, urlconf=urlconf).removeprefix(get_script_prefix().rstrip("/"))


def allowed_host() -> str:
    """A host name that this site accepts."""
    host = (settings.ALLOWED_HOSTS or ["localhost"])[0]
    return "localhost" if host == "*" else host.removeprefix(".")


def sign() -> str:
    """A header value that only this site can make. It is valid for a minute, and for ``/stream`` only."""
    return signing.TimestampSigner(salt=__name__).sign("stream")


def is_signed(request: HttpRequest) -> bool:
    try:
        value = request.headers.get(SIGNATURE_HEADER, "")
        return signing.TimestampSigner(salt=__name__).unsign(value, SIGNATURE_SECONDS) == "stream"
    except signing.BadSignature:
        return False
