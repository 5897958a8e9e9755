"""How moderators edit rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from streaming.models import ModerationRule, ModerationRuleQuerySet

if TYPE_CHECKING:
    RuleAdmin = admin.ModelAdmin[ModerationRule]
else:
    RuleAdmin = admin.ModelAdmin  # takes no parameter at run time

admin.site.site_header = _("Streams")
admin.site.site_title = _("Streams")
admin.site.index_title = _("Moderation")


class RuleListForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule in the list. Its pattern is not edited there, but still may not become another rule's."""

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() - {"pattern"}  # type: ignore[misc,no-any-return]


@admin.register(ModerationRule)
class ModerationRuleAdmin(RuleAdmin):
    list_display = ("pattern", "action", "category", "enabled", "note", "changed")
    list_editable = ("action", "category", "enabled")
    list_filter = ("enabled", "action", "category")
    search_fields = ("pattern", "category", "note")
    fields = ("pattern", "action", "category", "note", "enabled")
    actions = ("enable", "disable")
    list_per_page = 50

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[RuleListForm]:
        return super().get_changelist_form(request, **{"form": RuleListForm, **kwargs})  # type: ignore[return-value]

    @admin.action(description=_("Enable the selected rules"), permissions=["change"])
    def enable(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._set_enabled(request, rules, True)

    @admin.action(description=_("Disable the selected rules"), permissions=["change"])
    def disable(self, request: HttpRequest, rules: ModerationRuleQuerySet) -> None:
        self._set_enabled(request, rules, False)

    def _set_enabled(self, request: HttpRequest, rules: ModerationRuleQuerySet, enabled: bool) -> None:
        changed = list(rules.exclude(enabled=enabled))
        if changed:
            rules.exclude(enabled=enabled).update(enabled=enabled)
        for rule in changed:
            rule.enabled = enabled
            self.log_change(request, rule, [{"changed": {"fields": ["enabled"]}}])
        said = ngettext("%d rule was changed.", "%d rules were changed.", len(changed)) % len(changed)
        self.message_user(
            request, f"{said} {_('It holds for every stream that begins from now on.')}", messages.SUCCESS
        )
