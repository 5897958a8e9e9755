"""The values that reading a file of rules gives: rows, refusals, and the parsed file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter

from streaming.moderation import Action, Compare, Kind, Overflow, Rule
from streaming.rule_fields import RULE_FIELDS, RuleScope
from streaming.rule_files.questions import Question


class FileError(ValueError):
    """The file as a whole cannot be read. ``line`` (from 1) is the line that causes it, if a single line does."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.line = line


RowKey = tuple[str, str, str, str]


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
    on_trial: bool = False
    upstreams: tuple[str, ...] = ()
    only_for: tuple[str, ...] = ()
    applies_to: str = "both"
    enabled: bool = True
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    note: str = ""
    rule_list: str = ""
    """The name of its list; empty for a rule in none."""

    @property
    def key(self) -> RowKey:
        """What identifies a rule: two rows with the same key are the same rule, whatever their actions are."""
        return self.rule_list, self.kind, self.compare, self.pattern

    def as_rule(self, rule_id: int | str) -> Rule:
        return Rule(rule_id, *_rule_values(self))

    @property
    def scope(self) -> RuleScope:
        period = (self.valid_from, self.valid_until)
        return RuleScope(frozenset(self.upstreams), self.applies_to, *period, frozenset(self.only_for))

    def is_active(self, now: datetime, upstream: str | None = None, direction: str | None = None) -> bool:
        """Whether the rule applies at that moment to an upstream and a direction; None means any."""
        return self.enabled and self.scope.is_active_at(now) and self.scope.covers(upstream, direction)


_rule_values = attrgetter(*RULE_FIELDS)

COLUMNS = tuple(column.name for column in fields(Row))
"""All fields of a rule that can be edited; a test compares them with the model's."""


def words_like(defaults: Row) -> Callable[[str, bool], Row]:
    """Makes rows of a pattern and of whether it is a whole word: ten times as fast as ``replace`` of a dataclass."""
    at = COLUMNS.index("whole_word")
    before, after = ([getattr(defaults, name) for name in part] for part in (COLUMNS[1:at], COLUMNS[at + 1 :]))
    make: Callable[..., Row] = Row
    return lambda pattern, whole_word: make(pattern, *before, whole_word, *after)


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
    lists: dict[str, Row] = field(default_factory=dict)
    """Lists that the file describes, by name, each as a row with ``csv.LIST_COLUMNS``: those that an import makes."""
    questions: list[Question] = field(default_factory=list)
    """What has to be answered before the rows mean what the file means."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what was left out or assumed."""


RowsAndRefusals = Iterator[tuple[int, Row] | Refusal]
