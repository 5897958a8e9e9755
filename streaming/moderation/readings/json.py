"""JSON (RFC 8259): tool call arguments, and answers requested in JSON."""

from __future__ import annotations

import re

from streaming.moderation.readings.escapes import CODES, CODES_SO_FAR, decoded
from streaming.moderation.readings.medium_reader import MediumReader, grammar

_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class JsonReader(MediumReader):
    r"""Decodes escapes and percent codes. It need not track strings: outside them, ``\`` is not valid JSON anyway."""

    grammar = grammar(r"[\\%]", rf'(?P<json>\\["\\/bfnrt])|{CODES}', CODES_SO_FAR)

    def _read_sign(self, sign: re.Match[str], data: str, base: int) -> None:
        text, start, end = sign[0], base + sign.start(), base + sign.end()
        chars = _CONTROLS.get(text[1], text[1]) if sign.lastgroup == "json" else decoded(str(sign.lastgroup), text)
        if chars is None:
            self.as_written(text, start)
        else:
            self.stands_for(chars, start, end)


_ESCAPE = r"\\(?:u[0-9a-fA-F]{0,4}|[^u])?"
_QUOTES_AND_ESCAPES = re.compile(rf'"|{_ESCAPE}', re.DOTALL)
_UNITS = re.compile(rf"{_ESCAPE}|.", re.DOTALL)


def _is_open(escape: str) -> bool:
    """Whether what follows may belong to this escape."""
    return len(escape) == 1 or (escape[1] == "u" and len(escape) < 6)


def units_of(text: str, begun: str) -> list[tuple[str, str]]:
    r"""The characters and escapes of a part of a JSON text, each as (text kept before it, itself or nothing).

    ``begun`` is an escape that the text before has begun. Its rest is kept, as is a backslash whose escape goes on
    after the part, so that what is done to the units leaves JSON.
    """
    rest = 0
    while begun and _is_open(begun) and rest < len(text) and _UNITS.fullmatch(begun + text[rest]):
        begun, rest = begun + text[rest], rest + 1
    units = [("", unit) for unit in _UNITS.findall(text[rest:])]
    if rest:
        units.insert(0, (text[:rest], ""))
    if units and units[-1][1] == "\\":
        units[-1] = ("\\", "")
    return units


_KEPT_CHARS = 256
"""In so many characters a colon or a comma is looked for, and the white space and the beginning of a value after it."""


class JsonStrings:
    """Tracks whether a position in a JSON text is inside a string. ``passed`` receives text that leaves the window."""

    def __init__(self) -> None:
        self._is_inside = False
        self._begun = ""
        self._last = ""

    def passed(self, text: str) -> None:
        self._is_inside, self._begun = self._after(text)
        self._last = self.last(text)

    def last(self, text: str) -> str:
        """The last characters of this text, which follows the passed text: as many as matter to a value after it."""
        return (self._last + text)[-_KEPT_CHARS:]

    def is_inside(self, text: str) -> bool:
        """Whether the position after this text, which follows the passed text, is inside a string."""
        return self._after(text)[0]

    def begun_escape(self, text: str) -> str:
        """The escape that is incomplete after this text, which follows the passed text; empty if there is none."""
        return self._after(text)[1]

    def _after(self, text: str) -> tuple[bool, str]:
        if not text:
            return self._is_inside, self._begun
        is_inside, begun = self._is_inside, ""
        text = self._begun + text
        for sign in _QUOTES_AND_ESCAPES.finditer(text):
            if sign[0] == '"':
                is_inside = not is_inside
            elif sign.end() == len(text) and _is_open(sign[0]):
                begun = sign[0]
        return is_inside, begun
