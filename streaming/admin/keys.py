"""API keys: create (the key is shown once), disable, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming.models import ApiKey

if TYPE_CHECKING:
    KeyAdmin = admin.ModelAdmin[ApiKey]
else:
    KeyAdmin = admin.ModelAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(KeyAdmin):
    list_display = ("name", "shown", "owner", "created", "enabled")
    list_filter = ("enabled", "created")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "=last4")
    fields = ("name", "owner", "enabled")
    autocomplete_fields = ("owner",)

    @admin.display(description=gettext_lazy("key"), ordering="prefix")
    def shown(self, key: ApiKey) -> str:
        return f"{key.prefix}…{key.last4}"

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        secret = None if change else obj.make_secret()
        super().save_model(request, obj, form, change)
        if secret:
            message = _("The key is %(key)s. Copy it now: it will not be shown again.") % {"key": secret}
            messages.warning(request, message)
