"""Explains hits to people: how the text was read, and what was overlooked for it to match the pattern."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from streaming.moderation import differences
from streaming.moderation.folding import fold, has_accents, is_ignorable, letters
from streaming.moderation.moderator import Hit, Moderator, RuleSet
from streaming.moderation.readings import Key, Medium, Reading, kinds_of
from streaming.moderation.rule_messages import Remark, gettext_noop
from streaming.moderation.rules import Rule

KEEP_CHARS = 20_000
"""How much of the text is kept, at least. Hits before that are not explained."""

CONTEXT = 64
"""How many symbols on each side of a match are read with it, since a pattern may look at one of them."""

MARKDOWN = gettext_noop("through Markdown")
CODES = gettext_noop("through character codes")
JSON = gettext_noop("through JSON's escapes")
HIDDEN = gettext_noop("in an address, a tag or a comment")
AS_WRITTEN = gettext_noop("as written, with the signs of Markdown")


@dataclass(frozen=True, slots=True)
class Explanation:
    """``read`` is what was compared with the pattern; ``reasons`` is what was overlooked for it to match.

    There are no reasons if the text is written as the pattern is.
    """

    read: str
    reasons: tuple[Remark, ...] = ()


class _Letter:
    """A letter as it is written, and the symbols that it is read as. ``ignored`` is the text since the one before."""

    def __init__(self, ignored: str, written: str, symbols: str) -> None:
        self.ignored, self.written, self.symbols = ignored, written, symbols
        self.is_code = len(written) > 1 and any(sign in written for sign in "&%\\")


class Explainer:
    """Reads a text, which may arrive in pieces, as the rules do, and explains the hits in it."""

    def __init__(self, medium: Medium, keep: int = KEEP_CHARS) -> None:
        self._keep = keep
        self._text, self._dropped = "", 0
        # Words are compared with a run of white space as one space, regular expressions with what is written.
        self._words = [_Spelling(Key(kind, accents=True, spaces=True)) for kind in kinds_of(medium)]
        self._regexes = [_Spelling(Key(kind, accents=True)) for kind in kinds_of(medium)]
        self._rule_sets: dict[Rule, RuleSet] = {}

    def feed(self, text: str, *, final: bool = False) -> None:
        """Reads a piece of the text. A hit can be explained once its text was fed."""
        self._text += text
        for each in (*self._words, *self._regexes):
            each.feed(text, final=final)
        if (surplus := len(self._text) - len(text) - self._keep) > self._keep:
            self._text, self._dropped = self._text[surplus:], self._dropped + surplus
            for each in (*self._words, *self._regexes):
                each.forget(self._dropped)

    def explain(self, hit: Hit) -> Explanation:
        """Explains a hit that the text's moderator returned."""
        rule, written = hit.rule, self._written(hit.start, hit.end)
        if rule.compare == "exact" or (rule.kind == "literal" and written == rule.pattern):
            return Explanation(written)
        spellings = [each.up_to(hit.end) for each in (self._words if rule.kind == "literal" else self._regexes)]
        spelling = self._spelling(hit, spellings)
        accents = has_accents(rule.pattern)
        read = list(self._letters(hit, spelling, accents=accents))
        symbols = "".join(letter.symbols for letter in read)
        overlooked = [*_signs(read, spelling.key.kind), *self._kinds(hit, spelling), *_in_letters(read, rule)]
        if rule.compare == "loose":
            overlooked += differences.of_loose_word(symbols, rule.pattern, accents=accents)
            symbols = fold(rule.pattern, accents=accents)
        return Explanation(symbols, tuple(map(Remark, dict.fromkeys(overlooked))))

    def _written(self, start: int, end: int) -> str:
        return self._text[max(start - self._dropped, 0) : max(end - self._dropped, 0)]

    def _spelling(self, hit: Hit, spellings: list[_Spelling]) -> _Spelling:
        """The spelling in which the rule matches; if it does in several, the first of them."""
        if len({each.part(hit.start, hit.end) for each in spellings}) == 1:
            return spellings[0]
        return next((each for each in spellings if self._is_met(hit, each)), spellings[0])

    def _is_met(self, hit: Hit, spelling: _Spelling) -> bool:
        """Whether the rule matches there in this spelling of the text."""
        first, last = spelling.between(hit.start, hit.end)
        begin = max(first - CONTEXT, 0)
        if hit.rule not in self._rule_sets:
            self._rule_sets[hit.rule] = RuleSet([replace(hit.rule, action="flag", on_trial=False)])
        moderator = Moderator(self._rule_sets[hit.rule], "plain")
        outcomes = [*moderator.feed(spelling.symbols[begin : last + CONTEXT]), *moderator.finish()]
        return any(each[1:] == (first - begin, last - begin) for each in outcomes if isinstance(each, Hit))

    def _letters(self, hit: Hit, spelling: _Spelling, *, accents: bool) -> Iterator[_Letter]:
        at = hit.start
        for start, end, symbols in spelling.letters(hit.start, hit.end):
            yield _Letter(self._written(at, start), self._written(start, end), fold(symbols, accents=accents))
            at = end

    def _kinds(self, hit: Hit, spelling: _Spelling) -> Iterator[str]:
        """What is particular about the kind of reading in which the rule matches."""
        if spelling.key.kind == "written" and len(self._words) > 1:
            yield AS_WRITTEN
        if spelling.key.kind == "flat":
            shown = self._regexes[0].up_to(hit.end).part(hit.start, hit.end)
            if len("".join(shown.split())) < len("".join(spelling.part(hit.start, hit.end).split())):
                yield HIDDEN


def _signs(read: list[_Letter], kind: str) -> Iterator[str]:
    """What of the medium's syntax was decoded, or ignored."""
    if kind in ("deep", "decoded", "flat") and any(any(map(_is_sign, letter.ignored)) for letter in read):
        yield MARKDOWN
    for letter in read:
        if letter.is_code and kind != "written":
            escapes = "\\" in letter.written and len(letter.written) == 2
            yield JSON if kind == "json" and "\\" in letter.written else MARKDOWN if escapes else CODES


def _is_sign(char: str) -> bool:
    return not char.isspace() and char != ">" and not is_ignorable(char)


def _in_letters(read: list[_Letter], rule: Rule) -> Iterator[str]:
    """How the letters differ from those of the pattern."""
    for letter in read:
        if letter.ignored and all(map(is_ignorable, letter.ignored)):
            yield differences.INVISIBLE
        elif letter.ignored and not any(map(_is_sign, letter.ignored)):
            yield differences.SPACES
    for written, symbols in _differing(read, rule):
        for difference in differences.of_letter(written, symbols):
            if rule.kind == "literal" or difference != differences.CASE:
                yield difference


def _differing(read: list[_Letter], rule: Rule) -> Iterator[tuple[str, str]]:
    """Letters that are not written as in the pattern, and those of the pattern, each with its symbols."""
    accents = has_accents(rule.pattern)
    pattern = letters(" ".join(rule.pattern.split()), accents=True)
    folded = [fold(letter, accents=accents) for letter in pattern]
    is_aligned = rule.kind == "literal" and folded == [letter.symbols for letter in read]
    for number, letter in enumerate(read):
        if letter.is_code or letter.written in ([pattern[number]] if is_aligned else pattern):
            continue
        yield letter.written, letter.symbols
        if is_aligned:
            yield pattern[number], folded[number]


class _Spelling:
    """The symbols of one reading with their spans, from character ``forget`` of the text on."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.symbols = ""
        self._reading = Reading(key)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._fed = 0

    def feed(self, text: str, *, final: bool) -> None:
        symbols, first, starts, ends = self._reading.feed(text, final=final)
        begins = range(first, first + len(symbols)) if starts is None else starts
        self.symbols += symbols
        self._starts += [self._fed + at for at in begins]
        self._ends += [self._fed + at + 1 for at in begins] if ends is None else [self._fed + at for at in ends]
        self._fed += len(text)

    def up_to(self, end: int) -> _Spelling:
        """This spelling, or a copy in which the text up to ``end`` is decided as at the end of the text."""
        if self._fed - self._reading.undecided >= end:
            return self
        whole = _Spelling(self.key)
        whole._reading.follow(self._reading)
        whole.symbols, whole._starts, whole._ends = self.symbols, self._starts[:], self._ends[:]
        whole._fed = self._fed
        whole.feed("", final=True)
        return whole

    def forget(self, before: int) -> None:
        gone = bisect_left(self._starts, before)
        self.symbols, self._starts, self._ends = self.symbols[gone:], self._starts[gone:], self._ends[gone:]

    def between(self, start: int, end: int) -> tuple[int, int]:
        """The first symbol within this part of the text, and the one after the last."""
        first = bisect_left(self._starts, start)
        return first, max(first, bisect_right(self._ends, end))

    def part(self, start: int, end: int) -> str:
        first, last = self.between(start, end)
        return self.symbols[first:last]

    def letters(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """The letters within this part of the text, each with its span and its symbols."""
        first, last = self.between(start, end)
        at = first
        while at < last:
            stop = at + 1
            while stop < last and self._starts[stop] == self._starts[at]:
                stop += 1
            yield self._starts[at], self._ends[at], self.symbols[at:stop]
            at = stop
