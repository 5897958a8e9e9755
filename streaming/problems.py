"""Turns errors into what the client gets: an HTTP response, or the error event of a stream that has begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import JsonResponse
from django.urls import Resolver404, resolve

from streaming import sse, upstreams
from streaming.errors import BadRequest, Denied, PromptBlocked, PromptTooDeep, PromptTooLong
from streaming.formats import Failure, FormatError
from streaming.formats.errors import NO_FACTS, ErrorFacts, client_status
from streaming.journal import Gap, JournalError, UnknownStream
from streaming.moderation import RuleError


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it, in no dialect yet."""

    status: HTTPStatus
    detail: str
    code: str | None = None
    """For programs: one of OpenAI's error codes."""
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    """What is wrong with each field of the request."""
    headers: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    """Further members of an RFC 9457 problem."""
    facts: ErrorFacts = NO_FACTS
    """What an upstream said about the error, already moderated."""

    @property
    def failure(self) -> Failure:
        """The same for the error event of a stream."""
        return Failure(self.status.value, self.status.phrase, self.detail, self.facts)


Renderer = Callable[[Problem], JsonResponse]
"""Writes a problem in the error format that the clients of a view expect."""


def problem_json(problem: Problem) -> JsonResponse:
    """``application/problem+json`` (RFC 9457)."""
    code = problem.code if problem.facts.code is None else problem.facts.code
    optional = {"code": code, "param": problem.facts.param, "errors": dict(problem.errors) or None}
    return JsonResponse(
        {"status": problem.status.value, "title": problem.status.phrase, "detail": problem.detail}
        | {key: value for key, value in optional.items() if value is not None}
        | dict(problem.extensions),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def openai_error(problem: Problem) -> JsonResponse:
    """OpenAI's error object, as its client libraries expect it (https://platform.openai.com/docs/guides/error-codes)."""
    param = next(iter(problem.errors)) if len(problem.errors) == 1 else None
    error = {"message": problem.detail, "type": _openai_type(problem.status), "param": param, "code": problem.code}
    return JsonResponse(
        {"error": error | problem.facts.public()},
        status=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _openai_type(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"


def renderer_at(path: str) -> Renderer:
    """The renderer of the view at this path (without the script prefix), for errors that occur outside the view."""
    try:
        view = resolve(path).func
    except Resolver404:
        return problem_json
    renderer: Renderer = getattr(view, "errors", problem_json)
    return renderer


EXPECTED = (
    BadRequest,
    Denied,
    PromptBlocked,
    PromptTooDeep,
    PromptTooLong,
    RuleError,
    ImproperlyConfigured,
    JournalError,
    upstreams.UpstreamError,
    sse.StreamError,
    FormatError,
)
"""The errors that ``problem_of`` knows. Any other is a bug."""


def problem_of(error: Exception) -> Problem:
    """What the client receives about an error. The details of an unexpected one stay in the log."""
    match error:
        case BadRequest():
            return Problem(error.status, str(error), error.code, error.errors)
        case Denied():
            return Problem(error.status, str(error), error.code, headers=error.headers, extensions=error.extensions)
        case PromptTooLong():
            return Problem(HTTPStatus.BAD_REQUEST, str(error), "context_length_exceeded")
        case PromptBlocked():
            return Problem(HTTPStatus.BAD_REQUEST, str(error), "content_filter")
        case PromptTooDeep():
            return Problem(HTTPStatus.BAD_REQUEST, "the JSON of the body is nested too deeply")
        case RuleError():
            # Without its rules a stream is not relayed at all.
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the moderation rules cannot be applied")
        case ImproperlyConfigured():
            detail = "the site's settings are wrong: 'manage.py check' says which"
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)
        case JournalError():
            return _problem_of_journal(error)
        case upstreams.UpstreamError():
            return _problem_of_upstream(error)
        case sse.StreamError() | FormatError():
            return Problem(HTTPStatus.BAD_GATEWAY, str(error))
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; see its log")


def _problem_of_journal(error: JournalError) -> Problem:
    match error:
        case UnknownStream():
            return Problem(HTTPStatus.NOT_FOUND, str(error))
        case Gap():
            return Problem(HTTPStatus.GONE, str(error))
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "1"})


def _problem_of_upstream(error: upstreams.UpstreamError) -> Problem:
    match error:
        case upstreams.Silent():
            return Problem(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        case upstreams.Closed():
            return Problem(HTTPStatus.FORBIDDEN, str(error))
        case upstreams.Unknown():
            return Problem(HTTPStatus.NOT_FOUND, str(error))
        case upstreams.Outside() | upstreams.BadPrompt():
            return Problem(HTTPStatus.BAD_REQUEST, str(error))
        case upstreams.UnreadablePrompt():
            return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error))
        case upstreams.PostOnly():
            return Problem(HTTPStatus.METHOD_NOT_ALLOWED, str(error), headers={"Allow": "POST"})
        case upstreams.Busy():
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "1"})
        case upstreams.Refused(status=status, facts=facts, retry_after=retry_after):
            headers = {"Retry-After": retry_after} if retry_after else {}
            return Problem(HTTPStatus(client_status(status, facts)), str(error), headers=headers, facts=facts)
    return Problem(HTTPStatus.BAD_GATEWAY, str(error))
