"""Checks the edges of a match: word boundaries for whole-word rules, and never between a character and its marks."""

from __future__ import annotations

from typing import NamedTuple

from streaming.moderation.folding import OPEN_LETTERS, is_mark, is_word_char


class Ending(NamedTuple):
    """The end of a match, its rank, and whether the symbol after it had to be known."""

    end: int
    rank: int
    looks: bool = False


class Edges:
    """The edge conditions of one automaton's rules. ``accents`` is None if text is compared exactly."""

    def __init__(self, *, whole_word: bool, accents: bool | None) -> None:
        self.whole_word = whole_word
        self._is_open = None if accents is None else OPEN_LETTERS[accents]

    def may_begin(self, before: str, first: str) -> bool:
        """Whether a match may begin between two symbols; ``before`` is empty at the start of the text."""
        return not (self.whole_word and before and is_word_char(before) and is_word_char(first))

    def waits(self, last: str) -> bool:
        """Whether it depends on the next symbol if a match may end after this one."""
        return self.whole_word and is_word_char(last)

    def may_end_between(self, last: str, following: str) -> bool:
        if self.whole_word and is_word_char(last) and is_word_char(following):
            return False
        # A mark that is not ignored changes the letter before it.
        return following < "\u0300" or self._is_open is None or not (is_mark(following) and self._is_open[last])

    def may_end(self, text: str, end: int, *, final: bool) -> bool:
        """Whether a match may end at ``end``. False if that depends on the next symbol and it has not arrived."""
        if end < len(text):
            return self.may_end_between(text[end - 1], text[end])
        return final or not self.waits(text[end - 1])
