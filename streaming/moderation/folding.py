"""Text as rules compare it: a pure function of one code point, so that no cut of the text can change it.

NFKD, without marks (Mn) and format characters (Cf), casefolded, traditional Chinese characters as simplified ones.
"""

from __future__ import annotations

import unicodedata

from streaming.moderation.chinese import SIMPLIFIED

# Stands in for a code point whose folding is not one character. It is a noncharacter: no text should hold it, and
# if one does it is looked at one by one like those.
_ODD = "\uffff"


def fold_char(char: str) -> str:
    """The folding of one code point; of zero, one or more characters."""
    if char < "\x80":
        return char.lower()
    decomposed = unicodedata.normalize("NFKD", char)
    kept = "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf"))
    return kept.casefold().translate(SIMPLIFIED)


class _Table(dict[int, str]):
    """For str.translate: each code point's folding, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = fold_char(chr(code))
        self[code] = folded = folded if len(folded) == 1 else _ODD
        return folded


_TABLE = _Table({0xFFFF: _ODD})


def fold(text: str) -> str:
    return fold_with_origin(text)[0]


def fold_with_origin(text: str) -> tuple[str, list[int] | None]:
    """The folding, and the index in ``text`` of each of its characters; None in its place if they are the same."""
    if text.isascii():
        return text.lower(), None
    folded = text.translate(_TABLE)
    if _ODD not in folded:
        return folded, None
    return _spelled_out(text, folded)


def _spelled_out(text: str, folded: str) -> tuple[str, list[int]]:
    """The folding with what stands for each odd character put in its place."""
    pieces: list[str] = []
    origin: list[int] = []
    done = 0
    while (odd := folded.find(_ODD, done)) >= 0:
        pieces += (folded[done:odd], instead := fold_char(text[odd]))
        origin += (*range(done, odd), *[odd] * len(instead))
        done = odd + 1
    return "".join([*pieces, folded[done:]]), [*origin, *range(done, len(folded))]


def is_word_char(char: str) -> bool:
    """Whether it joins with its like to a word. Chinese has no spaces, so from U+2E80 on nothing does."""
    return char < "\u2e80" and (char.isalnum() or char == "_")
