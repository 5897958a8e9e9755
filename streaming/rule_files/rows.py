"""The values that reading a file of rules gives: rows, refusals, and the parsed file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime

from streaming.moderation import Action, Compare, Kind, Overflow, Rule

LIMITS = {"pattern": 4096, "replacement": 500, "category": 50, "note": 10_000, "match_check": 20}
"""The maximum length of each text column, in characters."""

SCOPES = ("both", "prompts", "answers")


class FileError(ValueError):
    """The file as a whole cannot be read. ``line`` (from 1) is the line that causes it, if a single line does."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of a file. Its fields are the CSV columns; only ``pattern`` is required."""

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
        """What identifies a rule: two rows with the same key are the same rule."""
        return self.kind, self.pattern, self.action

    def as_rule(self, rule_id: int | str) -> Rule:
        columns = (_COLUMN_OF.get(name, name) for name in Rule.__dataclass_fields__ if name != "id")
        return Rule(rule_id, *(getattr(self, column) for column in columns))

    def is_active(self, now: datetime, upstream: str | None = None, direction: str | None = None) -> bool:
        """Whether the rule applies at that moment to an upstream and a direction; None means any."""
        has_begun = self.valid_from is None or self.valid_from <= now
        is_in_period = has_begun and (self.valid_until is None or now < self.valid_until)
        includes_upstream = not self.upstreams or upstream is None or upstream in self.upstreams
        includes_direction = direction is None or self.applies_to in ("both", direction)
        return self.enabled and is_in_period and includes_upstream and includes_direction


COLUMNS = tuple(column.name for column in fields(Row))
_COLUMN_OF = {"check": "match_check"}  # fields of a Rule whose column has another name


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not a valid rule: its line number, its text, and the reason."""

    line: int
    text: str
    reason: str


@dataclass(slots=True)
class ParsedFile:
    """The content of a file. ``rows`` are pairs of a line number (from 1) and the rule on that line."""

    file_format: str
    encoding: str
    columns: tuple[str, ...] = ()
    """The columns with values from the file or the defaults. An import changes no other column of an existing rule."""
    rows: list[tuple[int, Row]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


RowsAndRefusals = Iterator[tuple[int, Row] | Refusal]
