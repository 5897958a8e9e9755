"""Undoes an import of rules, except for what was edited since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION
from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from streaming import bulk_rows, rule_history, rule_log
from streaming.editions import CHUNK, Edition, RuleEdition, changing, keep
from streaming.models import HitAlert, ModerationRule, RuleImport
from streaming.rule_imports import AlreadyDone, Progress

DELETED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Undone:
    """The numbers of rules that an undo removed, restored, and left: they were edited since, or nothing is kept."""

    removed: int
    restored: int
    kept: int
    alerts: int = 0
    """Of those that were only about rules that are removed, and are deleted with them."""


def undo(done: RuleImport, user: Any = None, progress: Progress | None = None) -> Undone:
    """Undo an import in one transaction; AlreadyDone if it was undone before. ``user`` is None in a shell.

    Rules that it added are removed, those that it changed are as before, those that it removed are restored.
    """
    who = user.get_username() if user else "manage.py"
    with changing(RuleEdition.What.UNDO_IMPORT, who=who, detail=done.name), transaction.atomic():
        undone = _undo(done, user.pk if user else None, progress or (lambda done, total: None))
        if not done.removed:
            return undone
        revisions = list(rule_history.deleted().filter(edition=done.edition))
        back = rule_history.restore(revisions, user)
        left = done.removed - len(revisions) + len(back.skipped)
        return replace(undone, restored=undone.restored + back.restored, kept=undone.kept + left)


def _undo(done: RuleImport, user_id: int | None, progress: Progress) -> Undone:
    Edition.bump()
    if not RuleImport.objects.filter(pk=done.pk, state=RuleImport.State.DONE).update(state=RuleImport.State.UNDONE):
        raise AlreadyDone
    done.refresh_from_db()
    total, restored, removed, alerts = done.added + done.changed, 0, 0, 0
    for part in bulk_rows.in_chunks(dict(done.before).items(), CHUNK):
        restored += _restore(done, dict(part), user_id)
        progress(restored, total)
    # Rules that were edited since no longer belong to the import: see ModerationRuleAdmin.save_model.
    rules = ModerationRule.objects.filter(imported=done)
    for pks in bulk_rows.in_chunks(list(rules.order_by("pk").values_list("pk", flat=True)), DELETED_AT_ONCE):
        gone = rules.filter(pk__lte=pks[-1])
        if user_id is not None:
            names = rule_log.names_of(gone.order_by())
            rule_log.log(user_id, DELETION, [(pk, name, []) for pk, name in names])
        alerts += gone.delete()[1].get(HitAlert._meta.label, 0)
        removed += len(pks)
        progress(restored + removed, total)
    return Undone(removed, restored, done.added + done.changed - removed - restored, alerts)


def _restore(done: RuleImport, before: dict[int, dict[str, Any]], user_id: int | None) -> int:
    found = list(ModerationRule.objects.filter(pk__in=before, imported=done))
    earlier = {pk: old.pop("imported", None) for pk, old in before.items()}
    names = sorted({name for old in before.values() for name in old})
    messages = {rule.pk: _put_back(rule, before[rule.pk]) for rule in found}
    taken = _taken(found)
    rules = [rule for rule in found if rule.pk not in taken]
    keep(ModerationRule.objects.filter(pk__in=[rule.pk for rule in rules]))
    now = timezone.now()
    for rule in found:
        # Perhaps of an earlier import, which can be undone as well. What is left as it is belongs to none.
        rule.imported_id, rule.changed = None if rule.pk in taken else earlier[rule.pk], now
    bulk_rows.write(ModerationRule, rules, [*names, "fingerprint", "folded", "imported", "changed"])
    bulk_rows.write(ModerationRule, [rule for rule in found if rule.pk in taken], ["imported"])
    if user_id is not None:
        rule_log.log(user_id, CHANGE, [(rule.pk, str(rule), [messages[rule.pk]]) for rule in rules])
    return len(rules)


def _put_back(rule: ModerationRule, old: dict[str, Any]) -> dict[str, Any]:
    """Gives a rule the values that it had, and returns what its history says of that."""
    differences = {}
    for name, kept in old.items():
        value = parse_datetime(kept) if name in ("valid_from", "valid_until") and kept else kept
        differences[name] = (getattr(rule, name), value)
        setattr(rule, name, value)
    rule.derive()
    return {"changed": rule_log.change_message(differences)}


def _taken(rules: list[ModerationRule]) -> set[int]:
    """Those of which, with the pattern that they had, there is another in their list by now."""
    there = ModerationRule.objects.filter(fingerprint__in=[rule.fingerprint for rule in rules])
    others = {
        (fingerprint, rule_list): pk
        for pk, fingerprint, rule_list in there.values_list("pk", "fingerprint", "rule_list")
    }
    return {rule.pk for rule in rules if others.get((rule.fingerprint, rule.rule_list_id), rule.pk) != rule.pk}
