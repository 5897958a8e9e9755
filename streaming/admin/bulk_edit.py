"""Changes many rules at once: action, category, comparison, scope, list, priority; what is left alone stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from streaming import bulk_rows, rule_log, upstreams
from streaming.editions import CHUNK, Edition, RuleEdition, changing, keep
from streaming.models import ModerationRule, RuleList
from streaming.moderation import RuleError, compile_rule

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationRule]
else:
    _Base = object

SELECTION_FIELDS = ("action", "select_across", "index", "_selected_action")
"""What the list sends of a selection; "action" is the name of the action."""

MAX_NAMED = 5
_LEAVE: tuple[str, Any] = ("", _("leave as it is"))
_YES_NO = [_LEAVE, ("yes", _("yes")), ("no", _("no"))]
_NONE = "none"


class BulkForm(forms.Form):
    """What to change. Its fields are prefixed, since the list's own form has a field "action"."""

    prefix = "to"

    action = forms.ChoiceField(label=_("Action"), choices=[_LEAVE, *ModerationRule.Action.choices], required=False)
    change_category = forms.BooleanField(label=_("Change the category to"), required=False)
    category = forms.CharField(label=_("New category"), max_length=50, required=False)
    compare = forms.ChoiceField(
        label=_("Comparison"), choices=[_LEAVE, *ModerationRule.Compare.choices], required=False
    )
    whole_word = forms.ChoiceField(label=_("Whole word"), choices=_YES_NO, required=False)
    rule_list = forms.ChoiceField(label=_("List"), required=False)
    priority = forms.IntegerField(
        label=_("Priority"),
        required=False,
        min_value=-(2**31),
        max_value=2**31 - 1,
        help_text=_("Leave empty to leave it as it is."),
    )
    applies_to = forms.ChoiceField(
        label=_("Applies to"), choices=[_LEAVE, *ModerationRule.Scope.choices], required=False
    )
    change_upstreams = forms.BooleanField(label=_("Change the upstreams to"), required=False)
    upstreams = forms.MultipleChoiceField(
        label=_("Upstreams"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("If none is chosen, the rule applies to all."),
    )
    enabled = forms.ChoiceField(label=_("Enabled"), choices=_YES_NO, required=False)
    on_trial = forms.ChoiceField(label=_("On trial"), choices=_YES_NO, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        lists = [(str(pk), name) for pk, name in RuleList.objects.values_list("pk", "name")]
        self.fields["rule_list"].choices = [_LEAVE, (_NONE, _("no list")), *lists]  # type: ignore[attr-defined]
        self.fields["upstreams"].choices = [(name, name) for name in upstreams.names()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("category") and not values.get("change_category"):
            values["change_category"] = True
        if not self.errors and not self.changes():
            raise forms.ValidationError(gettext("Choose what to change."))
        return values

    def changes(self) -> dict[str, Any]:
        """The new value of each field that is changed."""
        values = self.cleaned_data
        found = {name: values[name] for name in ("action", "compare", "applies_to") if values.get(name)}
        found |= {name: values[name] == "yes" for name in ("whole_word", "enabled", "on_trial") if values.get(name)}
        found |= {"priority": values["priority"]} if values.get("priority") is not None else {}
        found |= {name: values[name] for name in ("category", "upstreams") if values.get(f"change_{name}")}
        if chosen := values.get("rule_list"):
            found["rule_list_id"] = None if chosen == _NONE else int(chosen)
        return found


class BulkEdit(_Base):
    """The action of the list, with a page that asks what to change."""

    @admin.action(description=_("Change the selected rules …"), permissions=["change"])
    def change_many(self, request: HttpRequest, rules: QuerySet[ModerationRule]) -> HttpResponse | None:
        form = BulkForm(request.POST if "apply" in request.POST else None)
        if "apply" not in request.POST or not form.is_valid():
            chosen = [(name, value) for name in SELECTION_FIELDS for value in request.POST.getlist(name)]
            page = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
            context = {"title": gettext("Change rules"), "form": form, "chosen": chosen, "count": rules.count()}
            return render(request, "admin/streaming/moderationrule/change_many.html", {**page, **context})
        with changing(RuleEdition.What.BULK, who=request.user.get_username()), transaction.atomic():
            done = _change(rules, form.changes(), request.user.pk or 0)
        count = ngettext("%d rule was changed.", "%d rules were changed.", done.changed) % done.changed
        undo = gettext("It can be undone at “Editions”.")
        self.message_user(request, f"{count} {undo}", messages.SUCCESS if done.changed else messages.WARNING)
        for reason, names in done.refused.items():
            listed = ", ".join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
            message = ngettext("%d rule was left as it was:", "%d rules were left as they were:", len(names))
            self.message_user(request, f"{message % len(names)} {reason} ({listed})", messages.WARNING)
        return None


@dataclass(slots=True)
class _Done:
    changed: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict)
    """The names of rules that were left alone, by the reason."""

    def refuse(self, reason: str, rule: ModerationRule) -> None:
        self.refused.setdefault(reason, []).append(str(rule))


def _change(rules: QuerySet[ModerationRule], changes: dict[str, Any], user_id: int) -> _Done:
    Edition.bump()
    done, taken, lists = _Done(), set[tuple[str, int | None]](), rule_log.list_names()
    pks = list(rules.order_by("pk").values_list("pk", flat=True))
    for at in range(0, len(pks), CHUNK):
        found = list(ModerationRule.objects.filter(pk__in=pks[at : at + CHUNK]).order_by("pk"))
        before = {rule.pk: {name: getattr(rule, name) for name in changes} for rule in found}
        wanted = list(_wanted(found, changes, done))
        free = list(_without_conflicts(wanted, taken, done)) if changes.keys() & {"compare", "rule_list_id"} else wanted
        keep(ModerationRule.objects.filter(pk__in=[rule.pk for rule in free]))
        names = [name.removesuffix("_id") for name in changes]
        bulk_rows.write(ModerationRule, free, [*names, "fingerprint", "changed", "imported"])
        entries = [(rule.pk, str(rule), [_message(before[rule.pk], rule, lists)]) for rule in free]
        rule_log.log(user_id, CHANGE, entries)
        done.changed += len(free)
    return done


def _wanted(rules: list[ModerationRule], changes: dict[str, Any], done: _Done) -> Iterator[ModerationRule]:
    """The rules that would differ, with their new values, if they are valid with them."""
    for rule in rules:
        if all(getattr(rule, name) == value for name, value in changes.items()):
            continue
        for name, value in changes.items():
            setattr(rule, name, value)
        rule.fingerprint, rule.changed, rule.imported = rule.make_fingerprint(), timezone.now(), None
        if changes.keys() & {"action", "compare", "whole_word"}:
            try:
                compile_rule(rule.as_value())
            except RuleError as error:
                done.refuse(gettext(error.template) % error.params, rule)
                continue
        yield rule


def _without_conflicts(
    rules: list[ModerationRule], taken: set[tuple[str, int | None]], done: _Done
) -> Iterator[ModerationRule]:
    """The rules of which there is no other in the same list. The first of several that would become equal stays."""
    own = {rule.pk for rule in rules}
    found = ModerationRule.objects.filter(fingerprint__in=[rule.fingerprint for rule in rules]).exclude(pk__in=own)
    taken |= set(found.values_list("fingerprint", "rule_list"))
    for rule in rules:
        key = rule.fingerprint, rule.rule_list_id
        if key in taken:
            done.refuse(gettext("The list has a rule with this pattern and comparison already."), rule)
            continue
        taken.add(key)
        yield rule


def _message(before: dict[str, Any], rule: ModerationRule, lists: dict[int, str]) -> dict[str, Any]:
    pairs = {name: (old, getattr(rule, name)) for name, old in before.items()}
    differing = {name.removesuffix("_id"): pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return {"changed": rule_log.change_message(rule_log.with_list_names(differing, lists))}
