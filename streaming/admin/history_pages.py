"""The pages of the editions (list, comparison, undo, bring back) and of deleted rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext

from streaming import rule_history
from streaming.admin.forms import display_value
from streaming.admin.jobs import LONG, Job, JobPages, alerts_too, undo_outcome
from streaming.editions import KEEP_DAYS, Edition, Revision, RuleEdition, changing
from streaming.models import ModerationRule, RuleList
from streaming.rule_history import MODELS, Difference
from streaming.visible_text import isolated

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

PER_PAGE = 50
MAX_LISTED = 100
"""How many differences a comparison lists; it counts all."""

MAX_NUMBER = 2**63 - 1


class RecordsWho(_Base):
    """What a person changes with one click is one edition, with his or her name."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        with _recording(request):
            return super().changelist_view(request, extra_context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with _recording(request, locks=True):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with _recording(request, RuleEdition.What.DELETE, locks=True):
            return super().delete_view(request, *args, **kwargs)


@contextmanager
def _recording(request: HttpRequest, what: str = "", *, locks: bool = False) -> Iterator[None]:
    """One edition and one transaction: Django's list checks its forms, which lock the edition, before it begins one.

    ``locks`` lets the same form, sent twice at once, be checked a second time only when the first has been saved.
    """
    if request.method != "POST":
        yield
        return
    with changing(what, who=request.user.get_username()), transaction.atomic():
        if locks:
            Edition.lock()
        yield


class HistoryPages(JobPages):
    """The pages. To see them needs the permission to view rules; to change anything, all permissions for rules."""

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"streaming_moderationrule_{name}")

        pages = [
            page("editions/", self.editions_view, "editions"),
            page("editions/compare/", self.compare_view, "compare"),
            page("editions/<int:number>/undo/", self.undo_edition_view, "undo_edition"),
            page("editions/<int:number>/bring-back/", self.bring_back_view, "bring_back"),
            page("deleted/", self.deleted_view, "deleted"),
        ]
        return [*pages, *super().get_urls()]

    def _may_change_all(self, request: HttpRequest) -> bool:
        may = self.has_add_permission(request), self.has_change_permission(request), self.has_delete_permission(request)
        return all(may)

    def _check_may_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _history_page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        may = {"may_change": self._may_change_all(request), "keep_days": KEEP_DAYS}
        return render(request, f"admin/streaming/moderationrule/{template}", {**page, **may, **context})

    def editions_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_view(request)
        editions = Paginator(RuleEdition.objects.all(), PER_PAGE).get_page(request.GET.get("page"))
        oldest = RuleEdition.objects.order_by("number").first()
        rows = [(each, _what(each)) for each in editions]
        title = gettext("Editions of the rules")
        newest = ModerationRule.objects.version()
        return self._history_page(
            request, "editions.html", title, rows=rows, page_obj=editions, newest=newest, oldest=oldest
        )

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_view(request)
        newest = ModerationRule.objects.version()
        since, until = (_number(request.GET.get(name)) for name in ("from", "to"))
        since = max(newest - 1, 0) if since is None else since
        if until is not None and until < since:
            since, until = until, since
        until = None if until is None or until >= newest else until
        comparison = rule_history.Comparison(since, until)
        return self._history_page(
            request,
            "compare.html",
            gettext("Compare editions"),
            comparison=comparison,
            until=newest if until is None else until,
            newest=newest,
            is_known=rule_history.can_bring_back(since),
            edition=RuleEdition.objects.filter(number=since + 1).first() if (until or newest) == since + 1 else None,
            rows=[(each, list(_labelled(each))) for each in comparison.differences(MAX_LISTED)],
            max_rows=MAX_LISTED,
        )

    def undo_edition_view(self, request: HttpRequest, number: int) -> HttpResponseBase:
        done = gettext("Edition %d was undone.") % number
        size = rule_history.changes_of(number) if number <= MAX_NUMBER else 0
        return self._put_back(request, number, rule_history.undo, done, size)

    def bring_back_view(self, request: HttpRequest, number: int) -> HttpResponseBase:
        done = gettext("The rules are those of edition %d again.") % number
        size = rule_history.changes_since(number) if number <= MAX_NUMBER else 0
        return self._put_back(request, number, rule_history.bring_back, done, size)

    def _put_back(self, request: HttpRequest, number: int, put_back: Any, message: str, size: int) -> HttpResponseBase:
        if not self._may_change_all(request):
            raise PermissionDenied
        if request.method == "POST":
            first = number - (put_back is rule_history.undo)
            if number > ModerationRule.objects.version() or not rule_history.can_bring_back(first):
                text = gettext("What was changed then is no longer kept: changes are kept for %d days.") % KEEP_DAYS
                self.message_user(request, text, messages.ERROR)
            elif size >= LONG:
                return self._put_back_on_page(request, number, put_back, message)
            else:
                self._report(request, message, put_back(number, request.user))
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_editions"))

    def _put_back_on_page(self, request: HttpRequest, number: int, put_back: Any, message: str) -> HttpResponseBase:
        user = request.user
        if put_back is rule_history.undo:
            title, what = gettext("Undo edition %d"), gettext("Edition %d is being undone.")
        else:
            title, what = gettext("Bring back edition %d"), gettext("Edition %d is being brought back.")
        what = f"{what % number} {gettext('This continues if you leave this page.')}"
        job = Job(title % number, lambda progress: put_back(number, user, progress))
        return self.run_on_page(
            request, what, job, lambda: undo_outcome(job, lambda outcome: _messages(message, outcome))
        )

    def _report(self, request: HttpRequest, message: str, outcome: rule_history.Outcome) -> None:
        levels = (messages.SUCCESS, messages.WARNING)
        for level, text in zip(levels, _messages(message, outcome), strict=False):
            self.message_user(request, text, level)

    def deleted_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_view(request)
        if request.method == "POST":
            return self._restore(request)
        words = request.GET.get("q", "").replace("\0", "")  # which PostgreSQL refuses
        found = rule_history.deleted()
        found = rule_history.revisions_named(found, words) if words else found
        page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
        rows = [(each, _deleted(each)) for each in page]
        return self._history_page(
            request, "deleted.html", gettext("Deleted rules"), rows=rows, page_obj=page, words=words
        )

    def _restore(self, request: HttpRequest) -> HttpResponse:
        if not self._may_change_all(request):
            raise PermissionDenied
        chosen = [int(pk) for pk in request.POST.getlist("revision") if pk.isdecimal() and len(pk) < 19][:PER_PAGE]
        if not chosen:
            self.message_user(request, gettext("Choose the rules to restore."), messages.WARNING)
        else:
            outcome = rule_history.restore(rule_history.deleted().filter(pk__in=chosen), request.user)
            n = outcome.restored
            self._report(request, ngettext("%d was restored.", "%d were restored.", n) % n, outcome)
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_deleted"))


def _messages(message: str, outcome: rule_history.Outcome) -> list[str]:
    """What was done, and a warning if not all could be."""
    counts = gettext("As they were: %(restored)d; removed: %(removed)d.")
    text = f"{message} {counts % {'restored': outcome.restored, 'removed': outcome.removed}}"
    text += alerts_too(outcome.alerts)
    if outcome.edited_since:
        text += " " + gettext("Left as they are, because they were changed again later: %d.") % outcome.edited_since
    if not outcome.skipped:
        return [text]
    names = ", ".join(outcome.skipped[:5]) + (" …" if len(outcome.skipped) > 5 else "")
    taken = gettext("Not restored, because there is another rule with the same pattern, or list with the same name: %s")
    return [text, taken % names]


def _number(given: str | None) -> int | None:
    if not given:
        return None
    if not given.isdecimal() or len(given) > 18:
        raise Http404
    return int(given)


def _what(edition: RuleEdition) -> str:
    detail = f" {isolated(edition.detail)}" if edition.detail else ""
    return f"{edition.get_what_display()}{detail}"


def _labelled(difference: Difference) -> Iterator[tuple[Any, str, str]]:
    model = MODELS[difference.kind]
    for name, old, new in difference.changes():
        yield model._meta.get_field(name).verbose_name, _shown(model, name, old), _shown(model, name, new)


def _shown(model: Any, name: str, value: Any) -> str:
    if name == "rule_list":
        found = RuleList.objects.filter(pk=value).first() if value else None
        return str(found) if found else display_value(name, value, model)
    return display_value(name, value, model)


def _deleted(revision: Revision) -> dict[str, Any]:
    values = {each: (revision.before or {}).get(each, "") for each in ("pattern", "category")}
    action = (revision.before or {}).get("action", ModerationRule.Action.MASK)
    return {**values, "action": display_value("action", action)}
