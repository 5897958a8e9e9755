"""What an upstream answered: a stream, a whole completion, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from streaming.formats.assembly import completion_from_events, is_undecided, looks_like_events, looks_like_json
from streaming.formats.errors import without_secrets
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.bodies import CompleteBody
from streaming.upstreams.errors import Refused, UpstreamError
from streaming.upstreams.event_body import EventBody
from streaming.upstreams.guardrail import Guardrail
from streaming.upstreams.response import UpstreamResponse
from streaming.upstreams.upstream_refusals import not_what_was_asked, refusal

MAX_ERROR_BYTES = 64 * 1024

MAX_COMPLETION_BYTES = 10_000_000
"""The limit for a completion that is not streamed."""


async def as_events(upstream: UpstreamConfig, answer: UpstreamResponse, guardrail: Guardrail) -> UpstreamResponse:
    """The response as an event stream. Refused if it is none, and no completion either.

    Servers with an OpenAI API send event streams under other media types, or complete JSON: the first bytes decide.
    """
    is_labelled = answer.kind == "text/event-stream"
    if upstream.format == "openai":
        body = EventBody(answer.body, partial(_as_stream, upstream, guardrail=guardrail), _limit(upstream))
        if not is_labelled:
            await body.read_beginning()
        if body.is_json:
            return replace(answer, body=CompleteBody(await body.read()))
        if is_labelled or body.is_events:
            return replace(answer, body=body)
    elif is_labelled:
        return answer
    sentence = f"answered with {answer.kind or 'no media type'} instead of an event stream"
    raise Refused(upstream.name, 502, guardrail.clean(without_secrets(sentence, upstream.secrets)))


def _limit(upstream: UpstreamConfig) -> Callable[[bytes | bytearray], None]:
    """A check that raises Refused for a body that is too long."""

    def check(body: bytes | bytearray) -> None:
        if len(body) > MAX_COMPLETION_BYTES:
            raise Refused(upstream.name, 502, f"answered with more than {MAX_COMPLETION_BYTES:,} bytes of JSON")

    return check


async def read_all(upstream: UpstreamConfig, answer: UpstreamResponse) -> bytes:
    body, check = bytearray(), _limit(upstream)
    while chunk := await answer.read():
        body += chunk
        check(body)
    return bytes(body)


def as_completion(upstream: UpstreamConfig, body: bytes, kind: str, guardrail: Guardrail) -> str:
    """The JSON of a chat completion. Some servers send a stream of chunks instead."""
    if looks_like_events(body) and not is_undecided(body):
        body = json.dumps(completion_from_events(body)).encode()
    if not looks_like_json(body):
        sentence = f"answered with {kind or 'no media type'} instead of JSON"
        raise Refused(upstream.name, 502, guardrail.clean(without_secrets(sentence, upstream.secrets)))
    if b'"choices"' not in body:
        sentence = "answered with JSON that is not a chat completion"
        raise not_what_was_asked(upstream.name, sentence, body, "application/json", guardrail.clean, upstream.secrets)
    return body.decode("utf-8", "replace")


def _as_stream(upstream: UpstreamConfig, body: bytes, guardrail: Guardrail) -> bytes:
    """A complete chat completion, as a stream of that one message."""
    try:
        fields = json.loads(body)
        is_completion = isinstance(fields["choices"], list)
    except (ValueError, RecursionError, LookupError, TypeError):
        is_completion = False
    if not is_completion:
        sentence = "answered with JSON that is not a chat completion"
        raise not_what_was_asked(upstream.name, sentence, body, "application/json", guardrail.clean, upstream.secrets)
    line = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"data: " + line + b"\n\ndata: [DONE]\n\n"


async def raise_for_status(upstream: UpstreamConfig, answer: UpstreamResponse, guardrail: Guardrail) -> None:
    if answer.status == 200:
        return
    body = await _error_body(answer)
    raise refusal(upstream.name, answer.status, answer.reason, answer.headers, body, guardrail.clean, upstream.secrets)


async def _error_body(answer: UpstreamResponse) -> bytes:
    """The body of an error response; b"" if it is too long or cannot be read: the status says enough."""
    body = bytearray()
    with suppress(UpstreamError):
        while chunk := await answer.read():
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                return b""
        return bytes(body)
    return b""
