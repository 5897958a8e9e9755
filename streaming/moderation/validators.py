"""Additional checks of what a rule acts on: the match, or the group in it.

They receive symbols, so all letters are lower case, except for rules that are compared exactly.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

REACH = 64
"""In symbols. Only so much of a text decides: a longer one is no number, and is as random as its beginning."""


@dataclass(frozen=True)
class Check:
    """A condition on a text. Without limits, it would have to be tried on all parts of thousands of symbols.

    ``beyond``: whether a text longer than REACH symbols passes if its beginning does; otherwise it fails. A text with
    fewer than ``different`` symbols fails.
    """

    passes: Callable[[str], bool]
    beyond: bool = False
    different: int = 1

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


def entropy(least: float) -> Check:
    """Checks that the Shannon entropy of a text is at least ``least`` bits per character."""

    def is_random(text: str) -> bool:
        shares = (count / len(text) for count in Counter(text).values())
        return -sum(share * math.log2(share) for share in shares) >= least

    # So many symbols that are equally frequent have the least entropy.
    return Check(is_random, beyond=True, different=math.ceil(2**least - 1e-6))


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
