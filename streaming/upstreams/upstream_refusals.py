"""Turns an upstream's error response into an error for the client: status, moderated message, Retry-After."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime

from streaming.formats.errors import NO_CREDENTIALS, NO_FACTS, ErrorFacts, read_error_body, without_secrets
from streaming.upstreams.errors import Refused
from streaming.upstreams.request import Header

Clean = Callable[[str], str]
"""Moderates an error's text."""


def refusal(
    name: str,
    status: int,
    reason: str,
    headers: Iterable[Header],
    body: bytes,
    clean: Clean,
    secrets: Iterable[str] = (),
) -> Refused:
    """The error for a response with this status. Its message and reason phrase are moderated.

    Nothing of a 401 or 403 is quoted: it concerns this site's credentials, and may contain them. ``secrets`` are these
    credentials: they are removed from all other errors too.
    """
    fields = {key.lower(): value for key, value in headers}
    facts = read_error_body(body, media_type(fields.get("content-type", "")))
    if status in (401, 403) or (facts and facts.is_authentication):
        return no_credentials(name, status)
    sentence = clean(without_secrets(f"answered {status} {reason}".rstrip(), secrets))
    return Refused(name, status, *_with_facts(sentence, facts, clean, secrets), retry_after=retry_after(fields))


def not_what_was_asked(
    name: str, sentence: str, body: bytes, kind: str, clean: Clean, secrets: Iterable[str] = ()
) -> Refused:
    """The error for a response with status 200 that contains an error, or is unusable."""
    facts = read_error_body(body, kind)
    if facts and facts.is_authentication:
        return no_credentials(name, facts.status or 401)
    status = facts.status if facts and facts.status else 502
    return Refused(name, status, *_with_facts(clean(sentence), facts, clean, secrets))


def no_credentials(name: str, status: int) -> Refused:
    return Refused(name, status, f"answered {status}: it did not take this site's credentials", NO_CREDENTIALS)


def _with_facts(
    sentence: str, facts: ErrorFacts | None, clean: Clean, secrets: Iterable[str]
) -> tuple[str, ErrorFacts]:
    if facts is None:
        return sentence, NO_FACTS
    facts = facts.without(secrets).moderated(clean)
    return (f"{sentence}: {facts.message}" if facts.message else sentence), facts


def media_type(value: str) -> str:
    """A Content-Type without its parameters."""
    return value.partition(";")[0].strip().lower()


_LONGEST_WAIT = 31_536_000
"""Seconds: a year."""


def retry_after(fields: dict[str, str]) -> str:
    """``Retry-After`` (RFC 9110, section 10.2.3): whole seconds or a date; empty without one.

    LLM providers also send decimals, and milliseconds in ``Retry-After-Ms``. Both are rounded up to seconds.
    """
    value = fields.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return _whole_seconds(float(value))
    if value:
        try:
            return value if parsedate_to_datetime(value) and re.fullmatch(r"[A-Za-z0-9,:+ -]{10,40}", value) else ""
        except (ValueError, OverflowError):  # OverflowError if the time zone is out of range
            return ""
    milliseconds = fields.get("retry-after-ms", "").strip()
    return _whole_seconds(float(milliseconds) / 1000) if re.fullmatch(r"\d{1,9}", milliseconds, re.ASCII) else ""


def _whole_seconds(seconds: float) -> str:
    return str(min(math.ceil(seconds), _LONGEST_WAIT))
