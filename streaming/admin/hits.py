"""The list of hits, with a chart of the last days and the rules with the most hits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming.admin.charts import DAYS, DailyChart, first_day
from streaming.admin.filters import ListFilter, VisibleValuesFilter
from streaming.admin.hit_review import HitReview
from streaming.models import LostHits, ModerationHit, ModerationRule, action_name
from streaming.visible_text import isolated, visible

if TYPE_CHECKING:
    HitAdmin = admin.ModelAdmin[ModerationHit]
else:
    HitAdmin = admin.ModelAdmin

TOP = 10


@admin.register(ModerationHit)
class ModerationHitAdmin(HitReview, HitAdmin):
    list_display = ("when_short", "rule_link", "in_context", "where")
    list_display_links = ("when_short",)
    list_filter = (
        *("when", "action", "verdict", "on_trial", "direction"),
        ("rule__rule_list", ListFilter),
        ("category", VisibleValuesFilter),
        ("upstream", VisibleValuesFilter),
    )
    search_fields = ("=stream", "=who", "pattern", "text")
    list_per_page = 50
    actions = ("mark_right", "mark_wrong", "unmark")
    show_full_result_count = False
    change_list_template = "admin/streaming/moderationhit/change_list.html"
    change_form_template = "admin/streaming/moderationhit/change_form.html"

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
        """The rule, and below it what it did or would have done."""
        name: str = visible(hit.pattern if len(hit.pattern) <= 40 else f"{hit.pattern[:39]}…")
        if hit.rule_id is not None:
            name = format_html('<a href="{}">{}</a>', _address(hit.rule_id), name)
        badge = format_html(' <span class="badge">{}</span>', gettext("on trial")) if hit.on_trial else ""
        return format_html(
            '<div class="piece">{}</div><span class="help">{}</span>{}', name, action_name(hit.action), badge
        )

    @admin.display(description=_("when"), ordering="when")
    def when_short(self, hit: ModerationHit) -> str:
        return formats.date_format(timezone.localtime(hit.when), "SHORT_DATETIME_FORMAT")

    @admin.display(description=_("where"), ordering="upstream")
    def where(self, hit: ModerationHit) -> str:
        channel = "" if hit.channel == "content" and not hit.choice else f", {isolated(hit.channel)} {hit.choice}"
        place = f"{isolated(hit.upstream)}, {hit.get_direction_display()}{channel}"
        links = [(urlencode({"who": hit.who}), visible(hit.who))] if hit.who else []
        links += [(urlencode({"stream": hit.stream}), visible(hit.stream[:8]))] if hit.stream else []
        return format_html("{}<br>{}", place, format_html_join(" · ", '<a href="?{}">{}</a>', links))

    @admin.display(description=_("matched text"))
    def in_context(self, hit: ModerationHit) -> str:
        if hit.digest:
            return format_html("<code>{}…</code>", hit.digest[:12])
        parts = map(visible, (hit.before, hit.text, hit.after))
        return format_html('<bdi class="context">{}<mark>{}</mark>{}</bdi>', *parts)

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return (*self.list_display, _verdict_column(request, may_judge=self.has_judge_permission(request)))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"may_judge": self.has_judge_permission(request)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: Any = super().changelist_view(request, extra_context)
        if (cl := (getattr(response, "context_data", None) or {}).get("cl")) is not None:
            hits = cl.queryset.order_by()
            chart = DailyChart(_counts(hits))
            more = {"chart": chart, "top": list(_top(hits)), "lost": _lost(), "chosen": list(_chosen(request))}
            to_review = ModerationHit.objects.filter(verdict="", action=ModerationRule.Action.FLAG)
            more["to_review"] = to_review.count() if self.has_judge_permission(request) else 0
            response.context_data |= more
        return response  # type: ignore[no-any-return]


def _verdict_column(request: HttpRequest, *, may_judge: bool) -> Any:
    """What was said of each hit; for who may judge, with buttons. They submit the form of the list."""
    query = urlencode({"list": request.GET.urlencode()})

    @admin.display(description=_("right or wrong"), ordering="verdict")
    def verdict(hit: ModerationHit) -> str:
        if not may_judge:
            return hit.get_verdict_display() or "–"
        address = f"{reverse('admin:streaming_moderationhit_judge', args=[hit.pk])}?{query}"
        choices = [(value, label, value == hit.verdict) for value, label in ModerationHit.Verdict.choices]
        buttons = format_html_join(
            "",
            '<button name="verdict" value="{}" formaction="{}" aria-pressed="{}" class="button">{}</button>',
            ((value, address, "true" if chosen else "false", label) for value, label, chosen in choices),
        )
        return format_html('<div class="verdict">{}</div>', buttons)

    return verdict


def _chosen(request: HttpRequest) -> Iterator[tuple[Any, str, str]]:
    """What the list is limited to besides the filters beside it: its name, its value, the address without it."""
    names = {"rule__id__exact": _("rule"), "who": _("user or key"), "stream": _("stream"), "version": _("edition")}
    for name, label in names.items():
        if name in request.GET:
            rest = request.GET.copy()
            value = rest.pop(name)[-1]
            yield label, visible(value[:64]), f"?{rest.urlencode()}"


def _address(rule: int) -> str:
    return reverse("admin:streaming_moderationrule_change", args=[rule])


def _lost() -> dict[str, Any]:
    return LostHits.objects.filter(when__gt=timezone.now() - timedelta(days=DAYS)).aggregate(
        count=Sum("count"), when=Max("when")
    )


def _top(hits: Any) -> Iterator[dict[str, Any]]:
    """The rules with the most hits among those listed; ``address`` is empty for rules that were deleted."""
    wrong = Count("pk", filter=Q(verdict=ModerationHit.Verdict.WRONG))
    rows = hits.values("rule", "pattern", "action").annotate(n=Count("pk"), wrong=wrong)
    found = list(rows.order_by("-n", "pattern")[:TOP])
    there = set(ModerationRule.objects.filter(pk__in=[row["rule"] for row in found]).values_list("pk", flat=True))
    most = max((row["n"] for row in found), default=1)
    for row in found:
        address = _address(row["rule"]) if row["rule"] in there else ""
        yield {**row, "address": address, "most": most, "label": action_name(row["action"])}


def _counts(hits: Any) -> dict[date, int]:
    """The number of hits on each of the last days."""
    # A query for each day: each reads only the index, where grouping by day would call a function for each hit.
    return {day: _count_on(hits, day) for day in (first_day() + timedelta(days=n) for n in range(DAYS))}


def _count_on(hits: Any, day: date) -> int:
    midnight = timezone.make_aware(datetime.combine(day, time.min))
    return int(hits.filter(when__gte=midnight, when__lt=midnight + timedelta(days=1)).count())
