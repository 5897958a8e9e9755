"""The short way for text in which only words were found, as nearly always when anything is: it is not examined.

It is for pieces without signs, each character of which is one symbol, if it is certain at once what the matches are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import getitem
from typing import Any

from streaming.moderation.masking import takes_along
from streaming.moderation.plan import Plan
from streaming.moderation.scanning import NOT_KNOWN
from streaming.moderation.window import NONE, Decided, Window, new_decided


class WordHits:
    """Decides text that was skimmed up to a hit."""

    def __init__(self, plan: Plan, window: Window, mask: str) -> None:
        self._plan = plan
        self._window = window
        self._mask = mask
        self.ends_text = False
        """Whether ignored characters that follow belong to the last match."""

    def decide(self, text: str, scanners: Sequence[Any], blocking: Sequence[Any]) -> list[Decided] | None:
        """Returns what is decided; None, and has changed nothing, if the text must be examined.

        ``scanners`` are those that watch the text, ``blocking`` those of them that look for blocks. A match is certain
        if no other could begin before it or with it, and still grow, and no block within it.
        """
        window = self._window
        if window.json or window.sent > window.offset:
            return None
        raw = window.raw + text
        size = len(raw)
        found: list[tuple[int, int, int, int]] = []
        keep = 0
        for scanner in scanners:
            state = reduce(getitem, scanner.spelling.added, scanner.state)
            if state.is_hit:
                words = scanner.find_skimmed(size)
                if words is None:
                    return None
                state = words[0]
                found += words[1]
            scanner.following = state
            if state.may_grow or scanner.spelling.opening:
                held = scanner.held_after(state)
                if held == NOT_KNOWN or held > size:
                    return None
                if held > keep:
                    keep = held
        decided = self._apply(sorted(found), raw, size - keep, size - _held(blocking))
        if decided is None:
            return None
        window.skimmed(text, window.offset + size - decided[-1].end if decided else size)
        for scanner in scanners:
            scanner.state = scanner.following
        return decided

    def _apply(
        self, found: list[tuple[int, int, int, int]], raw: str, certain: int, block: int
    ) -> list[Decided] | None:
        """Applies the rules to the leftmost, then longest matches. ``certain`` is where one that may grow begins, and
        ``block`` where a block may begin."""
        rules, mask, offset = self._plan.rules, self._mask, self._window.offset
        decided: list[Decided] = []
        at, number = 0, -1
        for start, minus_end, rank, spelling in found:
            if start < at:
                continue
            if start >= certain:
                return None
            if start > at:
                text = raw[at:start]
                decided.append(new_decided((text, offset + at, offset + start, NONE, text, False)))
            rule, at, number = rules[rank], -minus_end, spelling
            shown = mask * (at - start) if rule.action == "mask" else rule.replacement * (rule.action == "replace")
            decided.append(new_decided((raw[start:at], offset + start, offset + at, rank, shown, False)))
        if at > block:
            return None  # a block counts inside another match, too
        if at > certain:
            certain = len(raw)
            if at < certain:
                return None  # what may grow begins within a match, so it is not known what is held
        if at < certain:
            text = raw[at:certain]
            decided.append(new_decided((text, offset + at, offset + certain, NONE, text, False)))
        self.ends_text = at == len(raw) and takes_along(self._window.spellings[number])
        return decided


def _held(blocking: Sequence[Any]) -> int:
    """How much of the text may be the beginning of a block."""
    states = ((scanner, scanner.following) for scanner in blocking)
    begun = (scanner.held_after(state) for scanner, state in states if state.may_grow or scanner.spelling.opening)
    return max(begun, default=0)
