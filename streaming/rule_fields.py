"""The fields of a rule that the database, the files and the admin share: their names, limits and the scope."""

from __future__ import annotations

import re
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


AUDIENCES = ("model", "key", "group")
"""What a rule can be limited to besides upstreams: a model by the name that clients use, an API key by its owner's and
its own name (``ann/laptop``), a group of users."""


class RuleScope(NamedTuple):
    """The upstreams (empty: all), the direction, the period and the audience in which a rule applies.

    ``only_for`` has labels like ``model:gpt-4o``, ``key:ann/laptop`` and ``group:staff``. Of each kind that it has, one
    must be true of a request.
    """

    upstreams: frozenset[str]
    applies_to: str
    valid_from: datetime | None
    valid_until: datetime | None
    only_for: frozenset[str] = frozenset()

    def covers(self, upstream: str | None, direction: str | None, audience: frozenset[str] | None = None) -> bool:
        """None means any upstream, any direction, any audience. ``audience``: all labels that are true of a request."""
        if self.upstreams and upstream is not None and upstream not in self.upstreams:
            return False
        if self.only_for and audience is not None and not all(each & audience for each in _by_kind(self.only_for)):
            return False
        return direction is None or self.applies_to in ("both", direction)

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
        only_for = _both(self.only_for, other.only_for)
        if never or len(directions) > 1 or only_for is None or (upstreams is not None and not upstreams):
            return None
        return RuleScope(
            self.upstreams or other.upstreams if upstreams is None else upstreams,
            directions.pop() if directions else "both",
            valid_from,
            valid_until,
            only_for,
        )


def _by_kind(labels: Iterable[str]) -> list[frozenset[str]]:
    kinds: dict[str, set[str]] = {}
    for label in labels:
        kinds.setdefault(label.partition(":")[0], set()).add(label)
    return [frozenset(each) for each in kinds.values()]


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str] | None:
    """The labels of an audience that belongs to both; None if there is none."""
    if not (one and other):
        return one or other
    found = set(one | other)
    for mine in _by_kind(one):
        kind = next(iter(mine)).partition(":")[0]
        theirs = {label for label in other if label.partition(":")[0] == kind}
        if theirs and not mine & theirs:
            return None
        if theirs:
            found -= mine ^ theirs
    return frozenset(found)


def read_labels(text: str) -> list[str]:
    """The labels of an audience, on lines of their own or separated by ``|``, ``;`` or commas.

    ValueError names the first one that is none.
    """
    labels = list(dict.fromkeys(filter(None, map(str.strip, re.split("[|,;\\r\\n]", text)))))
    for number, label in enumerate(labels):
        kind, colon, name = label.partition(":")
        if not colon or kind.strip().lower() not in AUDIENCES or not name.strip():
            raise ValueError(label)
        labels[number] = f"{kind.strip().lower()}:{name.strip()}"
    return list(dict.fromkeys(labels))


def _latest(*moments: datetime | None) -> datetime | None:
    return max(_given(moments), default=None)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min(_given(moments), default=None)


def _given(moments: Iterable[datetime | None]) -> list[datetime]:
    return [moment for moment in moments if moment is not None]


SCOPE_FIELDS = RuleScope._fields
