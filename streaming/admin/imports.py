"""The pages for import (preview, progress bar, undo) and export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from streaming import clean_samples, import_undo, rule_exports, rule_files, rule_imports
from streaming.admin.forms import display_value
from streaming.admin.import_forms import ChoicesForm, ImportForm, PreviewForm
from streaming.admin.jobs import LONG, Job, JobPages, alerts_too, undo_outcome
from streaming.gc_pauses import no_long_pauses
from streaming.models import HitAlert, ModerationHit, ModerationRule, RuleImport, RuleList
from streaming.rule_comparison import Comparison
from streaming.visible_text import isolated

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationRule]
else:
    _Base = object

PREVIEW_ROWS = 100
"""How many added, changed and refused rules the preview lists."""

MAX_ALERTS_LISTED = 20

RECENT = 10
RECENT_HITS = 1000


class ImportPages(JobPages):
    """The pages. Import needs the permissions to add and to change rules; export, the permission to view them."""

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"streaming_moderationrule_{name}")

        pages = [
            page("import/", self.import_view, "import"),
            page("import/<int:pk>/", self.preview_view, "import_preview"),
            page("import/<int:pk>/refused/", self.refused_view, "import_refused"),
            page("import/<int:pk>/undo/", self.undo_view, "import_undo"),
            page("export/", self.export_view, "export"),
        ]
        return [*pages, *super().get_urls()]

    def _check_may_import(self, request: HttpRequest) -> None:
        if not self.has_import_permission(request):
            raise PermissionDenied

    def _check_may_replace(self, request: HttpRequest, form: ChoicesForm) -> None:
        if form.cleaned_data["replaces"] and not self.has_delete_permission(request):
            raise PermissionDenied

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def are_kept(self, request: HttpRequest, alerts: list[HitAlert]) -> bool:
        """Whether rules cannot be deleted because these alerts, which would go with them, are not this person's to."""
        if not alerts or request.user.has_perm("streaming.delete_hitalert"):
            return False
        message = ngettext(
            "Nothing was deleted: %d alert is only about these rules, and you may not delete alerts.",
            "Nothing was deleted: %d alerts are only about these rules, and you may not delete alerts.",
            len(alerts),
        )
        self.message_user(request, message % len(alerts), messages.ERROR)
        return True

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = {"has_import_permission": self.has_import_permission(request)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def import_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_import(request)
        form = ImportForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            data, name = form.content
            self._check_may_replace(request, form)
            try:
                with no_long_pauses():
                    rule_files.read(data, form.defaults, form.answers, name)
                rule_import = rule_imports.save_preview(
                    *(data, name, request.user.get_username(), form.defaults, form.answers),
                    replaces=form.cleaned_data["replaces"],
                )
                return HttpResponseRedirect(
                    reverse("admin:streaming_moderationrule_import_preview", args=[rule_import.pk])
                )
            except rule_files.FileError as error:
                where = gettext("Line %d: ") % error.line if error.line else ""
                form.add_error("file" if form.cleaned_data["file"] else "text", f"{where}{error}")
        recent = RuleImport.objects.exclude(state=RuleImport.State.PREVIEW).defer("data", "before", "refused")[:RECENT]
        return self._page(request, "import.html", gettext("Import rules"), form=form, recent=recent)

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, "media": self.media}
        return render(request, f"admin/streaming/moderationrule/{template}", {**page, **context})

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        self._check_may_import(request)
        rule_import = RuleImport.objects.filter(pk=pk).first()
        if rule_import is None:
            raise Http404
        if rule_import.state != RuleImport.State.PREVIEW:
            self.message_user(request, gettext("This import was already carried out."), messages.WARNING)
            return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import"))
        if rule_imports.replaced_list(rule_import) and not self.has_delete_permission(request):
            raise PermissionDenied
        with no_long_pauses():
            return self._previewed(request, rule_import)

    def _previewed(self, request: HttpRequest, rule_import: RuleImport) -> HttpResponseBase:
        parsed = rule_imports.read_preview(rule_import)
        form = PreviewForm(rule_import, parsed, request.POST if "_update" in request.POST else None)
        if "_update" in request.POST and form.is_valid():
            self._check_may_replace(request, form)
            rule_import.defaults = form.defaults
            options = rule_imports.options_of(form.answers, replaces=form.cleaned_data["replaces"])
            rule_import.options = {**rule_import.options, **options}
            rule_import.save(update_fields=["defaults", "options"])
            return HttpResponseRedirect(request.path)
        is_started = request.method == "POST" and "_update" not in request.POST and not form.asks
        if is_started and not rule_imports.replaced_list(rule_import):
            return self._start_import(request, rule_import)
        comparison = rule_imports.compare_import(rule_import, parsed)
        alerts = _alerts_of(comparison.removed)
        if is_started:
            kept = self.are_kept(request, alerts)
            return HttpResponseRedirect(request.path) if kept else self._start_import(request, rule_import)
        context = {"rule_import": rule_import, "parsed": parsed, "comparison": comparison, "max_rows": PREVIEW_ROWS}
        context |= {**_preview_lists(comparison), **_warnings(comparison, request.user), "form": form}
        context |= {"alerts": alerts[:MAX_ALERTS_LISTED], "number_of_alerts": len(alerts)}
        context["file_format"] = _FORMAT_NAMES[parsed.file_format]
        return self._page(request, "import_preview.html", gettext("Import preview"), **context)

    def refused_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """All refusals as a table for a spreadsheet."""
        self._check_may_import(request)
        rule_import = RuleImport.objects.filter(pk=pk).first()
        if rule_import is None:
            raise Http404
        lines = rule_files.write_refusals(rule_imports.refusals_of(rule_import))
        response = HttpResponse("\ufeff" + "".join(lines), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="refused-{pk}.csv"'
        return response

    def _start_import(self, request: HttpRequest, rule_import: RuleImport) -> HttpResponseBase:
        what = gettext("%(name)s is being imported. The import continues if you leave this page.")
        user_id, rule_import.who = request.user.pk, request.user.get_username()  # another may have sent the file
        job = Job(gettext("Import rules"), lambda progress: rule_imports.carry_out(rule_import, user_id, progress))
        return self.run_on_page(
            request, what % {"name": isolated(rule_import.name)}, job, lambda: _outcome(job, rule_import)
        )

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        self._check_may_import(request)
        if not self.has_delete_permission(request):
            raise PermissionDenied
        done = RuleImport.objects.filter(pk=pk).first()
        if request.method == "POST" and done:
            try:
                if done.added + done.changed + done.removed >= LONG:
                    return self._undo_on_page(request, done)
                undone = import_undo.undo(done, request.user)
            except rule_imports.AlreadyDone:
                self.message_user(request, gettext("This import was already undone."), messages.WARNING)
            else:
                self.message_user(request, _undo_message(undone), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import"))

    def _undo_on_page(self, request: HttpRequest, done: RuleImport) -> HttpResponseBase:
        user = request.user
        what = gettext("The import of %s is being undone.") % isolated(done.name)
        what = f"{what} {gettext('This continues if you leave this page.')}"
        job = Job(gettext("Undo this import"), lambda progress: import_undo.undo(done, user, progress))
        return self.run_on_page(request, what, job, lambda: undo_outcome(job, lambda undone: [_undo_message(undone)]))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The rules that the list shows with the same search and filters, on all its pages, and their lists."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rules = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{reverse('admin:streaming_moderationrule_changelist')}?{ERROR_FLAG}=1")
        # With a BOM, from which Excel recognizes UTF-8.
        lines = [
            *rule_files.write_lists(rule_exports.export_lists(rules)),
            *rule_files.write_csv(rule_exports.export(rules)),
        ]
        response = HttpResponse("\ufeff" + "".join(lines), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="rules-{timezone.now():%Y-%m-%d}.csv"'
        return response


_FORMAT_NAMES = {
    "words": _("a word list"),
    "csv": "CSV",
    "json": "JSON",
    "yaml": "YAML",
    "toml": "TOML",
    "automod": "Discord AutoMod",
    "gitleaks": "gitleaks",
    "trufflehog": "TruffleHog",
    "presidio": "Presidio",
    "litellm": "LiteLLM",
}

MAX_WARNINGS = 20


def _warnings(comparison: Comparison, user: Any) -> dict[str, Any]:
    """The new rules that match in clean texts, and those that are very short."""
    rows = [*comparison.added, *((change.line, change.row) for change in comparison.changed)]
    texts = clean_samples.clean_texts()
    recent = "\n\n".join(recent_texts(user))
    matches = clean_samples.find_matches(rows, texts | ({gettext("recent answers"): recent} if recent else {}))
    short = clean_samples.too_short(rows)
    return {
        "clean_matches": matches[:MAX_WARNINGS],
        "matching": len(matches),
        "clean_count": sum(each.count for each in matches),
        "clean_languages": len(clean_samples.languages()),
        "short": short[:MAX_WARNINGS],
        "too_short": len(short),
    }


def _preview_lists(comparison: Comparison) -> dict[str, Any]:
    """The first items of each kind, with values as text for a person."""
    added = [
        (line, row, display_value("kind", row.kind), display_value("action", row.action))
        for line, row in comparison.added[:PREVIEW_ROWS]
    ]
    changed = [(change, list(_labelled(change.differences))) for change in comparison.changed[:PREVIEW_ROWS]]
    removed = [name for _, name in comparison.removed[:PREVIEW_ROWS]]
    return {"added": added, "changed": changed, "removed": removed, "refused": comparison.refused[:PREVIEW_ROWS]}


def _alerts_of(removed: list[tuple[int, str]]) -> list[HitAlert]:
    """The alerts that are only about one of these rules, and are deleted with it."""
    pks = {pk for pk, _name in removed}
    return [alert for alert in HitAlert.objects.exclude(rule=None) if alert.rule_id in pks] if pks else []


def _labelled(differences: dict[str, tuple[Any, Any]]) -> Iterator[tuple[Any, str, str]]:
    for name, (old, new) in differences.items():
        field: Any = ModerationRule._meta.get_field(name)
        yield field.verbose_name, display_value(name, old), display_value(name, new)


def recent_texts(user: Any) -> list[str]:
    """The texts around the latest hits, as far as they are kept and this user may see them."""
    if not user.has_perm("streaming.view_moderationhit"):
        return []
    hits = ModerationHit.objects.exclude(text="").order_by("-when", "-pk").values_list("before", "text", "after")
    return ["".join(parts) for parts in hits[:RECENT_HITS]]


def _undo_message(undone: import_undo.Undone) -> str:
    message = gettext("The import was undone. Removed: %(removed)d, restored to their previous values: %(restored)d.")
    message = message % {"removed": undone.removed, "restored": undone.restored} + alerts_too(undone.alerts)
    if undone.kept:
        left = gettext("Not undone because they were edited or deleted since, or are no longer kept: %d.")
        message += " " + left % undone.kept
    return message


def _outcome(job: Job, rule_import: RuleImport) -> str:
    """The end of the page of an import."""
    name = rule_import.defaults.get("rule_list", "")
    context = {
        "comparison": job.result,
        "rule_import": rule_import,
        "refused": len(job.result.refused) if job.result else 0,
        "waiting_list": RuleList.objects.filter(name=name, enabled=False).first() if name else None,
    }
    if isinstance(job.error, rule_imports.AlreadyDone):
        context["reason"] = gettext("This import was already carried out.")
    elif isinstance(job.error, rule_imports.Unanswered):
        context["reason"] = gettext("The questions about the file are not answered yet.")
    elif job.error:
        context["reason"] = str(job.error)
    return render_to_string("admin/streaming/moderationrule/import_outcome.html", context)
