"""The pages of the rules: list, form, history, and actions on many rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from streaming import rule_log, rulebook, sources
from streaming.admin import trial
from streaming.admin.bulk_edit import SELECTION_FIELDS, BulkEdit
from streaming.admin.filters import ListFilter, VisibleValuesFilter
from streaming.admin.forms import RuleForm, RuleListForm, ScopedPages, display_value
from streaming.admin.history_pages import HistoryPages, RecordsWho
from streaming.admin.imports import ImportPages, recent_texts
from streaming.admin.rules_on_trial import TrialPages
from streaming.admin.try_page import TryPage
from streaming.editions import CHUNK, RuleEdition, changing
from streaming.models import (
    HitAlert,
    ModerationHit,
    ModerationRule,
    ModerationRuleQuerySet,
    RuleList,
    action_name,
    translated,
)
from streaming.moderation import MAX_SEPARATORS, MAX_SPAN, RuleError, compile_rule
from streaming.visible_text import isolated, visible

if TYPE_CHECKING:
    RuleAdmin = admin.ModelAdmin[ModerationRule]
else:
    RuleAdmin = admin.ModelAdmin  # takes no parameter at run time

MAX_DELETED_LISTED = 20


@admin.register(ModerationRule)
class ModerationRuleAdmin(RecordsWho, ScopedPages, ImportPages, TryPage, TrialPages, HistoryPages, BulkEdit, RuleAdmin):
    form = RuleForm
    list_display = ("pattern_short", "action", "category", "enabled", "hits", "where", "changed")
    list_display_links = ("pattern_short",)
    list_editable = ("action", "category", "enabled")
    list_filter = (
        "enabled",
        "on_trial",
        "action",
        "kind",
        "applies_to",
        ("rule_list", ListFilter),
        ("category", VisibleValuesFilter),
        ("imported", admin.RelatedOnlyFieldListFilter),
    )
    search_fields = ("pattern", "category", "note")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("pattern", ("kind", "action"), "replacement", "category", "rule_list"),
                    *("enabled", "on_trial", "loaded_version"),
                )
            },
        ),
        (_("How text is compared"), {"fields": ("compare", "whole_word", "priority")}),
        (_("Regular expressions"), {"fields": ("group", "match_check", "overflow")}),
        (
            _("Where and when it applies"),
            {"fields": ("upstreams", "only_for", "applies_to", "valid_from", "valid_until")},
        ),
        (None, {"fields": ("note",)}),
    )
    actions = ("change_many", "enable", "disable", "put_on_trial", "arm", "try_selected", "delete")
    list_per_page = 50
    list_select_related = ("rule_list",)
    show_full_result_count = False
    change_list_template = "admin/streaming/moderationrule/change_list.html"
    change_form_template = "admin/streaming/moderationrule/change_form.html"
    object_history_template = "admin/streaming/moderationrule/object_history.html"

    class Media:
        css = {"all": ("streaming/admin/admin.css",)}

    # --- the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModerationRule]:
        hits = ModerationHit.objects.filter(rule=OuterRef("pk")).order_by().values("rule").annotate(n=Count("pk"))
        number = Coalesce(Subquery(hits.values("n"), output_field=IntegerField()), 0)
        rules: QuerySet[ModerationRule] = super().get_queryset(request)
        return rules.annotate(number_of_hits=number)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ModerationRule], search_term: str
    ) -> tuple[QuerySet[ModerationRule], bool]:
        """Patterns are compared as rules are; categories and notes as Django does."""
        for word in smart_split(search_term):
            term = unescape_string_literal(word) if word[:1] in "\"'" and word[:1] == word[-1:] and word[1:] else word
            pattern = Q(folded__contains=ModerationRule.folded_of(term))
            queryset = queryset.filter(pattern | Q(category__icontains=term) | Q(note__icontains=term))
        return queryset, False

    @admin.display(description=_("pattern"), ordering="folded")
    def pattern_short(self, rule: ModerationRule) -> str:
        pattern = visible(rule.pattern if len(rule.pattern) <= 80 else f"{rule.pattern[:79]}…")
        if not rule.on_trial and not (rule.rule_list and rule.rule_list.on_trial):
            return pattern
        return format_html('{} <span class="badge">{}</span>', pattern, gettext("on trial"))

    @admin.display(description=_("where"))
    def where(self, rule: ModerationRule) -> str:
        """Its list and its scope, and the note."""
        scope = [] if rule.applies_to == ModerationRule.Scope.BOTH else [rule.get_applies_to_display()]
        names = map(isolated, [*rule.upstreams, *rule.only_for])
        place = ", ".join([*([str(rule.rule_list)] if rule.rule_list else []), *names, *scope])
        if not rule.note:
            return place or "–"
        note = visible(rule.note if len(rule.note) <= 60 else f"{rule.note[:59]}…")
        return format_html('{}<div class="help">{}</div>', place, note)

    @admin.display(description=_("hits"), ordering="number_of_hits")
    def hits(self, rule: Any) -> str:
        unit = format_html('<span class="on-phones">{}</span>', gettext("hits"))
        if not rule.number_of_hits:
            return format_html("0 {}", unit)
        address = f"{reverse('admin:streaming_moderationhit_changelist')}?rule__id__exact={rule.pk}"
        return format_html('<a href="{}">{} {}</a>', address, rule.number_of_hits, unit)

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[RuleListForm]:
        return super().get_changelist_form(request, **{"form": RuleListForm, **kwargs})  # type: ignore[return-value]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        actions = [(value, action_name(value)) for value in ModerationRule.Action.values]
        context = {"load_error": _load_error(), "quick_actions": actions}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    # --- the form

    def get_urls(self) -> list[Any]:
        check = path("check/", self.admin_site.admin_view(self.check_view), name="streaming_moderationrule_check")
        return [check, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "POST" and self.has_add_permission(request) and not self.get_object(request, object_id):
            return self._offer_to_add_again(request, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def _offer_to_add_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The rule was deleted while it was being edited: show the form with the input, to add it as a new rule."""
        kind = ContentType.objects.get_for_model(ModerationRule)
        gone = LogEntry.objects.filter(content_type=kind, object_id=object_id, action_flag=DELETION).first()
        who = gone.user.get_username() if gone else gettext("another moderator")
        message = gettext(
            "This rule was deleted by %s while you were editing it. Your input is below: "
            "save it to add it as a new rule."
        )
        self.message_user(request, message % who, messages.WARNING)
        given = request.POST.copy()
        for name in ("loaded_version", "csrfmiddlewaretoken"):
            given.pop(name, None)
        request.method, request.GET = "GET", given  # type: ignore[assignment]
        return self.add_view(request, form_url=reverse("admin:streaming_moderationrule_add"))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        given: QueryDict = request.GET
        for name in ("valid_from", "valid_until"):
            initial.pop(name, None)  # Django's widget for a date and a time fails at a text
        if "pattern" in given and "action" in given:
            # From a form that was filled in: unchecked boxes are not sent.
            initial |= {name: name in given for name in ("enabled", "whole_word")}
            for name in ("valid_from", "valid_until"):
                initial[name] = [given.get(f"{name}_0", ""), given.get(f"{name}_1", "")]
        initial["upstreams"] = given.getlist("upstreams")
        return initial

    def save_model(self, request: HttpRequest, obj: ModerationRule, form: Any, change: bool) -> None:
        obj.imported = None  # so that undoing the import does not undo this edit
        super().save_model(request, obj, form, change)
        if warning := compile_rule(obj.as_value()).warning:
            self.message_user(request, f"{obj}: {translated(warning)}", messages.WARNING)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message = super().construct_change_message(request, form, formsets, add)
        names = [name for name in form.changed_data if name in form.cleaned_data and name != "loaded_version"]
        for part in message:
            if "changed" in part:
                pairs = {name: (_initial(form, name), form.cleaned_data[name]) for name in names}
                part["changed"]["values"] = rule_log.change_message(pairs)["values"]
        return message

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """What the rule in the form would match, before it is saved."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form: Any = self.get_form(request, change=False, fields=None)(request.POST or None)
        context = {"check": _Check(form, request.user) if request.method == "POST" else None}
        template = "admin/streaming/moderationrule/check.html"
        if request.headers.get("X-Requested-With") == "fetch":
            return render(request, template, context)
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": gettext("What it matches")}
        return render(request, "admin/streaming/moderationrule/check_page.html", {**page, **context})

    # --- the history

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response: Any = super().history_view(request, object_id, extra_context)
        for entry in (getattr(response, "context_data", None) or {}).get("action_list", ()):
            entry.differences = list(_differences(entry))
        return response  # type: ignore[no-any-return]

    # --- many at once

    @admin.action(description=_("Enable the selected rules"), permissions=["change"])
    def enable(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._switch(request, rules, "enabled", True)

    @admin.action(description=_("Disable the selected rules"), permissions=["change"])
    def disable(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._switch(request, rules, "enabled", False)

    @admin.action(description=_("Put the selected rules on trial"), permissions=["change"])
    def put_on_trial(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._switch(request, rules, "on_trial", True)

    @admin.action(description=_("Arm the selected rules: end their trial"), permissions=["change"])
    def arm(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._switch(request, rules, "on_trial", False)

    def _switch(self, request: HttpRequest, rules: ModerationRuleQuerySet, name: str, value: bool) -> None:
        others = rules.exclude(**{name: value})
        message = [{"changed": {"fields": [name], "values": {name: [not value, value]}}}]
        with changing(RuleEdition.What.BULK), transaction.atomic():
            if names := rule_log.names_of(others.order_by()):
                self._log_all(request, CHANGE, names, message)
                others.update(**{name: value}, imported=None)  # so that undoing the import does not undo this
        count = ngettext("%d rule was changed.", "%d rules were changed.", len(names)) % len(names)
        if not names:
            self.message_user(request, count, messages.WARNING)
            return
        since = gettext("This applies to all streams that start from now on.")
        self.message_user(request, f"{count} {since}", messages.SUCCESS)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django's own action renders every selected rule into the confirmation page.
        where = {} if action_location is None else {"action_location": action_location}  # Django 6.1 and later
        actions = super().get_actions(request, **where)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    @admin.action(description=_("Delete the selected rules"), permissions=["delete"])
    def delete(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> HttpResponse | None:
        """Asks for confirmation first; the selection, possibly all results of a search, is sent back as it was."""
        alerts = HitAlert.objects.filter(rule__in=rules.order_by().values("pk"))
        if self.are_kept(request, list(alerts)):
            return None
        if "post" not in request.POST:
            chosen = [(name, value) for name in SELECTION_FIELDS for value in request.POST.getlist(name)]
            context = {"chosen": chosen, "count": rules.count(), "rules": rules[:MAX_DELETED_LISTED]}
            context |= {"alerts": alerts[:MAX_DELETED_LISTED], "number_of_alerts": alerts.count()}
            page = {**self.admin_site.each_context(request), "opts": self.opts, "title": gettext("Are you sure?")}
            return render(request, "admin/streaming/moderationrule/delete_many.html", {**page, **context})
        with changing(RuleEdition.What.DELETE), transaction.atomic():
            names = rule_log.names_of(rules.order_by())
            self._log_all(request, DELETION, names, [])
            rules.order_by().delete()
        message = ngettext("%d rule was deleted.", "%d rules were deleted.", len(names)) % len(names)
        self.message_user(request, message, messages.SUCCESS)
        return None

    def _log_all(self, request: HttpRequest, flag: int, names: list[tuple[int, str]], message: list[Any]) -> None:
        for at in range(0, len(names), CHUNK):
            entries = [(pk, name, message) for pk, name in names[at : at + CHUNK]]
            rule_log.log(request.user.pk or 0, flag, entries)


def _initial(form: Any, name: str) -> Any:
    """The value that a field of the form had; of a choice of a list, the list."""
    value = form.initial.get(name)
    return RuleList.objects.filter(pk=value).first() if name == "rule_list" and value else value


def _load_error() -> Any:
    """The rule that prevents the latest changes from taking effect, and the reason; None if there is none."""
    if (load_error := rulebook.find_load_error()) is None:
        return None
    return {"rule": load_error.error.rule.id, "reason": isolated(translated(load_error.error))}


def _differences(entry: LogEntry) -> Any:
    """(label, old, new) of each field whose values a history entry contains."""
    try:
        message = json.loads(entry.change_message)
    except ValueError:
        return
    for part in message if isinstance(message, list) else ():
        if isinstance(part, dict) and isinstance(values := part.get("changed", {}).get("values"), dict):
            for name, (old, new) in values.items():
                field: Any = ModerationRule._meta.get_field(name)
                yield field.verbose_name, display_value(name, old), display_value(name, new)


class _Check:
    """The check of a rule that is being edited: its error, or its warning and what it matches."""

    def __init__(self, form: Any, user: Any) -> None:
        form.is_valid()
        self.rule = form.instance.as_value()
        self.error = self.warning = ""
        self.found: list[trial.Matches] = []
        if not self.rule.pattern:
            self.error = " ".join(form.errors.get("pattern", []))
            return
        try:
            compiled = compile_rule(self.rule)
        except RuleError as error:
            self.error = translated(error)
            return
        self.warning = translated(compiled.warning) if compiled.warning else ""
        self.made_visible = text if (text := visible(self.rule.pattern)) != self.rule.pattern else ""
        self.shortest, self.longest = compiled.shortest, compiled.longest
        self.max_span = f"{MAX_SPAN:,}"
        if self.rule.compare == "loose":
            self.longest = self.shortest + (self.shortest - 1) * MAX_SEPARATORS
        self.held = MAX_SPAN if self.longest is None else min(self.longest, MAX_SPAN)
        texts = {name: [sources.read_document(name)] for name in sources.DOCUMENTS} | {"": recent_texts(user)}
        self.found = [trial.matches(self.rule, name, found, most=3 if name else 5) for name, found in texts.items()]
