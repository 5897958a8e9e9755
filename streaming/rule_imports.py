"""A file of rules goes into the filter in one piece, and out of it again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, islice
from typing import Any, TypeVar

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from streaming.models import NAMED_BY, Edition, ModerationRule, RuleImport, name_of
from streaming.rule_files import COLUMNS, ParsedFile, Refusal, Row, read

Progress = Callable[[int, int], None]
"""Is told how many rules of how many are in."""

CHUNK = 500
PREVIEW_DAYS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that is there already, of which the file says something else."""

    line: int
    rule: int
    row: Row
    differences: dict[str, tuple[Any, Any]]
    """For each field what it is, and what it would be."""


@dataclass(slots=True)
class Comparison:
    """What a file would do to the filter."""

    added: list[tuple[int, Row]] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    same: list[tuple[int, Row]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class NotPossible(Exception):
    """The import was carried out, or undone, already."""


def keep(data: bytes, name: str, who: str, defaults: dict[str, Any]) -> RuleImport:
    """A file that is looked at before it is carried out. Those that nobody carried out are forgotten by and by."""
    old = timezone.now() - timedelta(days=PREVIEW_DAYS)
    RuleImport.objects.filter(state=RuleImport.State.PREVIEW, when__lt=old).delete()
    return RuleImport.objects.create(name=name[:255], who=who, data=zlib.compress(data), defaults=defaults)


def reading_of(kept: RuleImport) -> ParsedFile:
    """FileError if it is no file of rules."""
    return read(zlib.decompress(bytes(kept.data or b"")) if kept.data else b"", kept.defaults)


def compare(reading: ParsedFile) -> Comparison:
    comparison = Comparison(refused=reading.refused)
    for part in _chunks(reading.rows, CHUNK):
        there = _rules_like(row for _, row in part)
        for line, row in part:
            if (found := there.get(row.key)) is None:
                comparison.added.append((line, row))
            elif differences := _differences(found[1], row, reading.columns):
                comparison.changed.append(Change(line, found[0], row, differences))
            else:
                comparison.same.append((line, row))
    return comparison


def _rules_like(rows: Iterable[Row]) -> dict[tuple[str, str, str], tuple[int, Row]]:
    """The rules that are there of these, by what makes them one."""
    marks = [ModerationRule.fingerprint_of(row.kind, row.pattern) for row in rows]
    found = ModerationRule.objects.filter(fingerprint__in=marks).values_list("pk", *COLUMNS)
    there = ((pk, _row(values)) for pk, *values in found)
    return {row.key: (pk, row) for pk, row in there}


def _row(values: Sequence[Any]) -> Row:
    return Row(**{**dict(zip(COLUMNS, values, strict=True)), "upstreams": tuple(values[COLUMNS.index("upstreams")])})


def _differences(old: Row, new: Row, columns: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in columns)
    return {name: (was, will_be) for name, was, will_be in pairs if was != will_be}


def carry_out(kept: RuleImport, user_id: int | None = None, progress: Progress | None = None) -> Comparison:
    """Adds and changes what the file says, in one transaction. NotPossible if that was done already."""
    reading = reading_of(kept)
    with transaction.atomic():
        Edition.bump()  # until the end of the transaction nobody else changes a rule
        if not RuleImport.objects.filter(pk=kept.pk, state=RuleImport.State.PREVIEW).update(
            state=RuleImport.State.DONE
        ):
            raise NotPossible
        comparison = compare(reading)
        work = _Work(kept, user_id, len(comparison.added) + len(comparison.changed), progress)
        for part in _chunks(comparison.added, CHUNK):
            work.add([row for _, row in part])
        for changes in _chunks(comparison.changed, CHUNK):
            work.change(changes)
        kept.state, kept.data = RuleImport.State.DONE, None
        kept.added, kept.changed, kept.when = len(comparison.added), len(comparison.changed), timezone.now()
        kept.save()
    return comparison


class _Work:
    """An import while it is being carried out."""

    def __init__(self, kept: RuleImport, user_id: int | None, total: int, progress: Progress | None) -> None:
        self._kept = kept
        self._user_id = user_id
        self._total = total
        self._progress = progress or (lambda done, total: None)
        self._done = 0
        self._now = timezone.now()

    def add(self, rows: list[Row]) -> None:
        marks = [ModerationRule.fingerprint_of(row.kind, row.pattern) for row in rows]
        more = {"imported_id": self._kept.pk, "changed": self._now}
        _insert(
            ModerationRule, ({**_fields(row), "fingerprint": m, **more} for row, m in zip(rows, marks, strict=True))
        )
        if self._user_id is not None:
            # Found by their marks alone: SQLite would rather go through all that the import has brought so far.
            found = ModerationRule.objects.filter(fingerprint__in=marks).values_list("pk", "imported_id", *NAMED_BY)
            made = [(pk, name_of(*named)) for pk, source, *named in found if source == self._kept.pk]
            self._log(ADDITION, [(pk, name, {"added": {}}) for pk, name in made])
        self._tell(len(rows))

    def change(self, changes: list[Change]) -> None:
        rules = ModerationRule.objects.in_bulk([change.rule for change in changes])
        names = sorted({name for change in changes for name in change.differences})
        for change in changes:
            rule = rules[change.rule]
            self._kept.before.append([rule.pk, {name: _plain(was) for name, (was, _) in change.differences.items()}])
            for name in change.differences:
                setattr(rule, name, _fields(change.row)[name])
        for rule in rules.values():
            rule.imported, rule.changed = self._kept, self._now
        _update(rules.values(), [*names, "imported", "changed"])
        said = {change.rule: {"changed": said_of(change.differences)} for change in changes}
        self._log(CHANGE, [(pk, str(rule), said[pk]) for pk, rule in rules.items()])
        self._tell(len(changes))

    def _tell(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)

    def _log(self, flag: int, told: list[tuple[int, str, dict[str, Any]]]) -> None:
        if self._user_id is not None:
            log(self._user_id, flag, [(pk, name, [what, {"import": self._kept.name}]) for pk, name, what in told])


def names_of(rules: Any) -> list[tuple[int, str]]:
    """What the history calls each of them."""
    return [(pk, name_of(*named)) for pk, *named in rules.values_list("pk", *NAMED_BY)]


def log(user_id: int, flag: int, told: list[tuple[int, str, list[dict[str, Any]]]]) -> None:
    """Django's own history of each rule; its own way to write it would need a statement for each."""
    same = {
        "action_time": timezone.now(),
        "user_id": user_id,
        "content_type_id": ContentType.objects.get_for_model(ModerationRule).pk,
        "action_flag": flag,
    }
    entries = (
        {"object_id": str(pk), "object_repr": name[:200], "change_message": json.dumps(m)} for pk, name, m in told
    )
    _insert(LogEntry, ({**same, **entry} for entry in entries))


def _insert(model: type[Model], rows: Iterable[dict[str, Any]]) -> None:
    """Rows of a table, by their columns' names: in a fifth of the time that instances of the model would take."""
    columns = [field for field in model._meta.local_concrete_fields if not field.primary_key]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in columns)
    table, places = connection.ops.quote_name(model._meta.db_table), ", ".join(["%s"] * len(columns))
    prepare = _Preparation()
    prepared = [[prepare(field, row[field.attname]) for field in columns] for row in rows]
    insert = f"INSERT INTO {table} ({names}) VALUES"
    with connection.cursor() as cursor:
        if connection.features.max_query_params:  # SQLite takes few parameters, but is not far away
            cursor.executemany(f"{insert} ({places})", prepared)
        elif prepared:
            cursor.execute(f"{insert} {', '.join([f'({places})'] * len(prepared))}", [*chain.from_iterable(prepared)])


def _update(rules: Iterable[ModerationRule], names: Sequence[str]) -> None:
    """Writes these fields: bulk_update's one statement for many rows takes ten times as long."""
    columns: list[Any] = [ModerationRule._meta.get_field(name) for name in names]
    quote, prepare = connection.ops.quote_name, _Preparation()
    places = ", ".join(f"{quote(column.column)} = %s" for column in columns)
    update = f"UPDATE {quote(ModerationRule._meta.db_table)} SET {places} WHERE id = %s"  # noqa: S608 (own names)
    rows = [[*(prepare(column, getattr(rule, column.attname)) for column in columns), rule.pk] for rule in rules]
    with connection.cursor() as cursor:
        cursor.executemany(update, rows)


class _Preparation:
    """Values as the database takes them. Most are what they are; of the others most are the same again and again."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, field: Any, value: Any) -> Any:
        if value is None or type(value) in (str, int, bool):
            return value
        key = (field, tuple(value) if isinstance(value, list) else value)
        if key not in self._known:
            self._known[key] = field.get_db_prep_save(value, connection)
        return self._known[key]


def said_of(differences: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Old and new values, as the history tells them."""
    return {
        "fields": list(differences),
        "values": {name: [_plain(old), _plain(new)] for name, (old, new) in differences.items()},
    }


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _fields(row: Row) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in COLUMNS}
    return {**fields, "upstreams": list(row.upstreams)}


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of an import's rules: those that somebody has edited since stay as they are."""

    removed: int
    restored: int
    kept: int


def undo(done: RuleImport, user_id: int | None = None) -> Undone:
    """Takes an import back, in one transaction. NotPossible if there is nothing to take back."""
    with transaction.atomic():
        Edition.bump()
        if not RuleImport.objects.filter(pk=done.pk, state=RuleImport.State.DONE).update(state=RuleImport.State.UNDONE):
            raise NotPossible
        done.refresh_from_db()
        before = dict(done.before)
        restored = sum(_restore(done, dict(part), user_id) for part in _chunks(before.items(), CHUNK))
        # An edit of a rule takes it out of its import: see admin.
        removed, _ = ModerationRule.objects.filter(imported=done).delete()
    return Undone(removed, restored, kept=done.added + done.changed - removed - restored)


def _restore(done: RuleImport, before: dict[int, dict[str, Any]], user_id: int | None) -> int:
    rules = list(ModerationRule.objects.filter(pk__in=before, imported=done))
    names = sorted({name for old in before.values() for name in old})
    told, now = [], timezone.now()
    for rule in rules:
        differences = {}
        for name, old in before[rule.pk].items():
            value = parse_datetime(old) if name in ("valid_from", "valid_until") and old else old
            differences[name] = (getattr(rule, name), value)
            setattr(rule, name, value)
        rule.imported, rule.changed = None, now
        told.append((rule.pk, str(rule), [{"changed": said_of(differences)}]))
    _update(rules, [*names, "imported", "changed"])
    if user_id is not None:
        log(user_id, CHANGE, told)
    return len(rules)


def export() -> Iterator[Row]:
    """All rules as rows, the oldest first."""
    found = ModerationRule.objects.order_by("pk").values_list(*COLUMNS)
    return (_row(values) for values in found.iterator(chunk_size=2000))


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
