"""The pages of the rule lists: switch, scope and delete many rules as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from streaming import rule_imports
from streaming.admin.forms import LinesField, ListRowForm, ScopedPages, UpstreamsField, VersionedForm
from streaming.admin.history_pages import RecordsWho
from streaming.admin.rules_on_trial import TrialPages
from streaming.models import HitAlert, ModerationRule, RuleList
from streaming.rule_packs import PACKS

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[RuleList]
else:
    _Base = admin.ModelAdmin  # takes no parameter at run time

MAX_DELETED_ALERTS = 20
"""How many alerts are named before they are deleted with their list; all are counted."""


@admin.register(RuleList)
class RuleListAdmin(RecordsWho, ScopedPages, TrialPages, _Base):
    hits_of = "rule__rule_list__id__exact"
    form = VersionedForm
    change_form_template = "admin/streaming/rulelist/change_form.html"
    change_list_template = "admin/streaming/rulelist/change_list.html"
    list_display = ("name", "source", "enabled", "on_trial", "number", "changed")
    list_editable = ("enabled", "on_trial")
    search_fields = ("name", "note")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "on_trial", "note", "loaded_version")}),
        (
            _("Where and when it applies"),
            {"fields": ("upstreams", "only_for", "applies_to", "valid_from", "valid_until")},
        ),
    )

    class Media:
        css = {"all": ("streaming/admin/admin.css",)}

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return super().get_changelist_form(request, **{"form": ListRowForm, **kwargs})

    def get_urls(self) -> list[Any]:
        pack = self.admin_site.admin_view(require_POST(self.pack_view))
        return [path("packs/<slug:name>/", pack, name="streaming_rulelist_pack"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        added = set(RuleList.objects.values_list("pack", flat=True))
        packs = {"packs": PACKS.values(), "added": added, "has_import_permission": self._may_import(request)}
        return super().changelist_view(request, {**packs, **(extra_context or {})})

    def _may_import(self, request: HttpRequest) -> bool:
        rules: Any = self.admin_site._registry[ModerationRule]
        return bool(rules.has_import_permission(request))

    def pack_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Leads to the preview of a pack's import."""
        if not self._may_import(request):
            raise PermissionDenied
        if name not in PACKS:
            raise Http404
        kept = rule_imports.save_pack_preview(PACKS[name], request.user.get_username())
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import_preview", args=[kept.pk]))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """The lists, the numbers of their rules, and the alerts about them. Django would show each rule of a list."""
        rules_admin: Any = self.admin_site._registry[ModerationRule]
        counts = {each: each.rules.count() for each in objs}
        names = [f"{each}: {ngettext('%d rule', '%d rules', count) % count}" for each, count in counts.items()]
        models = {str(RuleList._meta.verbose_name_plural): len(names)}
        models[str(ModerationRule._meta.verbose_name_plural)] = sum(counts.values())
        may = self.has_delete_permission(request) and rules_admin.has_delete_permission(request)
        refused = set() if may else {str(ModerationRule._meta.verbose_name)}
        pks = [each.pk for each in objs]
        if alerts := list(HitAlert.objects.filter(Q(rule_list__in=pks) | Q(rule__rule_list__in=pks))):
            names += [f"{HitAlert._meta.verbose_name}: {alert}" for alert in alerts[:MAX_DELETED_ALERTS]]
            models[str(HitAlert._meta.verbose_name_plural)] = len(alerts)
            alerts_admin: Any = self.admin_site._registry[HitAlert]
            if not alerts_admin.has_delete_permission(request):
                refused.add(str(HitAlert._meta.verbose_name))
        return names, models, refused, []

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleList]:
        lists: QuerySet[RuleList] = super().get_queryset(request)
        return lists.annotate(number_of_rules=Count("rules"))

    @admin.display(description=_("rules"), ordering="number_of_rules")
    def number(self, rule_list: Any) -> str:
        address = f"{reverse('admin:streaming_moderationrule_changelist')}?rule_list__id__exact={rule_list.pk}"
        return format_html('<a href="{}">{}</a>', address, rule_list.number_of_rules)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "upstreams":
            return UpstreamsField(label=db_field.verbose_name, required=False, help_text=db_field.help_text)
        if db_field.name == "only_for":
            return LinesField(label=db_field.verbose_name, required=False, help_text=db_field.help_text)
        return super().formfield_for_dbfield(db_field, request, **kwargs)
