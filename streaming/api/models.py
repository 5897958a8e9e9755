"""The models that clients can ask for: ``GET /v1/models`` and ``GET /v1/models/<id>``.

https://platform.openai.com/docs/api-reference/models
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from streaming import upstream_settings, upstreams
from streaming.access import guarded, has_permission, may_use_upstreams, require_caller, require_permission
from streaming.errors import BadRequest
from streaming.problems import openai_error
from streaming.sources import SIMULATED
from streaming.upstream_settings import Route

OWNER = "streaming"
"""The owner of the simulated model: this app, whatever the project is called."""

_started = int(time.time())


def find_routes(model: str) -> list[Route]:
    """The upstreams that have this model. BadRequest with 404 if there is none.

    Call ``upstreams.discover_models`` before.
    """
    if not (found := upstream_settings.find_routes(model)):
        detail = f"the model {model[:100]!r} does not exist; GET /v1/models lists those that do"
        raise BadRequest(detail, HTTPStatus.NOT_FOUND, {"model": ["does not exist"]}, "model_not_found")
    return found


@guarded("GET", everyone=True, errors=openai_error)
async def list_models(request: HttpRequest) -> HttpResponseBase:
    """The models that the caller may use."""
    await upstreams.discover_models()
    models = upstream_settings.routes() if await may_use_upstreams(request) else {}
    usable = {name: await permitted(request, routes) for name, routes in models.items()}
    owners = {name: routes[0].upstream.name for name, routes in usable.items() if routes}
    data = [_model(name, owner) for name, owner in {SIMULATED: OWNER, **owners}.items()]
    return JsonResponse({"object": "list", "data": data})


@guarded("GET", everyone=True, errors=openai_error)
async def retrieve_model(request: HttpRequest, name: str) -> HttpResponseBase:
    if name == SIMULATED:
        return JsonResponse(_model(name, OWNER))
    await require_caller(request)
    await upstreams.discover_models()
    routes = await require_permitted(request, find_routes(name))
    return JsonResponse(_model(name, routes[0].upstream.name))


async def permitted(request: HttpRequest, routes: Iterable[Route]) -> list[Route]:
    """The routes that the request's API key may use."""
    return [route for route in routes if await has_permission(request, route.upstream.name, route.model)]


async def require_permitted(request: HttpRequest, routes: list[Route]) -> list[Route]:
    """The routes that the request's API key may use. Denied if there is none."""
    if not (usable := await permitted(request, routes)):
        await require_permission(request, routes[0].upstream.name, routes[0].model)
    return usable


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _started, "owned_by": owner}
