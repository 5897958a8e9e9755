"""Rules and their lists as the rows that files have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet

from streaming.models import ModerationRule, RuleList
from streaming.rule_files import COLUMNS, LIST_COLUMNS, Row

ROW_COLUMNS = tuple("rule_list__name" if name == "rule_list" else name for name in COLUMNS)
"""What a query names the fields of a row."""


def as_row(values: Sequence[Any]) -> Row:
    """A row from the values of ROW_COLUMNS."""
    fields = dict(zip(COLUMNS, values, strict=True))
    names = {name: tuple(fields[name]) for name in ("upstreams", "only_for")}
    return Row(**{**fields, **names, "rule_list": fields["rule_list"] or ""})


def export(rules: QuerySet[ModerationRule] | None = None) -> Iterator[Row]:
    """These rules as rows, oldest first; all by default."""
    found = (ModerationRule.objects.all() if rules is None else rules).order_by("pk").values_list(*ROW_COLUMNS)
    return (as_row(values) for values in found.iterator(chunk_size=2000))


def export_lists(rules: QuerySet[ModerationRule] | None = None) -> list[Row]:
    """What ``LIST_COLUMNS`` keeps of each list that these rules are in; of all by default."""
    fields = [name for name in LIST_COLUMNS if name != "rule_list"]
    lists = RuleList.objects.order_by("name")
    if rules is not None:
        lists = lists.filter(pk__in=rules.order_by().values("rule_list"))
    return [
        Row("", rule_list=name, **dict(zip(fields, map(_hashable, values), strict=True)))
        for name, *values in lists.values_list("name", *fields)
    ]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
