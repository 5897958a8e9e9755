"""Alerts: edit them, see what came of the last one, send a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from streaming import alerts
from streaming.models import HitAlert

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[HitAlert]
else:
    _Base = admin.ModelAdmin  # takes no parameter at run time


@admin.register(HitAlert)
class HitAlertAdmin(_Base):
    list_display = ("name", "about", "threshold", "enabled", "last_sent", "last_result")
    list_select_related = ("rule_list",)
    search_fields = ("name",)
    raw_id_fields = ("rule",)  # works without JavaScript too, with a hundred thousand rules
    fieldsets = (
        (None, {"fields": ("name", "enabled")}),
        (
            _("Which hits it counts"),
            {
                "fields": ("rule", "rule_list", "category", "action"),
                "description": _("Leave all empty for all hits. Hits of rules on trial do not count."),
            },
        ),
        (_("When it is sent"), {"fields": ("more_than", "minutes", "cooldown")}),
        (_("How it is sent"), {"fields": ("emails", "webhook", "secret", "last_sent", "last_result")}),
    )
    readonly_fields = ("secret", "last_sent", "last_result")
    change_form_template = "admin/streaming/hitalert/change_form.html"

    class Media:
        css = {"all": ("streaming/admin/admin.css",)}

    @admin.display(description=_("counts"))
    def about(self, alert: HitAlert) -> str:
        return alert.about()

    @admin.display(description=_("sent at"), ordering="more_than")
    def threshold(self, alert: HitAlert) -> str:
        text = ngettext("more than %(n)d hit in %(time)s", "more than %(n)d hits in %(time)s", alert.more_than)
        return text % {"n": alert.more_than, "time": alerts.in_minutes(alert.minutes)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The secret is for those who may change the alert."""
        hidden = set() if obj and self.has_change_permission(request, obj) else {"secret"}
        sets = super().get_fieldsets(request, obj)
        return [
            (name, {**options, "fields": [field for field in options["fields"] if field not in hidden]})
            for name, options in sets
        ]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "emails" and field:
            field.widget.attrs["rows"] = 3
        return field

    def save_model(self, request: HttpRequest, obj: HitAlert, form: Any, change: bool) -> None:
        if change:
            # Only what was changed here: it may have been sent meanwhile, and would be sent again.
            obj.save(update_fields=form.changed_data)
        else:
            super().save_model(request, obj, form, change)

    def response_change(self, request: HttpRequest, obj: HitAlert) -> HttpResponse:
        if "_test" not in request.POST:
            return super().response_change(request, obj)
        request._tested_alert = obj  # type: ignore[attr-defined]
        return HttpResponseRedirect(request.path)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A test is sent after the transaction, in which nobody else could write to SQLite: a receiver may be slow."""
        response = super().changeform_view(request, *args, **kwargs)
        if alert := getattr(request, "_tested_alert", None):
            self._test(request, alert)
        return response

    def _test(self, request: HttpRequest, alert: HitAlert) -> None:
        if problem := alerts.deliver(alert, 0, is_test=True):
            self.message_user(request, gettext("The test was not delivered. %s") % problem, messages.ERROR)
        else:
            self.message_user(request, gettext("The test was delivered."), messages.SUCCESS)
