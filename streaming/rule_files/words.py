"""Word lists: one word a line, or several with a separator between."""

from __future__ import annotations

import re
from dataclasses import replace

from streaming.rule_files.decoding import split_lines
from streaming.rule_files.rows import Found, Row

_SEPARATORS = re.compile("[,、，；|]")


def read_words(text: str, basis: Row) -> Found:
    """One word a line, or several with a separator between; a line that begins with # is a comment."""
    for number, line in enumerate(split_lines(text), 1):
        if not line.lstrip().startswith("#"):
            for word in _SEPARATORS.split(line):
                if pattern := word.strip():
                    yield number, replace(basis, pattern=pattern)
