r"""Parses the regular expressions of rules: RE2's syntax, without what is impossible in a stream.

Sources: RE2's syntax (github.com/google/re2/wiki/Syntax), and UTS #18 for scripts and properties. In addition, there
are look-around of one character, ``\u0041`` and ``\u{41}``. The longest match counts, so laziness affects only which
part of a match a group captures.
"""

from __future__ import annotations

import re

from streaming.moderation.char_sets import (
    LAST,
    Range,
    Ranges,
    any_case,
    cases_of,
    complement,
    folded,
    long_symbols,
    normal,
    of_chars,
    unicode_class,
)
from streaming.moderation.folding import fold, goes_on, has_accents, is_ignorable
from streaming.moderation.regex_nodes import (
    Alt,
    Chars,
    Look,
    Node,
    Repeat,
    Seq,
    alternatives,
    count_arrows,
    count_positions,
    word,
)
from streaming.moderation.rule_messages import Remark, gettext_noop

MAX_REPEAT = 4096
MAX_POSITIONS = 20_000
"""The most sets of symbols in a pattern with its repetitions written out."""
MAX_ARROWS = 50_000
"""The most transitions between these sets; ``(?:a?){n}`` has n²/2. One character of text may visit all of them."""
MAX_DEPTH = 100


class PatternError(ValueError):
    """An invalid regular expression: what is wrong, and where. ``at`` counts characters from 1."""

    def __init__(self, template: str, **params: object) -> None:
        super().__init__(template % params)
        self.remark = Remark(template, params)


def parse(pattern: str, *, exact: bool = False, group: bool = False) -> tuple[Node, bool]:
    """Returns the pattern as a tree over symbols, and whether accents count in it.

    ``exact`` compares text as it is written; ``group`` marks the first group. Raises PatternError if it is invalid.
    """
    parser = _Parser(pattern, exact=exact, accents=False, group=group)
    node = parser.parse()
    if not parser.saw_accents:
        return node, False
    return _Parser(pattern, exact=exact, accents=True, group=group).parse(), True


_ASCII: dict[str, Ranges] = {
    "d": ((48, 57),),
    "s": ((9, 10), (12, 13), (32, 32)),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
}
_POSIX: dict[str, Ranges] = {
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
_LOOK = re.compile(r"\?(<?)([=!])")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_COUNT = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{0,9}))?\}")
_PROPERTY = re.compile(r"[pP](?:\{(\^?)(?:(?:sc|script|Script|gc)=)?([\w&]+)\}|(\w))")
_CODE = re.compile(r"x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")


class _Flags:
    """The flags that are set by (?ims) and the like."""

    def __init__(self) -> None:
        self.any_case = self.many_lines = self.dot_all = self.swaps_lazy = False

    def changed(self, on: str, off: str) -> _Flags:
        flags = _Flags()
        for name, letter in (("any_case", "i"), ("many_lines", "m"), ("dot_all", "s"), ("swaps_lazy", "U")):
            setattr(flags, name, (letter in on or getattr(self, name)) and letter not in off)
        return flags


class _Parser:
    def __init__(self, pattern: str, *, exact: bool, accents: bool, group: bool) -> None:
        self.saw_accents = False
        self._pattern = pattern
        self._exact = exact
        self._accents = accents
        self._wants_group = group
        self._has_group = False
        self._at = 0
        self._flags = _Flags()
        self._depth = 0

    def parse(self) -> Node:
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise self._wrong(gettext_noop("At character %(at)s: the ) closes nothing."))
        if self._wants_group and not self._has_group:
            raise PatternError(gettext_noop("There is no group in it: put what is to be acted on in ( and )."))
        if count_arrows(node) > MAX_ARROWS:
            raise PatternError(
                gettext_noop("It can go on in too many ways: let less of it be optional inside a repetition.")
            )
        return node

    def _wrong(self, template: str, at: int | None = None, **params: object) -> PatternError:
        return PatternError(template, at=(self._at if at is None else at) + 1, **params)

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Consumes and returns a match at the current position, if there is one."""
        if found := pattern.match(self._pattern, self._at):
            self._at = found.end()
        return found

    def _take_letter(self, first: str) -> str:
        """Takes the marks that follow a character: together they are one letter."""
        letter = first
        while not self._exact and (char := self._peek()) > "\x7f" and goes_on(char):
            letter += self._take()
        return letter

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(
                gettext_noop("At character %(at)s: the groups are nested more than %(most)s deep."), most=MAX_DEPTH
            )
        items = [self._sequence()]
        while self._peek() == "|":
            self._take()
            items.append(self._sequence())
        self._depth -= 1
        return alternatives(items)

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
                return self._class(at)
            case ".":
                return Chars(((0, LAST),) if self._flags.dot_all else ((0, 9), (11, LAST)))
            case "\\":
                return self._escape(at)
            case "^" | "$":
                return Look(((10, 10),) if self._flags.many_lines else (), ahead=char == "$", edge=True)
            case "*" | "+" | "?":
                raise self._wrong(
                    gettext_noop("At character %(at)s: there is nothing that %(sign)s could repeat; write \\%(sign)s."),
                    at,
                    sign=char,
                )
        return self._literal(self._take_letter(char))

    def _literal(self, text: str) -> Node:
        if self._exact:
            return Seq(tuple(Chars(of_chars(cases_of(c) if self._flags.any_case else c)) for c in text))
        self.saw_accents |= has_accents(text)
        symbols = fold(text, accents=self._accents)
        # A dotless i in a rule also matches I and i.
        return Seq(tuple(Chars(of_chars("iı" if symbol == "ı" else symbol)) for symbol in symbols))

    # Groups

    def _group(self, at: int) -> Node | None:
        if self._peek() != "?":
            return self._grouped(at, self._flags, captures=True)
        if self._pattern.startswith("?#", self._at):
            self._at = self._end_of(")", at)
            return None
        if look := self._match(_LOOK):
            return self._look_around(at, ahead=not look[1], negated=look[2] == "!")
        self._refuse_group(at)
        group = self._match(_GROUP)
        if not group:
            raise self._wrong(gettext_noop("At character %(at)s: this kind of group is not known."), at)
        before = self._flags
        if group["flags"]:
            on, _, off = group["flags"].partition("-")
            if "i" in off and not self._exact:
                raise self._wrong(
                    gettext_noop(
                        "At character %(at)s: (?-i) is for rules that are compared exactly: make it such a one."
                    ),
                    at,
                )
            self._flags = before.changed(on, off)
        if group["end"] == ")":
            return None  # flags for what follows
        return self._grouped(at, before, captures=not group["end"])

    def _refuse_group(self, at: int) -> None:
        if self._pattern.startswith("?P=", self._at):
            raise self._wrong(
                gettext_noop(
                    "At character %(at)s: a back-reference is not possible in a stream; write out what it repeats."
                ),
                at,
            )
        if self._pattern.startswith("?>", self._at):
            raise self._wrong(
                gettext_noop("At character %(at)s: the longest match counts, so (?> is of no use; write (?: instead."),
                at,
            )
        if re.compile(r"\?[a-zA-Z-]*x").match(self._pattern, self._at):
            raise self._wrong(
                gettext_noop("At character %(at)s: (?x) is not known; leave out its white space and comments."), at
            )

    def _grouped(self, at: int, before: _Flags, *, captures: bool) -> Node:
        is_group = captures and self._wants_group and not self._has_group
        self._has_group |= is_group
        node = self._alternatives()
        self._close(at)
        self._flags = before
        return Seq((node,), is_group=True) if is_group else node

    def _close(self, at: int) -> None:
        if self._peek() != ")":
            raise self._wrong(gettext_noop("At character %(at)s: the ( is not closed."), at)
        self._take()

    def _end_of(self, sign: str, at: int) -> int:
        end = self._pattern.find(sign, self._at)
        if end < 0:
            raise self._wrong(gettext_noop("At character %(at)s: the ( is not closed."), at)
        return end + 1

    def _look_around(self, at: int, *, ahead: bool, negated: bool) -> Node:
        before, wants, self._wants_group = self._flags, self._wants_group, False
        node = self._alternatives()
        self._close(at)
        self._flags, self._wants_group = before, wants
        ranges, edge = self._one_symbol(node, at, ahead=ahead)
        if negated:
            ranges, edge = complement(ranges), not edge
        return Look(ranges, ahead=ahead, edge=edge)

    def _one_symbol(self, node: Node, at: int, *, ahead: bool) -> tuple[Ranges, bool]:
        """The condition of a look-around: a set of symbols, and whether the edge of the text also satisfies it."""
        match node:
            case Chars(ranges):
                return ranges, False
            case Seq((item,)):
                return self._one_symbol(item, at, ahead=ahead)
            case Look(ranges, ahead_too, edge) if ahead_too == ahead:
                return ranges, edge
            case Alt(items):
                each = [self._one_symbol(item, at, ahead=ahead) for item in items]
                return normal(r for ranges, _ in each for r in ranges), any(edge for _, edge in each)
        raise self._wrong(
            gettext_noop(
                "At character %(at)s: look-around may look at one character only; write a class, as in (?![0-9]), "
                "or an allow rule for what is not to be matched."
            ),
            at,
        )

    # Repetition

    def _repeated(self, node: Node, at: int) -> Node:
        while char := self._peek():
            if char in "*+?":
                self._take()
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            elif _COUNT.match(self._pattern, self._at):
                least, most = self._count()
            else:
                break
            is_lazy = self._flags.swaps_lazy
            if self._peek() == "?":
                self._take()
                is_lazy = not is_lazy
            elif self._peek() == "+":
                raise self._wrong(
                    gettext_noop(
                        "At character %(at)s: the longest match counts, so possessive repetition is not known; "
                        "leave out this +."
                    )
                )
            node = Repeat(node, least, most, is_lazy)
            if count_positions(node) > MAX_POSITIONS:
                raise self._wrong(
                    gettext_noop("At character %(at)s: the repetitions multiply to too many characters."), at
                )
        return node

    def _count(self) -> tuple[int, int | None]:
        at = self._at
        count = self._match(_COUNT)
        assert count  # noqa: S101 (the caller has matched it)
        least = int(count[1])
        most = least if not count[2] else int(count[3]) if count[3] else None
        if most is not None and most < least:
            raise self._wrong(gettext_noop("At character %(at)s: %(count)s counts backwards."), at, count=count[0])
        if max(least, most or 0) > MAX_REPEAT:
            raise self._wrong(
                gettext_noop("At character %(at)s: %(count)s repeats more than %(most)s times."),
                at,
                count=count[0],
                most=f"{MAX_REPEAT:,}",
            )
        return least, most

    # Escapes

    def _escape(self, at: int) -> Node:
        if not self._peek():
            raise self._wrong(gettext_noop("At character %(at)s: a \\ at the end escapes nothing."), at)
        if self._pattern.startswith("Q", self._at):
            end = self._pattern.find("\\E", self._at)
            text = self._pattern[self._at + 1 : end if end >= 0 else None]
            self._at = end + 2 if end >= 0 else len(self._pattern)
            # A repetition after \Q...\E applies to the last character.
            last = self._repeated(self._literal(text[-1:]), at)
            return Seq((self._literal(text[:-1]), last))
        if self._peek() in "AzZ":
            return Look((), ahead=self._take() != "A", edge=True)
        if self._peek() in "bB":
            return self._word_bound(is_bound=self._take() == "b")
        if (ranges := self._class_escape(at)) is not None:
            return Chars(ranges)
        return self._literal(self._char_escape(at))

    def _word_bound(self, *, is_bound: bool) -> Node:
        inside = self._as_text(_ASCII["w"])
        outside = complement(inside)
        word_before, other_before = Look(inside, ahead=False, edge=False), Look(outside, ahead=False, edge=True)
        word_after, other_after = Look(inside, ahead=True, edge=False), Look(outside, ahead=True, edge=True)
        if is_bound:
            return Alt((Seq((word_before, other_after)), Seq((other_before, word_after))))
        return Alt((Seq((word_before, word_after)), Seq((other_before, other_after))))

    def _class_escape(self, at: int) -> Ranges | None:
        """The set of a class escape such as \\d; None if it is another escape."""
        char = self._peek()
        if char and char in "dDsSwW":
            self._take()
            ranges = self._as_text(_ASCII[char.lower()])
            return ranges if char.islower() else complement(ranges)
        if char not in ("p", "P"):
            return None
        found = self._match(_PROPERTY)
        if not found:
            raise self._wrong(
                gettext_noop("At character %(at)s: after \\p belongs a class, as in \\p{Han} or \\pL."), at
            )
        name = found[2] or found[3]
        if not (ranges := unicode_class(name)):
            raise self._wrong(
                gettext_noop(
                    "At character %(at)s: \\p{%(name)s} is not known; there are scripts (Han, Latin ...) and general "
                    "categories (L, Lu, Nd ...)."
                ),
                at,
                name=name,
            )
        if name != "Extended_Pictographic":  # a sign that folds to a letter, such as ℹ, does not count as a picture
            ranges = self._as_text(ranges, is_property=True)
        return complement(ranges) if (char == "P") != bool(found[1]) else ranges

    def _char_escape(self, at: int) -> str:
        if code := self._match(_OCTAL):
            return chr(int(code[0], 8))
        char = self._peek()
        if char.isdigit() or self._pattern.startswith("k", self._at):
            raise self._wrong(
                gettext_noop(
                    "At character %(at)s: a back-reference is not possible in a stream; write out what it repeats."
                ),
                at,
            )
        if char in "xu":
            return self._code_escape(at)
        self._take()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isascii() and char.isalnum():
            raise self._wrong(gettext_noop("At character %(at)s: \\%(sign)s is not known."), at, sign=char)
        return char

    def _code_escape(self, at: int) -> str:
        found = self._match(_CODE)
        code = int(next(filter(None, found.groups())), 16) if found else LAST + 1
        if code > LAST:
            raise self._wrong(
                gettext_noop(
                    "At character %(at)s: after \\x belong two hexadecimal digits, or a code point in braces."
                ),
                at,
            )
        return chr(code)

    # Classes

    def _class(self, at: int) -> Node:
        """A bracketed set. It is folded before it is negated: [^A] matches neither A nor a."""
        negated = self._peek() == "^"
        if negated:
            self._take()
        members: list[tuple[Ranges, bool]] = []  # a set, and whether it is folded already
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                raise self._wrong(gettext_noop("At character %(at)s: the [ is not closed."), at)
            members.append(self._class_item())
            first = False
        self._take()
        written = normal(r for ranges, is_done in members if not is_done for r in ranges)
        ranges = normal((*self._as_text(written), *(r for each, is_done in members if is_done for r in each)))
        if negated:
            return Chars(complement(ranges))
        return self._with_long_symbols(ranges, written, at)

    def _with_long_symbols(self, ranges: Ranges, written: Ranges, at: int) -> Node:
        """A set, some members of which may fold to several symbols."""
        if self._exact:
            return Chars(ranges)
        long = [word(symbols) for symbols in long_symbols(written, accents=self._accents)]
        if all(is_ignorable(chr(code)) for first, last in ranges for code in range(first, min(last, first + 64) + 1)):
            raise self._wrong(
                gettext_noop(
                    "At character %(at)s: the class has only characters that are not compared; make the rule exact."
                ),
                at,
            )
        return Alt((Chars(ranges), *long)) if long else Chars(ranges)

    def _class_item(self) -> tuple[Ranges, bool]:
        at = self._at
        if posix := self._match(re.compile(r"\[:(\^?)(\w+):\]")):
            if posix[2] not in _POSIX:
                raise self._wrong(gettext_noop("At character %(at)s: %(name)s is not known."), at, name=posix[0])
            ranges = self._as_text(_POSIX[posix[2]])
            return complement(ranges) if posix[1] else ranges, True
        char = self._take()
        if char == "\\":
            if not self._peek():
                raise self._wrong(gettext_noop("At character %(at)s: a \\ at the end escapes nothing."), at)
            if (escaped := self._class_escape(at)) is not None:
                return escaped, True
            char = self._class_char(at)
        if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
            return (self._range_from(char, at),), False
        char = self._class_letter(char)
        self.saw_accents |= not self._exact and has_accents(char)
        return (of_chars(fold(char, accents=self._accents)), True) if len(char) > 1 else (of_chars(char), False)

    def _class_letter(self, char: str) -> str:
        """A character with the marks after it, if they fold to one symbol; otherwise each is a member of its own."""
        at = self._at
        letter = self._take_letter(char)
        if len(letter) > 1 and len(fold(letter, accents=True)) == 1:
            return letter
        self._at = at
        return char

    def _class_char(self, at: int) -> str:
        if self._peek() == "b":  # within brackets, \b traditionally means backspace
            raise self._wrong(gettext_noop("At character %(at)s: \\%(sign)s is not known."), at, sign="b")
        return self._char_escape(at)

    def _range_from(self, first: str, at: int) -> Range:
        self._take()
        last = self._take()
        if last == "\\":
            last = self._char_escape(at)
        if last < first:
            raise self._wrong(
                gettext_noop("At character %(at)s: the range %(range)s runs backwards."), at, range=f"{first}-{last}"
            )
        self.saw_accents |= not self._exact and has_accents(first + " " + last)
        return ord(first), ord(last)

    def _as_text(self, ranges: Ranges, *, is_property: bool = False) -> Ranges:
        """Converts a set to the form in which text is compared with it."""
        if not self._exact:
            ranges = folded(ranges, accents=self._accents, is_property=is_property)
            return normal((*ranges, *of_chars("i"))) if any(a <= 0x131 <= b < a + 2 for a, b in ranges) else ranges
        return any_case(ranges) if self._flags.any_case else normal(ranges)
