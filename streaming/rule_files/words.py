"""Word lists: one word on each line, or several with a separator between them."""

from __future__ import annotations

import re
from dataclasses import replace

from streaming.rule_files.decoding import split_lines
from streaming.rule_files.rows import Row, RowsAndRefusals

_SEPARATORS = re.compile("[,、，；|]")


def read_words(text: str, defaults: Row) -> RowsAndRefusals:
    """One word on each line, or several with a separator between them; lines that begin with # are comments."""
    for number, line in enumerate(split_lines(text), 1):
        if not line.lstrip().startswith("#"):
            for word in _SEPARATORS.split(line):
                if pattern := word.strip():
                    yield number, replace(defaults, pattern=pattern)
