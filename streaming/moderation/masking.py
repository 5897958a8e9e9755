"""Renders the text that is shown in place of a match.

Ignored characters inside a match are kept, so that emphasis stays balanced. Text that is read as one unit becomes one
mask character. JSON stays valid JSON.
"""

from __future__ import annotations

import itertools
import json
import re

from streaming.moderation.folding import ATTACHED
from streaming.moderation.loose_words import is_letter
from streaming.moderation.readings.json import units_of
from streaming.moderation.rules import Rule
from streaming.moderation.spelling import Match, Spelling
from streaming.moderation.window import Window

_LINE_BEGINNING = re.compile(r"[\s>]+")
_WHITE = re.compile(r"\s+")


class Rendering:
    """Applies the actions of rules to text. ``mask`` is one character that is not syntax in any medium."""

    def __init__(self, window: Window, mask: str) -> None:
        self._window = window
        self._mask = mask
        self.removes_number = False
        """In JSON: whether a string has replaced the beginning of a number, whose rest is removed."""

    def shown(self, rule: Rule, match: Match, *, is_rest: bool = False) -> str:
        """The text shown in place of a match. For the rest of a cut match, the replacement is not repeated."""
        text = rule.replacement if rule.action == "replace" and not is_rest else ""
        if self._window.json:
            return self._shown_in_json(rule, match, text, is_rest=is_rest)
        if rule.action == "mask":
            return self._masked(rule, match)
        return text + self._kept(match)

    def kept(self, text: str) -> str:
        """What is shown of a part of a match on which its rule does not act."""
        if not self.removes_number or not text:
            return text
        text = REST_OF_NUMBER.sub("", text, count=1)
        self.removes_number = not text
        return text

    def _masked(self, rule: Rule, match: Match) -> str:
        start, stop = match.start, -match.minus_end
        spelling = self._window.spellings[match.spelling]
        if spelling.is_one_to_one and rule.compare != "loose":
            return self._mask * (stop - max(start, self._window.sent_here))
        shown: list[str] = []
        for gap, text, symbol, _ in self._stretches(match):
            is_separator = rule.compare == "loose" and not is_letter(symbol)
            shown += (gap, text if is_separator else self._mask)
        return "".join(shown)

    def _kept(self, match: Match) -> str:
        spelling = self._window.spellings[match.spelling]
        return "" if spelling.is_one_to_one else "".join(gap for gap, *_ in self._stretches(match))

    def _stretches(self, match: Match) -> list[tuple[str, str, str, int]]:
        """The units of a match that are read as a whole.

        Each is (ignored text kept before it, its text, its first symbol, where it begins in the window). Those that
        have left are left out.
        """
        raw, spelling = self._window.raw, self._window.spellings[match.spelling]
        if spelling.is_raw and self._window.json:
            start = max(match.start, self._window.sent_here)
            units = units_of(raw[start : -match.minus_end], self._window.json.begun_escape(raw[:start]))
            ends = itertools.accumulate((len(kept) + len(unit) for kept, unit in units), initial=start)
            return [(kept, unit, unit, at + len(kept)) for (kept, unit), at in zip(units, ends, strict=False)]
        stretches = []
        at, before = max(match.start, self._window.sent_here), ""
        for index in range(spelling.index(match.start), spelling.index_of_end(-match.minus_end)):
            start, end = spelling.begin(index), spelling.end(index + 1)
            if end > at:
                gap = self._gap(raw[at:start], before) if start > at else ""
                stretches.append((gap, raw[start:end], spelling.chars[index], start))
                at = end
            before = spelling.chars[index]
        return stretches

    def _gap(self, text: str, before: str) -> str:
        """The part of ignored text that is kept: all but what belongs to the character before it."""
        if before == " ":
            white = (_LINE_BEGINNING if self._window.medium == "markdown" else _WHITE).match(text)
            text = text[white.end() :] if white else text
        run = ATTACHED.match(text)
        return text[run.end() :] if run else text

    def _shown_in_json(self, rule: Rule, match: Match, replacement: str, *, is_rest: bool) -> str:
        assert self._window.json  # noqa: S101 (the caller checks it)
        raw, strings = self._window.raw, self._window.json
        start, stop = max(match.start, self._window.sent_here), -match.minus_end
        writer = _JsonWriter(rule, self._mask, replacement, is_rest=is_rest)
        writer.begin(strings.last(raw[:start]), raw[start:stop], is_inside=strings.is_inside(raw[:start]))
        if self.removes_number:
            writer.remove_number(raw[start:stop])
        shown = [kept + writer.written(text, symbol, at - start) for kept, text, symbol, at in self._stretches(match)]
        self.removes_number = writer.removes_number(stop - start)
        return "".join(shown)


_STRUCTURE = re.compile(r"[\s{}\[\]:,]")
_SIGNS_OF_NUMBERS = tuple(".+eE")
_OF_NUMBERS = (*"0123456789-", *_SIGNS_OF_NUMBERS)
REST_OF_NUMBER = re.compile(r"[-+.eE0-9]*")
_VALUE = re.compile(r"(?:\A|[:\[,])\s*(?:(?P<literal>[a-z]+)|(?P<number>-?[0-9][-+.eE0-9]*|-))")
_LITERALS = ("true", "false", "null")


class _JsonWriter:
    """Writes what is shown in place of a match in JSON, so that JSON stays JSON.

    Structure is kept. Outside strings a digit is masked as 0, and a literal (true, false, null) as a string. A
    replacement is a string, in place of a whole value; other values of the match become empty strings. A part of a
    literal is kept, as nothing else could stand there. Where JSON has no value, text is masked as elsewhere.
    """

    def __init__(self, rule: Rule, mask: str, replacement: str, *, is_rest: bool) -> None:
        self._mask = mask
        self._masks = rule.action == "mask"
        self._is_loose = rule.compare == "loose"
        self._quoted = json.dumps(replacement, ensure_ascii=False)
        self._is_rest = self._is_written = self._in_token = is_rest
        self._number_end = 0
        self._removed = -1  # the rest of a number up to here is removed
        self._numbers: list[tuple[int, int]] = []
        self._literals: list[tuple[int, int]] = []  # those that are in the match as a whole
        self._parts: list[tuple[int, int]] = []  # of literals

    def begin(self, before: str, matched: str, *, is_inside: bool) -> None:
        """Looks at the match, and the text before it. Offsets are those in the match."""
        self._is_inside, self._before, self._size = is_inside, before[-1:], len(matched)
        if self._is_rest:
            return  # it comes in pieces, which may cut values
        text = before + matched
        for value in _VALUE.finditer(text):
            start, end = value.start(str(value.lastgroup)) - len(before), value.end() - len(before)
            if value["number"]:
                self._numbers.append((start, end))
            elif value["literal"] in _LITERALS and start >= 0:
                self._literals.append((start, end))
            elif any(literal.startswith(value["literal"]) for literal in _LITERALS):
                self._parts.append((start, end))
        if not is_inside:
            self._number_end = self._end_of_number(matched)

    def _end_of_number(self, matched: str) -> int:
        """Where the number ends in which the match begins: there is no place for a string in it, so it is masked."""
        rest = REST_OF_NUMBER.match(matched) if self._before in _OF_NUMBERS and matched[:1].isdecimal() else None
        return rest.end() if rest else max((end for start, end in self._numbers if start < 0 < end), default=0)

    def remove_number(self, matched: str) -> None:
        """The match follows a number that a string has replaced: what is left of that is removed."""
        rest = REST_OF_NUMBER.match(matched)
        self._removed = rest.end() if rest else 0

    def removes_number(self, size: int) -> bool:
        """Whether a string has replaced a number that may go on after the match."""
        if self._is_inside or self._is_rest:
            return False
        replaced = not self._masks and any(0 <= start < end == size for start, end in self._numbers)
        return replaced or self._removed == size

    def written(self, text: str, symbol: str, at: int) -> str:
        """What is written for a stretch of the match, which begins at this offset."""
        if not text or at < self._removed:
            return ""
        shown = self._written(text, symbol, at)
        self._before = text[-1]
        return shown

    def _written(self, text: str, symbol: str, at: int) -> str:
        if text == '"':
            self._is_inside = not self._is_inside
            return text
        if self._masks or at < self._number_end:
            if self._is_loose and not is_letter(symbol):
                return text
            return self._mask if self._is_inside else self._masked(text, at)
        if self._is_inside:
            return self._once(self._quoted[1:-1])
        if _STRUCTURE.match(text):
            self._in_token = self._is_rest  # the rest of a cut match comes in pieces, and all of it is removed
            return text
        if _has(self._parts, at) and not self._is_rest:
            return text
        return self._replaced(text, at)

    def _once(self, replacement: str) -> str:
        """The replacement, in place of the first character that is removed."""
        is_first, self._is_written = not self._is_written, True
        return replacement if is_first else ""

    def _replaced(self, text: str, at: int) -> str:
        if self._in_token:
            return ""
        is_value = _has(self._numbers, at) or _has(self._literals, at)
        if self._is_written and not is_value:
            return self._masked(text, at)
        self._in_token = True
        return self._once(self._quoted) or '""'

    def _masked(self, text: str, at: int) -> str:
        """The mask of a character outside strings."""
        for start, end in self._literals:
            if start <= at < end:
                return '"' * (at == start) + self._mask + '"' * (at == end - 1)
        keeps = text == "-" or _STRUCTURE.match(text) or (text in _SIGNS_OF_NUMBERS and self._before in _OF_NUMBERS)
        if keeps or _has(self._parts, at):
            return text
        return "0" if text.isdecimal() else self._mask


def _has(spans: list[tuple[int, int]], at: int) -> bool:
    return any(start <= at < end for start, end in spans)


def takes_along(spelling: Spelling) -> bool:
    """Whether ignored characters after a match are removed with it."""
    return not spelling.is_raw
