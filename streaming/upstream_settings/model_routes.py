"""The models, and all upstreams that have each of them."""

from __future__ import annotations

from dataclasses import dataclass

from streaming import conf
from streaming.upstream_settings.config import UpstreamConfig
from streaming.upstream_settings.reading import read_config


@dataclass(frozen=True, slots=True)
class Route:
    """An upstream that has a model, and the model's name there."""

    upstream: UpstreamConfig
    model: str


def routes() -> dict[str, list[Route]]:
    """The models that ``/v1/models`` lists, and all upstreams that have each of them."""
    found: dict[str, list[Route]] = {}
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        for model in upstream.models if upstream.format == "openai" else ():
            found.setdefault(model, []).append(Route(upstream, upstream.own_name(model)))
    return found


def models() -> dict[str, tuple[str, str]]:
    """The listed models: a dict from the name to the first upstream that has it, and the model's name there."""
    return {model: (found[0].upstream.name, found[0].model) for model, found in routes().items()}


def public_names(upstream: str, model: str) -> list[str]:
    """The names by which clients may ask for this model of this upstream."""
    config = read_config(upstream, conf.upstreams()[upstream])
    listed = [name for name in config.models if config.own_name(name) == model]
    is_unlisted = not config.models  # it is asked for any model
    return [*listed, *(f"{upstream}/{name}" for name in listed or [model]), *([model] if is_unlisted else [])]


def find_routes(model: str) -> list[Route]:
    """The upstreams that have this model; none if there is none. ``upstream/model`` names one of them.

    The first upstream that lists no models gets the requests for models that no upstream lists.
    """
    if found := routes().get(model):
        return found
    for name, entry in conf.upstreams().items():
        upstream = read_config(name, entry)
        if upstream.format == "openai":
            if (public := model.removeprefix(f"{name}/")) in upstream.models:
                return [Route(upstream, upstream.own_name(public))]
            if not upstream.models:
                return [Route(upstream, model)]
    return []


def discovering() -> list[UpstreamConfig]:
    """The upstreams with DISCOVER."""
    configs = (read_config(name, entry) for name, entry in conf.upstreams().items())
    return [upstream for upstream in configs if upstream.discovers]
