"""Folds letters to the symbols that rules compare. A letter is a character together with its marks.

There are two foldings. The plain one ignores the accents that people often leave out (``café`` is ``cafe``); the
accented one keeps them, for patterns written with accents. Both keep marks that are essential in their scripts: vowel
signs, kana voicing, й ї ў, Hangul. Everything here is a pure function of one letter.

Sources: UAX #15 (normalization), UAX #44 (General_Category, Default_Ignorable_Code_Point), UAX #24 (Script).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from streaming.moderation.chinese import SIMPLIFIED
from streaming.moderation.shared import Shared
from streaming.moderation.unicode_tables import ACCENTS as _ACCENTS
from streaming.moderation.unicode_tables import ranges_of

MAX_LETTER_CHARS = 32
"""The most characters in one letter. UAX #15's Stream-Safe Text Format allows at most 30 marks in a row."""


def _char_class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)


def _scripts(*names: str) -> str:
    return "".join(_char_class(ranges_of(name)) for name in names)


ACCENTS = frozenset(_ACCENTS)
"""Marks that may be ignored."""
VOICING = "\u3099\u309a"
_HALF_WIDTH_VOICING = "\uff9e\uff9f"
_INVISIBLE = "\u2800\ufffc"  # the Braille blank, and what stands for an object: browsers show nothing for either
_IGNORABLE = _char_class(ranges_of("Default_Ignorable_Code_Point")) + _INVISIBLE
_TATWEEL = "\u0640"
_SKIN_TONES = "\U0001f3fb-\U0001f3ff"
_JAMO_VOWELS, _JAMO_FINALS = "\u1161-\u1175", "\u11a8-\u11c2"

is_ignorable = re.compile(f"[{_IGNORABLE}{_TATWEEL}{_SKIN_TONES}]").match
READ_AS_NOTHING = f"[{_IGNORABLE}{_TATWEEL}{_SKIN_TONES}{re.escape(_ACCENTS)}]"
"""A regular expression class: the characters that may be ignored anywhere."""
ATTACHED = re.compile(f"[{re.escape(_ACCENTS)}\u200c\u200d\ufe00-\ufe0f{_TATWEEL}{_SKIN_TONES}]+")
"""Ignored characters that belong to the character before them: an action on that character includes them."""

# Letters with a stroke, and ligatures: people often write them plainly, so they are ignored like accents.
_STROKES = {"đ": "d", "ł": "l", "ø": "o", "ħ": "h", "ŧ": "t", "œ": "oe", "æ": "ae", "ß": "ss"}
# Persian and Urdu keyboards produce these instead of the Arabic letters.
_SAME_LETTER = str.maketrans("کیى", "كيي")
_HIRAGANA = {code: code - 0x60 for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
_CYRILLIC = re.compile("[\u0400-\u052f]")
_GREEK = re.compile("[\u0370-\u03ff]")
# й, ў and ї are letters of their own, not и, у and і with an accent.
_CYRILLIC_LETTERS = {("и", "\u0306"), ("у", "\u0306"), ("і", "\u0308")}

_ACCENTED_SCRIPTS = _scripts("Latin", "Greek", "Cyrillic", "Arabic", "Hebrew")
_MARKED_SCRIPTS = _scripts(
    *("Thai", "Lao", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada"),
    *("Malayalam", "Sinhala", "Khmer", "Myanmar", "Tibetan", "Javanese", "Balinese", "Sundanese", "Thaana", "Syriac"),
    *("Nko", "Mongolian", "Tai_Tham", "Cham", "Meetei_Mayek", "Newa", "Tirhuta", "Grantha", "Limbu", "Lepcha"),
)


def is_mark(char: str) -> bool:
    """Whether it is a mark, which changes the letter before it."""
    return unicodedata.category(char)[0] == "M" or char in _HALF_WIDTH_VOICING


@lru_cache(maxsize=1 << 14)
def goes_on(char: str) -> bool:
    """Whether it may continue a letter: a mark, a Hangul vowel or final consonant, or an ignored character.

    Some characters are a mark with a letter after it: the Thai ำ is ◌ํ and า.
    """
    if is_mark(char) or is_ignorable(char):
        return True
    if "\u1161" <= char <= "\u1175" or "\u11a8" <= char <= "\u11c2":
        return True
    return any(map(is_mark, _fold_char(char, accents=True)[:1]))


_OPEN = {
    False: re.compile(f"[иуіИУІうか-とは-ほゝウカ-トハ-ホワ-ヲヽｳｶ-ﾄﾊ-ﾎ\u1100-\u1112{_MARKED_SCRIPTS}]"),
    True: re.compile(
        f"[うか-とは-ほゝウカ-トハ-ホワ-ヲヽｳｶ-ﾄﾊ-ﾎ\u1100-\u1112{_MARKED_SCRIPTS}{_ACCENTED_SCRIPTS}]",
    ),
}


class _OpenLetters(Shared, dict[str, bool]):
    """Whether a letter is open: the next character may still change how it is read. Keyed by character."""

    def __init__(self, *, accents: bool) -> None:
        self._accents = accents

    def __missing__(self, char: str) -> bool:
        symbol = fold_letter(char, accents=self._accents)[-1:]
        self[char] = found = self._is_open(char) or (symbol != "" and self._is_open(symbol))
        return found

    def _is_open(self, char: str) -> bool:
        syllable = "\uac00" <= char <= "\ud7a3" and (ord(char) - 0xAC00) % 28 == 0  # without a final consonant
        return syllable or bool(_OPEN[self._accents].match(char)) or is_mark(char)


OPEN_LETTERS = {accents: _OpenLetters(accents=accents) for accents in (False, True)}


@lru_cache(maxsize=1 << 16)
def fold_letter(letter: str, *, accents: bool = False) -> str:
    """The symbols of one letter (a character and its marks): none, one or several."""
    if len(letter) == 1 and letter < "\x80":
        return letter.lower()
    out = ""
    for char in letter:
        for symbol in _fold_char(char, accents=accents):
            if not is_mark(symbol) or _counts(symbol, out, accents=accents):
                out += symbol
    composed = unicodedata.normalize("NFC", out).translate(_HIRAGANA)
    return composed.translate(SIMPLIFIED).translate(_SAME_LETTER)


def _counts(mark: str, before: str, *, accents: bool) -> bool:
    base = next((char for char in reversed(before) if not is_mark(char)), "")
    if (base, mark) in _CYRILLIC_LETTERS:
        return True
    if mark not in ACCENTS:
        return True
    written_without = (
        (mark == "\u0308" and base == "е")  # ё
        or (mark == "\u0301" and bool(_GREEK.match(base)))  # Greek capitals are written without tonos
        or (mark == "\u0307" and base == "i")  # from the Turkish capital İ
    )
    return accents and not written_without


@lru_cache(maxsize=1 << 16)
def _fold_char(char: str, *, accents: bool) -> str:
    """The compatibility decomposition of a character, in lower case, with its marks."""
    if is_ignorable(char):
        return ""
    lower = char.lower()
    if lower in _STROKES:
        return lower if accents else _STROKES[lower]
    return "".join(map(_fold_part, unicodedata.normalize("NFKD", char)))


def _fold_part(char: str) -> str:
    if unicodedata.category(char) in ("Cf", "Me") or is_ignorable(char):
        return ""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    return char if char == "ı" else char.casefold()


def letters(text: str, *, accents: bool) -> list[str]:
    """Splits a text into letters."""
    cut: list[str] = []
    is_open = OPEN_LETTERS[accents]
    for char in text:
        if cut and goes_on(char) and is_open[cut[-1][0]] and len(cut[-1]) < MAX_LETTER_CHARS:
            cut[-1] += char
        else:
            cut.append(char)
    return cut


def fold(text: str, *, accents: bool = False) -> str:
    """The symbols of a text."""
    if text.isascii():
        return text.lower()
    symbols = text.translate(TABLES[accents])
    if ODD not in symbols and unicodedata.is_normalized("NFC", text):
        return symbols
    return "".join(fold_letter(letter, accents=accents) for letter in letters(text, accents=accents))


def has_accents(text: str) -> bool:
    """Whether a pattern is written with accents, which then count."""
    return not text.isascii() and fold(text) != fold(text, accents=True)


ODD = "\uffff"
"""Marks a character that is not one symbol in every context. It is a noncharacter that no text should contain; if one
does, the text takes the slow path, as it does for those characters."""


class FoldingTable(Shared, dict[int, str]):
    """A table for str.translate: the symbol of each character, or ODD. Entries are computed on first use."""

    def __init__(self, *, accents: bool) -> None:
        self._accents = accents
        self[0xFFFF] = ODD

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = fold_letter(char, accents=self._accents)
        if len(folded) != 1 or char in ACCENTS or folded in VOICING or (goes_on(char) and not is_mark(char)):
            folded = ODD
        self[code] = folded
        return folded


TABLES = {accents: FoldingTable(accents=accents) for accents in (False, True)}


@lru_cache(maxsize=1 << 12)
def is_word_char(char: str) -> bool:
    """Whether it is part of words. Nothing from U+2E80 on is, since Chinese is written without spaces."""
    return char < "\u2e80" and (char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M")


@lru_cache(maxsize=1 << 12)
def forms_of(char: str, *, accents: bool) -> tuple[str, ...]:
    """The symbols that an open letter may become, alone or with marks. It is one character that folds to one symbol."""
    symbol = fold_letter(char, accents=accents)
    apart = unicodedata.normalize("NFD", symbol)
    forms = {symbol, *_syllables(symbol)}
    for marks in _marks_of_letters().get(apart[:1], ()):
        # Marks have an order of their own, so that with a second one the first symbol may differ: o with ^ . is ộ.
        forms.add(fold_letter(char + _without(marks, apart[1:]), accents=accents)[:1])
    return tuple(sorted(forms))


def _without(marks: str, given: str) -> str:
    for mark in given:
        marks = marks.replace(mark, "", 1)
    return marks


def _syllables(symbol: str) -> set[str]:
    """What a Hangul consonant, or a syllable without a final consonant, may become."""
    if "\u1100" <= symbol <= "\u1112":
        first = 0xAC00 + (ord(symbol) - 0x1100) * 21 * 28
        return set(map(chr, range(first, first + 21 * 28)))
    if "\uac00" <= symbol <= "\ud7a3" and (ord(symbol) - 0xAC00) % 28 == 0:
        return set(map(chr, range(ord(symbol), ord(symbol) + 28)))
    return set()


@lru_cache(maxsize=1 << 12)
def forms_of_letter(letter: str, *, accents: bool) -> tuple[str, ...]:
    """What an open letter may become, each form as its symbols. A form may be empty."""
    forms: set[str] = set()
    for part in (letter, letter[0]):
        symbols = fold_letter(part, accents=accents)
        # Its last marks may move behind one that is still to come.
        without_marks = symbols.rstrip("".join(filter(is_mark, symbols))) or symbols
        for each in (symbols, without_marks):
            forms |= {each, *_with_last_forms(each, accents=accents)}
    return tuple(sorted(forms))


@lru_cache(maxsize=1)
def moving_marks() -> tuple[str, ...]:
    """Marks that are no letters of their own: they extend the letter before them, or move before its last mark."""
    marks = (chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
    return tuple(sorted(ACCENTS.union(marks)))


def _with_last_forms(symbols: str, *, accents: bool) -> set[str]:
    last = symbols[-1:]
    return {symbols[:-1] + form for form in forms_of(last, accents=accents)} if last else {""}


@lru_cache(maxsize=1)
def _marks_of_letters() -> dict[str, tuple[str, ...]]:
    """For each character, the marks of every one character that it composes to, in canonical order."""
    found: dict[str, set[str]] = {}
    for code in range(0xC0, 0x30000):
        if not 0xAC00 <= code <= 0xD7A3 and unicodedata.decomposition(char := chr(code)):
            apart = unicodedata.normalize("NFD", char)
            if len(apart) > 1 and unicodedata.normalize("NFC", apart) == char:
                found.setdefault(apart[0].lower(), set()).add(apart[1:])
    return {base: tuple(sorted(marks)) for base, marks in found.items()}
