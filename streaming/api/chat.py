"""OpenAI's Chat Completions API: ``POST /v1/chat/completions``, moderated.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from streaming import conf, formats, guardrails, limits, resumption, sources, upstreams, whole_answers
from streaming.access import guarded, require_caller
from streaming.api.attempts import Attempts
from streaming.api.models import find_routes, require_permitted
from streaming.log_lines import request_id
from streaming.problems import openai_error
from streaming.relay import EventReader, Relay, TextChunks
from streaming.requests import CompletionRequest, as_query, playback_form, read_completion_request
from streaming.responses import Source
from streaming.sources import SIMULATED


@guarded("POST", everyone=True, errors=openai_error)  # the body's model decides who may use it
async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    chat = read_completion_request(request)
    if chat.model == SIMULATED:
        await limits.admit(request, uses_upstream=False)
        return await (_simulated_stream if chat.streams else _simulated_completion)(request, chat)
    await require_caller(request)
    await upstreams.discover_models()
    routes = await require_permitted(request, find_routes(chat.model))
    await limits.admit(request, uses_upstream=True)
    attempts = Attempts(request, chat.fields, upstreams.in_order_now(routes))
    guardrail = await attempts.begin()
    guardrail.meter.model = chat.model
    if not chat.streams:

        async def make() -> dict[str, Any]:
            data = await upstreams.complete_at_once(request, attempts.prepares)
            return await attempts.guardrail.moderate_completion(data, is_json=_wants_json(chat))

        return await _answer_once(request, guardrail, make)
    writer = formats.OpenAIRelay(chat.model)

    async def start() -> tuple[Source, Relay]:
        answer = await upstreams.complete(request, attempts.prepares, may_be_late=attempts.may_answer_late)
        parts = formats.OpenAIReader(keep_raw=True, keep_usage=chat.counts_usage)
        reader = EventReader(parts, max_message_chars=conf.max_message_chars())
        return answer, Relay(reader, attempts.guardrail.moderate_answer(is_json=_wants_json(chat)), writer)

    return await _begin_stream(request, guardrail, writer, start)


def _wants_json(chat: CompletionRequest) -> bool:
    """Whether the answer is to be JSON (``response_format``)."""
    response_format = chat.fields.get("response_format")
    return isinstance(response_format, dict) and response_format.get("type") in ("json_object", "json_schema")


async def _simulated_stream(request: HttpRequest, chat: CompletionRequest) -> HttpResponseBase:
    playback, guardrail = _playback(chat), await guardrails.begin(request, SIMULATED, models=[SIMULATED])
    guardrail.meter.model = SIMULATED
    writer = formats.OpenAIWriter(SIMULATED, chat.choices, chat.counts_usage, _prompt_chars(chat))

    async def start() -> tuple[Source, Relay]:
        await guardrail.moderate_prompt(chat.fields)
        chunks = TextChunks(choices=chat.choices, prompt_chars=_prompt_chars(chat))
        relay = Relay(chunks, guardrail.moderate_answer(), writer)
        return sources.Play(playback), relay

    return await _begin_stream(request, guardrail, writer, start)


async def _simulated_completion(request: HttpRequest, chat: CompletionRequest) -> HttpResponseBase:
    playback, guardrail = _playback(chat), await guardrails.begin(request, SIMULATED, models=[SIMULATED])
    guardrail.meter.model = SIMULATED

    async def make() -> dict[str, Any]:
        await guardrail.moderate_prompt(chat.fields)
        text = sources.read_document(playback.document)
        completion = formats.whole_completion(SIMULATED, text, chat.choices, _prompt_chars(chat))
        return await guardrail.moderate_completion(json.dumps(completion))

    return await _answer_once(request, guardrail, make)


async def _begin_stream(
    request: HttpRequest, guardrail: guardrails.Guardrail, writer: formats.Writer, start: resumption.Start
) -> HttpResponseBase:
    # Clients of this API cancel by disconnecting. A client that sends an idempotency key may come back.
    grace = None if "Idempotency-Key" in request.headers else 0
    stream = guardrail.stream
    response = await resumption.begin(request, stream, writer, start, dialect="openai", grace=grace)
    response["X-Request-ID"] = request_id.get() or stream
    return response


async def _answer_once(
    request: HttpRequest, guardrail: guardrails.Guardrail, make: Callable[[], Awaitable[dict[str, Any]]]
) -> HttpResponse:
    """X-Request-ID is the client's own or the completion's id in the hit log; OpenAI's clients show it in errors."""

    async def make_json() -> bytes:
        let_go = limits.hold(request)  # it may outlive its request
        try:
            return JsonResponse(await make()).content
        finally:
            let_go()

    stream, data = await whole_answers.answer_once(request, guardrail.stream, make_json)
    headers = {"X-Request-ID": request_id.get() or stream, "Cache-Control": "no-store"}
    return HttpResponse(data, content_type="application/json", headers=headers)


def _playback(chat: CompletionRequest) -> sources.Playback:
    """How to play the document, from fields that this site adds to OpenAI's."""
    extra = {key: chat.fields.get(key) for key in ("document", "interval", "step", "seed")}
    return playback_form(as_query(extra)).playback


def _prompt_chars(chat: CompletionRequest) -> int:
    contents = (message.get("content") for message in chat.fields["messages"])
    return sum(len(content) for content in contents if isinstance(content, str))
