"""What readers send, checked in words that name what is wrong: parameters, bodies, paths."""

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
from streaming.sources import DOCUMENTS, Playback

BODY_IN_SCOPE = "streaming.body"
"""Where streaming/request_body.py leaves a body that is still arriving: an async iterable of bytes."""

READ_BODY_IN_SCOPE = "streaming.read_body"
"""Where it is left once it was read whole."""


class PlaybackForm(forms.Form):
    """The parameters of ``/stream``; each may be left out."""

    document = forms.ChoiceField(choices=[(name, name) for name in DOCUMENTS], required=False)
    mode = forms.ChoiceField(choices=[("delta", "delta"), ("full", "full")], required=False)
    interval = forms.FloatField(min_value=0, max_value=60, required=False)
    step = forms.IntegerField(min_value=1, max_value=10_000, required=False)
    seed = forms.IntegerField(required=False)
    format = forms.ChoiceField(choices=[("native", "native"), ("openai", "openai")], required=False)

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        if fields.get("mode") == "full" and fields.get("format") == "openai":
            self.add_error("mode", "Chat completion chunks are deltas: mode=full goes with format=native only.")
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
    """The form as the query fills it, and on POST a JSON object too. BadRequest names what is wrong."""
    return filled_playback({**request.GET.dict(), **_json_fields(request)})


def filled_playback(fields: dict[str, str]) -> PlaybackForm:
    """The form, filled and found right. BadRequest names what is wrong."""
    form = PlaybackForm(fields)
    if not form.is_valid():
        errors = {name: [str(message) for message in messages] for name, messages in form.errors.items()}
        raise BadRequest("; ".join(f"{name}: {' '.join(said)}" for name, said in errors.items()), errors=errors)
    return form


def _json_fields(request: HttpRequest) -> dict[str, str]:
    if request.method != "POST" or not (body := read_body(request)):
        return {}
    if request.content_type != "application/json":
        detail = f"the body is {request.content_type or 'of no type'}; it has to be application/json"
        raise BadRequest(detail, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        fields = json.loads(body)
        if isinstance(fields, dict):
            return as_query(fields)
    except (ValueError, RecursionError) as error:  # too deep: to be read, or to be written as text
        raise BadRequest("the body is not JSON") from error
    raise BadRequest("the body is not a JSON object")


def as_query(fields: dict[str, Any]) -> dict[str, str]:
    """As text, as in a query: a form then knows one kind of input. null is a field left out."""
    return {key: _as_text(value) for key, value in fields.items() if value is not None}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request for a chat completion, as far as this site has to know it."""

    fields: dict[str, Any]
    model: str
    streams: bool
    counts_usage: bool
    choices: int


def read_completion_request(request: HttpRequest) -> CompletionRequest:
    """What OpenAI's clients send. BadRequest names what is wrong."""
    body = read_body(request)
    try:
        fields = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise BadRequest("the body is not a JSON object")
    for key, (sentence, is_right) in _COMPLETION_FIELDS.items():
        value = fields.get(key)
        if not is_right(value):
            raise BadRequest(f"{key} {sentence}", errors={key: [sentence]}, code=_code_of(value))
    options = fields.get("stream_options") or {}
    counts = options.get("include_usage") is True
    return CompletionRequest(fields, fields["model"], bool(fields.get("stream")), counts, fields.get("n") or 1)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")  # though Python would take it


def _code_of(value: object) -> str:
    return "missing_required_parameter" if value is None else "invalid_value"


def _are_messages(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(message, dict) for message in value)


_COMPLETION_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("has to be the name of one of /v1/models", lambda value: isinstance(value, str) and value != ""),
    "messages": ("has to be a list of messages, one at least", _are_messages),
    "stream": ("has to be true or false", lambda value: value is None or isinstance(value, bool)),
    "stream_options": ("has to be an object", lambda value: value is None or isinstance(value, dict)),
    "n": ("has to be a number from 1 to 128", lambda value: value is None or (type(value) is int and 0 < value < 129)),
    # Both would tell a text otherwise than as the text that the rules see.
    "logprobs": ("are not given here: they would show what a rule masks", lambda value: not value),
    "top_logprobs": ("are not given here: they would show what a rule masks", lambda value: not value),
    "modalities": ("may hold text only here: sound cannot be moderated", lambda value: value in (None, [], ["text"])),
}


async def collect_body(request: HttpRequest) -> None:
    """Reads the body, for ``read_body``. BadRequest if it is too long or too slow."""
    if body := request.scope.get(BODY_IN_SCOPE):  # type: ignore[attr-defined]
        request.scope[READ_BODY_IN_SCOPE] = await body.read()  # type: ignore[attr-defined]


def refusal_of_body(request: HttpRequest) -> BadRequest | None:
    """Why the body was refused while it was passed on; None if it was not."""
    refusal: BadRequest | None = getattr(request.scope.get(BODY_IN_SCOPE), "refusal", None)  # type: ignore[attr-defined]
    return refusal


def read_body(request: HttpRequest) -> bytes:
    """The whole body; ``request.body`` would fail at a limit made for forms."""
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined]
    if READ_BODY_IN_SCOPE not in scope:
        scope[READ_BODY_IN_SCOPE] = request.read()
    return bytes(scope[READ_BODY_IN_SCOPE])


def arriving_body(request: HttpRequest) -> AsyncIterable[bytes] | bytes:
    """The body as it arrives; none if the request has none."""
    body: AsyncIterable[bytes] | bytes = request.scope.get(BODY_IN_SCOPE, b"")  # type: ignore[attr-defined]
    return body


def is_a_return(request: HttpRequest) -> bool:
    """Whether an EventSource comes back. It would start, and pay for, the same stream anew, for ever."""
    return request.method == "GET" and "Last-Event-ID" in request.headers


def raw_path_after(request: HttpRequest, path: str) -> str:
    """The last part of the request's path, ``path`` to Django, as it was quoted when it came.

    BadRequest if a slash before it was quoted, so that the two do not say the same.
    """
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined]
    # A server may leave the raw path out; then it is quoted anew.
    raw_path = scope.get("raw_path") or quote(request.path, safe="/~!$&'()*+,;=:@").encode()
    raw = raw_path.partition(b"?")[0].decode("latin-1")
    slashes = request.path.removesuffix(path).count("/") if path else raw.count("/") + 1
    rest = "/".join(raw.split("/")[slashes:])
    if unquote(rest) != path:
        raise BadRequest("the path before the upstream's own may not have quoted slashes in it")
    return rest
