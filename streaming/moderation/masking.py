"""Renders the text that is shown in place of a match.

Ignored characters inside a match are kept, so that emphasis stays balanced. Text that is read as one unit becomes one
mask character. JSON stays valid JSON.
"""

from __future__ import annotations

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

    def shown(self, rule: Rule, match: Match, *, is_rest: bool = False) -> str:
        """The text shown in place of a match. For the rest of a cut match, the replacement is not repeated."""
        text = rule.replacement if rule.action == "replace" and not is_rest else ""
        if self._window.json:
            return self._shown_in_json(rule, match, text, is_rest=is_rest)
        if rule.action == "mask":
            return self._masked(rule, match)
        return text + self._kept(match)

    def _masked(self, rule: Rule, match: Match) -> str:
        start, stop = match.start, -match.minus_end
        spelling = self._window.spellings[match.spelling]
        if spelling.is_one_to_one and rule.compare != "loose":
            return self._mask * (stop - max(start, self._window.sent_here))
        shown: list[str] = []
        for gap, text, symbol in self._stretches(match):
            is_separator = rule.compare == "loose" and not is_letter(symbol)
            shown += (gap, text if is_separator else self._mask)
        return "".join(shown)

    def _kept(self, match: Match) -> str:
        spelling = self._window.spellings[match.spelling]
        return "" if spelling.is_one_to_one else "".join(gap for gap, _, _ in self._stretches(match))

    def _stretches(self, match: Match) -> list[tuple[str, str, str]]:
        """The units of a match that are read as a whole: (ignored text kept before it, its text, its first symbol).

        Those that have left are left out.
        """
        raw, spelling = self._window.raw, self._window.spellings[match.spelling]
        if spelling.is_raw and self._window.json:
            start = max(match.start, self._window.sent_here)
            units = units_of(raw[start : -match.minus_end], self._window.json.begun_escape(raw[:start]))
            return [(kept, unit, unit) for kept, unit in units]
        stretches = []
        at, before = max(match.start, self._window.sent_here), ""
        for index in range(spelling.index(match.start), spelling.index_of_end(-match.minus_end)):
            start, end = spelling.begin(index), spelling.end(index + 1)
            if end > at:
                gap = self._gap(raw[at:start], before) if start > at else ""
                stretches.append((gap, raw[start:end], spelling.chars[index]))
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
        raw = self._window.raw
        start = max(match.start, self._window.sent_here)
        inside = self._window.json is not None and self._window.json.is_inside(raw[:start])
        shown: list[str] = []
        before = raw[start - 1] if start else self._window.spellings[match.spelling].before
        # Within a number there is no place for a string.
        in_number = not inside and before in _OF_NUMBERS and raw[start : start + 1].isdecimal()
        masks = rule.action == "mask" or (in_number and not is_rest)
        quoted = json.dumps(replacement, ensure_ascii=False)
        is_written, in_token = is_rest, is_rest
        for gap, text, symbol in self._stretches(match):
            shown.append(gap)
            if not text:
                continue
            if text == '"':
                inside = not inside
                shown.append(text)
            elif masks:
                is_separator = rule.compare == "loose" and not is_letter(symbol)
                shown.append(text if is_separator else self._mask if inside else self._outside(text, before))
            elif not inside and _STRUCTURE.match(text):
                shown.append(text)
                in_token = is_rest  # the rest of a cut match comes in pieces, and all of it is removed
            elif not is_written:
                # In place of the first character that is removed. Outside strings it replaces the whole token.
                shown.append(quoted[1:-1] if inside else quoted)
                is_written, in_token = True, not inside
            elif not inside and not in_token:
                shown.append(self._outside(text, before))
            before = text[-1]
        return "".join(shown)

    def _outside(self, text: str, before: str) -> str:
        """The mask of a character outside JSON strings. Numbers stay numbers, and structure is kept."""
        keeps = text == "-" or _STRUCTURE.match(text) or (text in _SIGNS_OF_NUMBERS and before in _OF_NUMBERS)
        return text if keeps else "0" if text.isdecimal() else self._mask


_STRUCTURE = re.compile(r"[\s{}\[\]:,]")
_SIGNS_OF_NUMBERS = tuple(".+eE")
_OF_NUMBERS = (*"0123456789-", *_SIGNS_OF_NUMBERS)


def takes_along(spelling: Spelling) -> bool:
    """Whether ignored characters after a match are removed with it."""
    return not spelling.is_raw
