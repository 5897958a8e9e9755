"""The entries of ``settings.STREAMING_UPSTREAMS``, checked: where streams begin, and which models answer there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from yarl import URL

LLM_IDLE_SECONDS = 600.0
"""The idle limit of LLM APIs, where nothing else is said: models that think are silent for minutes."""

IDLE_SECONDS = 60.0
"""The same of everything else."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the head of the response, between two pieces of its body, in all.

    None is for ever: of the last two. Who asks for a stream is answered after ``head`` seconds; the upstream then has
    as long as between two pieces, if that is longer.
    """

    connect: float = 5.0
    head: float = 15.0
    idle: float | None = IDLE_SECONDS
    total: float | None = None


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One entry of ``STREAMING_UPSTREAMS``, checked."""

    name: str
    url: str
    format: str = "native"
    headers: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """The first is asked for where a request names none."""
    timeouts: Timeouts = Timeouts()
    forward: frozenset[str] = frozenset()
    verify: bool = True
    concurrency: int | None = None
    is_open_to_proxy: bool = False


_FORMATS = ("native", "openai", "text")
_KEYS = {
    *("URL", "FORMAT", "HEADERS", "API_KEY_ENV", "MODEL", "MODELS"),
    *("TIMEOUTS", "FORWARD", "VERIFY", "CONCURRENCY", "PROXY"),
}


def read_config(name: str, entry: Mapping[str, Any]) -> UpstreamConfig:
    """An entry of the settings as a value. ImproperlyConfigured says which key is wrong, and how."""
    where = f"STREAMING_UPSTREAMS[{name!r}]"
    if unknown := sorted(set(entry) - _KEYS):
        raise ImproperlyConfigured(f"{where} has {unknown[0]!r}, which is none of {', '.join(sorted(_KEYS))}.")
    url = str(entry.get("URL", ""))
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url) or not _is_readable(url):
        raise ImproperlyConfigured(f"{where}['URL'] is {url!r}: it has to be like http://host:port/path.")
    if (form := entry.get("FORMAT", "native")) not in _FORMATS:
        raise ImproperlyConfigured(f"{where}['FORMAT'] is {form!r}: it may be {', '.join(_FORMATS)}.")
    concurrency = entry.get("CONCURRENCY")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ImproperlyConfigured(f"{where}['CONCURRENCY'] is {concurrency!r}: it has to be a number of streams.")
    if isinstance(entry.get("FORWARD", ()), str):
        raise ImproperlyConfigured(f"{where}['FORWARD'] has to be a list of headers.")
    if type(entry.get("PROXY", False)) is not bool:
        raise ImproperlyConfigured(f"{where}['PROXY'] is {entry['PROXY']!r}: it has to be true or false.")
    return UpstreamConfig(
        name,
        url,
        form,
        _read_headers(where, entry),
        _read_models(where, entry),
        _read_timeouts(where, entry, form),
        frozenset(header.lower() for header in entry.get("FORWARD", ())),
        bool(entry.get("VERIFY", True)),
        concurrency,
        entry.get("PROXY", False),
    )


def _read_headers(where: str, entry: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(headers := entry.get("HEADERS", {}), Mapping):
        raise ImproperlyConfigured(f"{where}['HEADERS'] has to be a dict.")
    if not (variable := entry.get("API_KEY_ENV")):
        return dict(headers)
    if not (key := os.environ.get(str(variable), "").strip()):
        raise ImproperlyConfigured(f"{where}['API_KEY_ENV'] names {variable!r}, which the environment does not have.")
    return {"Authorization": f"Bearer {key}", **headers}


def _read_models(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    models = [entry["MODEL"]] if entry.get("MODEL") else []
    listed = entry.get("MODELS", ())
    if isinstance(listed, str) or not all(isinstance(model, str) and model for model in [*models, *listed]):
        raise ImproperlyConfigured(f"{where}['MODELS'] has to be a list of names, and MODEL one of them.")
    return tuple(dict.fromkeys([*models, *listed]))


def _read_timeouts(where: str, entry: Mapping[str, Any], form: str) -> Timeouts:
    try:
        idle = LLM_IDLE_SECONDS if form == "openai" else IDLE_SECONDS
        timeouts = Timeouts(**{"idle": idle, **entry.get("TIMEOUTS", {})})
    except TypeError as error:
        raise ImproperlyConfigured(f"{where}['TIMEOUTS'] may hold connect, head, idle and total.") from error
    for key, seconds in asdict(timeouts).items():
        if not isinstance(seconds, int | float) and not (seconds is None and key in ("idle", "total")):
            raise ImproperlyConfigured(f"{where}['TIMEOUTS'][{key!r}] is {seconds!r}: it has to be seconds.")
    return timeouts


def _is_readable(url: str) -> bool:
    try:
        return bool(URL(url).host)
    except ValueError:
        return False


def names() -> list[str]:
    return list(dict.fromkeys(["default", *settings.STREAMING_UPSTREAMS]))


def default_plays_documents() -> bool:
    """Whether "default" takes the fields of ``/stream``: this site itself does, or another one in its format.

    Servers of LLM APIs refuse a request with a field that they do not know.
    """
    entry = settings.STREAMING_UPSTREAMS.get("default")
    return entry is None or read_config("default", entry).format == "native"


def default_is_open_to_proxy() -> bool:
    """Whether ``/proxy`` relays "default": this site's own ``/stream``, or one that its settings open."""
    entry = settings.STREAMING_UPSTREAMS.get("default")
    return entry is None or read_config("default", entry).is_open_to_proxy


def models() -> dict[str, tuple[str, str]]:
    """What ``/v1/models`` lists: for each name the upstream, and the model's name there.

    Where two upstreams have a model of the same name, the second's is listed as ``upstream/model``.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, entry in settings.STREAMING_UPSTREAMS.items():
        upstream = read_config(name, entry)
        for model in upstream.models if upstream.format == "openai" else ():
            found[f"{name}/{model}" if model in found else model] = name, model
    return found


def find_model(model: str) -> tuple[str, str] | None:
    """The upstream that a model's name chooses, and the model's name there.

    An upstream that lists no models has any: the first such is asked for what nobody lists.
    """
    if found := models().get(model):
        return found
    for name, entry in settings.STREAMING_UPSTREAMS.items():
        upstream = read_config(name, entry)
        if upstream.format == "openai":
            if model.removeprefix(f"{name}/") in upstream.models:
                return name, model.removeprefix(f"{name}/")
            if not upstream.models:
                return name, model
    return None
