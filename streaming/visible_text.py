"""Text of strangers, for moderators: what cannot be seen is shown, and nothing reorders the words around it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Letters and marks that have no shape.
_BLANK = frozenset("\u034f\u115f\u1160\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
# Signs with a shape that Unicode counts among the controls: Arabic and Syriac ones that enclose numbers.
_SEEN = frozenset("\n\t\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# They join emoji, shape Persian and Indic words and choose how a sign is drawn; between Latin letters they only hide.
_JOINERS = frozenset(("\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10))))
_RIGHT_TO_LEFT = frozenset(("R", "AL", "AN"))

FIRST_STRONG_ISOLATE, POP_DIRECTIONAL_ISOLATE = "\u2068", "\u2069"


def visible(text: str) -> str:
    """The text with ``⟨U+202E⟩`` in place of each character that cannot be seen, or that turns what follows it round.

    Line breaks and tabs stay. Where right-to-left text stands beside other text, use ``isolated`` or HTML's ``bdi``.
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
    """The same, so that it does not reorder what stands around it in a sentence (UAX #9, 2.4)."""
    shown = visible(text)
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in shown):
        return f"{FIRST_STRONG_ISOLATE}{shown}{POP_DIRECTIONAL_ISOLATE}"
    return shown


@lru_cache(maxsize=4096)
def _is_hidden(char: str) -> bool:
    if char in _SEEN:
        return False
    return char in _BLANK or char in _JOINERS or unicodedata.category(char) in _INVISIBLE
