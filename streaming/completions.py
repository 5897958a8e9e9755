"""The OpenAI API, for any client that speaks it: ``POST /v1/chat/completions`` and ``GET /v1/models``."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from streaming import formats, guardrails, resumption, sources, upstream_settings, upstreams
from streaming.access import guarded, may_use_upstreams, require_caller
from streaming.errors import BadRequest
from streaming.problems import openai_error
from streaming.relay import EventReader, Relay, TextChunks
from streaming.requests import CompletionRequest, as_query, filled_playback, read_completion_request
from streaming.responses import Source

SIMULATED = "simulated"
"""The model that plays this site's own documents; it needs no upstream."""

_began = int(time.time())


@guarded("POST", everyone=True, errors=openai_error)  # of the body's model it depends who may come in
async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    asked = read_completion_request(request)
    if asked.model == SIMULATED:
        return await (_play if asked.streams else _play_at_once)(request, asked)
    await require_caller(request)
    name, model = _found(asked.model)
    guardrail, upstream = await guardrails.begin(request, name), upstreams.config_of(name, request)
    fields = {**asked.fields, "model": model}
    if not asked.streams:
        data = await upstreams.complete_at_once(upstream, request, fields, guardrail)
        completion = await guardrail.moderate_completion(data, is_json=_wants_json(asked))
        return JsonResponse(completion, headers=_headers(guardrail))
    writer = formats.OpenAIRelay(asked.model)

    async def start() -> tuple[Source, Relay]:
        answer = await upstreams.complete(upstream, request, fields, guardrail)
        reader = EventReader(formats.OpenAIReader(keep_raw=True))
        return answer, Relay(reader, guardrail.moderate_answer(is_json=_wants_json(asked)), writer)

    return await _streamed(request, guardrail, writer, start)


def _wants_json(asked: CompletionRequest) -> bool:
    """Whether the answer is to be JSON (response_format of the chat completions API)."""
    wanted = asked.fields.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema")


async def _play(request: HttpRequest, asked: CompletionRequest) -> HttpResponseBase:
    playback, guardrail = _playback(asked), await guardrails.begin(request, SIMULATED)
    writer = formats.OpenAIWriter(SIMULATED, asked.choices, asked.counts_usage, _prompt_chars(asked))

    async def start() -> tuple[Source, Relay]:
        await guardrail.moderate_prompt(asked.fields)
        relay = Relay(TextChunks(choices=asked.choices), guardrail.moderate_answer(), writer)
        return sources.Play(playback), relay

    return await _streamed(request, guardrail, writer, start)


async def _play_at_once(request: HttpRequest, asked: CompletionRequest) -> HttpResponseBase:
    playback, guardrail = _playback(asked), await guardrails.begin(request, SIMULATED)
    await guardrail.moderate_prompt(asked.fields)
    text = sources.read_document(playback.document)
    completion = formats.whole_completion(SIMULATED, text, asked.choices, _prompt_chars(asked))
    return JsonResponse(await guardrail.moderate_completion(json.dumps(completion)), headers=_headers(guardrail))


async def _streamed(
    request: HttpRequest, guardrail: guardrails.Guardrail, writer: formats.Writer, start: resumption.Start
) -> HttpResponseBase:
    # Clients of this API stop paying by leaving. Who sends a key means to come back.
    grace = None if "Idempotency-Key" in request.headers else 0
    stream = guardrail.stream
    response = await resumption.begin(request, stream, writer, start, dialect="openai", grace=grace)
    response["X-Request-ID"] = stream
    return response


def _headers(guardrail: guardrails.Guardrail) -> dict[str, str]:
    """OpenAI's clients show it in their errors; here it names the stream in the hit log."""
    return {"X-Request-ID": guardrail.stream, "Cache-Control": "no-store"}


def _playback(asked: CompletionRequest) -> sources.Playback:
    """How the document is played, from fields beside those of OpenAI."""
    own = {key: asked.fields.get(key) for key in ("document", "interval", "step", "seed")}
    return filled_playback(as_query(own)).playback


def _prompt_chars(asked: CompletionRequest) -> int:
    contents = (message.get("content") for message in asked.fields["messages"])
    return sum(len(content) for content in contents if isinstance(content, str))


def _found(model: str) -> tuple[str, str]:
    if not (found := upstream_settings.find_model(model)):
        detail = f"the model {model[:100]!r} does not exist; GET /v1/models lists those that do"
        raise BadRequest(detail, HTTPStatus.NOT_FOUND, {"model": ["does not exist"]}, "model_not_found")
    return found


@guarded("GET", everyone=True, errors=openai_error)
async def models(request: HttpRequest) -> HttpResponseBase:
    """Those that the caller may use."""
    upstreams_models = upstream_settings.models() if await may_use_upstreams(request) else {}
    listed = {SIMULATED: ("ssesite", ""), **upstreams_models}
    return JsonResponse({"object": "list", "data": [_model(name, owner) for name, (owner, _) in listed.items()]})


@guarded("GET", everyone=True, errors=openai_error)
async def model(request: HttpRequest, name: str) -> HttpResponseBase:
    if name != SIMULATED:
        await require_caller(request)
    owner, _ = ("ssesite", "") if name == SIMULATED else _found(name)
    return JsonResponse(_model(name, owner))


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _began, "owned_by": owner}


@guarded(everyone=True, errors=openai_error)
async def elsewhere(request: HttpRequest) -> HttpResponseBase:
    detail = f"there is no {request.path}; this site has /v1/chat/completions and /v1/models"
    raise BadRequest(detail, HTTPStatus.NOT_FOUND, code="unknown_url")
