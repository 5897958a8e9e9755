"""Asks an upstream for something that costs nothing, so that an operator sees whether it can be reached."""

from __future__ import annotations

from http import HTTPStatus

from yarl import URL

from streaming.request_cleanup import request_scope
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.aiohttp_transport import causes
from streaming.upstreams.errors import UpstreamError
from streaming.upstreams.request import UpstreamRequest
from streaming.upstreams.sending import send


async def probe(upstream: UpstreamConfig) -> tuple[bool, str]:
    """Whether it can be used, as far as that shows, and what it answered: to a request for its models, or to OPTIONS.

    For manage.py doctor: the sentence may name the upstream's address.
    """
    asks_models = upstream.format == "openai"
    path = URL(upstream.url).raw_path.rstrip("/")
    target = f"{path.removesuffix('/chat/completions')}/models" if asks_models else path or "/"
    request = UpstreamRequest(
        upstream, "GET" if asks_models else "OPTIONS", target, [("Accept", "*/*")], b"", upstream.timeouts.head
    )
    try:
        with request_scope():
            answer = await send(request)
            answer.close()
    except UpstreamError as error:
        return False, f"{error}{_reason(error)}"
    said = f"answered {answer.status} {answer.reason}".strip()
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False, f"{said}: its API key is missing or wrong"
    return answer.status < HTTPStatus.INTERNAL_SERVER_ERROR, said


def _reason(error: UpstreamError) -> str:
    """The reason from the operating system or TLS, for operators: clients do not get it."""
    said = " ".join(str(list(causes(error))[-1]).split())
    return f": {said}" if said and said not in str(error) else ""
