"""The fields of a rule that the database, the files and the admin share: their names, limits and the scope."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from streaming.moderation import Rule

Direction = Literal["prompts", "answers"]

APPLIES_TO = ("both", "prompts", "answers")
"""The values of ``applies_to``."""

LIMITS = {"pattern": 4096, "replacement": 500, "category": 50, "note": 10_000, "match_check": 20}
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


SCOPE_FIELDS = RuleScope._fields
