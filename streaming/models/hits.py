"""The hits of rules, and the alerts about them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, validate_email
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming.models.rule_lists import RuleList
from streaming.models.rules import ModerationRule
from streaming.rule_fields import LIMITS
from streaming.visible_text import isolated
from streaming.webhooks import make_secret as make_webhook_secret
from streaming.webhooks import problem_with


class ModerationHit(models.Model):
    """A match on which a rule acted. It copies what it needs of the rule, which may be changed or deleted later."""

    class Verdict(models.TextChoices):
        RIGHT = "right", _("right")
        WRONG = "wrong", _("wrong")

    when = models.DateTimeField(_("when"), db_index=True)
    stream = models.CharField(_("stream"), max_length=64)
    upstream = models.CharField(_("upstream"), max_length=100)
    who = models.CharField(_("user or key"), max_length=150, blank=True)
    direction = models.CharField(_("direction"), max_length=10, choices=ModerationRule.Scope.choices[1:])
    # No constraint: hits are written with a delay, when the rule may be deleted already; deleting it keeps its hits.
    rule = models.ForeignKey(
        ModerationRule,
        models.DO_NOTHING,
        verbose_name=_("rule"),
        related_name="hits",
        null=True,
        db_constraint=False,
    )
    pattern = models.CharField(_("pattern"), max_length=200)
    category = models.CharField(_("category"), max_length=50, blank=True)
    version = models.PositiveBigIntegerField(_("edition"), help_text=_("The number of the rules’ edition."))
    action = models.CharField(_("action"), max_length=10, choices=ModerationRule.Action.choices)
    on_trial = models.BooleanField(
        _("on trial"), default=False, db_default=False, help_text=_("The rule was on trial: its action was not taken.")
    )
    channel = models.CharField(_("channel"), max_length=100)
    choice = models.IntegerField(_("choice"), default=0)
    offset = models.PositiveBigIntegerField(_("offset"), help_text=_("The number of characters before the match."))
    before = models.TextField(_("before"), blank=True)
    text = models.TextField(_("matched text"), blank=True)
    after = models.TextField(_("after"), blank=True)
    digest = models.CharField(
        _("keyed hash"), max_length=64, blank=True, help_text=_("Stored instead of the texts if texts are not kept.")
    )
    verdict = models.CharField(
        _("verdict"), max_length=10, choices=Verdict.choices, blank=True, default="", db_default=""
    )
    reviewed_by = models.CharField(_("reviewed by"), max_length=150, blank=True, default="", db_default="")
    reviewed_at = models.DateTimeField(_("reviewed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("hit")
        verbose_name_plural = _("hits")
        ordering = ["-when", "-pk"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["rule", "when"], name="hits_of_a_rule"),
            models.Index(fields=["verdict", "action", "when"], name="hits_to_review"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pattern}"


class HitAlert(models.Model):
    """Sends an e-mail or a webhook when there are more hits than usual."""

    name = models.CharField(_("name"), max_length=100)
    enabled = models.BooleanField(_("enabled"), default=True)
    rule = models.ForeignKey(
        ModerationRule, models.CASCADE, verbose_name=_("rule"), related_name="alerts", null=True, blank=True
    )
    rule_list = models.ForeignKey(
        RuleList, models.CASCADE, verbose_name=_("list"), related_name="alerts", null=True, blank=True
    )
    category = models.CharField(_("category"), max_length=LIMITS["category"], blank=True)
    action = models.CharField(_("action"), max_length=10, choices=ModerationRule.Action.choices, blank=True)
    more_than = models.PositiveIntegerField(_("more than this many hits"), default=10)
    minutes = models.PositiveIntegerField(
        _("within minutes"), default=10, validators=[MinValueValidator(1), MaxValueValidator(7 * 24 * 60)]
    )
    cooldown = models.PositiveIntegerField(
        _("minutes until the next alert"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(30 * 24 * 60)],
        help_text=_("However many hits there are, the next alert is not sent before."),
    )
    emails = models.TextField(
        _("e-mail addresses"), blank=True, max_length=2000, help_text=_("One on each line, or separated by commas.")
    )
    webhook = models.CharField(
        _("webhook"), max_length=500, blank=True, help_text=_("An address that gets a signed POST request with JSON.")
    )
    secret = models.CharField(
        _("secret of the webhook"),
        max_length=100,
        default=make_webhook_secret,
        editable=False,
        help_text=_("With it the receiver checks the signature (Standard Webhooks, HMAC-SHA256)."),
    )
    last_sent = models.DateTimeField(_("last sent"), null=True, editable=False)
    last_result = models.CharField(_("last result"), max_length=500, blank=True, editable=False)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return isolated(self.name)

    @property
    def recipients(self) -> list[str]:
        return [each for each in re.split(r"[\s,;]+", self.emails) if each]

    @property
    def cooldown_time(self) -> timedelta:
        return timedelta(minutes=self.cooldown)

    def is_resting(self, now: datetime) -> bool:
        # Both ways: a clock that was put back does not keep it quiet for longer.
        return self.last_sent is not None and abs(now - self.last_sent) < self.cooldown_time

    def about(self) -> str:
        """What it counts, as text for a person."""
        rule = gettext("rule %d") % self.rule_id if self.rule_id else ""
        action = str(self.get_action_display()).partition(":")[0].partition("：")[0]
        parts = [rule, str(self.rule_list or ""), isolated(self.category), action]
        return ", ".join(part for part in parts if part) or gettext("all hits")

    def clean(self) -> None:
        for address in self.recipients:
            try:
                validate_email(address)
            except ValidationError as error:
                raise ValidationError({"emails": error.messages}) from error
        if not self.recipients and not self.webhook:
            raise ValidationError(_("Enter an e-mail address or a webhook."))
        if self.webhook and (problem := problem_with(self.webhook)):
            raise ValidationError({"webhook": problem})


class LostHits(models.Model):
    """A number of hits that a worker had to discard because the database was unavailable and its queue was full."""

    when = models.DateTimeField(auto_now_add=True)
    count = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.count)
