"""Explains a match to people: how its text was read, and what was ignored or replaced to match the pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streaming.moderation.moderator import Hit, Moderator, RuleSet
from streaming.moderation.readings import Key, Medium, kinds_of
from streaming.moderation.readings.reading import Reading
from streaming.moderation.rule_messages import Remark, gettext_noop
from streaming.moderation.rules import Rule


@dataclass(frozen=True, slots=True)
class Explanation:
    """``read`` is the matched text as symbols; ``reasons`` is why it matched, empty if the match is obvious."""

    read: str
    reasons: tuple[Remark, ...] = ()


def explain(rule: Rule, text: str, medium: Medium) -> Explanation:
    """Explains why a rule matches a text of this medium."""
    if rule.compare == "exact":
        return Explanation(text)
    reasons = []
    if not _is_met(rule, text, "plain"):
        through = {
            "markdown": gettext_noop("through Markdown or codes"),
            "json": gettext_noop("through JSON's escapes"),
            "plain": gettext_noop("by what stands beside it"),
        }
        reasons.append(Remark(through[medium]))
    if rule.compare == "loose" and not _is_met(replace(rule, compare="normal"), text, medium):
        reasons.append(Remark(gettext_noop("look-alike letters, signs between them or letters repeated")))
    if not reasons and not _is_met(replace(rule, compare="exact"), text, "plain") and rule.kind == "literal":
        reasons.append(Remark(gettext_noop("whatever the case, the width and the accents")))
    reading = Reading(Key(kinds_of(medium)[0], accents=False))
    return Explanation(reading.feed(text, final=True).symbols, tuple(reasons))


def _is_met(rule: Rule, text: str, medium: Medium) -> bool:
    moderator = Moderator(RuleSet([replace(rule, action="flag", check="")]), medium)
    outcomes = [*moderator.feed(text), *moderator.finish()]
    return any(isinstance(outcome, Hit) and outcome.start == 0 and outcome.end == len(text) for outcome in outcomes)
