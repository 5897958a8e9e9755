"""A rule as a file has it, and what a file has in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime

from streaming.moderation import Action, Compare, Kind, Overflow, Rule

LIMITS = {"pattern": 4096, "replacement": 500, "category": 50, "note": 10_000, "match_check": 20}
"""Characters of each text."""

SCOPES = ("both", "prompts", "answers")


class FileError(ValueError):
    """The file as a whole cannot be read. ``line`` is where, counted from 1, if it is one line's fault."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True, slots=True)
class Row:
    """A rule as a file has it. Its fields are the columns of the CSV; a pattern alone is enough."""

    pattern: str
    kind: Kind = "literal"
    action: Action = "mask"
    replacement: str = ""
    whole_word: bool = False
    category: str = ""
    priority: int = 0
    compare: Compare = "normal"
    group: int = 0
    match_check: str = ""
    overflow: Overflow = "pass"
    upstreams: tuple[str, ...] = ()
    applies_to: str = "both"
    enabled: bool = True
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one rule and not another."""
        return self.kind, self.pattern, self.action

    def as_rule(self, name: int | str) -> Rule:
        own = (_COLUMN_OF.get(field, field) for field in Rule.__dataclass_fields__ if field != "id")
        return Rule(name, *(getattr(self, column) for column in own))

    def holds(self, now: datetime, upstream: str | None = None, direction: str | None = None) -> bool:
        """Whether it is in force at a moment, for an upstream and a direction; None stands for any."""
        timely = (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )
        there = not self.upstreams or upstream is None or upstream in self.upstreams
        return self.enabled and timely and there and (direction is None or self.applies_to in ("both", direction))


COLUMNS = tuple(each.name for each in fields(Row))
_COLUMN_OF = {"check": "match_check"}  # of a Rule's fields those that are called otherwise here


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is no rule: on which line, what it says there, and why not."""

    line: int
    text: str
    reason: str


@dataclass(slots=True)
class Reading:
    """What a file has in it. ``rows`` are pairs of a line, counted from 1, and the rule that stands there."""

    form: str
    encoding: str
    columns: tuple[str, ...] = ()
    """What the file, or whoever imports it, says of each rule. What it does not say, a rule that is there keeps."""
    rows: list[tuple[int, Row]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


Found = Iterator[tuple[int, Row] | Refusal]
