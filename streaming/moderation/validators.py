"""Additional checks of what a rule acts on: the match, or the group in it.

They receive symbols, so all letters are lower case, except for rules that are compared exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

REACH = 64
"""In symbols. Only so much of a text decides: a longer one is no number, and is as random as its beginning."""


@dataclass(frozen=True)
class Check:
    """A condition on a text. Without limits, it would have to be tried on all parts of thousands of symbols.

    ``beyond``: whether a text longer than REACH symbols passes if its beginning does; otherwise it fails. A text with
    fewer than ``different`` symbols fails. ``beginnings`` makes what tells which beginnings of a text pass.
    """

    passes: Callable[[str], bool]
    beyond: bool = False
    different: int = 1
    beginnings: Callable[[], Beginnings] | None = None

    def __call__(self, text: str) -> bool:
        return (self.beyond or len(text) <= REACH) and self.passes(text[:REACH])


DEFAULT_ENTROPY = 3.0
"""In bits per character. Random letters and digits have about four, words less than three."""


def luhn(text: str) -> bool:
    """Checks payment card numbers (ISO/IEC 7812-1, annex B). Characters other than digits are ignored."""
    digits = [int(char) for char in text if char in "0123456789"]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban(text: str) -> bool:
    """Checks bank account numbers (ISO 13616): the remainder modulo 97 must be 1."""
    compact = re.sub(r"[\s-]", "", text).lower()
    if not re.fullmatch(r"[a-z]{2}[0-9]{2}[0-9a-z]{8,30}", compact):
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def cn_id(text: str) -> bool:
    """Checks Chinese resident identity numbers (GB 11643-1999): the last character is a checksum."""
    if not re.fullmatch(r"[0-9]{17}[0-9xX]", text):
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(char) * weight for char, weight in zip(text, weights, strict=False))
    return "10x98765432"[total % 11] == text[-1].lower()


_BITS = [0.0, *(count * math.log2(count) for count in range(1, REACH + 1))]
_ROUNDING = 1e-9


class Beginnings:
    """Which beginnings of a text have a Shannon entropy of at least ``least`` bits per symbol. Reads the text once."""

    __slots__ = ("_bits", "_counts", "_least", "_size", "passing")

    def __init__(self, least: float) -> None:
        self._least = least
        self._counts: dict[str, int] = {}
        self._bits = 0.0  # the sum over all symbols that occur: how often one does, times the logarithm of that
        self._size = 0
        self.passing = 0
        """Bit n is set if the first n symbols pass, from 1 to REACH."""

    def read(self, text: str) -> None:
        """Reads a text, which begins with the text read before, up to REACH symbols."""
        counts, least, bits, size = self._counts, self._least, self._bits, self._size
        for symbol in text[size:REACH]:
            count = counts.get(symbol, 0)
            counts[symbol] = count + 1
            bits += _BITS[count + 1] - _BITS[count]
            size += 1
            if size * least <= _BITS[size] - bits + _ROUNDING:
                self.passing |= 1 << size
        self._bits, self._size = bits, size

    def passes(self, size: int) -> bool:
        """Whether the first ``size`` symbols pass. A longer beginning is as random as REACH symbols."""
        return bool(self.passing >> min(size, REACH) & 1)

    @property
    def longest(self) -> int:
        """The size of the longest one that passes, at most REACH; -1 if none does."""
        return self.passing.bit_length() - 1


def entropy(least: float) -> Check:
    """Checks that the Shannon entropy of a text is at least ``least`` bits per character."""

    def is_random(text: str) -> bool:
        beginnings = Beginnings(least)
        beginnings.read(text)
        return beginnings.passes(len(text))

    # So many symbols that are equally frequent have the least entropy.
    different = math.ceil(2**least - 1e-6)
    return Check(is_random, beyond=True, different=different, beginnings=lambda: Beginnings(least))


_CHECKS = {"luhn": Check(luhn), "iban": Check(iban), "cn_id": Check(cn_id), "entropy": entropy(DEFAULT_ENTROPY)}
CHECKS = ("", *_CHECKS)


def check_named(name: str) -> Check | None:
    """Returns the check with this name, or None for the empty name. Entropy takes a minimum, as in ``entropy:3.5``.

    Raises ValueError if there is no such check.
    """
    if not name:
        return None
    if name in _CHECKS:
        return _CHECKS[name]
    if found := re.fullmatch(r"entropy:([0-9](?:\.[0-9]{1,3})?)", name):
        return entropy(float(found[1]))
    raise ValueError(name)
