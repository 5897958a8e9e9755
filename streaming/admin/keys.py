"""API keys: create and rotate (the key is shown once), limit, disable, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from streaming.admin.forms import LinesField, UpstreamsField
from streaming.models import ApiKey

if TYPE_CHECKING:
    KeyAdmin = admin.ModelAdmin[ApiKey]
else:
    KeyAdmin = admin.ModelAdmin


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    allowed_upstreams = UpstreamsField(
        label=gettext_lazy("Upstreams"),
        required=False,
        help_text=gettext_lazy("If none is chosen, it may use all."),
    )
    allowed_models = LinesField(
        label=gettext_lazy("Models"),
        required=False,
        help_text=gettext_lazy(
            "Names that clients ask for, one per line; gpt-* is any that begins so. Empty: it may use all."
        ),
    )

    class Meta:
        model = ApiKey
        fields = "__all__"  # noqa: DJ007 (the admin names them)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "allowed_upstreams" in self.fields:
            self.fields["allowed_upstreams"].add_choices(self.instance.allowed_upstreams)  # type: ignore[attr-defined]


@admin.register(ApiKey)
class ApiKeyAdmin(KeyAdmin):
    form = ApiKeyForm
    list_display = ("name", "shown", "owner", "created", "expires", "last_used", "enabled")
    list_filter = ("enabled", "created", "expires", "last_used")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "=last4", f"owner__{get_user_model().USERNAME_FIELD}")
    readonly_fields = ("shown", "created", "last_used")
    autocomplete_fields = ("owner",)
    actions = ("disable", "rotate")
    fieldsets = (
        (None, {"fields": ("name", "owner", "enabled", "expires")}),
        (gettext_lazy("What it may use"), {"fields": ("allowed_upstreams", "allowed_models")}),
        (gettext_lazy("Limits"), {"fields": ("requests_per_minute", "streams_at_once", "tokens_per_day")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        known = ((None, {"fields": ("shown", "created", "last_used")}),) if obj else ()
        return (*super().get_fieldsets(request, obj), *known)

    @admin.display(description=gettext_lazy("key"), ordering="prefix")
    def shown(self, key: ApiKey) -> str:
        return key.shown

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            # Only what was changed here: its owner may just have rotated it.
            obj.save(update_fields=form.changed_data)
            return
        secret = obj.make_secret()
        super().save_model(request, obj, form, change)
        show_once(request, obj, secret)

    @admin.action(permissions=["change"], description=gettext_lazy("Disable the selected keys"))
    def disable(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            key.enabled = False
            key.save(update_fields=["enabled"])
            self.log_change(request, key, [{"changed": {"fields": ["enabled"]}}])
        number = len(keys)
        text = ngettext("%(number)d key is refused from now on.", "%(number)d keys are refused from now on.", number)
        self.message_user(request, text % {"number": number}, messages.SUCCESS)

    @admin.action(
        permissions=["change"], description=gettext_lazy("Rotate the selected keys: new secrets, the old ones end")
    )
    def rotate(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            secret = key.rotate()
            self.log_change(request, key, _("Rotated."))
            show_once(request, key, secret)


def show_once(request: HttpRequest, key: ApiKey, secret: str) -> None:
    message = _("%(name)s: the key is %(key)s. Copy it now: it will not be shown again.")
    messages.warning(request, message % {"name": key.name, "key": secret})
    if not key.is_valid_at(timezone.now()):
        refused = _("%(name)s: the key is refused, because it is not enabled or has expired.")
        messages.error(request, refused % {"name": key.name})
