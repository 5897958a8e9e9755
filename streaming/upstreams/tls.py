"""TLS for upstreams: trusted certificate authorities and client certificates (VERIFY and CERT).

The trust store is the system's, as OpenSSL finds it. So a company's own authority that is installed on the machine is
trusted, and ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` override the store. On a system without one, such as a slim
container, it is certifi's, which is Mozilla's.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi


def tls_context(verify: bool | str, cert: tuple[str, ...] = ()) -> ssl.SSLContext:
    """The TLS context for an upstream. OSError (or its subclass ssl.SSLError) if a file cannot be used.

    ``verify``: against the trust store, not at all, or against this file or folder of authorities only.
    ``cert``: the file of a client certificate, and that of its key unless it contains both.
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
        # For an encrypted key OpenSSL would prompt for the password on the terminal, and wait.
        context.load_cert_chain(cert[0], cert[-1], password="")
    context.set_alpn_protocols(["http/1.1"])
    return context


def has_trust_store(context: ssl.SSLContext) -> bool:
    """Whether authorities are loaded, or are in the folder where OpenSSL looks them up on demand."""
    folder = ssl.get_default_verify_paths().capath
    return context.cert_store_stats()["x509_ca"] > 0 or bool(folder and any(Path(folder).iterdir()))
