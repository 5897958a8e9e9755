"""Imports a file of rules in one transaction."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePath
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.db import transaction
from django.utils import timezone

from streaming import bulk_rows, rule_log
from streaming.editions import CHUNK, Edition, RuleEdition, changing, keep, keep_added
from streaming.models import NAMED_BY, ModerationRule, RuleImport, RuleList, name_of
from streaming.rule_comparison import Change, Comparison, compare, fingerprints_of
from streaming.rule_files import COLUMNS, LIST_COLUMNS, Answers, ColumnsQuestion, ParsedFile, Refusal, Row, read
from streaming.rule_packs import Pack

Progress = Callable[[int, int], None]
"""Called with the number of rules written so far and the total."""

PREVIEW_DAYS = 2


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
        for removed in bulk_rows.in_chunks(comparison.removed, CHUNK):
            work.remove(removed)
        for added in bulk_rows.in_chunks(comparison.added, CHUNK):
            work.add([row for _, row in added])
        for changes in bulk_rows.in_chunks(comparison.changed, CHUNK):
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
        prints = fingerprints_of(rows)
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
            before = {name: rule_log.as_json(was) for name, (was, _) in change.differences.items()}
            self._import.before.append([rule.pk, {**before, "imported": rule.imported_id}])
            for name in change.differences:
                setattr(rule, name, _fields(change.row)[name])
        for rule in rules.values():
            rule.imported, rule.changed = self._import, self._now
            rule.derive()
        bulk_rows.write(ModerationRule, rules.values(), [*names, "fingerprint", "folded", "imported", "changed"])
        messages = {change.rule: {"changed": rule_log.change_message(change.differences)} for change in changes}
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
            rule_log.log(
                self._user_id, flag, [(pk, name, [part, {"import": self._import.name}]) for pk, name, part in entries]
            )


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


def _fields(row: Row) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in COLUMNS if name != "rule_list"}
    return {**fields, "upstreams": list(row.upstreams), "only_for": list(row.only_for)}
