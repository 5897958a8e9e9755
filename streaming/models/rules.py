"""The model of rules. Other code gets rules as plain values (``ScopedRule``), not as instances."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from streaming.editions import (
    Edition,
    changing,
    keep,
    keep_added,
)
from streaming.models.edition_rows import AT_ONCE, EditionQuerySet
from streaming.models.rule_lists import RuleList
from streaming.models.scoped import Scope, Scoped, scope_of
from streaming.moderation import ACTIONS, CHECKS, Remark, Rule, RuleError, compile_rule
from streaming.moderation.folding import fold
from streaming.moderation.validators import check_named
from streaming.rule_fields import IDENTITY_FIELDS, LIMITS, RULE_FIELDS, SCOPE_FIELDS, Direction, RuleScope
from streaming.visible_text import isolated


def translated(message: RuleError | Remark) -> str:
    """An error or a warning of the engine, which is in English, in the active language."""
    return gettext(message.template) % message.params


class ScopedRule(NamedTuple):
    """A rule, and where and when it applies."""

    rule: Rule
    scope: RuleScope


_ROW_FIELDS = ("pk", "rule_list", *RULE_FIELDS, *SCOPE_FIELDS)
_ON_TRIAL = RULE_FIELDS.index("on_trial")


def _scoped(row: Iterable[Any], lists_on_trial: frozenset[int]) -> tuple[int | None, ScopedRule]:
    """The list of a rule, and the rule with the scope of its own, from the values of _ROW_FIELDS."""
    pk, rule_list, *values = row
    values[_ON_TRIAL] = values[_ON_TRIAL] or rule_list in lists_on_trial
    return rule_list, ScopedRule(Rule(pk, *values[: -len(SCOPE_FIELDS)]), scope_of(values[-len(SCOPE_FIELDS) :]))


class ModerationRuleQuerySet(EditionQuerySet):
    def last_expired(self, now: datetime) -> datetime | None:
        """The latest ``valid_until`` of the enabled rules that have expired."""
        expired = self.filter(valid_until__lte=now, enabled=True).aggregate(last=models.Max("valid_until"))
        return cast("datetime | None", expired["last"])

    def scoped_rules(self, now: datetime | None = None) -> Iterator[ScopedRule]:
        """The enabled rules of enabled lists as values, oldest first. Their scope is also that of their list.

        Includes rules that start later, excludes expired ones.
        """
        lists, on_trial = RuleList.objects.scopes(), RuleList.objects.on_trial()
        rows = self.filter(Q(valid_until=None) | Q(valid_until__gt=now or timezone.now()), enabled=True).order_by("pk")
        # As tuples: creating model instances of a hundred thousand rules would take seconds.
        for row in rows.values_list(*_ROW_FIELDS).iterator(chunk_size=2000):
            rule_list, scoped = _scoped(row, on_trial)
            if rule_list is None:
                yield scoped
            elif (scope := _scope_in_list(scoped.scope, lists.get(rule_list))) is not None:
                yield ScopedRule(scoped.rule, scope)

    def changed_since(self, moment: datetime, most: int) -> list[tuple[ScopedRule, bool]] | None:
        """The rules that were added or changed since then, or whose list was; None if they are too many.

        With each rule, whether it is enabled, and its list is.
        """
        lists, on_trial = RuleList.objects.scopes(), RuleList.objects.on_trial()
        changed_lists = list(RuleList.objects.filter(changed__gte=moment).values_list("pk", flat=True))
        changed = self.filter(Q(changed__gte=moment) | Q(rule_list__in=changed_lists))
        found = []
        for *row, enabled in changed.values_list(*_ROW_FIELDS, "enabled")[: most + 1]:
            rule_list, scoped = _scoped(row, on_trial)
            scope = scoped.scope if rule_list is None else _scope_in_list(scoped.scope, lists.get(rule_list))
            found.append((ScopedRule(scoped.rule, scope or scoped.scope), enabled and scope is not None))
        return found if len(found) <= most else None

    def in_force(self, upstream: str | None = None, direction: Direction | None = None) -> list[Rule]:
        """The rules that are active now for this upstream and direction; None means any."""
        now = timezone.now()
        active = ((rule, scope) for rule, scope in self.scoped_rules(now) if scope.is_active_at(now))
        return [rule for rule, scope in active if scope.covers(upstream, direction)]

    def version(self) -> int:
        """The edition number; it increases whenever a rule is added, changed or deleted. One cheap query."""
        return Edition.objects.filter(pk=1).values_list("number", flat=True).first() or 0

    def update(self, **fields: Any) -> int:
        """Like Django's, and also sets ``changed`` and ``fingerprint`` and increases the edition."""
        if "fingerprint" in fields or not fields.keys() & set(IDENTITY_FIELDS):
            return super().update(**fields)
        with changing(), transaction.atomic(using=self.db):
            keep(self)
            chosen = list(self.order_by().values_list("pk", flat=True))
            for at in range(0, len(chosen), AT_ONCE):
                part = ModerationRule.objects.using(self.db).filter(pk__in=chosen[at : at + AT_ONCE])
                models.QuerySet.update(part, **{"changed": timezone.now(), **fields})
                part.bulk_update(part, [])
            return len(chosen)

    def bulk_create(self, objs: Iterable[ModerationRule], *args: Any, **kwargs: Any) -> list[ModerationRule]:
        rules = list(objs)
        for rule in rules:
            rule.derive()
        return super().bulk_create(rules, *args, **kwargs)

    def bulk_update(self, objs: Iterable[ModerationRule], fields: Iterable[str], batch_size: int | None = None) -> int:
        rules = list(objs)
        for rule in rules:
            rule.derive()
        return super().bulk_update(rules, {*fields, "fingerprint", "folded"}, batch_size)


@lru_cache(maxsize=1024)
def _scope_in_list(scope: RuleScope, list_scope: RuleScope | None) -> RuleScope | None:
    """Where and when a rule of a list applies; None if the list is not enabled, or it never does. Most are alike."""
    return scope.within(list_scope) if list_scope is not None else None


def _validate_check(name: str) -> None:
    try:
        check_named(name)
    except ValueError:
        known = ", ".join(CHECKS[1:])
        raise ValidationError(_("“%(name)s” is not one of %(known)s."), params={"name": name, "known": known}) from None


class ModerationRule(Scoped):
    """A pattern and the action taken on text that matches it. All other fields are optional."""

    class Kind(models.TextChoices):
        LITERAL = "literal", _("word or phrase")
        REGEX = "regex", _("regular expression")

    class Action(models.TextChoices):
        MASK = "mask", _("mask: show • instead")
        REPLACE = "replace", _("replace: show the replacement instead")
        DROP = "drop", _("drop: leave it out")
        BLOCK = "block", _("block: end the answer there")
        FLAG = "flag", _("flag: let it through, and record it")
        ALLOW = "allow", _("allow: no other rule applies inside the match")

    class Compare(models.TextChoices):
        NORMAL = "normal", _("normal")
        EXACT = "exact", _("exact")
        LOOSE = "loose", _("loose")

    class Overflow(models.TextChoices):
        PASS = "pass", _("let it through")
        MATCH = "match", _("treat it as a match")

    Scope = Scope

    pattern = models.TextField(
        _("pattern"),
        max_length=LIMITS["pattern"],
        validators=[MaxLengthValidator(LIMITS["pattern"])],
        help_text=_("A word or phrase, in upper or lower case; or a regular expression in RE2 syntax."),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.LITERAL)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices, default=Action.MASK)
    replacement = models.CharField(
        _("replacement"),
        max_length=LIMITS["replacement"],
        blank=True,
        help_text=_("The text that “replace” inserts, or the notice that “block” shows to the reader."),
    )
    whole_word = models.BooleanField(
        _("whole word"),
        default=False,
        help_text=_("Do not match “ass” inside “class”. Chinese has no word boundaries."),
    )
    category = models.CharField(
        _("category"), max_length=LIMITS["category"], blank=True, help_text=_("Sent to the reader.")
    )
    priority = models.IntegerField(
        _("priority"),
        default=0,
        validators=[MinValueValidator(-(2**31)), MaxValueValidator(2**31 - 1)],
        help_text=_("If several rules match the same text, the highest priority applies, then the oldest rule."),
    )
    compare = models.CharField(
        _("comparison"),
        max_length=10,
        choices=Compare.choices,
        default=Compare.NORMAL,
        help_text=_(
            "Normal: as a person reads the text, without case, Markdown, JSON and other encodings; accents matter only "
            "if the pattern has them. Exact: as written. Loose: also similar-looking letters, and letters with signs "
            "between them."
        ),
    )
    group = models.PositiveSmallIntegerField(
        _("acts on"),
        choices=[(0, _("the whole match")), (1, _("the first group"))],
        default=0,
        help_text=_("For regular expressions: the first group in parentheses, or the whole match."),
    )
    # Not named check: a model has a method of that name.
    match_check = models.CharField(
        _("check"),
        max_length=LIMITS["match_check"],
        blank=True,
        validators=[_validate_check],
        help_text=_(
            "An additional condition for a match, or for the group acted on: luhn, iban, cn_id, entropy or, for "
            "example, entropy:3.5."
        ),
    )
    overflow = models.CharField(
        _("when a match gets too long"),
        max_length=10,
        choices=Overflow.choices,
        default=Overflow.PASS,
        help_text=_("What to do when a possible match reaches the maximum length."),
    )
    upstreams = models.JSONField(
        _("upstreams"), default=list, blank=True, help_text=_("If none is chosen, the rule applies to all.")
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    rule_list = models.ForeignKey(
        RuleList,
        models.CASCADE,
        verbose_name=_("list"),
        related_name="rules",
        null=True,
        blank=True,
        help_text=_("The rules of a list are switched, scoped and replaced together."),
    )
    imported = models.ForeignKey(
        "RuleImport", models.SET_NULL, verbose_name=_("import"), related_name="rules", null=True, editable=False
    )
    # Unique in place of the pattern, which may be longer than PostgreSQL and MySQL can index.
    fingerprint = models.CharField(max_length=64, editable=False)
    # For the search, which compares as rules do: COÑO finds coño.
    folded = models.TextField(editable=False, default="", db_default="")

    objects = ModerationRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("moderation rule")
        verbose_name_plural = _("moderation rules")
        ordering = ["-changed", "-pk"]
        constraints = [
            models.UniqueConstraint(
                F("fingerprint"),
                # Databases regard all NULLs as different.
                Coalesce("rule_list", 0, output_field=models.BigIntegerField()),
                name="one_rule_for_a_pattern_in_a_list",
                violation_error_message=_("The list has a rule with this pattern and comparison already."),
            )
        ]

    def __str__(self) -> str:
        return name_of(*(getattr(self, name) for name in NAMED_BY))

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **more: Any) -> None:
        """Like Django's. With ``update_fields``, ``changed`` and what is derived are written too."""
        self.derive()
        if update_fields:
            update_fields = {*update_fields, "changed", "fingerprint", "folded"}
        with changing(), transaction.atomic(using=more.get("using")):
            is_new = not keep(ModerationRule.objects.filter(pk=self.pk))
            super().save(*args, update_fields=update_fields, **more)
            if is_new:
                keep_added(ModerationRule, [self.pk])

    def delete(self, *args: Any, **more: Any) -> tuple[int, dict[str, int]]:
        with changing(), transaction.atomic(using=more.get("using")):
            keep(ModerationRule.objects.filter(pk=self.pk), removed=True)
            return super().delete(*args, **more)

    def derive(self) -> None:
        """Set the fields that follow from others."""
        self.fingerprint = self.make_fingerprint()
        self.folded = self.folded_of(self.pattern)

    @staticmethod
    def folded_of(pattern: str) -> str:
        """A pattern as rules are compared: without case, accents and width."""
        return fold(pattern) or pattern

    def make_fingerprint(self) -> str:
        return self.fingerprint_of(self.kind, self.compare, self.pattern)

    @staticmethod
    def fingerprint_of(kind: str, compare: str, pattern: str) -> str:
        """The hash of IDENTITY_FIELDS, by which a rule is found again in its list."""
        return hashlib.sha256(f"{kind}\0{compare}\0{pattern}".encode("utf-8", "surrogatepass")).hexdigest()

    def validate_constraints(self, exclude: Iterable[str] | None = None) -> None:
        """Like Django's, but never excludes the fingerprint and the list: they may be in no form, yet are unique."""
        self.fingerprint = self.make_fingerprint()
        super().validate_constraints(set(exclude or ()) - {"fingerprint", "rule_list"})

    def clean(self) -> None:
        super().clean()
        if self.pattern and self._is_complete():
            try:
                compile_rule(self.as_value())
            except RuleError as error:
                raise ValidationError({"pattern": translated(error)}) from error

    def _is_complete(self) -> bool:
        """Whether its choices are such as there are: what is wrong with one is said under its own field."""
        try:
            check_named(self.match_check)
        except ValueError:
            return False
        chosen = ((self.kind, self.Kind), (self.compare, self.Compare), (self.overflow, self.Overflow))
        return self.action in ACTIONS and all(value in choices.values for value, choices in chosen)

    def as_value(self) -> Rule:
        return Rule(self.pk or 0, *(getattr(self, name) for name in RULE_FIELDS))


@receiver(pre_save, sender=ModerationRule)
@receiver(pre_save, sender=RuleList)
def _keep_on_loaddata(*, sender: type[models.Model], instance: models.Model, raw: bool, **_kwargs: Any) -> None:
    """``loaddata`` does not call ``save``."""
    if raw:
        with changing():
            if not keep(sender._base_manager.filter(pk=instance.pk)) and instance.pk:
                keep_added(sender, [instance.pk])


NAMED_BY = ("action", "pattern")


@lru_cache(maxsize=64)
def _action_in(_language: str | None, action: str) -> str:
    label = str(dict(ModerationRule.Action.choices).get(action, action))
    return label.partition(":")[0].partition("：")[0]


def action_name(action: str) -> str:
    """The name of an action in the active language, without its explanation."""
    return _action_in(get_language(), action)


def name_of(action: str, pattern: str) -> str:
    """A rule as one short line, for the admin's history and titles."""
    return f"{action_name(action)} {isolated(pattern if len(pattern) <= 60 else pattern[:59] + '…')}"
