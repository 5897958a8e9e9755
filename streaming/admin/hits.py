"""The read-only list of hits, with a chart of the last days and the rules with the most hits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Max, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming.admin.filters import VisibleValuesFilter
from streaming.models import LostHits, ModerationHit, ModerationRule
from streaming.visible_text import isolated, visible

if TYPE_CHECKING:
    HitAdmin = admin.ModelAdmin[ModerationHit]
else:
    HitAdmin = admin.ModelAdmin

DAYS = 30
TOP = 10


@admin.register(ModerationHit)
class ModerationHitAdmin(HitAdmin):
    list_display = ("when", "rule_link", "action_short", "in_context", "where", "asked_by", "stream_short")
    list_display_links = ("when",)
    list_filter = (
        *("when", "action", "on_trial", "direction"),
        ("category", VisibleValuesFilter),
        ("upstream", VisibleValuesFilter),
    )
    search_fields = ("=stream", "=who", "pattern", "text")
    date_hierarchy = "when"
    list_per_page = 50
    show_full_result_count = False
    change_list_template = "admin/streaming/moderationhit/change_list.html"

    class Media:
        css = {"all": ("streaming/admin/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        if lookup in ("rule__id__exact", "rule__rule_list__id__exact"):
            return True
        return super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("rule"), ordering="pattern")
    def rule_link(self, hit: ModerationHit) -> str:
        name = visible(hit.pattern if len(hit.pattern) <= 40 else f"{hit.pattern[:39]}…")
        if hit.rule_id is None:
            return name
        return format_html('<a href="{}">{}</a>', _address(hit.rule_id), name)

    @admin.display(description=_("action"), ordering="action")
    def action_short(self, hit: ModerationHit) -> str:
        if not hit.on_trial:
            return _short(hit.action)
        return format_html('{} <span class="badge">{}</span>', _short(hit.action), gettext("on trial"))

    @admin.display(description=_("where"), ordering="upstream")
    def where(self, hit: ModerationHit) -> str:
        channel = "" if hit.channel == "content" and not hit.choice else f", {isolated(hit.channel)} {hit.choice}"
        return f"{isolated(hit.upstream)}, {hit.get_direction_display()}{channel}"

    @admin.display(description=_("user or key"), ordering="who")
    def asked_by(self, hit: ModerationHit) -> str:
        return visible(hit.who)

    @admin.display(description=_("matched text"))
    def in_context(self, hit: ModerationHit) -> str:
        if hit.digest:
            return format_html("<code>{}…</code>", hit.digest[:12])
        parts = map(visible, (hit.before, hit.text, hit.after))
        return format_html('<bdi class="context">{}<mark>{}</mark>{}</bdi>', *parts)

    @admin.display(description=_("stream"), ordering="stream")
    def stream_short(self, hit: ModerationHit) -> str:
        return format_html('<a href="?q={}">{}</a>', hit.stream, hit.stream[:8])

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: Any = super().changelist_view(request, extra_context)
        if (cl := (getattr(response, "context_data", None) or {}).get("cl")) is not None:
            hits = cl.queryset.order_by()
            response.context_data |= {"chart": _Chart(hits), "top": list(_top(hits)), "lost": _lost()}
        return response  # type: ignore[no-any-return]


def _address(rule: int) -> str:
    return reverse("admin:streaming_moderationrule_change", args=[rule])


def _lost() -> dict[str, Any]:
    return LostHits.objects.filter(when__gt=timezone.now() - timedelta(days=DAYS)).aggregate(
        count=Sum("count"), when=Max("when")
    )


def _top(hits: Any) -> Iterator[dict[str, Any]]:
    """The rules with the most hits among those listed; ``address`` is empty for rules that were deleted."""
    found = list(hits.values("rule", "pattern", "action").annotate(n=Count("pk")).order_by("-n", "pattern")[:TOP])
    there = set(ModerationRule.objects.filter(pk__in=[row["rule"] for row in found]).values_list("pk", flat=True))
    most = max((row["n"] for row in found), default=1)
    for row in found:
        address = _address(row["rule"]) if row["rule"] in there else ""
        yield {**row, "address": address, "most": most, "label": _short(row["action"])}


def _short(action: str) -> str:
    """The name of an action without its explanation."""
    label = str(dict(ModerationRule.Action.choices).get(action, action))
    return label.partition(":")[0].partition("：")[0]


@dataclass(frozen=True, slots=True)
class _Bar:
    day: date
    count: int
    x: int
    y: float
    height: float


class _Chart:
    """Hits on each of the last days, as the bars of an SVG of 600 by 120 units."""

    WIDTH, HEIGHT, STEP = 600, 100, 20

    def __init__(self, hits: Any) -> None:
        today = timezone.localdate()
        first = today - timedelta(days=DAYS - 1)
        rows = hits.filter(when__date__gte=first).annotate(day=TruncDate("when")).values("day").annotate(n=Count("pk"))
        counts = {row["day"]: row["n"] for row in rows}
        self.first, self.last = first, today
        self.most = max(counts.values(), default=0)
        self.total = sum(counts.values())
        self.bars = [self._bar(number, first + timedelta(days=number), counts) for number in range(DAYS)]

    def _bar(self, number: int, day: date, counts: dict[date, int]) -> _Bar:
        count = counts.get(day, 0)
        height = round(count / self.most * self.HEIGHT, 1) if self.most else 0.0
        return _Bar(day, count, number * self.STEP, self.HEIGHT - height, height)
