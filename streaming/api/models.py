"""The models that clients can ask for: ``GET /v1/models`` and ``GET /v1/models/<id>``.

https://platform.openai.com/docs/api-reference/models
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from streaming import upstream_settings
from streaming.access import guarded, has_permission, may_use_upstreams, require_caller, require_permission
from streaming.errors import BadRequest
from streaming.problems import openai_error
from streaming.sources import SIMULATED

_started = int(time.time())


def find_model(model: str) -> tuple[str, str]:
    """The upstream that has this model, and the model's name there. BadRequest with 404 if there is none."""
    if not (found := upstream_settings.find_model(model)):
        detail = f"the model {model[:100]!r} does not exist; GET /v1/models lists those that do"
        raise BadRequest(detail, HTTPStatus.NOT_FOUND, {"model": ["does not exist"]}, "model_not_found")
    return found


@guarded("GET", everyone=True, errors=openai_error)
async def list_models(request: HttpRequest) -> HttpResponseBase:
    """The models that the caller may use."""
    models = upstream_settings.models() if await may_use_upstreams(request) else {}
    usable = {name: owner for name, (owner, model) in models.items() if await has_permission(request, owner, model)}
    data = [_model(name, owner) for name, owner in {SIMULATED: "ssesite", **usable}.items()]
    return JsonResponse({"object": "list", "data": data})


@guarded("GET", everyone=True, errors=openai_error)
async def retrieve_model(request: HttpRequest, name: str) -> HttpResponseBase:
    if name == SIMULATED:
        return JsonResponse(_model(name, "ssesite"))
    await require_caller(request)
    owner, model = find_model(name)
    await require_permission(request, owner, model)
    return JsonResponse(_model(name, owner))


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _started, "owned_by": owner}
