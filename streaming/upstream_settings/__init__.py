"""What ``STREAMING_UPSTREAMS`` says: the addresses of the upstreams, and the models that each one has."""

from streaming.upstream_settings.config import Timeouts, UpstreamConfig
from streaming.upstream_settings.discovered import set_discovered
from streaming.upstream_settings.entries import (
    Choice,
    choices,
    default_is_open_to_proxy,
    default_plays_documents,
    names,
    secrets_of,
)
from streaming.upstream_settings.model_routes import Route, discovering, find_routes, models, public_names, routes
from streaming.upstream_settings.reading import read_config

__all__ = [
    "Choice",
    "Route",
    "Timeouts",
    "UpstreamConfig",
    "choices",
    "default_is_open_to_proxy",
    "default_plays_documents",
    "discovering",
    "find_routes",
    "models",
    "names",
    "public_names",
    "read_config",
    "routes",
    "secrets_of",
    "set_discovered",
]
