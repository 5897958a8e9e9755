"""The rendering of errors: the status of each, in the format of each API."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import JsonResponse

from streaming import sse, upstreams
from streaming.errors import BadRequest, Denied, PromptBlocked, PromptTooDeep
from streaming.formats import Failure, FormatError
from streaming.formats.errors import ErrorFacts
from streaming.journal import Gap, StoreUnavailable, UnknownStream
from streaming.moderation import Rule, RuleError
from streaming.problems import Renderer, openai_error, problem_json, problem_of, renderer_at

THROTTLED = upstreams.Refused("x", 429, "said no", ErrorFacts(code="slow_down", type="rate", param="n"), "7")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (upstreams.Unknown("x", "."), 404),
        (upstreams.Outside("x", "."), 400),
        (upstreams.BadPrompt("x", "."), 400),
        (upstreams.UnreadablePrompt("x", "."), 415),
        (upstreams.PostOnly("x", "."), 405),
        (upstreams.Unreachable("x", "."), 502),
        (upstreams.Broken("x", "."), 502),
        (upstreams.Silent("x", "."), 504),
        (upstreams.Refused("x", 429, "."), 429),
        (upstreams.Refused("x", 422, "."), 422),
        (upstreams.Refused("x", 401, "."), 502),
        (upstreams.Refused("x", 404, "."), 502),
        (upstreams.Refused("x", 404, ".", ErrorFacts("no such model")), 404),
        (upstreams.Refused("x", 500, "."), 502),
        (upstreams.Refused("x", 503, "."), 503),
        (upstreams.Refused("x", 529, "."), 503),
        (upstreams.Refused("x", 524, "."), 504),
        (upstreams.Busy("x", "."), 503),
        (upstreams.Closed("x", "."), 403),
        (FormatError("."), 502),
        (sse.StreamError("."), 502),
        (BadRequest("."), 400),
        (BadRequest(".", HTTPStatus.REQUEST_ENTITY_TOO_LARGE), 413),
        (Denied(HTTPStatus.FORBIDDEN, "."), 403),
        (PromptBlocked(), 400),
        (PromptTooDeep(), 400),
        (RuleError(Rule("1", "(", kind="regex"), "."), 503),
        (ImproperlyConfigured("."), 500),
        (UnknownStream("."), 404),
        (Gap("."), 410),
        (StoreUnavailable("."), 503),
        (KeyError("."), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_a_status(error: Exception, status: int) -> None:
    assert problem_of(error).status == status


def test_an_unexpected_error_reveals_nothing() -> None:
    assert "secret" not in problem_of(KeyError("secret")).detail


def test_an_error_event_carries_the_same_as_the_response() -> None:
    problem = problem_of(THROTTLED)

    assert problem.failure == Failure(429, "Too Many Requests", problem.detail, THROTTLED.facts)


def content(response: JsonResponse) -> object:
    return json.loads(response.content)


class TestProblemJson:
    def test_has_the_members_of_rfc_9457(self) -> None:
        error = Denied(HTTPStatus.UNAUTHORIZED, "who are you?", login="/login/", headers={"WWW-Authenticate": "Bearer"})

        response = problem_json(problem_of(error))

        assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
        assert (response["WWW-Authenticate"], response["Cache-Control"]) == ("Bearer", "no-store")
        assert content(response) == {
            "status": 401,
            "title": "Unauthorized",
            "detail": "who are you?",
            "login": "/login/",
        }

    def test_names_the_wrong_fields(self) -> None:
        body = content(problem_json(problem_of(BadRequest("a: no", errors={"a": ["no"]}, code="invalid_value"))))

        assert body == {
            "status": 400,
            "title": "Bad Request",
            "detail": "a: no",
            "errors": {"a": ["no"]},
            "code": "invalid_value",
        }

    def test_contains_the_message_of_the_upstream(self) -> None:
        response = problem_json(problem_of(THROTTLED))

        assert response["Retry-After"] == "7"
        assert content(response) == {
            "status": 429,
            "title": "Too Many Requests",
            "detail": "the upstream 'x' said no",
            "code": "slow_down",
            "param": "n",
        }


class TestOpenAIError:
    def test_names_the_one_wrong_field(self) -> None:
        error = BadRequest("a: no", errors={"a": ["no"]}, code="invalid_value")

        expected = {"message": "a: no", "type": "invalid_request_error", "param": "a", "code": "invalid_value"}
        assert content(openai_error(problem_of(error))) == {"error": expected}

    def test_says_that_a_filter_blocked_the_prompt(self) -> None:
        response = openai_error(problem_of(PromptBlocked("violence", "Let us stop.")))

        message = "the prompt was blocked by a moderation rule (violence): Let us stop."
        expected = {"message": message, "type": "invalid_request_error", "param": None, "code": "content_filter"}
        assert (response.status_code, content(response)) == (400, {"error": expected})

    def test_contains_the_message_of_the_upstream(self) -> None:
        expected = {"message": "the upstream 'x' said no", "type": "rate", "param": "n", "code": "slow_down"}
        assert content(openai_error(problem_of(THROTTLED))) == {"error": expected}


@pytest.mark.parametrize(
    ("path", "renderer"),
    [
        ("/v1/chat/completions", openai_error),
        ("/v1/models", openai_error),
        ("/v1/nothing/here", openai_error),
        ("/v1", openai_error),
        ("/transfer", problem_json),
        ("/admin/", problem_json),
        ("/nothing/here", problem_json),
        ("/v12", problem_json),
    ],
)
def test_an_error_outside_a_view_has_the_format_of_its_view(path: str, renderer: Renderer) -> None:
    assert renderer_at(path) is renderer
