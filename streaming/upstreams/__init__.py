"""Upstreams: where streams come from. The only part of the app that opens network connections.

Upstreams are named in ``STREAMING_UPSTREAMS``: no request can choose a host. Without a "default" there it is
this site's own ``/stream``, reached over a real socket like any other.
"""

from streaming.upstream_settings import UpstreamConfig, names
from streaming.upstreams.builtin import SIGNATURE_HEADER, allowed_host, is_builtin, is_signed, path_on_server, sign
from streaming.upstreams.client import (
    complete,
    complete_at_once,
    config_of,
    connect,
    model_of,
    relay,
)
from streaming.upstreams.discovery import discover_models
from streaming.upstreams.errors import (
    BadPrompt,
    Broken,
    Busy,
    Closed,
    Outside,
    PostOnly,
    Refused,
    Silent,
    Unknown,
    Unreachable,
    UnreadablePrompt,
    UpstreamError,
)
from streaming.upstreams.guardrail import Guardrail
from streaming.upstreams.headers import NEVER_FORWARDED, end_to_end
from streaming.upstreams.http_clients import close, problem_with_proxy, problem_with_tls
from streaming.upstreams.probing import probe
from streaming.upstreams.response import UpstreamResponse
from streaming.upstreams.routing import Attempt, Prepare, in_order_now
from streaming.upstreams.targets import leaves_its_base

__all__ = [
    "NEVER_FORWARDED",
    "SIGNATURE_HEADER",
    "Attempt",
    "BadPrompt",
    "Broken",
    "Busy",
    "Closed",
    "Guardrail",
    "Outside",
    "PostOnly",
    "Prepare",
    "Refused",
    "Silent",
    "Unknown",
    "Unreachable",
    "UnreadablePrompt",
    "UpstreamConfig",
    "UpstreamError",
    "UpstreamResponse",
    "allowed_host",
    "close",
    "complete",
    "complete_at_once",
    "config_of",
    "connect",
    "discover_models",
    "end_to_end",
    "in_order_now",
    "is_builtin",
    "is_signed",
    "leaves_its_base",
    "model_of",
    "names",
    "path_on_server",
    "probe",
    "problem_with_proxy",
    "problem_with_tls",
    "relay",
    "sign",
]
