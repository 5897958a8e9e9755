"""The lists of rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from streaming.editions import changing, keep, keep_added
from streaming.models.edition_rows import EditionQuerySet
from streaming.models.scoped import Scoped, scope_of
from streaming.rule_fields import LIMITS, SCOPE_FIELDS, RuleScope
from streaming.visible_text import isolated


def _rules() -> Any:
    """All rules, whose model knows this one."""
    return apps.get_model("streaming", "ModerationRule")._default_manager.all()


class RuleListQuerySet(EditionQuerySet):
    def scopes(self) -> dict[int, RuleScope]:
        """The scope of each enabled list, by primary key."""
        rows = self.filter(enabled=True).values_list("pk", *SCOPE_FIELDS)
        return {pk: scope_of(scope) for pk, *scope in rows}

    def on_trial(self) -> frozenset[int]:
        """The lists whose rules are all on trial."""
        return frozenset(self.filter(on_trial=True).values_list("pk", flat=True))

    def delete(self) -> tuple[int, dict[str, int]]:
        """Deletes their rules too."""
        with changing(), transaction.atomic(using=self.db):
            rules, per_model = _rules().using(self.db).filter(rule_list__in=self.order_by()).delete()
            lists, of_lists = super().delete()
            return rules + lists, {**per_model, **of_lists}


class RuleList(Scoped):
    """Rules under one name that are switched, scoped and replaced together. A rule is in one list or in none."""

    class Source(models.TextChoices):
        HAND = "hand", _("made by hand")
        IMPORT = "import", _("import")
        PACK = "pack", _("pack")

    name = models.CharField(_("name"), max_length=LIMITS["rule_list"], unique=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.HAND, editable=False)
    pack = models.CharField(max_length=50, blank=True, editable=False)
    """The name of the pack in ``rule_packs`` that the rules come from; empty for other lists."""
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("While a list is not enabled, none of its rules applies.")
    )
    upstreams = models.JSONField(
        _("upstreams"), default=list, blank=True, help_text=_("If none is chosen, the list applies to all.")
    )

    objects = RuleListQuerySet.as_manager()

    class Meta:
        verbose_name = _("rule list")
        verbose_name_plural = _("rule lists")
        ordering = ["name"]

    def __str__(self) -> str:
        return isolated(self.name)

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **more: Any) -> None:
        """Like Django's. With ``update_fields``, ``changed`` is written too."""
        with changing(), transaction.atomic(using=more.get("using")):
            is_new = not keep(RuleList.objects.filter(pk=self.pk))
            super().save(*args, update_fields=update_fields and {*update_fields, "changed"}, **more)
            if is_new:
                keep_added(RuleList, [self.pk])

    def delete(self, *args: Any, **more: Any) -> tuple[int, dict[str, int]]:
        """Deletes its rules too."""
        with changing(), transaction.atomic(using=more.get("using")):
            keep(_rules().filter(rule_list=self.pk), removed=True)
            keep(RuleList.objects.filter(pk=self.pk), removed=True)
            return super().delete(*args, **more)
