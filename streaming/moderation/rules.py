"""A moderation rule: a pattern, and the action on the text that matches it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, get_args

from streaming.moderation import regex_nodes, regex_syntax
from streaming.moderation.folding import fold
from streaming.moderation.loose_words import loose_word
from streaming.moderation.regex_nodes import Node
from streaming.moderation.regex_syntax import PatternError
from streaming.moderation.rule_messages import Remark, gettext_noop
from streaming.moderation.validators import CHECKS, check_named

Kind = Literal["literal", "regex"]
Action = Literal["mask", "replace", "drop", "block", "flag", "allow"]
Compare = Literal["normal", "exact", "loose"]
Overflow = Literal["pass", "match"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ACTIONS: tuple[Action, ...] = get_args(Action)
COMPARES: tuple[Compare, ...] = get_args(Compare)
OVERFLOWS: tuple[Overflow, ...] = get_args(Overflow)

MAX_SPAN = 4096
"""The length limit of a match, in symbols, unless the rule set has a lower one."""

MAX_DOTLESS = 4
"""Only the first so many dotless i in a word also match i."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``id`` identifies it to the code that created it.

    ``replacement`` is the text that a replace rule shows, or the notice with which a block rule ends the stream. If
    several rules match the same text, the one with the highest ``priority`` counts, then the first in the rule set.
    ``compare`` is how text is compared: as written (``exact``), folded and with its medium's syntax resolved
    (``normal``), or also with look-alike letters and separators (``loose``). ``group`` 1 restricts the action to the
    first group of a regular expression. ``check`` names a check that this group, or else the match, has to pass.
    ``overflow`` is whether an incomplete match that reaches the length limit counts as a match. A rule ``on_trial``
    changes nothing: its matches are only reported.
    """

    id: int | str
    pattern: str
    kind: Kind = "literal"
    action: Action = "mask"
    replacement: str = ""
    whole_word: bool = False
    category: str = ""
    priority: int = 0
    compare: Compare = "normal"
    group: int = 0
    check: str = ""
    overflow: Overflow = "pass"
    on_trial: bool = False


class RuleError(ValueError):
    """An invalid rule: ``rule`` is the rule, and ``template % params`` is the reason."""

    def __init__(self, rule: Rule, template: str, **params: object) -> None:
        super().__init__(template % params)
        self.rule = rule
        self.template = template
        self.params = params


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule in the form that automata are built from: words, or a pattern."""

    rule: Rule
    words: tuple[str, ...] = ()
    node: Node | None = None
    accents: bool = False
    warning: Remark | None = None
    """A warning about behaviour that the rule's author may not expect."""

    @property
    def has_spaces(self) -> bool:
        """Whether the rule treats a run of white space as one space."""
        return self.rule.compare == "normal" and any(" " in word for word in self.words)

    @property
    def shortest(self) -> int:
        """The number of symbols in the shortest possible match."""
        return min(map(len, self.words)) if self.words else regex_nodes.min_length(self.node) if self.node else 0

    @property
    def longest(self) -> int | None:
        """The number of symbols in the longest possible match; None if only ``max_span`` limits it."""
        if self.rule.compare == "loose":
            return None
        return max(map(len, self.words)) if self.words else regex_nodes.max_length(self.node) if self.node else 0


def compile_rule(rule: Rule, max_span: int = MAX_SPAN) -> Compiled:
    """Validates and compiles a rule. Raises RuleError with the reason if it is invalid."""
    wrong = _wrong_choice(rule.kind, rule.action, rule.compare, rule.overflow, rule.group, rule.check)
    if wrong is not None:
        raise RuleError(rule, wrong.template, **wrong.params)
    if not rule.pattern:
        raise RuleError(rule, gettext_noop("The pattern is empty."))
    return _compile_literal(rule, max_span) if rule.kind == "literal" else _compile_regex(rule, max_span)


@lru_cache(maxsize=1 << 10)
def _wrong_choice(
    kind: Kind, action: Action, compare: Compare, overflow: Overflow, group: int, check: str
) -> Remark | None:
    """What is wrong with a rule's choices. Thousands of rules share a few combinations."""
    for name, value, choices in (
        ("kind", kind, KINDS),
        ("action", action, ACTIONS),
        ("compare", compare, COMPARES),
        ("overflow", overflow, OVERFLOWS),
        ("group", group, (0, 1)),
    ):
        if value not in choices:
            template = gettext_noop("The %(name)s is %(value)s; it may be %(choices)s.")
            return Remark(template, {"name": name, "value": repr(value), "choices": ", ".join(map(str, choices))})
    try:
        check_named(check)
    except ValueError:
        template = gettext_noop("The check is %(value)s; it may be %(choices)s, or entropy:3.5 and the like.")
        return Remark(template, {"value": repr(check), "choices": ", ".join(CHECKS[1:])})
    if kind == "literal" and (group or check or overflow != "pass"):
        template = gettext_noop(
            "“Acts on”, “Check” and “When a match gets too long” (group, check, overflow) are for regular expressions."
        )
        return Remark(template)
    if kind == "regex" and compare == "loose":
        return Remark(
            gettext_noop("Loose is for words and phrases; in a regular expression write classes, as in [a4@].")
        )
    return None


def _compile_literal(rule: Rule, max_span: int) -> Compiled:
    plain, accented = fold(rule.pattern), fold(rule.pattern, accents=True)
    accents = rule.compare != "exact" and plain != accented
    match rule.compare:
        case "exact":
            word = rule.pattern
        case "loose":
            word = loose_word(rule.pattern, accents=accents)
        case _:
            word = " ".join((accented if accents else plain).split())
    if not word or (rule.compare != "exact" and not plain.strip()):
        raise RuleError(
            rule, gettext_noop("The pattern has only marks and invisible characters, which are not compared.")
        )
    if len(word) > max_span:
        raise RuleError(
            rule,
            gettext_noop("The pattern is %(length)s characters long; a match has at most %(most)s."),
            length=f"{len(word):,}",
            most=f"{max_span:,}",
        )
    return Compiled(rule, (word,) if rule.compare != "normal" else _with_dots(word), accents=accents)


def _with_dots(word: str) -> tuple[str, ...]:
    """A word, and its variants with an i in place of each dotless i, since ``ı`` also matches I and i."""
    if "ı" not in word:
        return (word,)
    first, *parts = word.split("ı", MAX_DOTLESS)
    return tuple(
        first + "".join(letter + part for letter, part in zip(letters, parts, strict=True))
        for letters in product("ıi", repeat=len(parts))
    )


def _compile_regex(rule: Rule, max_span: int) -> Compiled:
    try:
        node, accents = regex_syntax.parse(rule.pattern, exact=rule.compare == "exact", group=rule.group == 1)
    except PatternError as error:
        raise RuleError(rule, error.remark.template, **error.remark.params) from error
    shortest, longest = regex_nodes.min_length(node), regex_nodes.max_length(node)
    if longest == 0:
        raise RuleError(rule, gettext_noop("It matches nothing but the empty text."))
    if shortest == 0:
        raise RuleError(
            rule,
            gettext_noop("It matches the empty text, which is everywhere; let it need one character at least."),
        )
    if regex_nodes.begins_with_gap(node):
        raise RuleError(
            rule,
            gettext_noop(
                "It begins with an unbounded gap, so all text would be held back; leave the gap out: a match may begin "
                "anywhere."
            ),
        )
    if shortest > max_span:
        raise RuleError(
            rule,
            gettext_noop("Its shortest match has %(length)s characters; a match has at most %(most)s."),
            length=f"{shortest:,}",
            most=f"{max_span:,}",
        )
    warning = None
    if longest is None or longest > max_span:
        warning = Remark(gettext_noop("A match is cut at %(most)s characters."), {"most": f"{max_span:,}"})
    return Compiled(rule, node=node, accents=accents, warning=warning)
