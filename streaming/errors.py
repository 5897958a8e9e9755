"""Why a request is refused: one class for each situation. ``problems.py`` turns them into responses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class BadRequest(ValueError):
    """The request is malformed. ``errors`` names each field that is wrong.

    ``code`` is one of OpenAI's error codes, for programs.
    """

    def __init__(
        self,
        detail: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        errors: dict[str, list[str]] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors or {}
        self.code = code


class Denied(Exception):
    """The caller may not make this request. ``extensions`` are further members of the problem (RFC 9457, 3.2)."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.extensions = extensions


class GoingDown(Denied):
    """The server process goes down before the request has a response. Another process, or the next, can answer it."""

    def __init__(self) -> None:
        detail = "the server is being restarted: send the request again"
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"})

    def for_log(self) -> str:
        return "the server went down"


class LimitReached(Denied):
    """The caller, or all callers together, use too much: ``limit`` names the limit, for operators.

    ``retry_after`` is in seconds; 0 if nobody knows when it would pass.
    """

    def __init__(
        self,
        limit: str,
        detail: str,
        *,
        status: HTTPStatus = HTTPStatus.TOO_MANY_REQUESTS,
        code: str = "rate_limit_exceeded",
        retry_after: float = 0,
    ) -> None:
        seconds = max(math.ceil(retry_after), 1)
        super().__init__(status, detail, code=code, headers={"Retry-After": str(seconds)})
        self.limit = limit


class PromptTooLong(Exception):
    """The prompt has more characters than ``limit``."""

    def __init__(self, chars: int, limit: int) -> None:
        super().__init__(f"the prompt has {chars:,} characters; at most {limit:,} are allowed")


class PromptBlocked(Exception):
    """A moderation rule blocks the prompt. ``notice`` is the rule's message to the user; both may be empty."""

    def __init__(self, category: str = "", notice: str = "") -> None:
        message = "the prompt was blocked by a moderation rule"
        super().__init__(message + (f" ({category})" if category else "") + (f": {notice}" if notice else ""))
        self.category = category
        self.notice = notice


class PromptTooDeep(Exception):
    """The prompt's JSON is nested too deeply to be moderated."""
