"""The models that an upstream's own ``/models`` lists, for upstreams with DISCOVER.

https://platform.openai.com/docs/api-reference/models/list
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from streaming import request_cleanup
from streaming.upstream_settings import UpstreamConfig, discovering, set_discovered
from streaming.upstreams.decoding import decoded
from streaming.upstreams.errors import UpstreamError
from streaming.upstreams.request import UpstreamRequest
from streaming.upstreams.response import UpstreamResponse
from streaming.upstreams.sending import send

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0
"""How long a list of models is used."""

RETRY_SECONDS = 10.0
"""How long an upstream that gave none is left alone."""

WAIT_SECONDS = 3.0
"""How long a request waits for the first list."""

MAX_BYTES = 4_000_000
MAX_NAME_CHARS = 200

_due: dict[tuple[str, str], float] = {}
"""By name and URL: when it is to be asked again."""

_asking: dict[tuple[str, str], asyncio.Task[None]] = {}


async def discover_models() -> None:
    """Asks the upstreams whose lists are too old. Only an upstream's first list is waited for, and not for long."""
    first = set[asyncio.Task[None]]()
    for upstream in discovering():
        key = (upstream.name, upstream.url)
        is_new = key not in _due
        if time.monotonic() >= _due.get(key, 0.0):
            _due[key] = time.monotonic() + RETRY_SECONDS
            _asking[key] = asyncio.create_task(_ask(upstream), context=request_cleanup.detached_context())
        if (task := _asking.get(key)) and (is_new or not upstream.models):
            first.add(task)
    if first:
        await asyncio.wait(first, timeout=WAIT_SECONDS)


async def _ask(upstream: UpstreamConfig) -> None:
    key = (upstream.name, upstream.url)
    try:
        models = await _list_of(upstream)
    except (UpstreamError, ValueError, LookupError, TypeError, RecursionError) as error:
        reason = error.for_log() if isinstance(error, UpstreamError) else "it is not a list of models"
        logger.warning("the models of the upstream %r are not known: %s", upstream.name, reason)
    else:
        set_discovered(upstream, models)
        _due[key] = time.monotonic() + FRESH_SECONDS
    finally:
        _asking.pop(key, None)


async def _list_of(upstream: UpstreamConfig) -> list[str]:
    base = "/" + upstream.url.partition("://")[2].partition("/")[2]
    target = base.rstrip("/").removesuffix("/chat/completions") + "/models"
    headers = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
    upstream = replace(upstream, concurrency=None)  # it takes no stream's place
    answer = decoded(await send(UpstreamRequest(upstream, "GET", target, headers, b"", upstream.timeouts.head)))
    try:
        if answer.status != 200:
            raise ValueError
        return list(_names(json.loads(await _read(answer))["data"]))
    finally:
        answer.close()


def _names(listed: Iterable[dict[str, str]]) -> Iterable[str]:
    for model in listed:
        if isinstance(name := model["id"], str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable():
            yield name


async def _read(answer: UpstreamResponse) -> bytes:
    body = bytearray()
    while chunk := await answer.read():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError
    return bytes(body)
