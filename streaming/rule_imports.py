"""Imports a file of rules in one transaction, and exports the rules."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from operator import attrgetter
from pathlib import PurePath
from typing import Any, TypeVar

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from streaming import bulk_rows
from streaming.editions import Edition, RuleEdition, changing, keep, keep_added
from streaming.models import NAMED_BY, ModerationRule, RuleImport, RuleList, name_of
from streaming.rule_files import (
    COLUMNS,
    LIST_COLUMNS,
    Answers,
    ColumnsQuestion,
    ParsedFile,
    Refusal,
    Row,
    RowKey,
    read,
)
from streaming.rule_packs import Pack, title_in

Progress = Callable[[int, int], None]
"""Called with the number of rules written so far and the total."""

CHUNK = 500
PREVIEW_DAYS = 2

T = TypeVar("T")


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


class Unanswered(Exception):
    """The file cannot be imported before the questions about it are answered."""


class AlreadyDone(Exception):
    """The import was already carried out, or already undone."""


def save_preview(
    data: bytes,
    name: str,
    who: str,
    defaults: dict[str, Any],
    answers: Answers | None = None,
    *,
    replaces: bool = False,
) -> RuleImport:
    """Store an uploaded file until it is imported. Older files that were never imported are deleted."""
    old = timezone.now() - timedelta(days=PREVIEW_DAYS)
    RuleImport.objects.filter(state=RuleImport.State.PREVIEW, when__lt=old).delete()
    options = options_of(answers or Answers(), replaces=replaces)
    return RuleImport.objects.create(
        name=stored_name(name), who=who, data=zlib.compress(data), defaults=defaults, options=options
    )


def stored_name(name: str) -> str:
    """A file name that fits the column, with the suffix that tells its format. Bytes that are no text become ``?``."""
    name = name.encode("utf-8", "replace").decode()
    suffix = PurePath(name).suffix[:20]
    return name if len(name) <= 255 else name[: 255 - len(suffix)] + suffix


def save_pack_preview(pack: Pack, who: str) -> RuleImport:
    """Store a pack as a file to be imported: into the list that has it, which it replaces, or into a new one."""
    there = RuleList.objects.filter(pack=pack.name).first()
    name = there.name if there else str(pack.title)
    if not there and RuleList.objects.filter(name=name).exists():
        name = f"{name} ({pack.name})"
    made = save_preview(pack.as_file(), f"{pack.name}.csv", who, {"rule_list": name}, replaces=there is not None)
    made.options["pack"] = pack.name
    made.save(update_fields=["options"])
    return made


def options_of(answers: Answers, *, replaces: bool) -> dict[str, Any]:
    """What ``RuleImport.options`` keeps of an import."""
    return {"answers": answers.as_json(), "replaces": replaces}


def answers_of(rule_import: RuleImport) -> Answers:
    return Answers.of(rule_import.options.get("answers", {}))


def replaced_list(rule_import: RuleImport) -> str:
    """The name of the list that the import replaces; empty if it only adds and changes rules."""
    return rule_import.defaults.get("rule_list", "") if rule_import.options.get("replaces") else ""


def compare_import(rule_import: RuleImport, parsed: ParsedFile) -> Comparison:
    """What this import would do."""
    replaced = replaced_list(rule_import)
    return compare(parsed, replaced, renews=bool(replaced and rule_import.options.get("pack")))


def read_preview(rule_import: RuleImport) -> ParsedFile:
    """Parse the stored file. FileError if it is not a file of rules."""
    data = zlib.decompress(bytes(rule_import.data)) if rule_import.data else b""
    return read(data, rule_import.defaults, answers_of(rule_import), rule_import.name)


def compare(parsed: ParsedFile, replaced: str = "", *, renews: bool = False) -> Comparison:
    """``replaced`` is the name of the list whose rules are removed unless they are in the file.

    ``renews``: it has a pack, and the file the pack as it is now.
    """
    comparison = Comparison(refused=parsed.refused)
    for chunk in in_chunks(parsed.rows, CHUNK):
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
        (found[0], _row(found[1:]))
        for pks in in_chunks(removed, CHUNK)
        for found in ModerationRule.objects.filter(pk__in=pks).values_list("pk", *_ROW_COLUMNS)
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
    found = ModerationRule.objects.filter(fingerprint__in=_fingerprints(rows)).values_list("pk", *_ROW_COLUMNS)
    existing = ((pk, _row(values)) for pk, *values in found)
    return {row.key: (pk, row) for pk, row in existing}


def _fingerprints(rows: Iterable[Row]) -> list[str]:
    return [ModerationRule.fingerprint_of(row.kind, row.compare, row.pattern) for row in rows]


_ROW_COLUMNS = tuple("rule_list__name" if name == "rule_list" else name for name in COLUMNS)


def _row(values: Sequence[Any]) -> Row:
    fields = dict(zip(COLUMNS, values, strict=True))
    names = {name: tuple(fields[name]) for name in ("upstreams", "only_for")}
    return Row(**{**fields, **names, "rule_list": fields["rule_list"] or ""})


def _differences(old: Row, new: Row, columns: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in columns)
    return {name: (was, will_be) for name, was, will_be in pairs if was != will_be}


def carry_out(rule_import: RuleImport, user_id: int | None = None, progress: Progress | None = None) -> Comparison:
    """Add and change rules as in the file, in one transaction. AlreadyDone if that was done before.

    Unanswered if the columns of the file are not known.
    """
    parsed = read_preview(rule_import)
    if any(isinstance(question, ColumnsQuestion) for question in parsed.questions):
        raise Unanswered
    with changing(RuleEdition.What.IMPORT, who=rule_import.who, detail=rule_import.name), transaction.atomic():
        rule_import.edition = Edition.bump()  # locks: until the end of the transaction nobody else changes a rule
        if not RuleImport.objects.filter(pk=rule_import.pk, state=RuleImport.State.PREVIEW).update(
            state=RuleImport.State.DONE
        ):
            raise AlreadyDone
        comparison = compare_import(rule_import, parsed)
        total = len(comparison.added) + len(comparison.changed) + len(comparison.removed)
        work = _ImportRun(rule_import, user_id, total, progress, parsed.lists)
        for removed in in_chunks(comparison.removed, CHUNK):
            work.remove(removed)
        for added in in_chunks(comparison.added, CHUNK):
            work.add([row for _, row in added])
        for changes in in_chunks(comparison.changed, CHUNK):
            work.change(changes)
        rule_import.state, rule_import.data = RuleImport.State.DONE, None
        rule_import.refused = _packed(comparison.refused)
        rule_import.added, rule_import.changed = len(comparison.added), len(comparison.changed)
        rule_import.removed, rule_import.when = len(comparison.removed), timezone.now()
        rule_import.save()
    return comparison


def _packed(refusals: list[Refusal]) -> bytes:
    return zlib.compress(json.dumps([[each.line, each.text, each.reason] for each in refusals]).encode())


def refusals_of(rule_import: RuleImport) -> list[Refusal]:
    """What is refused of a file, before the import or after it."""
    if rule_import.state == RuleImport.State.PREVIEW:
        return read_preview(rule_import).refused
    packed = zlib.decompress(bytes(rule_import.refused)) if rule_import.refused else b"[]"
    return [Refusal(*each) for each in json.loads(packed)]


class _ImportRun:
    """An import in progress: writes rules and their history, and reports the progress."""

    def __init__(
        self,
        rule_import: RuleImport,
        user_id: int | None,
        total: int,
        progress: Progress | None,
        lists: dict[str, Row],
    ) -> None:
        self._import = rule_import
        self._user_id = user_id
        self._total = total
        self._progress = progress or (lambda done, total: None)
        self._done = 0
        self._now = timezone.now()
        self._lists = _Lists(rule_import.options.get("pack", ""), lists)

    def add(self, rows: list[Row]) -> None:
        prints = _fingerprints(rows)
        more = {"imported_id": self._import.pk, "changed": self._now}
        pairs = zip(rows, prints, strict=True)
        bulk_rows.insert(
            ModerationRule,
            (
                {**_fields(row), "rule_list_id": self._lists.pk_of(row.rule_list), "fingerprint": fingerprint, **more}
                | {"folded": ModerationRule.folded_of(row.pattern)}
                for row, fingerprint in pairs
            ),
        )
        # Filtered by import in Python: in SQL, SQLite would scan all rules of this import instead of the index.
        found = ModerationRule.objects.filter(fingerprint__in=prints).values_list("pk", "imported_id", *NAMED_BY)
        added = [(pk, named) for pk, source, *named in found if source == self._import.pk]
        keep_added(ModerationRule, [pk for pk, _ in added])
        if self._user_id is not None:
            self._log(ADDITION, [(pk, name_of(*named), {"added": {}}) for pk, named in added])
        self._report(len(rows))

    def change(self, changes: list[Change]) -> None:
        keep(ModerationRule.objects.filter(pk__in=[change.rule for change in changes]))
        rules = ModerationRule.objects.in_bulk([change.rule for change in changes])
        names = sorted({name for change in changes for name in change.differences})
        for change in changes:
            rule = rules[change.rule]
            before = {name: _as_json(was) for name, (was, _) in change.differences.items()}
            self._import.before.append([rule.pk, {**before, "imported": rule.imported_id}])
            for name in change.differences:
                setattr(rule, name, _fields(change.row)[name])
        for rule in rules.values():
            rule.imported, rule.changed = self._import, self._now
            rule.derive()
        bulk_rows.write(ModerationRule, rules.values(), [*names, "fingerprint", "folded", "imported", "changed"])
        messages = {change.rule: {"changed": change_message(change.differences)} for change in changes}
        self._log(CHANGE, [(pk, str(rule), messages[pk]) for pk, rule in rules.items()])
        self._report(len(changes))

    def remove(self, rules: list[tuple[int, str]]) -> None:
        ModerationRule.objects.filter(pk__in=[pk for pk, _ in rules]).delete()
        self._log(DELETION, [(pk, name, {"deleted": {}}) for pk, name in rules])
        self._report(len(rules))

    def _report(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)

    def _log(self, flag: int, entries: list[tuple[int, str, dict[str, Any]]]) -> None:
        if self._user_id is not None:
            log(self._user_id, flag, [(pk, name, [part, {"import": self._import.name}]) for pk, name, part in entries])


class _Lists:
    """The lists that rules are imported into; those that there are not yet are made."""

    def __init__(self, pack: str, described: dict[str, Row]) -> None:
        self._pack, self._described = pack, described
        self._known: dict[str, int] = dict(RuleList.objects.values_list("name", "pk"))

    def pk_of(self, name: str) -> int | None:
        if name and name not in self._known:
            source = RuleList.Source.PACK if self._pack else RuleList.Source.IMPORT
            fields = {"enabled": not self._pack}
            if described := self._described.get(name):
                fields = {each: _fields(described)[each] for each in LIST_COLUMNS if each != "rule_list"}
            made = RuleList.objects.create(name=name, source=source, pack=self._pack, **fields)
            self._known[name] = made.pk
        return self._known[name] if name else None


def names_of(rules: Any) -> list[tuple[int, str]]:
    """The primary key and the name in the history of each rule."""
    return [(pk, name_of(*named)) for pk, *named in rules.values_list("pk", *NAMED_BY)]


def log(user_id: int, flag: int, entries: list[tuple[int, str, list[dict[str, Any]]]]) -> None:
    """Write entries (primary key, name, message) to Django's history: one statement instead of one for each rule."""
    common = {
        "action_time": timezone.now(),
        "user_id": user_id,
        "content_type_id": ContentType.objects.get_for_model(ModerationRule).pk,
        "action_flag": flag,
    }
    rows = (
        {"object_id": str(pk), "object_repr": name[:200], "change_message": json.dumps(message)}
        for pk, name, message in entries
    )
    bulk_rows.insert(LogEntry, ({**common, **row} for row in rows))


def change_message(differences: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """The changed fields with old and new values, for ``change_message`` of Django's history."""
    return {
        "fields": list(differences),
        "values": {name: [_as_json(old), _as_json(new)] for name, (old, new) in differences.items()},
    }


def list_names() -> dict[int, str]:
    """The name of each list, by primary key."""
    return dict(RuleList.objects.values_list("pk", "name"))


def with_list_names(differences: dict[str, tuple[Any, Any]], names: dict[int, str]) -> dict[str, tuple[Any, Any]]:
    """For ``change_message``: in place of the primary keys of lists, their names."""
    if "rule_list" not in differences:
        return differences
    was, is_now = (names.get(pk) for pk in differences["rule_list"])
    return {**differences, "rule_list": (was, is_now)}


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, RuleList):
        return value.name
    return value.isoformat() if hasattr(value, "isoformat") else value


def _fields(row: Row) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in COLUMNS if name != "rule_list"}
    return {**fields, "upstreams": list(row.upstreams), "only_for": list(row.only_for)}


def export(rules: QuerySet[ModerationRule] | None = None) -> Iterator[Row]:
    """These rules as rows, oldest first; all by default."""
    found = (ModerationRule.objects.all() if rules is None else rules).order_by("pk").values_list(*_ROW_COLUMNS)
    return (_row(values) for values in found.iterator(chunk_size=2000))


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


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
