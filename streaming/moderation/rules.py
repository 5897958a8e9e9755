"""What a moderator says: a pattern, and what becomes of the text that matches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from streaming.moderation import nodes, patterns
from streaming.moderation.folding import fold, fold_char
from streaming.moderation.nodes import Node
from streaming.moderation.patterns import PatternError

Kind = Literal["literal", "regex"]
Action = Literal["mask", "replace", "drop", "block", "flag", "allow"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ACTIONS: tuple[Action, ...] = get_args(Action)

MAX_SPAN = 256
"""Folded characters: a longer match does not exist, unless the rule set says otherwise."""

MAX_SPAN_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``id`` is its name to whoever made it.

    ``replacement`` is what a replace rule shows, and the notice that a block rule ends the stream with. Of rules that
    match the same text the one with the higher ``priority`` counts, then the one that stands first in its rule set.
    ``exact`` compares without folding; ``squeeze`` lets each run of a character in a literal be longer.
    """

    id: int | str
    pattern: str
    kind: Kind = "literal"
    action: Action = "mask"
    replacement: str = ""
    whole_word: bool = False
    category: str = ""
    priority: int = 0
    exact: bool = False
    squeeze: bool = False


class RuleError(ValueError):
    """A rule that cannot be carried out. ``rule`` is the rule; the sentence says what is wrong with it, and where."""

    def __init__(self, rule: Rule, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule as the matchers take it: a word, or else a pattern. ``warning`` is empty if there is nothing to say."""

    rule: Rule
    word: str | None
    node: Node | None
    warning: str

    @property
    def shortest(self) -> int:
        """Characters of the shortest text it can match, folded."""
        return len(self.word) if self.word is not None else nodes.min_length(self.node) if self.node else 0

    @property
    def longest(self) -> int | None:
        """Characters of the longest text it could match, folded; None if only ``max_span`` bounds it."""
        return len(self.word) if self.word is not None else nodes.max_length(self.node) if self.node else 0


def compile_rule(rule: Rule, max_span: int = MAX_SPAN) -> Compiled:
    """The rule, checked. RuleError says what is wrong with it."""
    if rule.kind not in KINDS:
        raise RuleError(rule, f"The kind is {rule.kind!r}; it may be {' or '.join(KINDS)}.")
    if rule.action not in ACTIONS:
        raise RuleError(rule, f"The action is {rule.action!r}; it may be {', '.join(ACTIONS)}.")
    if not rule.pattern:
        raise RuleError(rule, "The pattern is empty.")
    if rule.kind == "literal":
        return _compile_literal(rule, max_span)
    if rule.squeeze:
        raise RuleError(rule, "Squeeze is for words; in a regex write a+ where a may be repeated.")
    return _compile_regex(rule, max_span)


def _compile_literal(rule: Rule, max_span: int) -> Compiled:
    word = rule.pattern if rule.exact else fold(rule.pattern)
    if not word:
        raise RuleError(rule, "The pattern has only marks and invisible characters, which are not compared.")
    if len(word) > max_span:
        raise RuleError(rule, f"The pattern is {len(word):,} characters long; a match has at most {max_span:,}.")
    if rule.squeeze:
        return Compiled(rule, None, nodes.squeezed(rule.pattern, _folding(rule)), "")
    return Compiled(rule, word, None, "")


def _compile_regex(rule: Rule, max_span: int) -> Compiled:
    try:
        node = patterns.parse(rule.pattern, _folding(rule))
    except PatternError as error:
        raise RuleError(rule, str(error)) from error
    shortest, longest = nodes.min_length(node), nodes.max_length(node)
    if longest == 0:
        raise RuleError(rule, "It matches nothing but the empty text.")
    if shortest == 0:
        raise RuleError(rule, "It matches the empty text, which is everywhere; let it need one character at least.")
    if nodes.begins_with_gap(node):
        raise RuleError(rule, "It begins with an unbounded gap, so all text would be held back; leave the gap out.")
    if shortest > max_span:
        raise RuleError(rule, f"Its shortest match has {shortest:,} characters; a match has at most {max_span:,}.")
    cut = longest is None or longest > max_span
    return Compiled(rule, None, node, f"A match is cut at {max_span} characters." if cut else "")


def _folding(rule: Rule) -> Callable[[str], str]:
    return _unfolded if rule.exact else fold_char


def _unfolded(char: str) -> str:
    return char
