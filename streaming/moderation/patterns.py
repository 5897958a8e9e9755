"""Regular expressions as moderators write them: RE2's language without what a stream cannot have.

There are no anchors, no look-around and no back-references: a match is decided by its own characters alone. Case
does not matter, since text is folded before it is compared; nor does laziness, since the longest match counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

from streaming.moderation.folding import fold_char
from streaming.moderation.nodes import (
    LAST,
    Alt,
    Chars,
    Node,
    Range,
    Repeat,
    Seq,
    count_arrows,
    count_positions,
    literal,
)

MAX_REPEAT = 4096
MAX_POSITIONS = 20_000
"""Characters of a pattern with its repetitions written out."""
MAX_ARROWS = 50_000
"""Ways from one of these to the next; of ``(?:a?){n}`` there are n²/2. A character of a text may cost each of them."""


class PatternError(ValueError):
    """What is wrong with a regular expression, and where: the sentence counts characters from 1."""


def parse(pattern: str, fold: Callable[[str], str] = fold_char) -> Node:
    """The pattern as a tree over folded characters. PatternError says what it may not hold, and where."""
    return _Parser(pattern, fold).parse()


_ASCII: dict[str, tuple[Range, ...]] = {
    "d": ((48, 57),),
    "s": ((9, 10), (12, 13), (32, 32)),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
}
_POSIX: dict[str, tuple[Range, ...]] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": ((48, 57),),
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Unicode's Script=Han, from Scripts.txt; of the scripts the one whose users have no other way to say it.
_HAN: tuple[Range, ...] = (
    *((0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029)),
    *((0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FF0, 0x16FF1)),
    *((0x20000, 0x2A6DF), (0x2A700, 0x2EBE0), (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x30000, 0x323AF)),
)
_ANCHORS = {"A": "\\A", "z": "\\z", "Z": "\\Z", "b": "\\b", "B": "\\B"}
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_COUNT = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{0,9}))?\}")


class _Parser:
    def __init__(self, pattern: str, fold: Callable[[str], str]) -> None:
        self._pattern = pattern
        self._fold = fold
        self._at = 0
        self._dot_all = False
        self._depth = 0

    def parse(self) -> Node:
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise self._wrong("the ) closes nothing")
        if count_arrows(node) > MAX_ARROWS:
            raise PatternError("It can go on in too many ways: let less of it be optional inside a repetition.")
        return node

    def _wrong(self, sentence: str, at: int | None = None) -> PatternError:
        return PatternError(f"At character {(self._at if at is None else at) + 1}: {sentence}.")

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > 100:
            raise self._wrong("the groups are nested more than 100 deep")
        items = [self._sequence()]
        while self._peek() == "|":
            self._take()
            items.append(self._sequence())
        self._depth -= 1
        return items[0] if len(items) == 1 else Alt(tuple(items))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while (char := self._peek()) and char not in "|)":
            at = self._at
            item = self._item()
            if item is not None:
                items.append(self._repeated(item, at))
        return items[0] if len(items) == 1 else Seq(tuple(items))

    def _item(self) -> Node | None:
        at, char = self._at, self._take()
        match char:
            case "(":
                return self._group(at)
            case "[":
                return Chars(self._class(at))
            case ".":
                return Chars(((0, LAST),) if self._dot_all else ((0, 9), (11, LAST)))
            case "\\":
                return self._escape(at)
            case "^" | "$":
                raise self._wrong(f"{char} is an anchor, and a stream has neither lines nor an end; write \\{char}", at)
            case "*" | "+" | "?":
                raise self._wrong(f"there is nothing that {char} could repeat; write \\{char}", at)
        return literal(char, self._fold)

    def _group(self, at: int) -> Node | None:
        if self._peek() == "?":
            if around := re.compile(r"\?<?[=!]").match(self._pattern, self._at):
                raise self._wrong(f"({around[0]} is look-around, which streams cannot have", at)
            if self._pattern.startswith("?P=", self._at):
                raise self._wrong("(?P=...) is a back-reference, which streams cannot have", at)
            group = _GROUP.match(self._pattern, self._at)
            if not group:
                raise self._wrong("this kind of group is not known", at)
            self._at = group.end()
            before = self._dot_all
            if group["flags"]:
                on, _, off = group["flags"].partition("-")
                self._dot_all = ("s" in on or self._dot_all) and "s" not in off
            if group["end"] == ")":
                return None  # flags for what follows
        else:
            before = self._dot_all
        node = self._alternatives()
        if self._peek() != ")":
            raise self._wrong("the ( is not closed", at)
        self._take()
        self._dot_all = before
        return node

    def _repeated(self, node: Node, at: int) -> Node:
        while char := self._peek():
            if char in "*+?":
                self._take()
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            elif count := _COUNT.match(self._pattern, self._at):
                least = int(count[1])
                most = least if not count[2] else int(count[3]) if count[3] else None
                if most is not None and most < least:
                    raise self._wrong(f"{count[0]} counts backwards")
                if max(least, most or 0) > MAX_REPEAT:
                    raise self._wrong(f"{count[0]} repeats more than {MAX_REPEAT:,} times")
                self._at = count.end()
            else:
                break
            if self._peek() == "?":
                self._take()  # lazy: of no consequence, the longest match counts
            elif self._peek() == "+":
                raise self._wrong("possessive repetition is not known")
            node = Repeat(node, least, most)
            if count_positions(node) > MAX_POSITIONS:
                raise self._wrong("the repetitions multiply to too many characters", at)
        return node

    def _escape(self, at: int) -> Node:
        if not self._peek():
            raise self._wrong("a \\ at the end escapes nothing", at)
        if self._pattern.startswith("Q", self._at):
            end = self._pattern.find("\\E", self._at)
            text = self._pattern[self._at + 1 : end if end >= 0 else None]
            self._at = end + 2 if end >= 0 else len(self._pattern)
            # A repetition after a quotation is of its last character.
            last = self._repeated(literal(text[-1:], self._fold), at)
            return Seq((literal(text[:-1], self._fold), last))
        if (anchor := _ANCHORS.get(self._peek())) is not None:
            hint = ": tick 'whole word' instead" if anchor in ("\\b", "\\B") else ""
            raise self._wrong(f"{anchor} is an anchor, which streams cannot have{hint}", at)
        if self._peek() in "123456789" or self._pattern.startswith("k<", self._at):
            raise self._wrong("a back-reference is not possible in a stream", at)
        if (ranges := self._class_escape(at)) is not None:
            return Chars(ranges)
        return literal(self._char_escape(at), self._fold)

    def _class_escape(self, at: int) -> tuple[Range, ...] | None:
        """The folded set of an escape like \\d, if it is one."""
        char = self._peek()
        if char.lower() in _ASCII:
            self._take()
            ranges = self._folded(_ASCII[char.lower()])
            return ranges if char.islower() else _complement(ranges)
        if char in "pP":
            found = re.compile(r"[pP](?:\{(\^?)(\w+)\}|(\w))").match(self._pattern, self._at)
            if not found:
                raise self._wrong("after \\p belongs a class, as in \\p{Han} or \\pL", at)
            self._at = found.end()
            ranges = self._folded(self._unicode_class(found[2] or found[3], at))
            return _complement(ranges) if (char == "P") != bool(found[1]) else ranges
        return None

    def _unicode_class(self, name: str, at: int) -> tuple[Range, ...]:
        ranges = _HAN if name == "Han" else _category(name)
        if not ranges:
            raise self._wrong(f"\\p{{{name}}} is not known; there are Han and general categories (L, Lu, Nd ...)", at)
        return ranges

    def _char_escape(self, at: int) -> str:
        char = self._take()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "0":
            return "\0"
        if char == "x":
            found = re.compile(r"\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2})").match(self._pattern, self._at)
            code = int(found[1] or found[2], 16) if found else LAST + 1
            if not found or code > LAST:
                raise self._wrong("after \\x belong two hexadecimal digits, or a code point in braces", at)
            self._at = found.end()
            return chr(code)
        if char.isascii() and char.isalnum():
            raise self._wrong(f"\\{char} is not known", at)
        return char

    def _class(self, at: int) -> tuple[Range, ...]:
        """The set in brackets, folded. A negation comes after: [^A] is neither A nor a."""
        negated = self._peek() == "^"
        if negated:
            self._take()
        ranges: list[Range] = []
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                raise self._wrong("the [ is not closed", at)
            ranges += self._class_item()
            first = False
        self._take()
        return _complement(ranges) if negated else _normal(ranges)

    def _class_item(self) -> Iterable[Range]:
        at = self._at
        if posix := re.compile(r"\[:(\^?)(\w+):\]").match(self._pattern, at):
            if posix[2] not in _POSIX:
                raise self._wrong(f"{posix[0]} is not known")
            self._at = posix.end()
            ranges = self._folded(_POSIX[posix[2]])
            return _complement(ranges) if posix[1] else ranges
        char = self._take()
        if char == "\\":
            if not self._peek():
                raise self._wrong("a \\ at the end escapes nothing", at)
            if (escaped := self._class_escape(at)) is not None:
                return escaped
            char = self._char_escape(at)
        if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
            self._take()
            last = self._take()
            if last == "\\":
                last = self._char_escape(at)
            if last < char:
                raise self._wrong(f"the range {char}-{last} runs backwards", at)
            return self._folded(((ord(char), ord(last)),))
        return self._folded(((ord(char), ord(char)),))

    def _folded(self, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
        """The set with the folding of its members, where that is one character: a class stands for one."""
        return _normal([*ranges, *(_folds_in(ranges) if self._fold is fold_char else ())])


@lru_cache(maxsize=256)
def _folds_in(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    chars = (chr(code) for first, last in ranges for code in range(first, last + 1))
    return _normal((ord(folded),) * 2 for char in chars if len(folded := fold_char(char)) == 1 and folded != char)


def _normal(ranges: Iterable[Range]) -> tuple[Range, ...]:
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _complement(ranges: Iterable[Range]) -> tuple[Range, ...]:
    out, at = [], 0
    for first, last in _normal(ranges):
        if first > at:
            out.append((at, first - 1))
        at = last + 1
    return (*out, (at, LAST)) if at <= LAST else tuple(out)


@lru_cache(maxsize=64)
def _category(name: str) -> tuple[Range, ...]:
    """The code points of a general category (``Lu``) or of a group of them (``L``)."""
    if not re.fullmatch(r"[CLMNPSZ][a-z]?", name):
        return ()
    return _normal((code, code) for code in range(LAST + 1) if unicodedata.category(chr(code)).startswith(name))
