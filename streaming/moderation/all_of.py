"""Rules that need two words near each other, in either order, as one regular expression.

As such it is as exact in every cut as others are. It is costly: while one of the words has been read, the automaton has
a state for each distance, and each rule multiplies them. So it is for a few rules; two words that are matched by ten
rules of 30 characters cost about as much as a hundred thousand single words.
"""

from __future__ import annotations

import re

MAX_RULES = 10
"""How many such rules an import makes."""

WITHIN = 30
"""The characters between the words, at most."""


def both_of(first: str, second: str, *, within: int = WITHIN, whole_words: tuple[bool, bool] = (False, False)) -> str:
    """A pattern in RE2 syntax that matches from one word to the other, with up to ``within`` characters between them.

    A run of white space in a word stands for any; ``whole_words`` says of each whether it is one.
    """
    one, other = _pattern(first, whole=whole_words[0]), _pattern(second, whole=whole_words[1])
    gap = rf"[\s\S]{{0,{within}}}"
    return f"{one}{gap}{other}|{other}{gap}{one}"


def _pattern(word: str, *, whole: bool) -> str:
    quoted = r"\s+".join(_quoted(part) for part in word.split())
    return rf"\b{quoted}\b" if whole else quoted


def _quoted(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
