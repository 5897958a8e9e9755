"""Text as rules compare it: a pure function of one code point, so that no cut of the text can change it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=1 << 16)
def fold_char(char: str) -> str:
    """The folding of one code point: NFKD, without marks (Mn) and format characters (Cf), casefolded; may be empty."""
    if char < "\x80":
        return char.lower()
    decomposed = unicodedata.normalize("NFKD", char)
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf")).casefold()


def fold(text: str) -> str:
    return "".join(map(fold_char, text))
