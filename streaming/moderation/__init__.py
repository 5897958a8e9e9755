"""Exact moderation of a text that arrives in pieces. Pure: no clock, no Django, no event loop."""

from streaming.moderation.moderator import Blocked, Finding, Moderator, Outcome, RuleSet, Text
from streaming.moderation.rules import ACTIONS, KINDS, MAX_SPAN, Action, Kind, Rule, RuleError, compile_rule

__all__ = [
    "ACTIONS",
    "KINDS",
    "MAX_SPAN",
    "Action",
    "Blocked",
    "Finding",
    "Kind",
    "Moderator",
    "Outcome",
    "Rule",
    "RuleError",
    "RuleSet",
    "Text",
    "compile_rule",
]
