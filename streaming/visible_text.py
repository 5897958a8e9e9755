"""Shows untrusted text safely to moderators: makes invisible characters visible and isolates right-to-left text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Letters, marks and symbols without a visible glyph.
_BLANK = frozenset("\u034f\u115f\u1160\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc")
# Format characters with a visible glyph (Arabic and Syriac number signs), and the line breaks and tabs that are kept.
_VISIBLE_CONTROLS = frozenset(
    "\n\t\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
# Joiners and variation selectors have a use in emoji, Persian and Indic words; after an ASCII character they have none.
_JOINERS = frozenset(("\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10))))
_RIGHT_TO_LEFT = frozenset(("R", "AL", "AN"))

FIRST_STRONG_ISOLATE, POP_DIRECTIONAL_ISOLATE = "\u2068", "\u2069"


def visible(text: str) -> str:
    """The text with a code such as ``⟨U+202E⟩`` in place of each invisible or bidirectional control character.

    Line breaks and tabs are kept. Inside a sentence use ``isolated``, in HTML also ``<bdi>``, for right-to-left text.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    before = ""
    for char in text:
        hidden = _is_hidden(char) and not (char in _JOINERS and before > "\x7f")
        shown.append(f"⟨U+{ord(char):04X}⟩" if hidden else char)
        before = char
    return "".join(shown)


def isolated(text: str) -> str:
    """``visible`` text that does not reorder the sentence around it (isolates: UAX #9, section 2.4)."""
    shown = visible(text)
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in shown):
        return f"{FIRST_STRONG_ISOLATE}{shown}{POP_DIRECTIONAL_ISOLATE}"
    return shown


@lru_cache(maxsize=4096)
def _is_hidden(char: str) -> bool:
    if char in _VISIBLE_CONTROLS:
        return False
    return char in _BLANK or char in _JOINERS or unicodedata.category(char) in _INVISIBLE
