"""What an import of a file would do to the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from streaming import bulk_rows
from streaming.editions import CHUNK
from streaming.models import ModerationRule, name_of
from streaming.rule_exports import ROW_COLUMNS, as_row
from streaming.rule_files import ParsedFile, Refusal, Row, RowKey
from streaming.rule_packs import title_in


@dataclass(frozen=True, slots=True)
class Change:
    """An existing rule that the file would change."""

    line: int
    rule: int
    row: Row
    differences: dict[str, tuple[Any, Any]]
    """For each changed field the current and the new value."""


@dataclass(slots=True)
class Comparison:
    """What an import of a file would do to the rules. All items have their line number."""

    added: list[tuple[int, Row]] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    unchanged: list[tuple[int, Row]] = field(default_factory=list)
    removed: list[tuple[int, str]] = field(default_factory=list)
    """The primary keys and names of the rules of the replaced list that are not in the file."""
    refused: list[Refusal] = field(default_factory=list)
    elsewhere: int = 0
    """How many of the added rules are in other lists, or in none, already."""


def compare(parsed: ParsedFile, replaced: str = "", *, renews: bool = False) -> Comparison:
    """``replaced`` is the name of the list whose rules are removed unless they are in the file.

    ``renews``: it has a pack, and the file the pack as it is now.
    """
    comparison = Comparison(refused=parsed.refused)
    for chunk in bulk_rows.in_chunks(parsed.rows, CHUNK):
        existing = _existing_rules(row for _, row in chunk)
        patterns = {key[1:] for key in existing}
        for line, row in chunk:
            if (found := existing.get(row.key)) is None:
                comparison.added.append((line, row))
                comparison.elsewhere += row.key[1:] in patterns
            elif differences := _differences(found[1], row, parsed.columns):
                comparison.changed.append(Change(line, found[0], row, differences))
            else:
                comparison.unchanged.append((line, row))
    if replaced:
        comparison.removed = _not_in(parsed, replaced)
    if renews:
        _change_rather_than_replace(comparison, parsed.columns)
    return comparison


def _not_in(parsed: ParsedFile, replaced: str) -> list[tuple[int, str]]:
    there = {row.key for _, row in parsed.rows}
    rules = ModerationRule.objects.filter(rule_list__name=replaced).order_by("pk")
    found = rules.values_list("pk", "action", "kind", "compare", "pattern").iterator(chunk_size=2000)
    return [(pk, name_of(action, key[-1])) for pk, action, *key in found if (replaced, *key) not in there]


def _change_rather_than_replace(comparison: Comparison, columns: Iterable[str]) -> None:
    """A rule of a pack whose pattern was improved stays the same rule, with its action, its hits and its alerts."""
    removed = [pk for pk, _name in comparison.removed]
    former = [
        (found[0], as_row(found[1:]))
        for pks in bulk_rows.in_chunks(removed, CHUNK)
        for found in ModerationRule.objects.filter(pk__in=pks).values_list("pk", *ROW_COLUMNS)
    ]
    by_title, again = _by_title(former), _by_title(comparison.added)
    for title in by_title.keys() & again.keys():
        (pk, was), (line, row) = by_title[title], again[title]
        comparison.changed.append(Change(line, pk, row, _differences(was, row, columns)))
        comparison.added.remove((line, row))
        comparison.removed = [each for each in comparison.removed if each[0] != pk]
    comparison.changed.sort(key=attrgetter("line"))


def _by_title(rows: Iterable[tuple[int, Row]]) -> dict[str, tuple[int, Row]]:
    """Those that have a title of their own."""
    found = [(title_in(row.note), (number, row)) for number, row in rows]
    counts = Counter(title for title, _ in found)
    return {title: each for title, each in found if title and counts[title] == 1}


def _existing_rules(rows: Iterable[Row]) -> dict[RowKey, tuple[int, Row]]:
    """The rules with the same keys as these rows: primary key and current values, by key."""
    found = ModerationRule.objects.filter(fingerprint__in=fingerprints_of(rows)).values_list("pk", *ROW_COLUMNS)
    existing = ((pk, as_row(values)) for pk, *values in found)
    return {row.key: (pk, row) for pk, row in existing}


def _differences(old: Row, new: Row, columns: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in columns)
    return {name: (was, will_be) for name, was, will_be in pairs if was != will_be}


def fingerprints_of(rows: Iterable[Row]) -> list[str]:
    return [ModerationRule.fingerprint_of(row.kind, row.compare, row.pattern) for row in rows]
