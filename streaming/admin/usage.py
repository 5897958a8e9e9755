"""The read-only list of usage records, with a chart of the last days and the keys and models that used most."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from streaming import sources, upstream_settings, usage_report
from streaming.admin.charts import DAYS, DailyChart, first_day
from streaming.admin.downloads import csv_download
from streaming.admin.open_streams_page import OpenStreamsPage
from streaming.formats import REASONS
from streaming.models import LostUsage, UsageRecord
from streaming.usage_report import Total
from streaming.visible_text import isolated, visible

if TYPE_CHECKING:
    UsageAdmin = admin.ModelAdmin[UsageRecord]
else:
    UsageAdmin = admin.ModelAdmin

TOP = 10


class _KnownValuesFilter(admin.SimpleListFilter):
    """A filter by values that are known without asking the database: there may be millions of records."""

    def known(self) -> list[str]:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, visible(value)) for value in self.known()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class UpstreamFilter(_KnownValuesFilter):
    title, parameter_name = _("upstream"), "upstream"

    def known(self) -> list[str]:
        return [*upstream_settings.names(), sources.SIMULATED]


class ModelFilter(_KnownValuesFilter):
    title, parameter_name = _("model"), "model"

    def known(self) -> list[str]:
        return [*upstream_settings.models(), sources.SIMULATED]


class EndpointFilter(_KnownValuesFilter):
    title, parameter_name = _("endpoint"), "endpoint"

    def known(self) -> list[str]:
        return ["transfer", "chat-completions", "stream", "proxy"]


class ReasonFilter(_KnownValuesFilter):
    title, parameter_name = _("reason of the end"), "reason"

    def known(self) -> list[str]:
        return [*REASONS, "left"]


@admin.register(UsageRecord)
class UsageRecordAdmin(OpenStreamsPage, UsageAdmin):
    list_display = ("when", "asked_by", "where", "tokens", "characters", "times", "size", "end", "hits_link")
    list_display_links = ("when",)
    list_filter = ("when", UpstreamFilter, ModelFilter, EndpointFilter, ReasonFilter)
    search_fields = ("=username", "=key_name", "=model", "=stream")
    date_hierarchy = "when"
    list_per_page = 50
    show_full_result_count = False
    change_list_template = "admin/streaming/usagerecord/change_list.html"

    class Media:
        css = {"all": ("streaming/admin/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("user and key"), ordering="username")
    def asked_by(self, record: UsageRecord) -> str:
        key = f" ({visible(record.key_name)})" if record.key_name else ""
        return f"{visible(record.username)}{key}" if record.username else "–"

    @admin.display(description=_("where"), ordering="upstream")
    def where(self, record: UsageRecord) -> str:
        return ", ".join(filter(None, (record.endpoint, isolated(record.upstream), isolated(record.model))))

    @admin.display(description=_("tokens"), ordering="completion_tokens")
    def tokens(self, record: UsageRecord) -> str:
        return _pair(record.prompt_tokens, record.completion_tokens)

    @admin.display(description=_("characters"), ordering="completion_chars")
    def characters(self, record: UsageRecord) -> str:
        return _pair(record.prompt_chars, record.completion_chars)

    @admin.display(description=_("first byte, in all"), ordering="seconds")
    def times(self, record: UsageRecord) -> str:
        first = "–" if record.first_byte_seconds is None else f"{record.first_byte_seconds:.2f} s"
        return f"{first}, {record.seconds:.1f} s"

    @admin.display(description=_("bytes"), ordering="bytes")
    def size(self, record: UsageRecord) -> str:
        return f"{record.bytes:,}"

    @admin.display(description=_("end"), ordering="reason")
    def end(self, record: UsageRecord) -> str:
        return record.reason if record.status == 200 else f"{record.reason} ({record.status})"

    @admin.display(description=_("hits"), ordering="hits")
    def hits_link(self, record: UsageRecord) -> str:
        address = reverse("admin:streaming_moderationhit_changelist")
        number = str(record.hits)
        return format_html('<a href="{}?q={}">{}</a>', address, record.stream, number) if record.hits else number

    # --- The overview above the list, and its records as a file

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.csv_view)
        return [path("csv/", view, name="streaming_usagerecord_csv"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: Any = super().changelist_view(request, extra_context)
        if (cl := (getattr(response, "context_data", None) or {}).get("cl")) is not None:
            response.context_data |= _overview(cl.queryset.order_by())
        return response  # type: ignore[no-any-return]

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The records that the list shows with the same search and filters, on all its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            records = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{reverse('admin:streaming_usagerecord_changelist')}?{ERROR_FLAG}=1")
        return csv_download("usage", records, usage_report.COLUMNS)


def _pair(prompt: int | None, completion: int | None) -> str:
    """The figures of a prompt and its completion, as ``30 / 4``."""
    if prompt is completion is None:
        return "–"
    return " / ".join("–" if figure is None else f"{figure:,}" for figure in (prompt, completion))


def _overview(records: Any) -> dict[str, Any]:
    """The chart of tokens (requests, if no upstream reports tokens), its table, and who and what used most."""
    recent = records.filter(when__date__gte=first_day())
    days = usage_report.totals(recent, "day")
    has_tokens = any(day.tokens for day in days)
    lost = LostUsage.objects.filter(when__gt=timezone.now() - timedelta(days=DAYS))
    return {
        "chart": DailyChart({day.names[0]: day.tokens if has_tokens else day.requests for day in days}),
        "has_tokens": has_tokens,
        "days": list(reversed(days)),
        "tops": [
            (_("Top keys and users"), _top(usage_report.totals(recent, "key", TOP))),
            (_("Top models"), _top(usage_report.totals(recent, "model", TOP))),
        ],
        "lost": lost.aggregate(count=Sum("count"), when=Max("when")),
    }


def _top(totals: list[Total]) -> list[dict[str, Any]]:
    """Each with its share of the tokens; of the requests, if no upstream reports tokens."""
    has_tokens = any(total.tokens for total in totals)
    values = [total.tokens if has_tokens else total.requests for total in totals]
    return [
        {
            "name": " · ".join(visible(str(name)) for name in total.names if name) or "–",
            "query": " ".join(_as_search_term(str(name)) for name in total.names if name),
            "total": total,
            "most": max(values),
            "value": value,
        }
        for total, value in zip(totals, values, strict=True)
    ]


def _as_search_term(name: str) -> str:
    """A name as Django's search takes it for one term: in quotes, if it has spaces or quotes."""
    if not re.search(r"[\s\"'\\]", name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
