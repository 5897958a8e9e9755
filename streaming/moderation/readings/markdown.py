"""Markdown (CommonMark 0.31), read as a person sees the rendered page.

When in doubt, text is read rather than skipped, since every word that readers can see must be found: skipping visible
text would be a leak.
"""

from __future__ import annotations

import re

from streaming.moderation.readings.escapes import CODES, CODES_SO_FAR, REFERENCE, REFERENCE_SO_FAR, decoded
from streaming.moderation.readings.letters import Letters
from streaming.moderation.readings.medium_reader import Grammar, MediumReader, grammar

MAX_SYNTAX_CHARS = 1024
"""The most characters of a destination, label, tag or comment. What goes beyond this is read as text."""

_EMPHASIS = r"(?P<nothing>[*~`]+)|(?P<underscores>_{1,32})"
_ESCAPE = r"(?P<escape>\\[!-/:-@\[-`{-~])"
_FLAT = rf"{_EMPHASIS}|{_ESCAPE}|(?P<reference>{REFERENCE})|{CODES}"
_FLAT_SO_FAR = rf"_{{1,32}}|{REFERENCE_SO_FAR}|{CODES_SO_FAR}"
_FORMULA = r"(?P<formula>\\[()\[\]]|\$\$)"
_LINK = r"(?P<destination>\]\()|(?P<label>\]\[)|(?P<bracket>!?\[|\])"
_LINKS_AND_TAGS = rf"{_LINK}|(?P<comment><!--)|(?P<tag></?[A-Za-z]|<\?|<![A-Za-z\[])"
_LINKS_AND_TAGS_SO_FAR = r"[\]!$]|<(?:/|!-?)?"
_QUOTE_MARKERS = re.compile(r"[\s>]+")
_WITHIN = {
    "destination": re.compile(r"[^()<>\"'\\\s]+"),
    "label": re.compile(r"[^\[\]\\\n]+"),
    "tag": re.compile(r"[^<>\s]+"),
    "comment": re.compile(r"[^->]+"),
}


class FlatReader(MediumReader):
    """Ignores emphasis and decodes escapes. Destinations, tags and comments are read as text."""

    grammar: Grammar = grammar(r"[*~`_\\&%]", _FLAT, _FLAT_SO_FAR)

    def _is_decided(self, data: str, at: int) -> bool:
        # Underscores that do not follow a word are emphasis whatever comes next (§6.2).
        return data[at] == "_" and not self.previous.isalnum()

    def _line_beginning(self, data: str, at: int) -> int:
        found = _QUOTE_MARKERS.match(data, at)
        return found.end() if found else at

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        kind, text, start = str(sign.lastgroup), sign[0], base + sign.start()
        if kind in ("nothing", "bracket", "formula"):
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


class _LinkEnd:
    """Parses what is between a link's ``](`` and its ``)``: an address and a title (CommonMark 0.31 §6.3)."""

    def __init__(self) -> None:
        self.is_closed = False
        self._next = self._before_address
        self._depth = 0
        self._title_ends_with = ""
        self._is_escaped = self._is_line_empty = False

    def passes(self, text: str) -> bool:
        """Takes characters of which only the first and last need to be examined. Returns whether they are allowed."""
        return all(map(self.take, text[:1])) and (len(text) == 1 or self.take(text[-1]))

    def take(self, char: str) -> bool:
        """Takes a character. Returns whether it is allowed here; if not, this is not a link."""
        if char == "\n" and self._is_line_empty:
            return False
        self._is_line_empty = char == "\n" or (self._is_line_empty and (char.isspace() or char == ">"))
        if self._is_escaped and not char.isspace():
            self._is_escaped = False
            return True
        self._is_escaped = char == "\\"
        is_quote_marker = char == ">" and self._is_line_empty
        return is_quote_marker or self._next(char)

    def _before_address(self, char: str) -> bool:
        if char.isspace():
            return True
        self._next = self._in_brackets if char == "<" else self._in_address
        return char == "<" or self._in_address(char)

    def _in_brackets(self, char: str) -> bool:
        if char == ">":
            self._next = self._ends
        return char not in "<\n"

    def _in_address(self, char: str) -> bool:
        if char.isspace():
            return not self._depth and self._ends(char)
        self._depth += {"(": 1, ")": -1}.get(char, 0)
        self.is_closed = self._depth < 0
        return True

    def _before_title(self, char: str) -> bool:
        if char not in "\"'(":
            return self._ends(char)
        self._title_ends_with = {"(": ")"}.get(char, char)
        self._next = self._in_title
        return True

    def _in_title(self, char: str) -> bool:
        if char == self._title_ends_with:
            self._next = self._ends
        return char != "(" or self._title_ends_with != ")"

    def _ends(self, char: str) -> bool:
        if char.isspace():
            self._next = self._ends if self._title_ends_with else self._before_title
        self.is_closed = char == ")"
        return self.is_closed or char.isspace()


class DeepReader(FlatReader):
    """Also reads links and images as their text, and ignores tags, comments and formula delimiters."""

    grammar = grammar(
        r"[*~`_\\&%\[\]<]|!(?:\[|\Z)|\$(?:\$|\Z)",
        f"{_LINKS_AND_TAGS}|{_FORMULA}|{_FLAT}",
        f"{_LINKS_AND_TAGS_SO_FAR}|{_FLAT_SO_FAR}",
    )

    def __init__(self, letters: Letters) -> None:
        super().__init__(letters)
        self._within = ""
        self._depth = self._count = 0
        self._link_end = _LinkEnd()

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
        if self._within and (end := self._skip(data, at)) > at:
            return end
        return super()._step(data, at, base, final=final)

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        if sign.lastgroup in _WITHIN:
            self._within, self._depth, self._count = str(sign.lastgroup), 1, 0
            self._link_end = _LinkEnd()
        else:
            super()._read_sign(sign, data, base)

    def _skip(self, data: str, at: int) -> int:
        """Skips the inside of a destination, label, tag or comment. Returns ``at`` if it turns out not to be one."""
        if self._within == "tag" and data[at] == "<":
            self._within = ""  # the tag begins here
            return at
        run = _WITHIN[self._within].match(data, at, at + MAX_SYNTAX_CHARS - self._count)
        end = run.end() if run else at + 1
        if self._within == "destination":
            if not self._link_end.passes(data[at:end]):
                self._within = ""
                return at
            is_over = self._link_end.is_closed
        else:
            is_over = self._ends_with("" if run else data[at])
        self._count += end - at
        if is_over or self._count >= MAX_SYNTAX_CHARS:
            self._within = ""
        return end

    def _ends_with(self, char: str) -> bool:
        """Whether the character ends the construct. An empty string stands for characters that cannot."""
        match self._within:
            case "label":
                is_escaped, self._depth = self._depth == 0, int(char != "\\")
                return char in ("[", "]", "\n") and not is_escaped
            case "comment":  # at least two dashes, then >
                dashes, self._depth = self._depth, min(self._depth + 1, 3) if char == "-" else 1
                return char == ">" and dashes == 3
        return char == ">"
