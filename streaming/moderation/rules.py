"""What a moderator says: a pattern, and what becomes of the text that matches it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from streaming.moderation.folding import fold

Kind = Literal["literal"]
Action = Literal["mask", "block"]

MAX_SPAN = 256
"""Folded characters; the longest match there is, unless the rule set says otherwise."""


class RuleError(ValueError):
    """A rule that cannot be carried out. ``rule`` is the rule; the sentence says what is wrong with it."""

    def __init__(self, rule: Rule, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``id`` is its name to whoever made it; the older of two rules is the one that stands first."""

    id: int | str
    pattern: str
    kind: Kind = "literal"
    action: Action = "mask"
    category: str = ""


def folded_pattern(rule: Rule, max_span: int = MAX_SPAN) -> str:
    """The text that the rule looks for. RuleError if there is none, or if it is longer than a match may be."""
    word = fold(rule.pattern)
    if not word:
        raise RuleError(rule, "The pattern has no characters that can be compared.")
    if len(word) > max_span:
        raise RuleError(rule, f"The pattern is {len(word):,} characters long; at most {max_span:,} can be compared.")
    return word


def checked(rules: Iterable[Rule], max_span: int = MAX_SPAN) -> list[tuple[str, Rule]]:
    return [(folded_pattern(rule, max_span), rule) for rule in rules]
