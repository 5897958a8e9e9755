"""Markdown (CommonMark 0.31) as a person sees it who reads the page that is made of it.

It reads more than a renderer would: what only looks like syntax is none here either, since a word that everyone reads
is to be found. To read less would be a leak.
"""

from __future__ import annotations

import re

from streaming.moderation.readings.letters import Letters
from streaming.moderation.readings.media import Grammar, MediumReader, grammar
from streaming.moderation.readings.signs import CODES, CODES_SO_FAR, REFERENCE, REFERENCE_SO_FAR, decoded

MAX_SYNTAX_CHARS = 1024
"""Characters of a destination, a label, a tag or a comment: what is longer is read as text from there on."""

_EMPHASIS = r"(?P<nothing>[*~`]+)|(?P<underscores>_{1,32})"
_ESCAPE = r"(?P<escape>\\[!-/:-@\[-`{-~])"
_FLAT = rf"{_EMPHASIS}|{_ESCAPE}|(?P<reference>{REFERENCE})|{CODES}"
_FLAT_SO_FAR = rf"_{{1,32}}|{REFERENCE_SO_FAR}|{CODES_SO_FAR}"
_LINK = r"(?P<destination>\]\()|(?P<label>\]\[)|(?P<bracket>!?\[|\])"
_LINKS_AND_TAGS = rf"{_LINK}|(?P<comment><!--)|(?P<tag></?[A-Za-z]|<\?|<![A-Za-z\[])"
_LINKS_AND_TAGS_SO_FAR = r"[\]!]|<(?:/|!-?)?"
_QUOTE_MARKERS = re.compile(r"[\s>]+")
_WITHIN = {
    "destination": re.compile(r"[^()\n]+"),
    "label": re.compile(r"[^\[\]\n]+"),
    "tag": re.compile(r"[^>]+"),
    "comment": re.compile(r"[^->]+"),
}


class FlatReader(MediumReader):
    """Emphasis as nothing, escapes as what they stand for. Destinations, tags and comments are text."""

    grammar: Grammar = grammar(r"[*~`_\\&%]", _FLAT, _FLAT_SO_FAR)

    def _is_decided(self, data: str, at: int) -> bool:
        # Where no word ends before them, underscores are emphasis whatever follows (§6.2).
        return data[at] == "_" and not self.previous.isalnum()

    def _line_beginning(self, data: str, at: int) -> int:
        found = _QUOTE_MARKERS.match(data, at)
        return found.end() if found else at

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        kind, text, start = str(sign.lastgroup), sign[0], base + sign.start()
        if kind in ("nothing", "bracket"):
            return
        if kind == "underscores":
            if self.previous.isalnum() and data[sign.end() : sign.end() + 1].isalnum():
                self.as_written(text, start)
            return
        chars = decoded(kind, text)
        if chars is None:
            self.as_written(text, start)
        else:
            self.stands_for(chars, start, base + sign.end())


class DeepReader(FlatReader):
    """Also links and images as their text, tags and comments as nothing."""

    grammar = grammar(
        r"[*~`_\\&%\[\]<]|!(?:\[|\Z)", f"{_LINKS_AND_TAGS}|{_FLAT}", f"{_LINKS_AND_TAGS_SO_FAR}|{_FLAT_SO_FAR}"
    )

    def __init__(self, letters: Letters) -> None:
        super().__init__(letters)
        self._within = ""
        self._depth = self._count = 0

    @property
    def is_within(self) -> bool:  # type: ignore[override]
        return self._within != ""

    @property
    def is_neutral(self) -> bool:
        return not self.pending and not self._within

    def follow(self, other: MediumReader) -> None:
        super().follow(other)
        self._within = ""

    def _step(self, data: str, at: int, base: int, *, final: bool) -> int:
        return self._skip(data, at) if self._within else super()._step(data, at, base, final=final)

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        if sign.lastgroup in _WITHIN:
            self._within, self._depth, self._count = str(sign.lastgroup), 1, 0
        else:
            super()._read_sign(sign, data, base)

    def _skip(self, data: str, at: int) -> int:
        """Goes past what is within a destination, a label, a tag or a comment."""
        run = _WITHIN[self._within].match(data, at, at + MAX_SYNTAX_CHARS - self._count)
        if run:
            self._depth = 1 if self._within == "comment" else self._depth
            end = run.end()
        else:
            end = at + 1
            if self._ends_with(data[at]):
                self._within = ""
        self._count += end - at
        if self._count >= MAX_SYNTAX_CHARS:
            self._within = ""
        return end

    def _ends_with(self, char: str) -> bool:
        match self._within:
            case "destination":
                self._depth += {"(": 1, ")": -1}.get(char, 0)
                return self._depth == 0 or char == "\n"
            case "label":
                return char in "[]\n"
            case "comment":  # two dashes at least, then >
                dashes, self._depth = self._depth, min(self._depth + 1, 3) if char == "-" else 1
                return char == ">" and dashes == 3
        return True
