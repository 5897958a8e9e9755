"""Reads and validates an entry of ``STREAMING_UPSTREAMS``."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from yarl import URL

from streaming.upstream_settings import discovered
from streaming.upstream_settings.config import IDLE_SECONDS, Timeouts, UpstreamConfig, is_token

LLM_IDLE_SECONDS = 600.0
"""The default idle timeout of LLM APIs: reasoning models can be silent for minutes."""


_FORMATS = ("native", "openai", "text")
_KEYS = {
    *("URL", "FORMAT", "HEADERS", "API_KEY_ENV", "API_KEY_FILE", "MODEL", "MODELS", "TIMEOUTS", "CONCURRENCY"),
    *("ORDER", "WEIGHT", "COOLDOWN", "DISCOVER"),
    *("PROXY", "USAGE", "FORWARD", "VERIFY", "CERT", "UDS", "PROXY_URL"),
}


def read_config(name: str, entry: Mapping[str, Any]) -> UpstreamConfig:
    """Validates an entry of the settings. Raises ImproperlyConfigured, which names the invalid key and the reason."""
    where = f"STREAMING_UPSTREAMS[{name!r}]"
    if unknown := sorted(set(entry) - _KEYS):
        meant = difflib.get_close_matches(unknown[0].upper(), _KEYS, 1)
        known = f"is {meant[0]!r} meant?" if meant else f"it may have {', '.join(sorted(_KEYS))}."
        raise ImproperlyConfigured(f"{where} has {unknown[0]!r}, which is not a known key: {known}")
    url, socket = _read_address(where, entry)
    if (form := entry.get("FORMAT", "native")) not in _FORMATS:
        raise ImproperlyConfigured(f"{where}['FORMAT'] is {form!r}: it may be {', '.join(_FORMATS)}.")
    concurrency = entry.get("CONCURRENCY")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ImproperlyConfigured(f"{where}['CONCURRENCY'] is {concurrency!r}: it has to be a number of streams.")
    for key in ("PROXY", "USAGE", "DISCOVER"):
        if type(entry.get(key, False)) is not bool:
            raise ImproperlyConfigured(f"{where}[{key!r}] is {entry[key]!r}: it has to be true or false.")
    return UpstreamConfig(
        name,
        url,
        form,
        headers=_read_headers(where, entry),
        models=tuple(dict.fromkeys([*_read_models(where, entry), *discovered.models_of(name, url)])),
        discovers=form == "openai" and entry.get("DISCOVER", False),
        aliases=dict(entry["MODELS"]) if isinstance(entry.get("MODELS"), Mapping) else {},
        order=int(_read_number(where, entry, "ORDER", 0, "a whole number", lambda it: it == int(it))),
        weight=_read_number(where, entry, "WEIGHT", 1, "a number above 0", lambda it: it > 0),
        cooldown=_read_number(where, entry, "COOLDOWN", 15, "a number of seconds", lambda it: it >= 0),
        timeouts=_read_timeouts(where, entry, form),
        forward=_read_forward(where, entry),
        verify=_read_verify(where, entry),
        cert=_read_cert(where, entry),
        socket=socket,
        proxy_url=_read_proxy_url(where, entry),
        concurrency=concurrency,
        is_open_to_proxy=entry.get("PROXY", False),
        reports_usage=form == "openai" and entry.get("USAGE", True),
    )


def _read_address(where: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """The URL and the path of the Unix socket, if any: from ``unix:///run/llm.sock:/v1``, or from UDS next to a URL."""
    url, socket = str(entry.get("URL", "")), entry.get("UDS") or ""
    if url.startswith("unix:"):
        if not (parts := re.fullmatch(r"unix:(?://)?(/[^:?#]+)(?::(/[^\s?#]*)?)?", url)):
            raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has to look like unix:///run/llm.sock:/v1.")
        url, socket = f"http://localhost{parts[2] or ''}", parts[1]
    if not isinstance(socket, str) or (socket and not socket.startswith("/")):
        raise ImproperlyConfigured(f"{where}['UDS'] is {socket!r}: it has to be the path of a Unix socket.")
    if url != url.strip():
        raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has a space at its beginning or end.")
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url) or not _is_readable(url):
        raise ImproperlyConfigured(f"{where}['URL'] is {_masked(url)!r}: it has to be like http://host:port/path.")
    if "@" in url.split("/")[2]:
        words = "it has a password in it, which would show up in logs: put that into HEADERS or API_KEY_ENV"
        raise ImproperlyConfigured(f"{where}['URL'] is {_masked(url)!r}: {words}.")
    if socket and url.startswith("https:"):
        raise ImproperlyConfigured(f"{where}['UDS'] goes with a URL that begins with http://: it has no use for TLS.")
    return url, socket


def _masked(url: str) -> str:
    return re.sub(r"(?<=//)[^/?#]*@", "***@", url)


def _read_forward(where: str, entry: Mapping[str, Any]) -> frozenset[str]:
    names = entry.get("FORWARD", ())
    if isinstance(names, str) or not all(isinstance(name, str) and is_token(name) for name in names):
        raise ImproperlyConfigured(f"{where}['FORWARD'] has to be a list of headers.")
    return frozenset(name.lower() for name in names)


def _read_verify(where: str, entry: Mapping[str, Any]) -> bool | str:
    verify = entry.get("VERIFY", True)
    if isinstance(verify, bool) or (isinstance(verify, str) and verify and Path(verify).exists()):
        return verify
    words = "it has to be true, false, or the file of the certificate authorities to trust"
    raise ImproperlyConfigured(f"{where}['VERIFY'] is {verify!r}: {words}.")


def _read_cert(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    cert = entry.get("CERT") or ()
    files = (cert,) if isinstance(cert, str) else tuple(cert) if isinstance(cert, list | tuple) else (None,)
    if len(files) <= 2 and all(isinstance(file, str) and Path(file).is_file() for file in files):
        return files
    words = "it has to be the file of a certificate with its key, or a list of both files"
    raise ImproperlyConfigured(f"{where}['CERT'] is {cert!r}: {words}.")


def _read_proxy_url(where: str, entry: Mapping[str, Any]) -> str | None:
    if "PROXY_URL" not in entry:
        return None
    proxy = entry["PROXY_URL"] or ""
    if proxy and not (isinstance(proxy, str) and re.match(r"https?://[^\s/?#]", proxy) and _is_readable(proxy)):
        words = "it has to be like http://host:port, or empty for none"
        raise ImproperlyConfigured(f"{where}['PROXY_URL'] is {_masked(str(proxy))!r}: {words}.")
    return proxy


def _read_headers(where: str, entry: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(headers := entry.get("HEADERS", {}), Mapping):
        raise ImproperlyConfigured(f"{where}['HEADERS'] has to be a dict.")
    key = _read_key_file(where, entry) or _read_key_variable(where, entry)
    headers = {"Authorization": f"Bearer {key}", **headers} if key else dict(headers)
    for name, value in headers.items():
        if not (isinstance(name, str) and is_token(name)):
            raise ImproperlyConfigured(f"{where}['HEADERS'] has {name!r}, which is no name of a header.")
        if not (isinstance(value, str) and re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f]*", value)):
            raise ImproperlyConfigured(f"{where}['HEADERS'][{name!r}] has to be one line of text.")
    return headers


def _read_key_variable(where: str, entry: Mapping[str, Any]) -> str:
    if not (variable := entry.get("API_KEY_ENV")):
        return ""
    if not (key := os.environ.get(str(variable), "").strip()):
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which is not set in the environment.")
    if not key.isprintable():
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which has not one line with a key.")
    return key


def _read_key_file(where: str, entry: Mapping[str, Any]) -> str:
    """The key in API_KEY_FILE, such as a Docker secret. It is read again when the file changes."""
    if not (path := entry.get("API_KEY_FILE")):
        return ""
    if "API_KEY_ENV" in entry:
        raise ImproperlyConfigured(f"{where} has both API_KEY_ENV and API_KEY_FILE: one of them has to go.")
    try:
        status = Path(path).stat()
        key = _key_in(str(path), status.st_mtime_ns, status.st_ino, status.st_size)
    except (OSError, TypeError, ValueError) as error:
        words = f"which cannot be read: {getattr(error, 'strerror', None) or 'it is no text file'}"
        raise ImproperlyConfigured(f"{where}['API_KEY_FILE'] names {path!r}, {words}.") from None
    if not key or not key.isprintable():
        raise ImproperlyConfigured(f"{where}['API_KEY_FILE'] names {path!r}, which has not one line with a key.")
    return key


@lru_cache(maxsize=64)
def _key_in(path: str, *version: int) -> str:
    return Path(path).read_text("utf-8").strip()


def _read_models(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    models = [entry["MODEL"]] if entry.get("MODEL") else []
    listed = entry.get("MODELS", ())
    own = listed.values() if isinstance(listed, Mapping) else ()
    if isinstance(listed, str) or not all(isinstance(model, str) and model for model in [*models, *listed, *own]):
        words = "a list of names, or a dict from public names to the upstream's own; and MODEL one of them"
        raise ImproperlyConfigured(f"{where}['MODELS'] has to be {words}.")
    return tuple(dict.fromkeys([*models, *listed]))


def _read_number(
    where: str, entry: Mapping[str, Any], key: str, default: float, words: str, is_valid: Callable[[float], bool]
) -> float:
    number = entry.get(key, default)
    if type(number) not in (int, float) or not math.isfinite(number) or not is_valid(number):
        raise ImproperlyConfigured(f"{where}[{key!r}] is {number!r}: it has to be {words}.")
    return float(number)


def _read_timeouts(where: str, entry: Mapping[str, Any], form: str) -> Timeouts:
    try:
        idle = LLM_IDLE_SECONDS if form == "openai" else IDLE_SECONDS
        timeouts = Timeouts(**{"idle": idle, **entry.get("TIMEOUTS", {})})
    except TypeError as error:
        raise ImproperlyConfigured(f"{where}['TIMEOUTS'] may hold connect, head, idle, total and queue.") from error
    for key, seconds in asdict(timeouts).items():
        if not isinstance(seconds, int | float) and not (seconds is None and key in ("idle", "total")):
            raise ImproperlyConfigured(
                f"{where}['TIMEOUTS'][{key!r}] is {seconds!r}: it has to be a number of seconds."
            )
    return timeouts


def _is_readable(url: str) -> bool:
    try:
        return bool(URL(url).host)
    except ValueError:
        return False
