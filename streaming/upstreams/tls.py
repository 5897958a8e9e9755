"""Whom this site trusts over TLS, and who it says it is: VERIFY and CERT.

The trust store is the system's, as OpenSSL finds it: so a company's own certificate authority that is installed on a
machine counts here too, and ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` take its place. Where a system has none, as in a
slim container, it is certifi's, which is Mozilla's.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi


def tls_context(verify: bool | str, cert: tuple[str, ...] = ()) -> ssl.SSLContext:
    """For connections to an upstream. OSError, of which ssl.SSLError is one, if a file cannot be read or used.

    ``verify``: by the trust store, not at all, or by this file or folder of certificate authorities alone.
    ``cert``: the file of a client certificate, and that of its key unless both are in one.
    """
    if isinstance(verify, str):
        folder = Path(verify).is_dir()
        context = ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)
    else:
        context = ssl.create_default_context()
        if not has_trust_store(context):
            context.load_verify_locations(certifi.where())
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        # Of a key that is encrypted OpenSSL would ask for the password on the terminal, and wait.
        context.load_cert_chain(cert[0], cert[-1], password="")
    context.set_alpn_protocols(["http/1.1"])
    return context


def has_trust_store(context: ssl.SSLContext) -> bool:
    """Whether certificate authorities are loaded, or lie where OpenSSL looks for them when it needs one."""
    folder = ssl.get_default_verify_paths().capath
    return context.cert_store_stats()["x509_ca"] > 0 or bool(folder and any(Path(folder).iterdir()))
