"""Sums of the usage records, and the records as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDate

from streaming.models import UsageRecord
from streaming.rule_files.csv import csv_line

Records = QuerySet[UsageRecord]

GROUPINGS: dict[str, tuple[str, ...]] = {
    "day": ("day",),
    "user": ("username",),
    "key": ("username", "key_name"),
    "model": ("model",),
    "upstream": ("upstream",),
    "endpoint": ("endpoint",),
    "reason": ("reason",),
}
"""By what records can be summed up, and the fields of each."""

SUMMED = ("prompt_tokens", "completion_tokens", "prompt_chars", "completion_chars", "bytes", "hits")

COLUMNS = (
    *("when", "username", "key_name", "endpoint", "upstream", "model", "prompt_tokens", "completion_tokens"),
    *(
        "prompt_chars",
        "completion_chars",
        "hits",
        "first_byte_seconds",
        "seconds",
        "bytes",
        "reason",
        "status",
        "stream",
    ),
)
"""The columns of the CSV file."""


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of the records that have the same values in the fields of a grouping."""

    names: tuple[Any, ...]
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    prompt_chars: int
    completion_chars: int
    bytes: int
    hits: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def totals(records: Records, by: str, most: int | None = None) -> list[Total]:
    """The sums by one of GROUPINGS: days in their order, otherwise those with the most tokens, then requests, first."""
    fields = GROUPINGS[by]
    if by == "day":
        records = records.annotate(day=TruncDate("when"))
    sums: dict[str, Any] = {f"sum_{name}": Coalesce(Sum(name), 0) for name in SUMMED}
    rows = records.order_by().values(*fields)
    rows = rows.annotate(requests=Count("pk"), errors=Count("pk", filter=Q(status__gte=400)), **sums)
    order = ["day"] if by == "day" else [(F("sum_prompt_tokens") + F("sum_completion_tokens")).desc(), "-requests"]
    return [
        Total(
            tuple(row[name] for name in fields),
            row["requests"],
            row["errors"],
            **{name: row[f"sum_{name}"] for name in SUMMED},
        )
        for row in rows.order_by(*order, *fields)[:most]
    ]


def csv_lines(records: Records) -> Iterator[str]:
    """The records as CSV, with a header. An empty cell is unknown."""
    yield csv_line(COLUMNS)
    for row in records.values_list(*COLUMNS).iterator(chunk_size=2000):
        yield csv_line(row)
