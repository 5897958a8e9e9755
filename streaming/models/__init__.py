"""The models of the app: rules, their lists and imports, hits, usage and API keys."""

from streaming.editions import Edition, Revision, RuleEdition
from streaming.models.api_keys import API_KEY_BEGINNING, ApiKey, hash_of_secret
from streaming.models.hits import HitAlert, LostHits, ModerationHit
from streaming.models.rule_imports import RuleImport
from streaming.models.rule_lists import RuleList
from streaming.models.rules import (
    NAMED_BY,
    ModerationRule,
    ModerationRuleQuerySet,
    ScopedRule,
    _validate_check,
    action_name,
    name_of,
    translated,
)
from streaming.models.scoped import not_an_audience
from streaming.models.usage import LostUsage, UsageRecord

__all__ = [
    "API_KEY_BEGINNING",
    "NAMED_BY",
    "ApiKey",
    "Edition",
    "HitAlert",
    "LostHits",
    "LostUsage",
    "ModerationHit",
    "ModerationRule",
    "ModerationRuleQuerySet",
    "Revision",
    "RuleEdition",
    "RuleImport",
    "RuleList",
    "ScopedRule",
    "UsageRecord",
    "_validate_check",
    "action_name",
    "hash_of_secret",
    "name_of",
    "not_an_audience",
    "translated",
]
