"""The fields of a rule that the database, the files and the admin share: their names, limits and the scope."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from streaming.moderation import Rule

Direction = Literal["prompts", "answers"]

APPLIES_TO = ("both", "prompts", "answers")
"""The values of ``applies_to``."""

IDENTITY_FIELDS = ("kind", "compare", "pattern")
"""What a rule is found again by: two rules of one list that are equal in these are the same rule."""

LIMITS = {"pattern": 4096, "replacement": 500, "category": 50, "note": 10_000, "match_check": 20, "rule_list": 100}
"""The maximum length of each text field, in characters. A literal is limited to MAX_SPAN besides."""

_RENAMED = {"check": "match_check"}  # Django's models have a method named check

RULE_FIELDS = tuple(_RENAMED.get(name, name) for name in Rule.__dataclass_fields__ if name != "id")
"""The fields that make up the engine's ``Rule``, in its order, without the id."""


class RuleScope(NamedTuple):
    """The upstreams (empty: all), the direction and the period in which a rule applies."""

    upstreams: frozenset[str]
    applies_to: str
    valid_from: datetime | None
    valid_until: datetime | None

    def covers(self, upstream: str | None, direction: str | None) -> bool:
        """None means any upstream, any direction."""
        includes_upstream = not self.upstreams or upstream is None or upstream in self.upstreams
        return includes_upstream and (direction is None or self.applies_to in ("both", direction))

    def is_active_at(self, now: datetime) -> bool:
        has_begun = self.valid_from is None or self.valid_from <= now
        return has_begun and (self.valid_until is None or now < self.valid_until)

    def within(self, other: RuleScope) -> RuleScope | None:
        """Where and when both scopes apply; None if that is nowhere or never."""
        upstreams = self.upstreams & other.upstreams if self.upstreams and other.upstreams else None
        directions = {self.applies_to, other.applies_to} - {"both"}
        valid_from = _latest(self.valid_from, other.valid_from)
        valid_until = _earliest(self.valid_until, other.valid_until)
        never = valid_from is not None and valid_until is not None and valid_until <= valid_from
        if never or len(directions) > 1 or (upstreams is not None and not upstreams):
            return None
        return RuleScope(
            self.upstreams or other.upstreams if upstreams is None else upstreams,
            directions.pop() if directions else "both",
            valid_from,
            valid_until,
        )


def _latest(*moments: datetime | None) -> datetime | None:
    return max(_given(moments), default=None)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min(_given(moments), default=None)


def _given(moments: Iterable[datetime | None]) -> list[datetime]:
    return [moment for moment in moments if moment is not None]


SCOPE_FIELDS = RuleScope._fields
