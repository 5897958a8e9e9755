"""Request targets: absolute ones become paths (RFC 9112, section 3.2.2), paths begin with the script name, and secrets
in them stay out of logs."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote, unquote

from django.core.handlers.asgi import get_script_prefix

from streaming.errors import BadRequest
from streaming.log_lines import shorten_ids

ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?#]*)([^?#]*)")


def in_origin_form(scope: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope with the path of a request whose target is a URL.

    RFC 9112, section 3.2.2: "a server MUST accept the absolute-form in requests". The URL's host replaces the Host
    header. BadRequest if they name different hosts: a proxy in front may have checked the one and not the other. Only
    a server that passes the target on as it came shows this (Daphne, uvicorn with h11). uvicorn with httptools passes
    on the URL's path alone: there the Host header counts, and a different host in the URL goes unnoticed.
    """
    raw_path = scope.get("raw_path") or scope["path"].encode("latin-1", "replace")
    # uvicorn puts it before whatever the target is; other servers leave the target alone.
    added = scope.get("root_path", "").encode()
    if not (found := ABSOLUTE.match(raw_path.removeprefix(added))):
        return scope
    added = added if raw_path.startswith(added) else b""
    scheme, host, path = found[1].lower(), found[2].rpartition(b"@")[2], added + (found[3] or b"/")
    if any(_without_port(value, scheme) != _without_port(host, scheme) for value in _hosts(scope)):
        raise BadRequest("the request's target and its Host header name different hosts")
    headers = [(b"host", host), *((name, value) for name, value in scope["headers"] if name != b"host")]
    return {**scope, "path": unquote(path.decode("latin-1")), "raw_path": path, "headers": headers}


def with_script_name(scope: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope with a path that begins with the script name, even if a proxy in front has removed it.

    ASGI's specification and Django expect that; Daphne and FORCE_SCRIPT_NAME leave the path as it came.
    """
    prefix = get_script_prefix(scope).rstrip("/")
    if f"{scope['path']}/".startswith(f"{prefix}/"):
        return scope
    raw_path = quote(prefix).encode() + scope["raw_path"] if scope.get("raw_path") else None
    return {**scope, "path": prefix + scope["path"], "raw_path": raw_path}


def _hosts(scope: dict[str, Any]) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"host"]


def _without_port(host: bytes, scheme: bytes) -> bytes:
    """A host in lower case, with its port unless that is the scheme's own (RFC 9110, section 4.2.3)."""
    return host.strip().lower().removesuffix(b":443" if scheme == b"https" else b":80").removesuffix(b":")


def hide_secrets_in_logs() -> None:
    """Removes queries, which may contain prompts and keys, and shortens stream ids in what others log about requests:
    uvicorn in its access log, and Django in its warnings about 4xx responses."""
    for name in ("uvicorn.access", "django.request"):
        logging.getLogger(name).addFilter(_without_secrets)


def loggable(target: str) -> str:
    """A request's target without its query, and with shortened stream ids."""
    return shorten_ids(target.partition("?")[0])


def _without_secrets(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(loggable(arg) if isinstance(arg, str) else arg for arg in record.args)
    return True
