"""What an upstream's error says, in any shape: OpenAI's, Google's, FastAPI's, vLLM's, RFC 9457's, or plain text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from streaming.formats.text_fields import is_field, is_name

MAX_MESSAGE_CHARS = 500
MAX_FACTS_CHARS = 4096
"""Of an error's further fields, as JSON; if they are longer, they do not pass."""

AUTHENTICATION = "upstream_authentication_error"
"""The code of what only the operator can mend: the upstream did not take this site's key."""

_OWN_FIELDS = ("message", "type", "param", "code")
_AUTHENTICATION_WORDS = frozenset(
    {"invalid_api_key", "authentication_error", "permission_error", "unauthorized", "unauthenticated", "forbidden"}
    | {
        "permission_denied",
        "invalid_authentication",
        "access_denied",
        "invalid_authentication_error",
        "authorizationerror",
    }
)


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """An error of an upstream. ``status`` is an HTTP status that its body names; ``more`` has its further fields.

    ``message`` is as long as it came until ``without`` has looked for credentials in it.
    """

    message: str = ""
    code: str | int | None = None
    type: str | None = None
    param: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None

    @property
    def is_authentication(self) -> bool:
        """Whether the upstream rejected this site's key. Its text may contain that key, so it is never shown."""
        words = {str(self.code).lower(), str(self.type).lower(), str(self.more.get("status", "")).lower()}
        return self.status in (401, 403) or not words.isdisjoint(_AUTHENTICATION_WORDS)

    @property
    def says_something(self) -> bool:
        return bool(self.message or self.code is not None or self.type)

    def without(self, secrets: Iterable[str]) -> ErrorFacts:
        """The same without the operator's credentials, wherever they stand; and no longer than may be shown."""
        secrets = tuple(secrets)
        facts = {name: getattr(self, name) for name in ("code", "type", "param", "more")}
        cleaned = _cleaned(facts, lambda words: without_secrets(words, secrets)) if secrets else facts
        return replace(self, message=shortened(self.message, secrets), **cleaned)

    def moderated(self, clean: Callable[[str], str]) -> ErrorFacts:
        """The facts with their texts moderated. Identifiers are kept."""
        return replace(
            self,
            message=clean(self.message),
            code=_shown(self.code, clean),
            type=_shown(self.type, clean),
            param=_shown(self.param, clean),
            more=_cleaned(self.more, clean),
        )

    def public(self) -> dict[str, Any]:
        """The known fields except the message, for an error response."""
        named = {"code": self.code, "type": self.type, "param": self.param}
        return {**self.more, **{key: value for key, value in named.items() if value is not None}}


def without_secrets(words: str, secrets: Iterable[str]) -> str:
    """An upstream's words without the operator's credentials: error pages like to show the request they are about."""
    # The longest first: where one secret contains another, nothing of it is left over.
    for secret in sorted(secrets, key=len, reverse=True):
        words = re.sub(re.escape(secret), HIDDEN, words, flags=re.IGNORECASE)
    return words


def shortened(words: str, secrets: Iterable[str]) -> str:
    """An upstream's words as far as they are shown. Cut last: of a secret across the edge the beginning would stay."""
    return without_secrets(words, secrets)[:MAX_MESSAGE_CHARS]


HIDDEN = "[hidden]"
"""What stands in the place of a secret."""

NO_FACTS = ErrorFacts()

NO_CREDENTIALS = ErrorFacts(code=AUTHENTICATION, type="server_error", status=401)
"""The facts that are shown of an error about this site's key."""


def _shown(value: Any, clean: Callable[[str], str]) -> Any:
    return value if not isinstance(value, str) or is_name(value) else clean(value)


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _cleaned(inner, clean) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, clean) for inner in value]
    return clean(value) if isinstance(value, str) else value


def read_error(value: Any) -> ErrorFacts | None:
    """The error in a JSON value; None without one."""
    if isinstance(value, list):
        return next((facts for item in value[:8] if isinstance(item, dict) and (facts := read_error(item))), None)
    if not isinstance(value, dict):
        return None
    for key in ("error", "errors"):
        if (error := value.get(key)) and (facts := _facts_of(error, value)).says_something:
            return facts
    if isinstance(base := value.get("base_resp"), dict) and base.get("status_code"):  # MiniMax
        return _facts_of({"message": base.get("status_msg"), "code": base["status_code"]}, value)
    is_error = (
        value.get("object") == "error" or value.get("type") == "error" or "error_code" in value or "detail" in value
    )
    if is_error or (_message_in(value) and any(key in value for key in ("code", "status", "statusCode", "title"))):
        return _facts_of(value, {})
    return None


def _facts_of(error: Any, beside: dict[str, Any]) -> ErrorFacts:
    if isinstance(error, list):
        error = next((item for item in error if isinstance(item, dict | str) and item), {})
    if not isinstance(error, dict):
        facts = {
            key: value for key, value in beside.items() if key in ("code", "type", "param", "status", "statusCode")
        }
        error = {**facts, "message": error if isinstance(error, str) else ""}
    elif isinstance(inner := error.get("error"), dict):
        error = {**error, **inner}
    code = error.get("code", error.get("error_code", beside.get("code")))
    kind, param = error.get("type"), error.get("param")
    known = {*_OWN_FIELDS, "error", "error_code", "error_msg", "errors", "detail", "object", "error_message"}
    return ErrorFacts(
        _message_in(error),
        code if isinstance(code, str | int) and not isinstance(code, bool) and _is_short(code) else None,
        kind if isinstance(kind, str) and _is_short(kind) else None,
        param if isinstance(param, str) and _is_short(param) else None,
        _bounded({key: inner for key, inner in error.items() if key not in known}),
        _status_in(code, error.get("status"), error.get("statusCode"), beside.get("status"), kind),
    )


def _is_short(value: str | int) -> bool:
    return len(value) <= MAX_MESSAGE_CHARS if isinstance(value, str) else abs(value) < 1 << 53


def _message_in(error: Mapping[str, Any]) -> str:
    for key in ("message", "error_msg", "error_message", "detail", "msg", "title"):
        value = error.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list | dict) and value:  # FastAPI: a list of invalid fields and the reasons
            wrong = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
            sentences = [f"{_where(item)}{item.get('msg') or item.get('message') or ''}" for item in wrong[:8]]
            return "; ".join(filter(None, sentences))
    return ""


def _where(item: Mapping[str, Any]) -> str:
    location = item.get("loc")
    return ".".join(map(str, location[:8])) + ": " if isinstance(location, list) and location else ""


_STATUS_WORDS = {"rate_limit_error": 429, "rate_limit_exceeded": 429, "overloaded_error": 503, "not_found_error": 404}


def _status_in(*values: Any) -> int | None:
    for value in values:
        if isinstance(value, str):
            value = int(value) if re.fullmatch(r"[45]\d\d", value) else _STATUS_WORDS.get(value)
        if type(value) is int and 400 <= value <= 599:
            return value
    return None


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    kept = _plain(fields, depth=0)
    return kept if len(json.dumps(kept)) <= MAX_FACTS_CHARS else {}


def _plain(value: Any, depth: int) -> Any:
    """Without values that JSON cannot represent, and keys that are not identifiers."""
    if isinstance(value, dict):
        return {key: _plain(inner, depth + 1) for key, inner in value.items() if is_field(key)} if depth < 8 else None
    if isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value[:64]] if depth < 8 else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_error_body(body: bytes, kind: str) -> ErrorFacts | None:
    """The error in a response body of this media type; None without one.

    It may be JSON, JSON in an event stream (as data, or as a line ``error: {...}``), or text. HTML is ignored: such
    pages come from proxies.
    """
    text = body.decode("utf-8", "replace").strip()
    if facts := _read_text(text):
        return facts
    lines = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(("data:", "error:"))]
    for line in lines:
        if facts := _read_text(line):
            return facts
    if kind in ("", "text/plain", "application/octet-stream") and text and not text.startswith("<"):
        return ErrorFacts(" ".join((lines[0] if lines else text).split()))
    return None


def _read_text(text: str) -> ErrorFacts | None:
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return ErrorFacts(value) if isinstance(value, str) else read_error(value)


def client_status(status: int, facts: ErrorFacts | None) -> int:
    """The status for the client: the upstream's if the client can act on it, otherwise a gateway error.

    529 is "overloaded" for Anthropic and Cloudflare. A 404 with an explanation is about the model; one without is
    about the operator's URL.
    """
    if facts and facts.is_authentication:
        return 502
    if status in (400, 409, 413, 415, 422, 429):
        return status
    if status == 404 and facts and facts.says_something:
        return 404
    if status in (503, 529):
        return 503
    return 504 if status in (408, 504, 524) else 502
