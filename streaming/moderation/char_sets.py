"""Sets of characters, as sorted ranges of code points that do not touch, and their folded forms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from streaming.moderation.folding import fold_letter
from streaming.moderation.unicode_tables import ranges_of

Range = tuple[int, int]
"""The first and last code point, both included."""
Ranges = tuple[Range, ...]

LAST = 0x10FFFF
_BLOCK = 256
# In these ranges every character folds to itself, except for a few that the tables name.
_ITSELF = ((0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x1F300, 0x1F3FA), (0x1F400, 0x1FAFF), (0x20000, 0x2F7FF))
_LAST_FOLDED = 0x2FA1D

CATEGORIES = {
    "Other": "C", "Control": "Cc", "Format": "Cf", "Unassigned": "Cn", "Private_Use": "Co", "Surrogate": "Cs",
    "Letter": "L", "Cased_Letter": "LC", "Lowercase_Letter": "Ll", "Modifier_Letter": "Lm", "Other_Letter": "Lo",
    "Titlecase_Letter": "Lt", "Uppercase_Letter": "Lu", "Mark": "M", "Combining_Mark": "M", "Spacing_Mark": "Mc",
    "Enclosing_Mark": "Me", "Nonspacing_Mark": "Mn", "Number": "N", "Decimal_Number": "Nd", "Letter_Number": "Nl",
    "Other_Number": "No", "Punctuation": "P", "Connector_Punctuation": "Pc", "Dash_Punctuation": "Pd",
    "Close_Punctuation": "Pe", "Final_Punctuation": "Pf", "Initial_Punctuation": "Pi", "Other_Punctuation": "Po",
    "Open_Punctuation": "Ps", "Symbol": "S", "Currency_Symbol": "Sc", "Modifier_Symbol": "Sk", "Math_Symbol": "Sm",
    "Other_Symbol": "So", "Separator": "Z", "Line_Separator": "Zl", "Paragraph_Separator": "Zp",
    "Space_Separator": "Zs",
}  # fmt: skip
"""The long names of general categories (UAX #44, PropertyValueAliases)."""


def normal(ranges: Iterable[Range]) -> Ranges:
    """The same set, sorted, in as few ranges as possible."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Iterable[Range]) -> Ranges:
    out, at = [], 0
    for first, last in normal(ranges):
        if first > at:
            out.append((at, first - 1))
        at = last + 1
    return (*out, (at, LAST)) if at <= LAST else tuple(out)


def common(one: Ranges, other: Ranges) -> Ranges:
    """The intersection of two sets."""
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) <= min(b, d)]
    return tuple(sorted(both))


def of_chars(chars: Iterable[str]) -> Ranges:
    return normal((ord(char), ord(char)) for char in chars)


@lru_cache(maxsize=256)
def unicode_class(name: str) -> Ranges:
    r"""The set of \p{name}: a general category or group of categories, a script or a property; empty if unknown."""
    if name == "Any":
        return ((0, LAST),)
    return _category(CATEGORIES.get(name, name)) or ranges_of(name)


def _category(name: str) -> Ranges:
    if name in ("LC", "L&"):
        return normal((*_category("Ll"), *_category("Lt"), *_category("Lu")))
    if not re.fullmatch(r"[CLMNPSZ][a-z]?", name):
        return ()
    return normal(each for category, each in _categories() if category.startswith(name))


@lru_cache(maxsize=1)
def _categories() -> list[tuple[str, Range]]:
    """The ranges of characters of one category, with its name. A name for each character would take 60 MB."""
    found: list[tuple[str, Range]] = []
    at = 0
    for category, run in groupby(unicodedata.category(chr(code)) for code in range(LAST + 1)):
        begin, at = at, at + sum(1 for _ in run)
        found.append((category, (begin, at - 1)))
    return found


@lru_cache(maxsize=1024)
def folded(ranges: Ranges, *, accents: bool, is_property: bool = False) -> Ranges:
    """The set for folded text: with the symbols that its members fold to added.

    Some symbols are left out: if a member of a range folds to a different kind of character, its symbol is not added.
    So a range of Thai letters and digits does not match ASCII digits, and emoji do not match the i of the information
    sign. But if all members of a range are like this, their symbols are added, except for Unicode properties.
    """
    symbols: list[str] = []
    for first, last in ranges:
        if last < 0x80:
            symbols += (chr(code + 32) for code in range(max(first, 65), min(last, 90) + 1))
        else:
            symbols += _symbols_of_range(first, last, accents=accents, is_property=is_property)
    return normal([*ranges, *of_chars(symbols)])


def _symbols_of_range(first: int, last: int, *, accents: bool, is_property: bool) -> list[str]:
    pairs = [
        (code, symbol)
        for block in range(first // _BLOCK, min(last, _LAST_FOLDED) // _BLOCK + 1)
        for code, symbol in _folded_in_block(block, accents=accents)
        if first <= code <= last
    ]
    alike = [symbol for code, symbol in pairs if _is_alike(chr(code), symbol)]
    has_others = last - first + 1 > len(pairs)
    return alike if alike or has_others or is_property else [symbol for _, symbol in pairs]


def _is_alike(char: str, symbol: str) -> bool:
    """Whether a symbol is of the same kind as the character that folds to it."""
    was, now = unicodedata.category(char), unicodedata.category(symbol)
    return now != "Nd" and (was == now or (was in ("Lu", "Lt") and now == "Ll"))


@lru_cache(maxsize=2048)
def _folded_in_block(block: int, *, accents: bool) -> tuple[tuple[int, str], ...]:
    """The characters of a block that fold to one other symbol, with that symbol."""
    first = block * _BLOCK
    if any(a <= first and first + _BLOCK - 1 <= b for a, b in _ITSELF):
        return ()
    pairs = ((code, fold_letter(chr(code), accents=accents)) for code in range(first, first + _BLOCK))
    return tuple((code, symbol) for code, symbol in pairs if len(symbol) == 1 and ord(symbol) != code)


FEW = 300
"""The most members of a set that are examined one by one for foldings to several symbols."""


def long_symbols(ranges: Ranges, *, accents: bool) -> list[str]:
    """The foldings to several symbols among the members of a small set, such as those of ﬁ and ½."""
    if sum(last - first + 1 for first, last in ranges) > FEW:
        return []
    found = {fold_letter(chr(code), accents=accents) for first, last in ranges for code in range(first, last + 1)}
    return sorted(each for each in found if len(each) > 1)


@lru_cache(maxsize=1024)
def any_case(ranges: Ranges) -> Ranges:
    """The set, with the other cases of its members added."""
    return normal([*ranges, *of_chars(_other_cases(ranges))])


def _other_cases(ranges: Ranges) -> Iterator[str]:
    for first, last in ranges:
        for block in range(first // _BLOCK, min(last, 0x1EFFF) // _BLOCK + 1):
            for code, others in _cases_in_block(block):
                if first <= code <= last:
                    yield from others


@lru_cache(maxsize=2048)
def _cases_in_block(block: int) -> tuple[tuple[int, str], ...]:
    chars = map(chr, range(block * _BLOCK, (block + 1) * _BLOCK))
    each = ((ord(char), cases_of(char)) for char in chars)
    return tuple((code, cases) for code, cases in each if len(cases) > 1)


# Letters that Unicode's simple case folding equates with others (CaseFolding.txt, status C and S).
_MORE_CASES = {"k": "\u212a", "s": "ſ", "å": "\u212b", "µ": "μ", "ß": "ẞ", "σ": "ς", "ω": "\u2126"}
_BACK = {more: char for char, more in _MORE_CASES.items()}


def cases_of(char: str) -> str:
    """A character and its other cases."""
    small = _BACK.get(char, char.lower())
    forms = {char, char.lower(), char.upper(), char.title(), small, small.upper(), _MORE_CASES.get(small, char)}
    return "".join(sorted(form for form in forms if len(form) == 1))
