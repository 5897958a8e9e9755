"""Requests to upstreams: for a stream of text, for a completion, or relayed unchanged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django.http import HttpRequest

from streaming import conf, request_cleanup
from streaming.upstream_settings import UpstreamConfig, read_config
from streaming.upstreams.answers import as_completion, as_events, raise_for_status, read_all
from streaming.upstreams.bodies import BegunBody, PendingBody
from streaming.upstreams.builtin import builtin_config, is_builtin
from streaming.upstreams.chat_fields import chat_completion_fields
from streaming.upstreams.decoding import decoded
from streaming.upstreams.errors import (
    Broken,
    Closed,
    PostOnly,
    Refused,
    Unknown,
    UpstreamError,
)
from streaming.upstreams.guardrail import Fields, Guardrail
from streaming.upstreams.headers import forwarded_headers, relayed_headers, without_challenge
from streaming.upstreams.location_headers import with_public_locations
from streaming.upstreams.relayed_prompts import moderated_body, moderated_query
from streaming.upstreams.request import Header, UpstreamRequest
from streaming.upstreams.response import UpstreamResponse
from streaming.upstreams.routing import Attempt, Prepare, first_that_answers
from streaming.upstreams.sending import send
from streaming.upstreams.targets import target_of
from streaming.usage_meter import meter_of

logger = logging.getLogger(__name__)

COMPLETION_SECONDS = 600.0
"""How long to wait for a completion that is not streamed, unless TIMEOUTS has a total; as long as OpenAI's clients."""


def config_of(name: str, request: HttpRequest) -> UpstreamConfig:
    """The upstream of this name. Unknown if there is none."""
    if entry := conf.upstreams().get(name):
        return read_config(name, entry)
    if name == "default":
        return builtin_config(request)
    raise Unknown(name, "does not exist")


async def connect(name: str, request: HttpRequest, body: bytes, guardrail: Guardrail) -> UpstreamResponse:
    """Requests a stream of text in the upstream's format, for ``/transfer``.

    Refused if the response is not an event stream.
    """
    upstream = config_of(name, request)
    if upstream.format == "openai":
        if request.method != "POST":
            raise PostOnly(upstream.name, "takes a prompt, which has to be sent by POST")
        fields = chat_completion_fields(upstream, body)
        await guardrail.moderate_prompt(fields)
        return await complete(request, [_ready(Attempt(upstream, fields, guardrail))])
    query, kind = request.META.get("QUERY_STRING", ""), request.headers.get("Content-Type", "")
    if not is_builtin(name):  # it has no words in its query: only parameters, which it checks
        query = await moderated_query(name, query, guardrail.moderate_prompt)
    encoding = request.headers.get("Content-Encoding", "")
    body = await moderated_body(name, kind, encoding, body, guardrail.moderate_prompt)
    target = target_of(upstream, "", query)
    headers = forwarded_headers(upstream, request)
    if body and kind:
        headers.append(("Content-Type", kind))
    asked = _streaming(upstream, str(request.method), target, headers, body)
    is_in_time = asked.timeout == upstream.timeouts.head and not upstream.timeouts.queue
    return await _open_stream(upstream, _open(asked, guardrail), None if is_in_time else upstream.timeouts.head)


async def complete(request: HttpRequest, attempts: Sequence[Prepare], *, may_be_late: bool = True) -> UpstreamResponse:
    """Requests a chat completion as a stream. A complete JSON response is converted to a stream.

    If an upstream fails before its first byte, the next attempt is made. Refused if a response is neither.
    ``may_be_late``: whether the client may get a response before it is known which of the upstreams answers.
    """
    first = await attempts[0]()
    head = first.upstream.timeouts.head

    async def ask(attempt: Attempt, is_last: bool) -> UpstreamResponse:
        answer = await _open(_completion_request(request, attempt), attempt.guardrail)
        return answer if is_last else await _with_first_byte(answer)

    opening = first_that_answers([_ready(first), *attempts[1:]], ask)
    # The request's own timeout can end it in time only if nothing else may have to be waited for.
    is_in_time = len(attempts) == 1 and not first.upstream.timeouts.queue and _stream_timeout(first.upstream) == head
    return await _open_stream(first.upstream, opening, None if is_in_time or not may_be_late else head)


def _ready(attempt: Attempt) -> Prepare:
    async def prepare() -> Attempt:
        return attempt

    return prepare


def _completion_request(request: HttpRequest, attempt: Attempt) -> UpstreamRequest:
    upstream, fields = attempt.upstream, attempt.fields
    _note_model(request, fields)
    plain = {**fields, "stream": True}
    counting = _counting(upstream, plain)
    headers = [*forwarded_headers(upstream, request), ("Content-Type", "application/json")]
    asked = _streaming(upstream, "POST", _completions_target(upstream), headers, json.dumps(counting).encode())
    return asked if counting is plain else replace(asked, body_without_usage=json.dumps(plain).encode())


async def _with_first_byte(answer: UpstreamResponse) -> UpstreamResponse:
    """The response once its body has begun: until then its failure is no reason to give up."""
    try:
        first = await answer.read()
    except BaseException:
        answer.close()
        raise
    if not first:
        raise Broken(answer.name, "ended its answer before the first byte")
    return replace(answer, body=BegunBody(answer.body, first))


async def complete_at_once(request: HttpRequest, attempts: Sequence[Prepare]) -> str:
    """The JSON of a chat completion that is not streamed. If an upstream fails, the next attempt is made.

    Refused if a response is anything else.
    """

    async def ask(attempt: Attempt, _is_last: bool) -> str:
        return await _complete_at_once(request, attempt)

    return await first_that_answers(attempts, ask)


async def _complete_at_once(request: HttpRequest, attempt: Attempt) -> str:
    upstream, fields, guardrail = attempt.upstream, attempt.fields, attempt.guardrail
    _note_model(request, fields)
    body = json.dumps({**fields, "stream": False}).encode()
    headers = [
        *forwarded_headers(upstream, request),
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
    ]
    seconds = upstream.timeouts.total or COMPLETION_SECONDS
    patient = replace(upstream, timeouts=replace(upstream.timeouts, idle=seconds, total=seconds))
    asked = UpstreamRequest(patient, "POST", _completions_target(upstream), headers, body, seconds)
    answer = decoded(await send(asked))
    try:
        await raise_for_status(upstream, answer, guardrail)
        return as_completion(upstream, await read_all(upstream, answer), answer.kind, guardrail)
    finally:
        answer.close()


def _note_model(request: HttpRequest, fields: Fields) -> None:
    if (meter := meter_of(request)) and not meter.model and isinstance(model := fields.get("model"), str):
        meter.model = model


def _counting(upstream: UpstreamConfig, fields: Fields) -> Fields:
    """The request, with the wish for the usage in the stream (USAGE): by default its tokens would go uncounted."""
    if not upstream.reports_usage or (upstream.name, upstream.url) in _refusing_usage:
        return fields
    options = fields.get("stream_options")
    return {**fields, "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True}}


# "identity": compressors collect data before they send it, which delays a stream.
_STREAM_HEADERS = [("Accept", "text/event-stream"), ("Accept-Encoding", "identity"), ("Cache-Control", "no-store")]


def _completions_target(upstream: UpstreamConfig) -> str:
    return target_of(upstream, "" if upstream.url.endswith("/chat/completions") else "chat/completions", "")


def _streaming(
    upstream: UpstreamConfig, method: str, target: str, headers: list[Header], body: bytes
) -> UpstreamRequest:
    """A request for a stream."""
    timeout = _stream_timeout(upstream)
    return UpstreamRequest(upstream, method, target, [*headers, *_STREAM_HEADERS], body, timeout)


def _stream_timeout(upstream: UpstreamConfig) -> float | None:
    """Seconds that the head of a stream may take: as long as a pause in the stream, if that is longer."""
    head, idle, total = upstream.timeouts.head, upstream.timeouts.idle, upstream.timeouts.total
    return min((seconds for seconds in (idle and max(head, idle), total) if seconds is not None), default=None)


async def _open_stream(
    upstream: UpstreamConfig, opens: Coroutine[Any, Any, UpstreamResponse], seconds: float | None
) -> UpstreamResponse:
    """The stream once it is open, or after so many seconds, so that the client gets a response by then."""
    # The pending body closes what the task opens; and the request closes the pending body.
    opening = asyncio.create_task(opens, context=request_cleanup.detached_context())
    pending = PendingBody(opening)
    try:
        await asyncio.wait({opening}, timeout=seconds)
    except asyncio.CancelledError:
        pending.close()
        raise
    if opening.done():
        return _take_over(opening, pending)
    return UpstreamResponse(upstream.name, upstream.format, 200, "OK", [], pending)


def _take_over(opening: asyncio.Task[UpstreamResponse], pending: PendingBody) -> UpstreamResponse:
    """The response that arrived in time. From now on the request itself closes it."""
    pending.detach()
    answer = opening.result()
    request_cleanup.close_at_end(answer.body.close)
    return answer


_refusing_usage: set[tuple[str, str]] = set()
"""Names and URLs of upstreams that refused ``stream_options``: they are not asked for the usage again."""


async def _open(request: UpstreamRequest, guardrail: Guardrail) -> UpstreamResponse:
    try:
        return await _open_once(request, guardrail)
    except Refused as refusal:
        if request.body_without_usage is None or not _is_about_stream_options(refusal):
            raise
    _refusing_usage.add((request.upstream.name, request.upstream.url))
    return await _open_once(replace(request, body=request.body_without_usage), guardrail)


def _is_about_stream_options(refusal: Refused) -> bool:
    return refusal.status in (400, 422) and "stream_options" in f"{refusal.facts.param} {refusal.facts.message}"


async def _open_once(request: UpstreamRequest, guardrail: Guardrail) -> UpstreamResponse:
    answer = decoded(await send(request))
    try:
        await raise_for_status(request.upstream, answer, guardrail)
        return await as_events(request.upstream, answer, guardrail)
    except BaseException:
        answer.close()
        raise


async def relay(name: str, path: str, request: HttpRequest, body: AsyncIterable[bytes] | bytes) -> UpstreamResponse:
    """Relays a request unchanged, for ``/proxy``: its method, path, query, headers and body."""
    upstream = config_of(name, request)
    await _refuse_unless_open(upstream, request)
    target = target_of(upstream, path, request.META.get("QUERY_STRING", ""))
    headers = relayed_headers(upstream, request)
    timeout = upstream.timeouts.head
    answer = await send(UpstreamRequest(upstream, str(request.method), target, headers, body, timeout))
    if not 200 <= answer.status <= 599:
        answer.close()
        raise Refused(upstream.name, 502, f"answered with the status {answer.status}, which is not a final one")
    answered = with_public_locations(upstream, target, without_challenge(upstream, answer.headers))
    return replace(answer, headers=answered)


async def _refuse_unless_open(upstream: UpstreamConfig, request: HttpRequest) -> None:
    """``/proxy`` moderates nothing and uses the operator's key, so the operator has to enable it per upstream."""
    if upstream.is_open_to_proxy:
        return
    hint = f"STREAMING_UPSTREAMS[{upstream.name!r}] would need 'PROXY': True"
    logger.info("a request through /proxy to the upstream %r was refused: %s", upstream.name, hint)
    user = await request.auser() if hasattr(request, "auser") else None
    raise Closed(upstream.name, "is not open to /proxy" + (f": {hint}" if user and user.is_staff else ""))


def model_of(name: str, body: bytes) -> str | None:
    """The model that ``connect`` would ask this upstream for, by its own name; None if it is no LLM API, or if the body
    names none."""
    if not (entry := conf.upstreams().get(name)) or (upstream := read_config(name, entry)).format != "openai":
        return None
    with suppress(UpstreamError):
        model = chat_completion_fields(upstream, body).get("model")
        return model if isinstance(model, str) else None
    return None
