"""The upstreams of the settings, by name: what the page shows of them, and their credentials."""

from __future__ import annotations

from dataclasses import dataclass

from streaming import conf
from streaming.upstream_settings.reading import read_config


def names() -> list[str]:
    return list(dict.fromkeys(["default", *conf.upstreams()]))


@dataclass(frozen=True, slots=True)
class Choice:
    """What the page needs to know about an upstream to send requests to it."""

    name: str
    plays_documents: bool
    """Whether it accepts the fields of ``/stream``. LLM APIs reject fields that they do not know."""
    models: tuple[str, ...]


def choices() -> list[Choice]:
    """All upstreams, "default" first."""
    entries = {name: conf.upstreams().get(name) for name in names()}
    configs = {name: read_config(name, entry) if entry else None for name, entry in entries.items()}
    return [Choice(name, not it or it.format == "native", it.models if it else ()) for name, it in configs.items()]


def default_plays_documents() -> bool:
    """Whether "default" accepts the fields of ``/stream``: if it is this site or another one with the native format.

    LLM APIs reject requests with fields that they do not know.
    """
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).format == "native"


def default_is_open_to_proxy() -> bool:
    """Whether ``/proxy`` relays "default": if it is this site's ``/stream``, or if its entry has PROXY."""
    entry = conf.upstreams().get("default")
    return entry is None or read_config("default", entry).is_open_to_proxy


def secrets_of(name: str) -> tuple[str, ...]:
    """The operator's credentials for the upstream of this name; none for this site's built-in one."""
    entry = conf.upstreams().get(name)
    return read_config(name, entry).secrets if entry else ()
