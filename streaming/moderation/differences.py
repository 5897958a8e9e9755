"""How a text differs from the symbols that it is read as, or from the loose word that it matches."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from streaming.moderation.chinese import SIMPLIFIED
from streaming.moderation.folding import ACCENTS, fold, is_ignorable
from streaming.moderation.loose_words import MAX_SEPARATORS, is_separator, letters_of
from streaming.moderation.rule_messages import gettext_noop

INVISIBLE = gettext_noop("invisible characters")
SPACES = gettext_noop("white space and line breaks")
CASE = gettext_noop("upper and lower case")
FORM = gettext_noop("the width or form of letters")
TRADITIONAL = gettext_noop("traditional and simplified Chinese")
WITHOUT_ACCENTS = gettext_noop("accents")
LOOK_ALIKES = gettext_noop("look-alike letters")
SEPARATED = gettext_noop("signs or spaces between the letters")
REPEATED = gettext_noop("repeated letters")

_OF_LOOSE = (LOOK_ALIKES, SEPARATED, REPEATED)
_LOOK_ALIKE, _SEPARATED, _REPEATED = 1, 2, 4


def of_letter(letter: str, symbols: str) -> Iterator[str]:
    """How a letter, which is a character with its marks, differs from the symbols that it is read as."""
    if letter == symbols:
        return
    if symbols.isspace():
        yield SPACES
        return
    visible = "".join(char for char in letter if not is_ignorable(char))
    lower = unicodedata.normalize("NFC", visible.lower())
    plain = unicodedata.normalize("NFKC", lower)
    found = [
        (INVISIBLE, visible != letter),
        (CASE, visible.lower() != visible),
        (TRADITIONAL, plain.translate(SIMPLIFIED) != plain),
        (WITHOUT_ACCENTS, plain != symbols and _without_accents(plain) != plain),
    ]
    yield from (name for name, is_so in found if is_so)
    if plain != lower or not any(is_so for _, is_so in found):
        yield FORM


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFC", "".join(c for c in unicodedata.normalize("NFD", text) if c not in ACCENTS))


def of_loose_word(symbols: str, pattern: str, *, accents: bool) -> Iterator[str]:
    """How the symbols of a match differ from the loose word that they match."""
    word = [symbol for symbol in fold(pattern, accents=accents) if letters_of(symbol)]
    # How many letters of the word and separators since are read, and the fewest differences by which they can be.
    ways = {(0, 0): 0}
    for symbol in symbols:
        after: dict[tuple[int, int], int] = {}
        for way, differences in _steps(word, symbol, ways):
            after[way] = min(after.get(way, differences), differences, key=int.bit_count)
        ways = after
    differences = ways.get((len(word), 0), 0)
    return (name for number, name in enumerate(_OF_LOOSE) if differences >> number & 1)


def _steps(word: list[str], symbol: str, ways: dict[tuple[int, int], int]) -> Iterator[tuple[tuple[int, int], int]]:
    for (count, separators), differences in ways.items():
        if count < len(word) and _is_like(symbol, word[count]):
            yield (count + 1, 0), differences | _LOOK_ALIKE * (symbol != word[count])
        if count and not separators and _is_like(symbol, word[count - 1]):
            yield (count, 0), differences | _REPEATED | _LOOK_ALIKE * (symbol != word[count - 1])
        if count and separators < MAX_SEPARATORS and is_separator(symbol):
            yield (count, separators + 1), differences | _SEPARATED


def _is_like(symbol: str, letter: str) -> bool:
    return min(letters_of(letter)) in letters_of(symbol)
