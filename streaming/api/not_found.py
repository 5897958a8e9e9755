"""``/v1/...`` paths that this site does not offer: a 404 in the shape of OpenAI's errors."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming.access import guarded
from streaming.errors import BadRequest
from streaming.problems import openai_error


@guarded(everyone=True, errors=openai_error)
async def not_found(request: HttpRequest) -> HttpResponseBase:
    detail = f"there is no {request.path}; this site has /v1/chat/completions and /v1/models"
    raise BadRequest(detail, HTTPStatus.NOT_FOUND, code="unknown_url")
