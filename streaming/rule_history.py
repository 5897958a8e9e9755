"""Compares editions of the rules, undoes them, brings them back, and restores deleted rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models import Model as DjangoModel
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.functional import cached_property

from streaming import bulk_rows, rule_log
from streaming.editions import CHUNK, Edition, Revision, RuleEdition, changing, keep, keep_added, kept_fields
from streaming.models import HitAlert, ModerationRule, RuleList, name_of
from streaming.rule_imports import Progress

Kept = dict[str, Any] | None
"""The fields of a rule or a list with values other than their defaults; None if there is none."""

MODELS: dict[str, Any] = {Revision.Kind.LIST: RuleList, Revision.Kind.RULE: ModerationRule}
"""Lists before their rules, as they are put back."""


@dataclass(slots=True)
class Outcome:
    """How many rules and lists are as they were, and which ones are not because others are in their place."""

    restored: int = 0
    removed: int = 0
    skipped: list[str] = field(default_factory=list)
    """The names of rules of which there is another with the same pattern, kind and comparison in the same list, and of
    lists of which there is another with the same name."""
    edited_since: int = 0
    alerts: int = 0
    """Of those that were only about rules and lists that are removed, and are deleted with them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule or a list that differs between two editions; ``before`` or ``after`` is None where it is not there."""

    kind: str
    object_id: int
    before: Kept
    after: Kept

    @property
    def name(self) -> str:
        values = _filled(MODELS[self.kind], self.before or self.after or {})
        return name_of(values["action"], values["pattern"]) if self.kind == Revision.Kind.RULE else str(values["name"])

    @property
    def how(self) -> str:
        return Revision.How.ADDED if self.before is None else "-" if self.after is None else Revision.How.CHANGED

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """The name of each field that differs, with the values before and after."""
        model = MODELS[self.kind]
        before, after = _filled(model, self.before or {}), _filled(model, self.after or {})
        for each in kept_fields(model):
            if before[each.attname] != after[each.attname]:
                yield each.name, before[each.attname], after[each.attname]


class Comparison:
    """What differs between two editions; ``until`` None is the present."""

    def __init__(self, since: int, until: int | None = None) -> None:
        self.since, self.until = since, until
        revisions = Revision.objects.filter(edition__gt=since)
        self._revisions = revisions.filter(edition__lte=until) if until is not None else revisions

    @cached_property
    def _hows(self) -> dict[tuple[str, int], tuple[str, str]]:
        """How each was first and last changed. Without what it was, which may be much."""
        found: dict[tuple[str, int], tuple[str, str]] = {}
        for kind, pk, how in self._revisions.order_by("edition_id", "pk").values_list("kind", "object_id", "how"):
            found[kind, pk] = found.get((kind, pk), (how, how))[0], how
        return {key: hows for key, hows in found.items() if hows != (Revision.How.ADDED, Revision.How.REMOVED)}

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Kind and id of each that was touched."""
        return list(self._hows)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many were added, changed and removed."""
        hows = list(self._hows.values())
        added = sum(first == Revision.How.ADDED for first, _ in hows)
        removed = sum(last == Revision.How.REMOVED for _, last in hows)
        return {"added": added, "changed": len(hows) - added - removed, "removed": removed}

    def differences(self, most: int) -> list[Difference]:
        found: list[Difference] = []
        for kind, model in MODELS.items():
            pks = [pk for each, pk in self._hows if each == kind][: most - len(found)]
            before = dict(_first_kept(self._revisions, kind, pks))
            after = dict(_present(model, pks))
            if self.until is not None:
                after |= dict(_first_kept(Revision.objects.filter(edition__gt=self.until), kind, pks))
            pairs = (Difference(kind, pk, before.get(pk), after.get(pk)) for pk in pks)
            found += [each for each in pairs if each.before != each.after]
        return found


def _first_kept(revisions: QuerySet[Revision], kind: str, pks: list[int]) -> Iterator[tuple[int, Kept]]:
    """What each was before the first of these revisions of it."""
    for at in range(0, len(pks), CHUNK):
        chunk = revisions.filter(kind=kind, object_id__in=pks[at : at + CHUNK]).order_by("-edition_id", "-pk")
        yield from dict(chunk.values_list("object_id", "before")).items()  # of several, the last in this order stays


def _present(model: Any, pks: list[int]) -> Iterator[tuple[int, Kept]]:
    fields = kept_fields(model)
    for at in range(0, len(pks), CHUNK):
        rows = model.objects.filter(pk__in=pks[at : at + CHUNK])
        for pk, *values in rows.values_list("pk", *(each.attname for each in fields)):
            yield pk, _as_kept(fields, values)


def _as_kept(fields: list[Any], values: list[Any]) -> dict[str, Any]:
    pairs = zip(fields, values, strict=True)
    return {
        each.attname: value if isinstance(value, (str, int, list, type(None))) else _as_text(value)
        for each, value in pairs
        if value != each.get_default()
    }


def _as_text(moment: Any) -> Any:
    """As Django's JSON encoder writes it."""
    text = moment.isoformat(timespec="milliseconds") if moment.microsecond else moment.isoformat()
    return text.removesuffix("+00:00") + ("Z" if text.endswith("+00:00") else "")


def _filled(model: Any, kept: dict[str, Any]) -> dict[str, Any]:
    """The values of all fields, of those that a revision has."""
    return {each.attname: _value(each, kept) for each in kept_fields(model)}


def _value(each: Any, kept: dict[str, Any]) -> Any:
    value = kept.get(each.attname, each.get_default())
    if each.get_internal_type() == "DateTimeField":
        return each.to_python(value)
    return None if value is None and each.null else value


def undo(number: int, user: Any, progress: Progress | None = None) -> Outcome:
    """Make undone what an edition did, except for what was changed again later."""
    with changing(RuleEdition.What.UNDO, who=user.get_username(), detail=str(number)), transaction.atomic():
        Edition.bump()
        later = Revision.objects.filter(kind=OuterRef("kind"), object_id=OuterRef("object_id"), edition__gt=number)
        revisions = Revision.objects.filter(edition=number)
        untouched = revisions.exclude(Exists(later))
        states = {kind: dict(untouched.filter(kind=kind).values_list("object_id", "before")) for kind in MODELS}
        edited_since = revisions.count() - untouched.count()
        outcome = _PuttingBack(user, progress).put_back(states)
        outcome.edited_since = edited_since
    return outcome


def bring_back(number: int, user: Any, progress: Progress | None = None) -> Outcome:
    """Make all rules and lists what they were in an edition."""
    with changing(RuleEdition.What.BRING_BACK, who=user.get_username(), detail=str(number)), transaction.atomic():
        changed = Comparison(number, Edition.bump()).keys
        later = Revision.objects.filter(edition__gt=number)
        states = {kind: dict(_first_kept(later, kind, [pk for each, pk in changed if each == kind])) for kind in MODELS}
        return _PuttingBack(user, progress).put_back(states)


def changes_of(number: int) -> int:
    """How many rules and lists an edition has changed."""
    return _changes(RuleEdition.objects.filter(number=number))


def changes_since(number: int) -> int:
    """How many changes of rules and lists there were since an edition."""
    return _changes(RuleEdition.objects.filter(number__gt=number))


def _changes(editions: QuerySet[RuleEdition]) -> int:
    return int(editions.aggregate(n=Coalesce(Sum(F("added") + F("changed") + F("removed")), 0))["n"])


def can_bring_back(number: int) -> bool:
    """Whether all that was changed since then is still kept."""
    oldest = RuleEdition.objects.order_by("number").first()
    if oldest is None:
        return False
    # What is too old is forgotten a part at a time, beginning with the oldest edition.
    is_whole = oldest.revisions.count() >= oldest.added + oldest.changed + oldest.removed
    return number >= oldest.number - is_whole


def deleted() -> QuerySet[Revision]:
    """The last revision of each rule that was deleted and can be restored, the latest first."""
    there = ModerationRule.objects.filter(pk=OuterRef("object_id"))
    later = Revision.objects.filter(kind=Revision.Kind.RULE, object_id=OuterRef("object_id"), pk__gt=OuterRef("pk"))
    removed = Revision.objects.filter(kind=Revision.Kind.RULE, how=Revision.How.REMOVED)
    return removed.exclude(Exists(there)).exclude(Exists(later)).select_related("edition").order_by("-pk")


def restore(revisions: Iterable[Revision], user: Any) -> Outcome:
    """Restore deleted rules, with their history and hits. A list that was deleted too is restored with them.

    ``user`` is None in a shell.
    """
    with changing(RuleEdition.What.RESTORE, who=user.get_username() if user else "manage.py"), transaction.atomic():
        Edition.bump()  # locks: others may just have restored and edited some of them, and ``revisions`` may be lazy
        return _PuttingBack(user).put_back(_deleted_states(list(revisions)))


def _deleted_states(chosen: list[Revision]) -> dict[str, dict[int, Kept]]:
    """What these rules were, and those of their lists that were deleted too."""
    lists = {each.before.get("rule_list_id") for each in chosen if each.before} - {None}
    missing = lists - set(RuleList.objects.filter(pk__in=lists).values_list("pk", flat=True))
    gone = Revision.objects.filter(kind=Revision.Kind.LIST, how=Revision.How.REMOVED, object_id__in=missing)
    return {
        Revision.Kind.LIST: {each.object_id: each.before for each in gone.order_by("pk")},
        Revision.Kind.RULE: {each.object_id: each.before for each in chosen},
    }


class _PuttingBack:
    """Makes rules and lists what they were: removed, changed, or there again under the same id; and logs it."""

    def __init__(self, user: Any, progress: Progress | None = None) -> None:
        self._user_id: int | None = user.pk if user else None
        self._outcome = Outcome()
        self._progress = progress or (lambda done, total: None)
        self._done = self._total = 0
        self._lists_instead: dict[int, int] = {}
        """Of deleted lists whose names others have by now, the primary keys of these: their rules belong there."""

    def put_back(self, states: dict[str, dict[int, Kept]]) -> Outcome:
        self._total = sum(map(len, states.values()))
        for kind, model in reversed(MODELS.items()):
            self._remove(model, [pk for pk, kept in states[kind].items() if kept is None])
        for kind, model in MODELS.items():
            there = {pk: kept for pk, kept in states[kind].items() if kept is not None}
            pks = list(there)
            for at in range(0, len(pks), CHUNK):
                self._put_chunk(model, {pk: there[pk] for pk in pks[at : at + CHUNK]}, there.keys())
                self._report(len(pks[at : at + CHUNK]))
        return self._outcome

    def _remove(self, model: Any, pks: list[int]) -> None:
        for at in range(0, len(pks), CHUNK):
            rows = model.objects.filter(pk__in=pks[at : at + CHUNK])
            if model is ModerationRule:
                self._log(DELETION, [(pk, name, []) for pk, name in rule_log.names_of(rows.order_by())])
            deleted = rows.delete()[1]
            self._outcome.removed += deleted.get(model._meta.label, 0)
            self._outcome.alerts += deleted.get(HitAlert._meta.label, 0)
            self._report(len(pks[at : at + CHUNK]))

    def _report(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)

    def _put_chunk(self, model: Any, states: dict[int, dict[str, Any]], all_pks: Collection[int]) -> None:
        existing = model.objects.in_bulk(list(states))
        lists = set(RuleList.objects.values_list("pk", flat=True))
        states = {pk: self._in_its_list(kept) for pk, kept in states.items()}
        made = [_row(model, pk, kept, existing.get(pk), lists) for pk, kept in states.items()]
        rows = [row for row in made if row is not None]
        taken = _taken(model, rows, all_pks)
        free = [row for row in rows if _identity(row) not in taken]
        skipped = [row for row in rows if _identity(row) in taken]
        if model is RuleList and (gone := [row for row in skipped if row.pk not in existing]):
            by_name = dict(RuleList.objects.values_list("name", "pk"))
            self._lists_instead = {row.pk: by_name[row.name] for row in gone}
            skipped = [row for row in skipped if row.pk in existing]
        self._outcome.skipped += [str(row) for row in skipped]
        self._outcome.restored += len(free)
        self._change(model, [row for row in free if row.pk in existing], existing)
        self._add(model, [row for row in free if row.pk not in existing])

    def _in_its_list(self, kept: dict[str, Any]) -> dict[str, Any]:
        instead = self._lists_instead.get(kept.get("rule_list_id", 0))
        return {**kept, "rule_list_id": instead} if instead else kept

    def _change(self, model: Any, rows: list[Any], existing: dict[int, Any]) -> None:
        keep(model.objects.filter(pk__in=[row.pk for row in rows]))
        if model is RuleList:
            for row in rows:  # lists may have exchanged their names
                if row.name != existing[row.pk].name:
                    RuleList._base_manager.filter(pk=row.pk).update(name=f"pk {row.pk}")
            for row in rows:
                row.save()
            return
        # Rules may have exchanged their patterns: until all are written, none of them has its fingerprint.
        for row in rows:
            if row.fingerprint != existing[row.pk].fingerprint:
                ModerationRule._base_manager.filter(pk=row.pk).update(fingerprint=f"pk {row.pk}")
        names = [each.name for each in kept_fields(model) if any(_differs(each, row, existing) for row in rows)]
        bulk_rows.write(model, rows, [*names, "fingerprint", "folded", "changed"])
        lists = rule_log.list_names()
        self._log(CHANGE, [(row.pk, str(row), [_message(existing[row.pk], row, lists)]) for row in rows])

    def _add(self, model: Any, rows: list[Any]) -> None:
        if model is RuleList:
            model.objects.bulk_create(rows)
            return
        columns = [each.attname for each in model._meta.local_concrete_fields]
        bulk_rows.insert(model, ({name: getattr(row, name) for name in columns} for row in rows))
        keep_added(model, [row.pk for row in rows])
        if rows:
            self._log(ADDITION, [(row.pk, str(row), [{"added": {}}]) for row in rows])

    def _log(self, flag: int, entries: list[tuple[int, str, list[dict[str, Any]]]]) -> None:
        if self._user_id is not None:
            rule_log.log(self._user_id, flag, entries)


def _differs(each: Any, row: Any, existing: dict[int, Any]) -> bool:
    return bool(getattr(row, each.attname) != getattr(existing[row.pk], each.attname))


def _message(old: Any, new: Any, lists: dict[int, str]) -> dict[str, Any]:
    names = [(each.name, each.attname) for each in kept_fields(ModerationRule)]
    pairs = {name: (getattr(old, attname), getattr(new, attname)) for name, attname in names}
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return {"changed": rule_log.change_message(rule_log.with_list_names(differing, lists))}


def _row(model: Any, pk: int, kept: dict[str, Any], present: DjangoModel | None, lists: Collection[int]) -> Any:
    """The rule or list as it was; None if it is so already. Its list may be gone."""
    values = _filled(model, kept)
    if "rule_list_id" in values and values["rule_list_id"] not in lists:
        values["rule_list_id"] = None
    if present is not None and all(getattr(present, name) == value for name, value in values.items()):
        return None
    row = model(pk=pk, **values)
    row.changed = timezone.now()
    if model is ModerationRule:
        row.derive()
    return row


def _identity(row: Any) -> tuple[Any, ...]:
    return (row.fingerprint, row.rule_list_id) if isinstance(row, ModerationRule) else (row.name,)


def _taken(model: Any, rows: list[Any], all_pks: Collection[int]) -> set[tuple[Any, ...]]:
    """The identities that belong to another rule or list, which is not put back itself."""
    names = ("name",) if model is RuleList else ("fingerprint", "rule_list_id")
    found = model.objects.filter(**{f"{names[0]}__in": [getattr(row, names[0]) for row in rows]})
    return {tuple(identity) for pk, *identity in found.values_list("pk", *names) if pk not in all_pks}


def revisions_named(revisions: QuerySet[Revision], words: str) -> QuerySet[Revision]:
    """Those whose pattern or category contains these words."""
    return revisions.filter(Q(before__pattern__icontains=words) | Q(before__category__icontains=words))
