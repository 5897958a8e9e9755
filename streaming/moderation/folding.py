"""Text as rules compare it: a pure function of one code point, so that no cut of the text can change it.

NFKD, without format characters (Cf) and the accents of five scripts, casefolded, traditional Chinese characters as
simplified ones. In other scripts a mark is a letter: Thai and Indic vowels, the voicing of kana, Hangul's jamo.
"""

from __future__ import annotations

import re
import unicodedata

from streaming.moderation.chinese import SIMPLIFIED

# Stands in for a code point whose folding is not one character. It is a noncharacter: no text should hold it, and
# if one does it is looked at one by one like those.
_ODD = "\uffff"


# Blocks of the marks (Mn) that readers of Latin, Greek, Cyrillic, Hebrew and Arabic leave out, and of those that choose
# how a character is drawn.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u06ed\u0898-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u2de0-\u2dff"
    "\ua66f-\ua69f\ufb1e\u180b-\u180f\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
# Cyrillic letters, not letters with an accent.
_LETTERS = frozenset("йїўЙЇЎ")
# Jamo, and the voicing of kana: what has them is one letter, and stays so.
_PARTS_OF_LETTERS = re.compile("[\u1100-\u11ff\u3099\u309a]")


def fold_char(char: str) -> str:
    """The folding of one code point; of zero, one or more characters."""
    if char < "\x80" or char in _LETTERS:
        return char.lower()
    spelled = unicodedata.normalize("NFKD", char)
    if _PARTS_OF_LETTERS.search(spelled):
        spelled = unicodedata.normalize("NFKC", char)
    return "".join(c for c in spelled if not _is_ignored(c)).casefold().translate(SIMPLIFIED)


def _is_ignored(char: str) -> bool:
    category = unicodedata.category(char)
    return category == "Cf" or (category == "Mn" and _ACCENTS.match(char) is not None)


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
