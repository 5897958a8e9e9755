"""Parses and validates what clients send: parameters, bodies, paths. BadRequest says what is wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from django import forms
from django.http import HttpRequest

from streaming.errors import BadRequest
from streaming.formats.json_text import read_request_json
from streaming.sources import DOCUMENTS, Playback

BODY_IN_SCOPE = "streaming.body"
"""The key in the ASGI scope where request_body.py puts a body that is still arriving (IncomingBody)."""

READ_BODY_IN_SCOPE = "streaming.read_body"
"""The key in the ASGI scope for a body that was read completely: bytes."""


class PlaybackForm(forms.Form):
    """The parameters of ``/stream``, all optional."""

    document = forms.ChoiceField(choices=[(name, name) for name in DOCUMENTS], required=False)
    mode = forms.ChoiceField(choices=[("delta", "delta"), ("full", "full")], required=False)
    interval = forms.FloatField(min_value=0, max_value=60, required=False)
    step = forms.IntegerField(min_value=1, max_value=10_000, required=False)
    seed = forms.IntegerField(required=False)
    format = forms.ChoiceField(choices=[("native", "native"), ("openai", "openai")], required=False)

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        if fields.get("mode") == "full" and fields.get("format") == "openai":
            self.add_error("mode", "mode=full requires format=native: chat completion chunks are always deltas.")
        return fields

    @property
    def playback(self) -> Playback:
        given = {key: self.cleaned_data[key] for key in ("document", "interval", "step", "seed")}
        return Playback(**{key: value for key, value in given.items() if value not in (None, "")})

    @property
    def is_full(self) -> bool:
        return bool(self.cleaned_data["mode"] == "full")

    @property
    def is_openai(self) -> bool:
        return bool(self.cleaned_data["format"] == "openai")


def read_playback(request: HttpRequest) -> PlaybackForm:
    """The validated parameters from the query and, on POST, a JSON object in the body."""
    return playback_form({**request.GET.dict(), **_json_fields(request)})


def playback_form(fields: dict[str, str]) -> PlaybackForm:
    """The validated form. BadRequest lists the invalid fields."""
    form = PlaybackForm(fields)
    if not form.is_valid():
        errors = {name: [str(message) for message in messages] for name, messages in form.errors.items()}
        raise BadRequest("; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items()), errors=errors)
    return form


def _json_fields(request: HttpRequest) -> dict[str, str]:
    if request.method != "POST" or not (body := read_body(request)):
        return {}
    if request.content_type != "application/json":
        detail = f"the body has to be application/json, not {request.content_type or 'without a type'}"
        raise BadRequest(detail, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        fields = json.loads(body)  # with NaN and Infinity: the form names the field
        if isinstance(fields, dict):
            return as_query(fields)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise BadRequest("the body is not JSON") from error
    raise BadRequest("the body is not a JSON object")


def as_query(fields: dict[str, Any]) -> dict[str, str]:
    """JSON fields as query parameters, so that the form parses one kind of input. null omits a field."""
    return {key: _as_text(value) for key, value in fields.items() if value is not None}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A validated chat completion request. ``fields`` is its JSON; the rest is what this site needs of it."""

    fields: dict[str, Any]
    model: str
    streams: bool
    counts_usage: bool
    choices: int


def read_completion_request(request: HttpRequest) -> CompletionRequest:
    """The chat completion request in the body."""
    body = read_body(request)
    try:
        fields = read_request_json(body)
    except ValueError as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise BadRequest("the body is not a JSON object")
    for key, (requirement, is_valid) in _COMPLETION_FIELDS.items():
        value = fields.get(key)
        if not is_valid(value):
            raise BadRequest(f"{key} {requirement}", errors={key: [requirement]}, code=_code_of(value))
    options = fields.get("stream_options") or {}
    counts = options.get("include_usage") is True
    return CompletionRequest(fields, fields["model"], bool(fields.get("stream")), counts, fields.get("n") or 1)


def _code_of(value: object) -> str:
    return "missing_required_parameter" if value is None else "invalid_value"


def _are_messages(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(message, dict) for message in value)


_COMPLETION_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("has to be a model that GET /v1/models lists", lambda value: isinstance(value, str) and value != ""),
    "messages": ("has to be a list with at least one message", _are_messages),
    "stream": ("has to be true or false", lambda value: value is None or isinstance(value, bool)),
    "stream_options": ("has to be an object", lambda value: value is None or isinstance(value, dict)),
    "n": ("has to be a number from 1 to 128", lambda value: value is None or (type(value) is int and 0 < value < 129)),
    # These would repeat the text in a form that the rules do not see.
    "logprobs": ("are not supported: they would reveal masked text", lambda value: not value),
    "top_logprobs": ("are not supported: they would reveal masked text", lambda value: not value),
    "modalities": ("may only be text: audio cannot be moderated", lambda value: value in (None, [], ["text"])),
}


async def collect_body(request: HttpRequest) -> None:
    """Reads the whole body, so that ``read_body`` has it. BadRequest if it is too long or too slow."""
    if body := request.scope.get(BODY_IN_SCOPE):  # type: ignore[attr-defined]
        request.scope[READ_BODY_IN_SCOPE] = await body.read()  # type: ignore[attr-defined]


def body_refusal(request: HttpRequest) -> BadRequest | None:
    """Why reading the body failed while it was relayed; None if it did not."""
    refusal: BadRequest | None = getattr(request.scope.get(BODY_IN_SCOPE), "refusal", None)  # type: ignore[attr-defined]
    return refusal


def read_body(request: HttpRequest) -> bytes:
    """The whole body. Unlike ``request.body`` it is not subject to DATA_UPLOAD_MAX_MEMORY_SIZE."""
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined]
    if READ_BODY_IN_SCOPE not in scope:
        scope[READ_BODY_IN_SCOPE] = request.read()
    return bytes(scope[READ_BODY_IN_SCOPE])


def streaming_body(request: HttpRequest) -> AsyncIterable[bytes] | bytes:
    """The body while it arrives; b"" if the request has none."""
    body: AsyncIterable[bytes] | bytes = request.scope.get(BODY_IN_SCOPE, b"")  # type: ignore[attr-defined]
    return body


def is_reconnect(request: HttpRequest) -> bool:
    """Whether an EventSource reconnects. It must not start, and pay for, the same stream again and again."""
    return request.method == "GET" and "Last-Event-ID" in request.headers


def raw_path_after(request: HttpRequest, path: str) -> str:
    """The last part of the request's path, which Django gives as ``path``, in its original percent-encoding.

    BadRequest if there is an encoded slash before it: then the part cannot be located.
    """
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined]
    # raw_path is optional in ASGI.
    raw_path = scope.get("raw_path") or quote(request.path, safe="/~!$&'()*+,;=:@").encode()
    raw = raw_path.partition(b"?")[0].decode("latin-1")
    slashes = request.path.removesuffix(path).count("/") if path else raw.count("/") + 1
    rest = "/".join(raw.split("/")[slashes:])
    if unquote(rest) != path:
        raise BadRequest("the path before the upstream's may not contain encoded slashes")
    return rest
