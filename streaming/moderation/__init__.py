"""Exact moderation of a text that arrives in pieces. Pure: no clock, no Django, no event loop."""

from streaming.moderation.explaining import Explanation, explain
from streaming.moderation.moderator import MASK, Hit, Moderator, Outcome, RuleSet, Text, check_mask
from streaming.moderation.readings import MEDIA, Medium
from streaming.moderation.rule_messages import Remark
from streaming.moderation.rules import (
    ACTIONS,
    COMPARES,
    KINDS,
    MAX_SPAN,
    OVERFLOWS,
    Action,
    Compare,
    Kind,
    Overflow,
    Rule,
    RuleError,
    compile_rule,
)
from streaming.moderation.validators import CHECKS

__all__ = [
    "ACTIONS",
    "CHECKS",
    "COMPARES",
    "KINDS",
    "MASK",
    "MAX_SPAN",
    "MEDIA",
    "OVERFLOWS",
    "Action",
    "Compare",
    "Explanation",
    "Hit",
    "Kind",
    "Medium",
    "Moderator",
    "Outcome",
    "Overflow",
    "Remark",
    "Rule",
    "RuleError",
    "RuleSet",
    "Text",
    "check_mask",
    "compile_rule",
    "explain",
]
