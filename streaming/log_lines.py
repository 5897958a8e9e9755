"""Log records on one line each: control characters from untrusted input are escaped (log injection, CWE-117)."""

from __future__ import annotations

import logging
from typing import Any


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
