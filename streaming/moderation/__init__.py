"""Exact moderation of a text that arrives in pieces. Pure: no clock, no Django, no event loop."""

from streaming.moderation.moderator import Blocked, Finding, Moderator, RuleSet, Text
from streaming.moderation.rules import Action, Rule, RuleError

__all__ = ["Action", "Blocked", "Finding", "Moderator", "Rule", "RuleError", "RuleSet", "Text"]
