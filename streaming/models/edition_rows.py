"""The rows that an edition numbers and keeps: of rules, and of their lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from streaming.editions import Edition, changing, keep, keep_added

AT_ONCE = 500
"""How many rows are named in one statement."""


class EditionQuerySet(models.QuerySet[Any]):
    """Every change through it increases the edition."""

    def update(self, **fields: Any) -> int:
        """Like Django's, and also sets ``changed``."""
        with changing(), transaction.atomic(using=self.db):
            keep(self)
            return super().update(**{"changed": timezone.now(), **fields})

    def delete(self) -> tuple[int, dict[str, int]]:
        with changing(), transaction.atomic(using=self.db):
            keep(self, removed=True)
            return self._delete_each()

    def _delete_each(self) -> tuple[int, dict[str, int]]:
        """Like Django's, which first gets all rows from the database, with all their fields."""
        pks, counts = list(self.order_by().values_list("pk", flat=True)), Counter[str]()
        for at in range(0, len(pks), AT_ONCE):
            part = self.model._base_manager.using(self.db).filter(pk__in=pks[at : at + AT_ONCE]).only("pk")
            counts.update(models.QuerySet.delete(part)[1])
        return counts.total(), dict(counts)

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        with changing(), transaction.atomic(using=self.db):
            Edition.bump()
            made = super().bulk_create(objs, *args, **kwargs)
            keep_added(self.model, [each.pk for each in made])
            return made

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]
