"""Word lists: one word on each line, or several with a separator between them."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from streaming.rule_files.decoding import split_lines
from streaming.rule_files.questions import Joined, JoinedQuestion, Reading
from streaming.rule_files.rows import Row, RowsAndRefusals, words_like

_SEPARATORS = re.compile("[,、，；;|]")


def read_words(text: str, defaults: Row, reading: Reading) -> RowsAndRefusals:
    """Lines that begin with # are comments. What several words on a line mean is asked."""
    lines = [(number, line.strip()) for number, line in enumerate(split_lines(text), 1)]
    comments = sum(line.startswith("#") for _, line in lines)
    if comments:
        reading.notes.append(_("%d lines begin with # and were read as comments.") % comments)
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    joined = [(number, line) for number, line in lines if _SEPARATORS.search(line) and len(words_of(line)) > 1]
    if joined and not reading.answers.joined:
        number, line = joined[0]
        reading.questions.append(JoinedQuestion(number, line[:200], len(joined)))
    make, is_whole = words_like(defaults), reading.answers.is_whole_word
    for number, line in lines:
        for pattern in patterns_of(line, reading.answers.joined):
            yield number, make(pattern, is_whole(pattern) if reading.answers.whole_word else defaults.whole_word)


def words_of(line: str) -> list[str]:
    return [word for part in _SEPARATORS.split(line) if (word := part.strip())]


def patterns_of(line: str, joined: Joined) -> list[str]:
    return [line] if joined == "one" or not _SEPARATORS.search(line) else words_of(line)
