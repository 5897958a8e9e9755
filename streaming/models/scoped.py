"""What rules and their lists have in common: where and when they apply."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streaming.rule_fields import RuleScope, read_labels


class Scope(models.TextChoices):
    BOTH = "both", _("prompts and answers")
    PROMPTS = "prompts", _("prompts")
    ANSWERS = "answers", _("answers")


class Scoped(models.Model):
    """A rule or a list of rules: whether it is on trial, and where and when it applies."""

    on_trial = models.BooleanField(
        _("on trial"),
        default=False,
        db_default=False,
        help_text=_("Its hits are recorded with the action it would have taken; nothing of the text changes."),
    )
    only_for = models.JSONField(
        _("only for"),
        default=list,
        blank=True,
        db_default=models.Value([], models.JSONField()),
        help_text=_("Models, API keys and groups, one per line, like model:gpt-4o, key:ann/laptop, group:staff."),
    )
    applies_to = models.CharField(_("applies to"), max_length=10, choices=Scope.choices, default=Scope.BOTH)
    valid_from = models.DateTimeField(
        _("valid from"), null=True, blank=True, help_text=_("Leave empty to start immediately.")
    )
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("Leave empty for no end."))
    note = models.TextField(_("note"), blank=True, help_text=_("For moderators only."))
    changed = models.DateTimeField(pgettext_lazy("when", "changed"), auto_now=True, db_index=True)

    class Meta:
        abstract = True

    def clean(self) -> None:
        if self.valid_from and self.valid_until and self.valid_until <= self.valid_from:
            raise ValidationError({"valid_until": _("“Valid until” has to be later than “valid from”.")})
        for field in ("upstreams", "only_for"):
            listed = getattr(self, field)
            if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
                raise ValidationError({field: _("Enter a list of names.")})
        try:
            self.only_for = read_labels("\n".join(self.only_for))
        except ValueError as error:
            raise ValidationError({"only_for": not_an_audience(str(error))}) from error


def not_an_audience(label: str) -> str:
    return _("“%s” is not like model:gpt-4o, key:ann/laptop or group:staff.") % label[:50]


def scope_of(values: Iterable[Any]) -> RuleScope:
    upstreams, applies_to, valid_from, valid_until, only_for = values
    return RuleScope(frozenset(upstreams or ()), applies_to, valid_from, valid_until, frozenset(only_for or ()))
