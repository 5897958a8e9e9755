"""Each change of rules gives all rules together a new edition number. What they were before is kept, to undo it.

Own tables rather than django-simple-history or django-reversion: both miss ``QuerySet.update`` and ``delete``, by which
a hundred thousand rules change at once, and neither numbers the states of all rules together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import F
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming import bulk_rows

KEEP_DAYS = 30
"""How long changes can be undone and deleted rules restored."""

CHUNK = 500
FORGET_AT_ONCE = 2_000
"""How many revisions that are too old are deleted with each change, so that none has to delete very many."""

rules_changed = Signal()
"""Sent in the process that changed a rule, once the change is committed."""


class Edition(models.Model):
    """A counter of changes to the rules, in a single row, so that checking for changes is one cheap query."""

    number = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.number)

    @classmethod
    def bump(cls) -> int:
        """Increase the counter; call it inside the transaction that changes rules, before changing any.

        It locks the row until the transaction ends. Always in this order, edition first and rules second: two
        transactions that lock them in opposite orders would deadlock. Within ``changing`` all calls are one edition.
        """
        transaction.on_commit(lambda: rules_changed.send(cls))
        change = _change.get() or _Change()
        # After a rollback the edition is gone, and the next change makes another.
        if change.number and RuleEdition.objects.filter(pk=change.number).exists():
            return change.number
        edition, _new = cls.objects.get_or_create(pk=1)
        cls.objects.filter(pk=edition.pk).update(number=F("number") + 1)
        change.number = cls.objects.values_list("number", flat=True).get(pk=edition.pk)
        RuleEdition.objects.create(
            number=change.number, who=change.who[:150], what=change.what, detail=change.detail[:255]
        )
        _forget_old()
        return change.number

    @classmethod
    def lock(cls) -> None:
        """Until the transaction ends nobody else changes a rule. Call it before reading what is then changed."""
        cls.objects.get_or_create(pk=1)
        list(cls.objects.select_for_update().filter(pk=1))


class RuleEdition(models.Model):
    """One state of all rules: its number, which hits name, and how it came to be."""

    class What(models.TextChoices):
        EDIT = "", _("edited")
        BULK = "bulk", _("changed together")
        DELETE = "delete", _("deleted")
        IMPORT = "import", _("imported")
        UNDO_IMPORT = "undo_import", _("import undone")
        UNDO = "undo", _("undone: edition")
        RESTORE = "restore", _("restored after deletion")
        BRING_BACK = "bring_back", _("brought back: edition")
        ALLOW = "allow", _("allowed after a wrong hit")

    number = models.PositiveBigIntegerField(_("edition"), primary_key=True)
    when = models.DateTimeField(_("when"), auto_now_add=True, db_index=True)
    who = models.CharField(_("who"), max_length=150, blank=True)
    what = models.CharField(_("what"), max_length=20, choices=What.choices, blank=True)
    detail = models.CharField(max_length=255, blank=True)
    """The file of an import, or the number of another edition."""
    added = models.PositiveIntegerField(_("added"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    removed = models.PositiveIntegerField(_("deleted"), default=0)
    """How many rules and lists."""

    class Meta:
        ordering = ["-number"]
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.number)


class Revision(models.Model):
    """What a rule or a list was before an edition changed it."""

    class Kind(models.TextChoices):
        RULE = "moderationrule", _("moderation rule")
        LIST = "rulelist", _("rule list")

    class How(models.TextChoices):
        ADDED = "+"
        CHANGED = "~"
        REMOVED = "-"

    edition = models.ForeignKey(RuleEdition, models.CASCADE, related_name="revisions")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    object_id = models.PositiveBigIntegerField()
    how = models.CharField(max_length=1, choices=How.choices)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    """The fields with values other than their defaults; None for what the edition has added."""

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["edition", "kind", "object_id"], name="one_revision_of_a_rule_in_an_edition"
            )
        ]
        indexes = [models.Index(fields=["kind", "object_id", "edition"], name="revisions_of_a_rule")]

    def __str__(self) -> str:
        return f"{self.how} {self.kind} {self.object_id}"


@dataclass(slots=True)
class _Change:
    what: str = ""
    who: str = ""
    detail: str = ""
    number: int | None = None


_change: ContextVar[_Change | None] = ContextVar("change", default=None)


@contextmanager
def changing(what: str = "", *, who: str = "", detail: str = "") -> Iterator[None]:
    """All changes within it are one edition. Inside another one, it only says more about that."""
    if outer := _change.get():
        if not outer.number:
            outer.what, outer.who, outer.detail = outer.what or what, outer.who or who, outer.detail or detail
        yield
        return
    token = _change.set(_Change(what, who, detail))
    try:
        yield
    finally:
        _change.reset(token)


def kept_fields(model: type[models.Model]) -> list[Any]:
    """The fields of a rule or a list that a revision has."""
    left_out = ("id", "fingerprint", "folded", "changed", "imported")
    return [field for field in model._meta.concrete_fields if field.name not in left_out]


def keep(rows: Any, *, removed: bool = False) -> int:
    """Keep what these rules or lists (a QuerySet) are, before they are changed or removed. Returns their number."""
    number, model = Edition.bump(), rows.model
    fields = [(field.attname, field.get_default()) for field in kept_fields(model)]
    pks = list(rows.order_by().values_list("pk", flat=True))
    is_first = not _of(number, model).exists()
    for at in range(0, len(pks), CHUNK):
        chunk = pks[at : at + CHUNK]
        known = {} if is_first else _known(number, model, chunk)
        found = model._base_manager.filter(pk__in=set(chunk) - known.keys())
        revisions = [
            (pk, {name: value for (name, default), value in zip(fields, values, strict=True) if value != default})
            for pk, *values in found.values_list("pk", *(name for name, _ in fields))
        ]
        _write(number, model, Revision.How.REMOVED if removed else Revision.How.CHANGED, revisions)
        if removed and known:
            _remove_again(number, model, known)
    return len(pks)


def keep_added(model: type[models.Model], pks: list[int]) -> None:
    """Keep that these rules or lists have been added."""
    number = Edition.bump()
    for at in range(0, len(pks), CHUNK):
        chunk = pks[at : at + CHUNK]
        known = _known(number, model, chunk)
        _write(number, model, Revision.How.ADDED, [(pk, None) for pk in chunk if pk not in known])
        if back := [pk for pk, how in known.items() if how == Revision.How.REMOVED]:  # removed in the same edition
            _of(number, model, back).update(how=Revision.How.CHANGED)
            _count(number, removed=-len(back), changed=len(back))


def _of(number: int, model: type[models.Model], pks: Iterable[int] | None = None) -> Any:
    """What an edition has kept already of these rules or lists, or of all."""
    kept = Revision.objects.filter(edition=number, kind=model._meta.model_name)
    return kept if pks is None else kept.filter(object_id__in=list(pks))


def _known(number: int, model: type[models.Model], pks: list[int]) -> dict[int, str]:
    """Of those that this edition has changed already: how."""
    return dict(_of(number, model, pks).values_list("object_id", "how"))


def _write(number: int, model: type[models.Model], how: Revision.How, revisions: list[tuple[int, Any]]) -> None:
    common = {"edition_id": number, "kind": str(model._meta.model_name), "how": how.value}
    bulk_rows.insert(Revision, ({**common, "object_id": pk, "before": before} for pk, before in revisions))
    names = {Revision.How.ADDED: "added", Revision.How.CHANGED: "changed", Revision.How.REMOVED: "removed"}
    if revisions:
        _count(number, **{names[how]: len(revisions)})


def _count(number: int, **differences: int) -> None:
    RuleEdition.objects.filter(pk=number).update(**{name: F(name) + n for name, n in differences.items()})


def _remove_again(number: int, model: type[models.Model], known: dict[int, str]) -> None:
    """What this edition has added or changed already is removed by it."""
    added = [pk for pk, how in known.items() if how == Revision.How.ADDED]
    changed = [pk for pk, how in known.items() if how == Revision.How.CHANGED]
    _of(number, model, added).delete()
    _of(number, model, changed).update(how=Revision.How.REMOVED)
    _count(number, added=-len(added), changed=-len(changed), removed=len(changed))


def _forget_old() -> None:
    limit = timezone.now() - timedelta(days=KEEP_DAYS)
    oldest = RuleEdition.objects.filter(when__lt=limit).order_by("number").first()
    if oldest is None:
        return
    old = list(oldest.revisions.values_list("pk", flat=True)[:FORGET_AT_ONCE])
    for at in range(0, len(old), CHUNK):
        Revision.objects.filter(pk__in=old[at : at + CHUNK]).delete()
    if len(old) < FORGET_AT_ONCE:
        oldest.delete()
