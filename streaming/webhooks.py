"""Sends a signed message to an address that a moderator has entered, and to no private one.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): ``v1,`` and the HMAC-SHA256 of
``id.timestamp.body`` in base64. Redirects are not followed, and proxies of the environment are not used. The host is
resolved once, and the connection goes to the address that was checked, so that DNS cannot change its mind in between.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import secrets
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from streaming import conf

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
SECRET_BEGINNING = "whsec_"  # noqa: S105 (the prefix of every secret, not one)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookError(Exception):
    """The message was not delivered; the text says why, and nothing of the answer."""


def make_secret() -> str:
    return SECRET_BEGINNING + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_BEGINNING))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def problem_with(url: str) -> str:
    """What is wrong with an address, in a sentence, without asking DNS; empty if nothing is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _("This is not a valid address.")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or port == 0
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        return _("Enter an address that begins with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        return _("An address with a user name or a password is not accepted.")
    if not conf.webhooks_may_be_private() and _is_private_literal(host):
        return _("Addresses of this machine and of private networks are not accepted.")
    return ""


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return host.rstrip(".").endswith("localhost")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, also the IPv4 address inside an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        inner += [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)] if ip in _NAT64 else []
        if not all(_is_global(each) for each in inner if each):
            return False
        if ip.ipv4_mapped or ip in _NAT64:
            return True
    return _is_global(ip)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_link_local)


def send(url: str, secret: str, body: bytes) -> None:
    """POST the message. WebhookError if it was not answered with 2xx within TOTAL_SECONDS."""
    if problem := problem_with(url):
        raise WebhookError(problem)
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    message_id, timestamp = f"msg_{secrets.token_hex(12)}", int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "streams-webhook/1",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    connection = _Connection(host, port, _resolve(host, port), is_tls=is_tls)
    # A timeout of a socket begins again with each byte; this one ends the whole exchange.
    timer = threading.Timer(TOTAL_SECONDS, connection.abort)
    timer.start()
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WebhookError(_("The address cannot be reached (%s).") % type(error).__name__) from error
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        raise WebhookError(_("The address answered with status %d.") % status)


def _resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. WebhookError if one of them is private."""
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise WebhookError(_("The host name cannot be resolved.")) from error
    if not conf.webhooks_may_be_private() and not all(map(is_public, found)):
        raise WebhookError(_("Addresses of this machine and of private networks are not accepted."))
    return found


class _Connection(http.client.HTTPConnection):
    """A connection to one of these addresses, whatever DNS says by now; TLS verifies the name of the host."""

    def __init__(self, host: str, port: int, addresses: list[str], *, is_tls: bool) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self._addresses = addresses
        self._is_tls = is_tls
        self._is_over = False

    def connect(self) -> None:
        self._use(self._first_that_answers())
        if self._is_tls:
            context = ssl.create_default_context()
            secure = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self._use(secure)
            secure.do_handshake()

    def _first_that_answers(self) -> socket.socket:
        error = OSError("no address")
        for address in self._addresses[:4]:
            try:
                return socket.create_connection((address, self.port), CONNECT_SECONDS)
            except OSError as failed:
                error = failed
            if self._is_over:
                break
        raise error

    def _use(self, connected: socket.socket) -> None:
        """From now on ``abort`` ends what happens on this socket. TimeoutError if it was called before."""
        self.sock = connected
        if self._is_over:
            raise TimeoutError

    def abort(self) -> None:
        """Ends the exchange, whatever it waits for; called in another thread."""
        self._is_over = True
        if self.sock:
            with suppress(OSError):
                # Not the method of an SSLSocket: it ends the encryption first.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
