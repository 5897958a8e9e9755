"""Log records on one line each: control characters from untrusted input are escaped (log injection, CWE-117).

Stream ids are shortened: the id of an anonymous stream grants access to it.
"""

from __future__ import annotations

import logging
import re
from typing import Any

_STREAM_ID = re.compile(r"([0-9a-fA-F]{8})[0-9a-fA-F]{24}")


def shorten_ids(text: str) -> str:
    """Keeps the first 8 of the 32 hexadecimal digits of every stream id."""
    return _STREAM_ID.sub(r"\1...", text)


class LineFormatter(logging.Formatter):
    """Escapes unprintable characters as ``\\\\n``, ``\\\\x1b`` and so on. Only tracebacks span several lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the same)
        return "\n".join(map(_escaped, super().formatException(ei).split("\n")))


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
