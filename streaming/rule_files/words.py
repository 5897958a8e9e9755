"""Word lists: one word on each line, or several with a separator between them."""

from __future__ import annotations

import re
from dataclasses import replace

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming.moderation import MAX_BOTH_OF, both_of
from streaming.rule_files.decoding import split_lines
from streaming.rule_files.questions import Joined, JoinedQuestion, Reading
from streaming.rule_files.rows import Refusal, Row, RowsAndRefusals, words_like

_SEPARATORS = re.compile("[,、，；;|]")


def read_words(text: str, defaults: Row, reading: Reading) -> RowsAndRefusals:
    """Lines that begin with # are comments. What several words on a line mean is asked."""
    lines = [(number, line.strip()) for number, line in enumerate(split_lines(text), 1)]
    comments = sum(line.startswith("#") for _number, line in lines)
    if comments:
        message = ngettext(
            "%d line begins with # and was read as a comment.",
            "%d lines begin with # and were read as comments.",
            comments,
        )
        reading.notes.append(message % comments)
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    joined = [(number, line) for number, line in lines if _SEPARATORS.search(line) and len(words_of(line)) > 1]
    if joined and not reading.answers.joined:
        number, line = joined[0]
        reading.questions.append(JoinedQuestion(number, line[:200], len(joined)))
    make, is_whole = words_like(defaults), reading.answers.is_whole_word
    pairs = 0
    for number, line in lines:
        if reading.answers.joined == "all" and len(words := words_of(line)) > 1:
            pairs += 1
            yield _all_of(number, line, words, pairs, defaults, reading)
            continue
        for pattern in patterns_of(line, reading.answers.joined):
            yield number, make(pattern, is_whole(pattern) if reading.answers.whole_word else defaults.whole_word)


def _all_of(
    number: int, line: str, words: list[str], pairs: int, defaults: Row, reading: Reading
) -> tuple[int, Row] | Refusal:
    """A rule that needs both words of a line; there can only be a few of them."""
    if len(words) > 2:
        return Refusal(number, line[:200], _("A rule can need two words near each other, not more."))
    if pairs > MAX_BOTH_OF:
        reason = _("There can be %d rules that need two words; more would slow down all streams.")
        return Refusal(number, line[:200], reason % MAX_BOTH_OF)
    whole = (reading.answers.is_whole_word(words[0]), reading.answers.is_whole_word(words[1]))
    return number, replace(defaults, pattern=both_of(*words, whole_words=whole), kind="regex", whole_word=False)


def words_of(line: str) -> list[str]:
    return [word for part in _SEPARATORS.split(line) if (word := part.strip())]


def patterns_of(line: str, joined: Joined) -> list[str]:
    return [line] if joined == "one" or not _SEPARATORS.search(line) else words_of(line)
