"""Judging hits: right or wrong, what to allow after a wrong one, the queue of flags, and the export."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from streaming.admin.downloads import csv_download
from streaming.editions import RuleEdition, changing
from streaming.models import ModerationHit, ModerationRule, translated
from streaming.moderation import Hit, Moderator, Rule, RuleError, RuleSet
from streaming.moderation.folding import is_word_char
from streaming.visible_text import isolated, visible

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationHit]
else:
    _Base = object

QUEUED = 10
"""How many flags the queue shows at once."""

MAX_NEIGHBOUR = 20

COLUMNS = (
    *("when", "version", "rule_id", "pattern", "action", "on_trial", "category", "upstream", "direction", "channel"),
    *(
        "choice",
        "who",
        "stream",
        "offset",
        "before",
        "text",
        "after",
        "digest",
        "verdict",
        "reviewed_by",
        "reviewed_at",
    ),
)


class HitReview(_Base):
    """Who may change rules may judge hits."""

    def has_judge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("streaming.change_moderationrule") and self.has_view_permission(request)

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"streaming_moderationhit_{name}")

        pages = [
            page("review/", self.review_view, "review"),
            page("export/", self.export_view, "export"),
            page("<int:pk>/judge/", self.judge_view, "judge"),
            page("<int:pk>/allow/", self.allow_view, "allow"),
        ]
        return [*pages, *super().get_urls()]

    @admin.action(description=_("Right: mark the selected hits"), permissions=["judge"])
    def mark_right(self, request: HttpRequest, hits: QuerySet[ModerationHit]) -> None:
        self._mark(request, hits, ModerationHit.Verdict.RIGHT)

    @admin.action(description=_("Wrong: mark the selected hits"), permissions=["judge"])
    def mark_wrong(self, request: HttpRequest, hits: QuerySet[ModerationHit]) -> None:
        self._mark(request, hits, ModerationHit.Verdict.WRONG)

    @admin.action(description=_("Take back what was said of the selected hits"), permissions=["judge"])
    def unmark(self, request: HttpRequest, hits: QuerySet[ModerationHit]) -> None:
        self._mark(request, hits, "")

    def _mark(self, request: HttpRequest, hits: QuerySet[ModerationHit], verdict: str) -> None:
        n = ModerationHit.objects.filter(pk__in=hits.order_by().values("pk")).update(**_judged(request, verdict))
        self.message_user(request, ngettext("%d hit was marked.", "%d hits were marked.", n) % n, messages.SUCCESS)

    def judge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Right or wrong, by the button of a row. After a wrong hit it can be allowed."""
        if not self.has_judge_permission(request):
            raise PermissionDenied
        verdict = request.POST.get("verdict", "")
        if request.method != "POST" or verdict not in ("", *ModerationHit.Verdict.values):
            return _back(request)
        if not ModerationHit.objects.filter(pk=pk).update(**_judged(request, verdict)):
            raise Http404
        if verdict == ModerationHit.Verdict.WRONG and request.user.has_perm("streaming.add_moderationrule"):
            address = reverse("admin:streaming_moderationhit_allow", args=[pk])
            return HttpResponseRedirect(f"{address}?{request.GET.urlencode()}")
        return _back(request)

    def allow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A rule that allows the passage of a wrong hit."""
        if not (self.has_judge_permission(request) and request.user.has_perm("streaming.add_moderationrule")):
            raise PermissionDenied
        hit = ModerationHit.objects.select_related("rule").filter(pk=pk).first()
        if hit is None:
            raise Http404
        form = AllowForm(request.POST if request.method == "POST" else None, hit=hit)
        if request.method == "POST" and form.is_valid() and form.is_new and not self._add(request, form.rule):
            form = AllowForm(request.POST, hit=hit)  # another request was faster, as after a double click
        if request.method == "POST" and form.is_valid():
            message = gettext("“%s” is allowed in all streams that start from now on.") % isolated(form.rule.pattern)
            self.message_user(request, message, messages.SUCCESS)
            return _back(request)
        context = {"form": form, "hit": hit, "back": _back_address(request)}
        return self._review_page(request, "allow.html", gettext("Allow this passage"), **context)

    def _add(self, request: HttpRequest, rule: ModerationRule) -> bool:
        """False if there is such a rule by now."""
        try:
            with changing(RuleEdition.What.ALLOW, who=request.user.get_username()), transaction.atomic():
                rule.save()
                self.log_addition(request, rule, [{"added": {}}])  # type: ignore[arg-type]
        except IntegrityError:
            return False
        return True

    def review_view(self, request: HttpRequest) -> HttpResponse:
        """The flags that nobody has judged, the oldest first."""
        if not self.has_judge_permission(request):
            raise PermissionDenied
        waiting = ModerationHit.objects.filter(verdict="", action=ModerationRule.Action.FLAG)
        hits = list(waiting.select_related("rule").order_by("when", "pk")[:QUEUED])
        title = gettext("Flags to review")
        return self._review_page(request, "review.html", title, hits=hits, count=waiting.count())

    def _review_page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        return render(request, f"admin/streaming/moderationhit/{template}", {**page, **context})

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The hits that the list shows with the same search and filters, on all its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:streaming_moderationhit_changelist"))
        return csv_download("hits", found, COLUMNS)


def _judged(request: HttpRequest, verdict: str) -> dict[str, Any]:
    if not verdict:
        return {"verdict": "", "reviewed_by": "", "reviewed_at": None}
    return {"verdict": verdict, "reviewed_by": request.user.get_username()[:150], "reviewed_at": timezone.now()}


def _back_address(request: HttpRequest) -> str:
    """The page that the button was on: the queue, or the list with its filters. Never another site's."""
    if request.GET.get("from") == "review":
        return reverse("admin:streaming_moderationhit_review")
    filters = QueryDict(request.GET.get("list", "")).urlencode()
    return f"{reverse('admin:streaming_moderationhit_changelist')}?{filters}"


def _back(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(_back_address(request))


class AllowForm(forms.Form):
    """The pattern of an allow rule: one of the passages around a hit, or another."""

    passage = forms.ChoiceField(label=_("Passage"), widget=forms.RadioSelect, required=False)
    other = forms.CharField(
        label=_("or another one"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField", "spellcheck": "false", "dir": "auto"}),
    )

    def __init__(self, *args: Any, hit: ModerationHit, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hit = hit
        self.is_new = True
        self.passages = passages(hit)
        self.fields["passage"].choices = [(each, visible(each)) for each in self.passages]  # type: ignore[attr-defined]
        self.fields["passage"].initial = self.passages[0] if self.passages else None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        pattern = " ".join((values.get("other") or values.get("passage") or "").split())
        if not self.errors and not pattern:
            raise ValidationError(gettext("Choose a passage, or write one."))
        self.rule = _allow_rule(self._hit, pattern)
        if not self.errors:
            self._find_the_same()
            self._check_rule()
            self._check_that_it_helps()
        return values

    def _find_the_same(self) -> None:
        """The passage may be allowed already, after another hit."""
        same = ModerationRule.objects.filter(fingerprint=self.rule.make_fingerprint(), rule_list=None).first()
        if same and same.action == ModerationRule.Action.ALLOW and _is_in_force_everywhere(same):
            self.rule, self.is_new = same, False
        elif same:
            message = gettext("There is a rule with this passage already: %s. Change that one.") % same
            raise ValidationError(message)

    def _check_rule(self) -> None:
        try:
            self.rule.full_clean()
        except ValidationError as error:
            raise ValidationError(error.messages) from error

    def _check_that_it_helps(self) -> None:
        try:
            if self._hit.text and not allows(self.rule.as_value(), self._hit):
                raise ValidationError(gettext("With this passage the text would still be a hit."))
        except RuleError as error:
            raise ValidationError(translated(error)) from error


def _is_in_force_everywhere(rule: ModerationRule) -> bool:
    """Whether it acts in all streams from now on, like a rule that is made here."""
    has_begun = rule.valid_from is None or rule.valid_from <= timezone.now()
    is_limited = rule.upstreams or rule.only_for or rule.applies_to != ModerationRule.Scope.BOTH or rule.valid_until
    return rule.enabled and not rule.on_trial and has_begun and not is_limited


def _allow_rule(hit: ModerationHit, pattern: str) -> ModerationRule:
    note = gettext("After a wrong hit of rule %(rule)s on %(when)s.")
    when = timezone.localtime(hit.when)
    values = {"rule": hit.rule_id or "–", "when": f"{when:%Y-%m-%d %H:%M}"}
    compare = ModerationRule.Compare.EXACT if _compare(hit) == "exact" else ModerationRule.Compare.NORMAL
    return ModerationRule(pattern=pattern, action="allow", compare=compare, note=note % values)


def _compare(hit: ModerationHit) -> str:
    rule = _rule(hit)
    return rule.compare if rule else "normal"


def _rule(hit: ModerationHit) -> ModerationRule | None:
    """The rule that was hit; None if it was deleted."""
    return ModerationRule.objects.filter(pk=hit.rule_id).first() if hit.rule_id else None


def passages(hit: ModerationHit) -> list[str]:
    """Passages around a hit that would allow it, the shortest first: its word, with its neighbours, all of it."""
    if not hit.text:
        return []
    found = [
        _word_end(hit.before) + hit.text + _word_start(hit.after),
        _neighbour_before(hit.before) + hit.text + _neighbour_after(hit.after),
        hit.before + hit.text + hit.after,
    ]
    tidy = dict.fromkeys(" ".join(each.split()) for each in found)
    return [each for each in tidy if each != " ".join(hit.text.split()) and _helps(each, hit)] or [hit.text.strip()]


def _helps(passage: str, hit: ModerationHit) -> bool:
    try:
        return allows(
            Rule("allow", passage, action="allow", compare="exact" if _compare(hit) == "exact" else "normal"), hit
        )
    except RuleError:
        return False


def allows(allow: Rule, hit: ModerationHit) -> bool:
    """Whether with this allow rule the hit's rule would not hit its passage."""
    rule = _rule(hit)
    value = rule.as_value() if rule else Rule("gone", hit.pattern)
    rule_set = RuleSet([replace(value, on_trial=False, action="flag"), replace(allow, id="allow")])
    moderator, start = Moderator(rule_set, "markdown"), len(hit.before)
    outcomes = [*moderator.feed(hit.before + hit.text + hit.after), *moderator.finish()]
    return not any(
        isinstance(each, Hit) and each.start < start + len(hit.text) and start < each.end for each in outcomes
    )


def _word_end(before: str) -> str:
    at = len(before)
    while at and is_word_char(before[at - 1]) and not _stands_alone(before[at - 1]):
        at -= 1
    return before[at:]


def _word_start(after: str) -> str:
    at = 0
    while at < len(after) and is_word_char(after[at]) and not _stands_alone(after[at]):
        at += 1
    return after[:at]


def _stands_alone(char: str) -> bool:
    """Whether words of its script have no spaces between them (Chinese, Japanese, Thai ...), or it is their sign."""
    ranges = (("\u0e00", "\u0eff"), ("\u3000", "\u30ff"), ("\u3400", "\u9fff"), ("\uff00", "\uffef"))
    return any(first <= char <= last for first, last in ranges)


def _neighbour_before(before: str) -> str:
    if before and _stands_alone(before[-1]):
        return before[-2:]
    words = before.split()
    return "" if not words else (words[-1][-MAX_NEIGHBOUR:] + (" " if before[-1:].isspace() else ""))


def _neighbour_after(after: str) -> str:
    if after and _stands_alone(after[0]):
        return after[:2]
    words = after.split()
    return "" if not words else ((" " if after[:1].isspace() else "") + words[0][:MAX_NEIGHBOUR])
