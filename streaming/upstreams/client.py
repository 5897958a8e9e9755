"""What is asked of an upstream: a stream of text, a completion, or a request passed on as it is."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest

from streaming import conf, request_scope
from streaming.formats.assembly import completion_from_events, is_undecided, looks_like_events, looks_like_json
from streaming.formats.errors import without_secrets
from streaming.upstream_settings import UpstreamConfig, read_config
from streaming.upstreams.builtin import builtin_config
from streaming.upstreams.decoding import decoded
from streaming.upstreams.errors import (
    BadPrompt,
    Closed,
    Outside,
    PostOnly,
    Refused,
    Unknown,
    UpstreamError,
)
from streaming.upstreams.event_body import EventBody
from streaming.upstreams.headers import Header, forwarded_headers, relayed_headers, without_challenge
from streaming.upstreams.locations import with_public_locations
from streaming.upstreams.refusals import not_what_was_asked, refusal
from streaming.upstreams.response import UpstreamResponse
from streaming.upstreams.sending import send

logger = logging.getLogger(__name__)

MAX_ERROR_BYTES = 64 * 1024

MAX_WHOLE_BYTES = 10_000_000
"""Of an answer that comes whole."""

WHOLE_SECONDS = 600.0
"""How long an answer that comes whole is waited for, unless its upstream's TIMEOUTS have a total: it is the clients'
own limit."""


def config_of(name: str, request: HttpRequest) -> UpstreamConfig:
    """The upstream of this name. Unknown if there is none."""
    if entry := conf.upstreams().get(name):
        return read_config(name, entry)
    if name == "default":
        return builtin_config(request)
    raise Unknown(name, "does not exist")


Fields = dict[str, Any]


class Guardrail(Protocol):
    """What is done to words that go to an upstream, and to those of its errors."""

    async def moderate_prompt(self, fields: Fields) -> None:
        """Changes the texts of a request's fields, or raises what keeps it from being sent."""

    def clean(self, words: str) -> str: ...


async def connect(name: str, request: HttpRequest, body: bytes, guardrail: Guardrail) -> UpstreamResponse:
    """Asks an upstream for a stream of text, in its own format, as ``/transfer`` does.

    Refused if it answers with anything but an event stream.
    """
    upstream = config_of(name, request)
    if upstream.format == "openai":
        if request.method != "POST":
            raise PostOnly(upstream.name, "takes a prompt, by POST")
        return await complete(upstream, request, _chat_completion_fields(upstream, body), guardrail)
    target = _target(upstream, "", request.META.get("QUERY_STRING", ""))
    passed = forwarded_headers(upstream, request)
    if body and "Content-Type" in request.headers:
        passed.append(("Content-Type", request.headers["Content-Type"]))
    body = await _seen(body, guardrail)
    return await _stream(upstream, str(request.method), target, [*passed, *_FOR_A_STREAM], body, guardrail)


async def _seen(body: bytes, guardrail: Guardrail) -> bytes:
    """A body whose texts the rules have seen: JSON of any kind, or a text. What they leave alone stays as it came."""
    if not body:
        return body
    try:
        value, is_json = json.loads(body), True
        before = json.dumps(value)
    except (ValueError, RecursionError):
        value, is_json = body.decode("utf-8", "replace"), False
        before = json.dumps(value)
    fields = value if isinstance(value, dict) else {"prompt": value}
    await guardrail.moderate_prompt(fields)
    value = value if isinstance(value, dict) else fields["prompt"]
    after = json.dumps(value)
    # Of a field that comes twice the rules have seen the last one; an upstream might read the first.
    if after == before and not (is_json and _has_doubles(body)):
        return body
    return after.encode() if is_json else str(value).encode("utf-8", "replace")


def _has_doubles(body: bytes) -> bool:
    """Whether an object in this JSON names a field twice."""
    doubles = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubles
        fields = dict(pairs)
        doubles = doubles or len(fields) < len(pairs)
        return fields

    json.loads(body, object_pairs_hook=look)
    return doubles


async def complete(
    upstream: UpstreamConfig, request: HttpRequest, fields: Fields, guardrail: Guardrail
) -> UpstreamResponse:
    """Asks an upstream for a chat completion as a stream. What comes whole all the same is made into one.

    Refused if it answers with neither.
    """
    await guardrail.moderate_prompt(fields)
    body, target = _asked(upstream, {**fields, "stream": True})
    headers = [*forwarded_headers(upstream, request), ("Content-Type", "application/json"), *_FOR_A_STREAM]
    return await _stream(upstream, "POST", target, headers, body, guardrail)


async def complete_at_once(upstream: UpstreamConfig, request: HttpRequest, fields: Fields, guardrail: Guardrail) -> str:
    """Asks an upstream for a chat completion that comes whole: its JSON. Refused if it answers with anything else."""
    await guardrail.moderate_prompt(fields)
    body, target = _asked(upstream, {**fields, "stream": False})
    headers = [
        *forwarded_headers(upstream, request),
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    ]
    seconds = upstream.timeouts.total or WHOLE_SECONDS
    patient = replace(upstream, timeouts=replace(upstream.timeouts, idle=seconds, total=seconds))
    headers.append(("Accept-Encoding", "identity"))
    answer = decoded(await send(patient, "POST", target, headers, body, seconds))
    try:
        await _refuse_an_error(upstream, answer, guardrail)
        return _as_completion(upstream, await _whole(upstream, answer), answer.kind, guardrail)
    finally:
        answer.close()


# "identity": a compressed stream has to be decoded before its text can be read, and is late by what it gathers.
_FOR_A_STREAM = [("Accept", "text/event-stream"), ("Accept-Encoding", "identity"), ("Cache-Control", "no-store")]


def _asked(upstream: UpstreamConfig, fields: Fields) -> tuple[bytes, str]:
    path = "" if upstream.url.endswith("/chat/completions") else "chat/completions"
    return json.dumps(fields).encode(), _target(upstream, path, "")


async def _stream(
    upstream: UpstreamConfig, method: str, target: str, headers: list[Header], body: bytes, guardrail: Guardrail
) -> UpstreamResponse:
    """The stream, once its head has come; or after ``head`` seconds without one, so that its reader can be answered."""
    head, idle, total = upstream.timeouts.head, upstream.timeouts.idle, upstream.timeouts.total
    limit = min((seconds for seconds in (idle and max(head, idle), total) if seconds is not None), default=None)
    opened = _opened(upstream, method, target, headers, body, limit, guardrail)
    # What it opens is the late body's, and with that the request's, or whoever's it is then.
    opening = asyncio.create_task(opened, context=request_scope.detached_context())
    late = LateBody(opening)
    try:
        await asyncio.wait({opening}, timeout=None if limit == head else head)
    except asyncio.CancelledError:
        late.close()
        raise
    if opening.done():
        return _taken_over(opening, late)
    return UpstreamResponse(upstream.name, upstream.format, 200, "OK", [], late)


def _taken_over(opening: asyncio.Task[UpstreamResponse], late: LateBody) -> UpstreamResponse:
    """What was opened in time, which from now on is the request's itself."""
    late.detach()
    answer = opening.result()
    request_scope.close_at_end(answer.body.close)
    return answer


async def _opened(
    upstream: UpstreamConfig,
    method: str,
    target: str,
    headers: list[Header],
    body: bytes,
    limit: float | None,
    guardrail: Guardrail,
) -> UpstreamResponse:
    answer = decoded(await send(upstream, method, target, headers, body, limit))
    try:
        await _refuse_an_error(upstream, answer, guardrail)
        return await _as_events(upstream, answer, guardrail)
    except BaseException:
        answer.close()
        raise


async def _as_events(upstream: UpstreamConfig, answer: UpstreamResponse, guardrail: Guardrail) -> UpstreamResponse:
    """The response as an event stream. Servers of the OpenAI kind mislabel theirs, or answer whole: what a body is
    is seen in its first bytes. Refused if it is neither."""
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
    sentence = f"answered with {answer.kind or 'no type'}, not with an event stream"
    raise Refused(upstream.name, 502, guardrail.clean(without_secrets(sentence, upstream.secrets)))


def _limit(upstream: UpstreamConfig) -> Callable[[bytes | bytearray], None]:
    """Refused if a body that comes whole is longer than it may be."""

    def check(body: bytes | bytearray) -> None:
        if len(body) > MAX_WHOLE_BYTES:
            raise Refused(upstream.name, 502, f"answered with more than {MAX_WHOLE_BYTES:,} bytes at once")

    return check


class LateBody:
    """The body of an upstream that has not answered yet."""

    def __init__(self, opening: asyncio.Task[UpstreamResponse]) -> None:
        self._opening = opening
        request_scope.close_at_end(self.close)

    async def read(self) -> bytes:
        # Shielded: a wait that is broken off, for a heartbeat, asks the upstream nothing anew.
        answer = self._opening.result() if self._opening.done() else await asyncio.shield(self._opening)
        return await answer.read()

    def close(self, *, linger: bool = False) -> None:
        self.detach()
        self._opening.cancel()
        self._opening.add_done_callback(partial(_close_what_came, linger=linger))

    def detach(self) -> None:
        request_scope.release(self.close)


def _close_what_came(opening: asyncio.Task[UpstreamResponse], linger: bool) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close(linger=linger)


class CompleteBody:
    """A body that has come already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def close(self, *, linger: bool = False) -> None:
        """Its connection was closed when it had come."""

    def detach(self) -> None:
        """There is nothing to detach."""


async def _whole(upstream: UpstreamConfig, answer: UpstreamResponse) -> bytes:
    body = bytearray()
    while chunk := await answer.read():
        body += chunk
        if len(body) > MAX_WHOLE_BYTES:
            raise Refused(upstream.name, 502, f"answered with more than {MAX_WHOLE_BYTES:,} bytes at once")
    return bytes(body)


def _as_completion(upstream: UpstreamConfig, body: bytes, kind: str, guardrail: Guardrail) -> str:
    """The JSON of a chat completion, of which the chunks may have come instead."""
    if looks_like_events(body) and not is_undecided(body):
        body = json.dumps(completion_from_events(body)).encode()
    if not looks_like_json(body):
        sentence = f"answered with {kind or 'no type'}, not with JSON"
        raise Refused(upstream.name, 502, guardrail.clean(without_secrets(sentence, upstream.secrets)))
    if b'"choices"' not in body:
        sentence = "answered with JSON that is no chat completion"
        raise not_what_was_asked(upstream.name, sentence, body, "application/json", guardrail.clean, upstream.secrets)
    return body.decode("utf-8", "replace")


def _as_stream(upstream: UpstreamConfig, body: bytes, guardrail: Guardrail) -> bytes:
    """A chat completion that came whole, as the stream of that one message."""
    try:
        fields = json.loads(body)
        is_completion = isinstance(fields["choices"], list)
    except (ValueError, RecursionError, LookupError, TypeError):
        is_completion = False
    if not is_completion:
        sentence = "answered with JSON that is no chat completion"
        raise not_what_was_asked(upstream.name, sentence, body, "application/json", guardrail.clean, upstream.secrets)
    line = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"data: " + line + b"\n\ndata: [DONE]\n\n"


async def relay(name: str, path: str, request: HttpRequest, body: AsyncIterable[bytes] | bytes) -> UpstreamResponse:
    """Passes a request on byte for byte, as ``/proxy`` does: its method, path, query, headers and body."""
    upstream = config_of(name, request)
    await _refuse_unless_open(upstream, request)
    target = _target(upstream, path, request.META.get("QUERY_STRING", ""))
    headers = relayed_headers(upstream, request)
    answer = await send(upstream, str(request.method), target, headers, body, upstream.timeouts.head)
    if not 200 <= answer.status <= 599:
        answer.close()
        raise Refused(upstream.name, 502, f"answered with the status {answer.status}, which is no final answer")
    answered = with_public_locations(upstream, target, without_challenge(upstream, answer.headers))
    return replace(answer, headers=answered)


async def _refuse_unless_open(upstream: UpstreamConfig, request: HttpRequest) -> None:
    """``/proxy`` moderates nothing, and asks with the operator's key: so it is open where the operator says so."""
    if upstream.is_open_to_proxy:
        return
    hint = f"STREAMING_UPSTREAMS[{upstream.name!r}] would need 'PROXY': True"
    logger.info("the upstream %r was asked for through /proxy, to which it is closed: %s", upstream.name, hint)
    user = await request.auser() if hasattr(request, "auser") else None
    raise Closed(upstream.name, "is not open to /proxy" + (f": {hint}" if user and user.is_staff else ""))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")  # though Python would take it


def _chat_completion_fields(upstream: UpstreamConfig, body: bytes) -> Fields:
    """A chat completion request made from ``{"prompt": ...}`` or ``{"messages": [...]}``, other fields kept."""
    try:
        fields = json.loads(body or b"{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadPrompt(upstream.name, "takes JSON, which the body is not") from error
    if not isinstance(fields, dict):
        raise BadPrompt(upstream.name, "takes a JSON object, which the body is not")
    prompt = fields.pop("prompt", None)
    if "messages" not in fields and isinstance(prompt, str) and prompt:
        fields["messages"] = [{"role": "user", "content": prompt}]
    if not isinstance(fields.get("messages"), list):
        raise BadPrompt(upstream.name, "takes a text as prompt, or a list as messages; there is neither")
    model = {"model": upstream.models[0]} if upstream.models else {}
    return {**model, **fields}


def _target(upstream: UpstreamConfig, path: str, query: str) -> str:
    """The raw path and query to ask the upstream for: its URL's path, and below it what is given. Quoted as it is."""
    if leaves_its_base(path):
        raise Outside(upstream.name, "is not asked for a path outside its URL")
    base = "/" + upstream.url.partition("://")[2].partition("/")[2]
    whole = base.rstrip("/") + f"/{path}" if path else base
    return f"{whole}?{query}" if query else whole


def leaves_its_base(path: str) -> bool:
    """Whether a raw path has a ``..`` in it, however often it was quoted and whatever slash is used.

    To some servers (Tomcat) ``..;name`` is one too: what follows ``;`` is a parameter (RFC 3986, section 3.3).
    """
    raw, before = path.encode(), b""
    while raw != before:
        raw, before = unquote_to_bytes(raw), raw
    segments = (segment.partition(b";")[0] for segment in re.split(rb"[/\\]", raw))
    return b".." in segments or any(byte < 0x20 for byte in raw)


async def _refuse_an_error(upstream: UpstreamConfig, answer: UpstreamResponse, guardrail: Guardrail) -> None:
    if answer.status == 200:
        return
    body = await _beginning(answer)
    raise refusal(upstream.name, answer.status, answer.reason, answer.headers, body, guardrail.clean, upstream.secrets)


async def _beginning(answer: UpstreamResponse) -> bytes:
    """An error's body; none if it is longer than an error is, or cannot be read: the status is an error by itself."""
    body = bytearray()
    with suppress(UpstreamError):
        while chunk := await answer.read():
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                return b""
        return bytes(body)
    return b""
