"""The models that upstreams with DISCOVER have listed themselves."""

from __future__ import annotations

from collections.abc import Iterable

from streaming.upstream_settings.config import UpstreamConfig

_discovered: dict[tuple[str, str], tuple[str, ...]] = {}
"""By name and URL of an upstream: the models that its own ``/models`` has listed."""


def set_discovered(upstream: UpstreamConfig, models: Iterable[str]) -> None:
    _discovered[upstream.name, upstream.url] = tuple(models)


def models_of(name: str, url: str) -> tuple[str, ...]:
    """The models of the upstream of this name and URL; none if it has not been asked."""
    return _discovered.get((name, url), ())
