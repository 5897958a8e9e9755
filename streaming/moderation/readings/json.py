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


_QUOTES_AND_ESCAPES = re.compile(r'"|\\.?', re.DOTALL)


class JsonStrings:
    """Tracks whether a position in a JSON text is inside a string. ``passed`` receives text that leaves the window."""

    def __init__(self) -> None:
        self._is_inside = False
        self._is_escaped = False

    def passed(self, text: str) -> None:
        self._is_inside, self._is_escaped = self._after(text)

    def is_inside(self, text: str) -> bool:
        """Whether the position after this text, which follows the passed text, is inside a string."""
        return self._after(text)[0]

    def _after(self, text: str) -> tuple[bool, bool]:
        if not text:
            return self._is_inside, self._is_escaped
        is_inside, is_escaped = self._is_inside, False
        for sign in _QUOTES_AND_ESCAPES.finditer(text, int(self._is_escaped)):
            if sign[0] == '"':
                is_inside = not is_inside
            is_escaped = sign[0] == "\\"
        return is_inside, is_escaped
