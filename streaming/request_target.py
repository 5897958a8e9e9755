"""Request targets: absolute ones become paths (RFC 9112, section 3.2.2), and queries stay out of logs."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import unquote

ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^?#]*)")


def in_origin_form(scope: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope with the path of a request whose target is a URL.

    RFC 9112, section 3.2.2: "a server MUST accept the absolute-form in requests". The URL's host replaces the Host
    header.
    """
    root_path = scope.get("root_path", "")
    raw_path = scope.get("raw_path") or scope["path"].removeprefix(root_path).encode("latin-1", "replace")
    if not (found := ABSOLUTE.match(raw_path)):
        return scope
    host, path = found[1].rpartition(b"@")[2], found[2] or b"/"
    headers = [(b"host", host), *((name, value) for name, value in scope["headers"] if name != b"host")]
    return {**scope, "path": root_path + unquote(path.decode("latin-1")), "raw_path": path, "headers": headers}


def hide_queries_from_uvicorns_log() -> None:
    """Removes queries from uvicorn's access log: they may contain prompts and keys."""
    logging.getLogger("uvicorn.access").addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?.*", "", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True
