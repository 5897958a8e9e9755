"""Signs that stand for one character: escapes, percent codes and character references.

Sources: CommonMark 0.31 §2.4 (backslash escapes) and §2.5 (references; HTML §13.5), RFC 8259 §7 (JSON), RFC 3986 §2.1
(percent-encoding).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html.entities import html5

_HEX = "[0-9a-fA-F]"
_TRAIL = f"%[89abAB]{_HEX}"  # a continuation byte in UTF-8

SURROGATES = rf"\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
CODE_UNIT = rf"\\u{_HEX}{{4}}"
BYTE = rf"\\x{_HEX}{{2}}"
PERCENT = rf"%[0-7]{_HEX}|%[cCdD]{_HEX}{_TRAIL}|%[eE]{_HEX}(?:{_TRAIL}){{2}}|%[fF][0-4](?:{_TRAIL}){{3}}"
REFERENCE = rf"&(?:#[0-9]{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,31}});"

CODES = rf"(?P<surrogates>{SURROGATES})|(?P<code_unit>{CODE_UNIT})|(?P<byte>{BYTE})|(?P<percent>{PERCENT})"
CODES_SO_FAR = (
    rf"\\(?:u{_HEX}{{0,3}}|x{_HEX}?)?|\\u[dD][89abAB]{_HEX}{{2}}(?:\\(?:u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)?)?"
    rf"|%(?:[0-7cCdDeEfF]|[cCdD]{_HEX}(?:%[89abAB]?)?|[eE]{_HEX}(?:{_TRAIL})?(?:%[89abAB]?)?"
    rf"|[fF][0-4](?:{_TRAIL}){{0,2}}(?:%[89abAB]?)?)?"
)
REFERENCE_SO_FAR = rf"&(?:#[0-9]{{0,7}}|#[xX]{_HEX}{{0,6}}|[A-Za-z][A-Za-z0-9]{{0,31}})?"


def decoded(kind: str, text: str) -> str | None:
    """The text that a sign of this kind stands for; None if the sign is literal text."""
    match kind:
        case "escape":
            return text[1]
        case "code_unit" | "byte":
            digits = text[2:]
            code = int(digits, 16)
            return None if 0xD800 <= code < 0xE000 else chr(code)
        case "surrogates":
            high, low = int(text[2:6], 16), int(text[8:], 16)
            return chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF))
        case "percent":
            return _percent_decoded(text)
        case "reference":
            return _referred(text[1:-1])
    return None


def _percent_decoded(text: str) -> str | None:
    try:
        return bytes.fromhex(text.replace("%", "")).decode()
    except UnicodeDecodeError:
        return None


def _referred(name: str) -> str | None:
    if not name.startswith("#"):
        return html5.get(name + ";")
    digits, base = (name[2:], 16) if name[1] in "xX" else (name[1:], 10)
    code = int(digits, base)
    return "\ufffd" if not code or code > 0x10FFFF or 0xD800 <= code < 0xE000 else chr(code)


FEW = 300
"""The largest range of code points that is examined one by one."""


@lru_cache(maxsize=4096)
def could_stand_for(begun: str) -> frozenset[str] | None:
    """The characters that a sign starting with ``begun`` may stand for; None if there are too many."""
    if begun[0] == "&" and begun[1:2].isalpha():
        return frozenset(chars[0] for name, chars in html5.items() if name[-1] == ";" and name.startswith(begun[1:]))
    ranges = list(_ranges(begun))
    if any(last - first > FEW for first, last in ranges):
        return None
    return frozenset(chr(code) for first, last in ranges for code in range(first, last + 1))


def _ranges(begun: str) -> Iterator[tuple[int, int]]:
    if number := re.fullmatch(r"&#([xX]?)([0-9a-fA-F]*)", begun):
        yield from _of_number(number[2], 16 if number[1] else 10)
    elif (unit := re.fullmatch(r"\\u([0-9a-fA-F]{1,4})", begun)) and unit[1][0] not in "dD":
        yield _with_more(unit[1], 4)
    elif byte := re.fullmatch(r"\\x([0-9a-fA-F])", begun):
        yield _with_more(byte[1], 2)
    elif code := re.fullmatch("%([0-7])", begun):
        yield _with_more(code[1], 2)
    elif begun[0] not in "_<]!$":  # these are literal or ignored
        yield 0, 0x10FFFF


def _with_more(digits: str, length: int) -> tuple[int, int]:
    missing = 16 ** (length - len(digits))
    first = int(digits, 16) * missing
    return first, first + missing - 1


def _of_number(digits: str, base: int) -> Iterator[tuple[int, int]]:
    if not digits.lstrip("0"):
        yield 0, 0x10FFFF
        return
    first = int(digits, base)
    for length in range(8 - len(digits)):
        yield min(first * base**length, 0x110000), min((first + 1) * base**length - 1, 0x10FFFF)
