"""What moderators edit. A QuerySet gives plain values, so that nothing behind it knows the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming.moderation import Action, Rule, RuleError, RuleSet


class ModerationRuleQuerySet(models.QuerySet["ModerationRule"]):
    def in_force(self) -> list[Rule]:
        """The enabled rules as values, the oldest first."""
        return [rule.as_value() for rule in self.filter(enabled=True).order_by("pk")]

    def version(self) -> tuple[Any, ...]:
        """Differs whenever a rule was added, changed or deleted: one cheap query."""
        newest = self.aggregate(models.Count("pk"), models.Max("pk"), models.Max("changed"))
        return tuple(newest.values())

    def update(self, **fields: Any) -> int:
        """As Django's; a change made in bulk counts as a change too."""
        return super().update(**{"changed": timezone.now(), **fields})


class ModerationRule(models.Model):
    """A pattern, and what becomes of the text that matches it."""

    class Action(models.TextChoices):
        MASK = "mask", _("mask: show * instead")
        BLOCK = "block", _("block: end the answer there")

    pattern = models.CharField(_("pattern"), max_length=256, help_text=_("A word or phrase; its case does not matter."))
    action = models.CharField(_("action"), max_length=10, choices=Action.choices, default=Action.MASK)
    category = models.CharField(_("category"), max_length=50, blank=True, help_text=_("Told to the reader."))
    note = models.TextField(_("note"), blank=True, help_text=_("For moderators only."))
    enabled = models.BooleanField(_("enabled"), default=True)
    changed = models.DateTimeField(_("changed"), auto_now=True, db_index=True)

    objects = ModerationRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("moderation rule")
        verbose_name_plural = _("moderation rules")
        ordering = ["-changed"]
        constraints = [
            models.UniqueConstraint(
                fields=["pattern", "action"],
                name="one_rule_for_a_pattern_and_action",
                violation_error_message=_("There is a rule with this pattern and action already."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pattern}"

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **more: Any) -> None:
        """As Django's; a change of some fields counts as a change too."""
        if update_fields:
            update_fields = {*update_fields, "changed"}
        super().save(*args, update_fields=update_fields, **more)

    def clean(self) -> None:
        try:
            RuleSet([self.as_value()])
        except RuleError as error:
            raise ValidationError({"pattern": str(error)}) from error

    def as_value(self) -> Rule:
        action: Action = "block" if self.action == self.Action.BLOCK else "mask"
        return Rule(self.pk or 0, self.pattern, action=action, category=self.category)
