"""Log records on one line each: control characters from untrusted input are escaped (log injection, CWE-117).

Stream ids are shortened: the id of an anonymous stream grants access to it.
"""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_STREAM_ID = re.compile(r"([0-9a-fA-F]{8})[0-9a-fA-F]{24}")


def shorten_ids(text: str) -> str:
    """Keeps the first 8 of the 32 hexadecimal digits of every stream id."""
    return _STREAM_ID.sub(r"\1...", text)


request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The X-Request-ID that the current request came with, for every line about it; empty without one."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def note_request_id(scope: dict[str, Any]) -> None:
    """Takes over the request's id from its headers, if it is one that can stand in a log."""
    values = [value for name, value in scope["headers"] if name == b"x-request-id"]
    is_usable = len(values) == 1 and _REQUEST_ID.fullmatch(values[0])
    request_id.set(values[0].decode("ascii") if is_usable else "")


class LineFormatter(logging.Formatter):
    """Escapes unprintable characters as ``\\\\n``, ``\\\\x1b`` and so on. Only tracebacks span several lines.

    The id that a request came with stands at the end of each line about it.
    """

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_without_traceback(record) if _is_about_the_client(record) else record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        line = _escaped(super().formatMessage(record))
        return f"{line} [request {identity}]" if (identity := request_id.get()) else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the same)
        return "\n".join(map(_escaped, super().formatException(ei).split("\n")))


def _is_about_the_client(record: logging.LogRecord) -> bool:
    """Whether Django refused a request before a view saw it, such as one of a scanner with a host name of its own.

    The message says all; where in Django that was raised helps nobody, and would fill the log.
    """
    return record.name.startswith("django.security.")


def _without_traceback(record: logging.LogRecord) -> logging.LogRecord:
    return logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, exception, request_id, and the ``fields`` of the record.

    Nothing else of a record is written: Django adds whole requests, with queries that may hold prompts.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get() or None,
            "exception": self._exception(record),
        }
        known = {key: value for key, value in fields.items() if value is not None}
        return json.dumps({**known, **getattr(record, "fields", {})}, default=str)

    def _exception(self, record: logging.LogRecord) -> str | None:
        return self.formatException(record.exc_info) if record.exc_info and not _is_about_the_client(record) else None
