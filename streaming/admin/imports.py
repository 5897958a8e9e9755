"""The pages for import (preview, progress bar, undo) and export."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from streaming import rule_files, rule_imports
from streaming.admin.forms import display_value
from streaming.editions import changing
from streaming.gc_pauses import no_long_pauses
from streaming.models import ModerationRule, RuleImport

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationRule]
else:
    _Base = object

PREVIEW_ROWS = 100
"""How many added, changed and refused rules the preview lists."""

RECENT = 10
POLL_SECONDS = 0.1


class ImportForm(forms.Form):
    """A file or text, and the action and category of rules for which it gives none."""

    file = forms.FileField(label=_("File"), required=False, allow_empty_file=True)
    text = forms.CharField(
        label=_("or text"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField", "spellcheck": "false"}),
    )
    action = forms.ChoiceField(label=_("Action"), choices=ModerationRule.Action.choices, initial="mask")
    category = forms.CharField(label=_("Category"), max_length=50, required=False)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > rule_files.MAX_BYTES:
            message = gettext("The file has %(size)d MB; at most %(most)d MB can be read.")
            sizes = {"size": -(-file.size // 1_000_000), "most": rule_files.MAX_BYTES // 1_000_000}
            raise forms.ValidationError(message % sizes)
        return file

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "file" in values and not values.get("file") and not (values.get("text") or "").strip():
            self.add_error("file", gettext("Choose a file, or paste the words below."))
        return values

    @property
    def content(self) -> tuple[bytes, str]:
        """The uploaded bytes and their name."""
        if file := self.cleaned_data["file"]:
            return file.read(), file.name
        return self.cleaned_data["text"].encode(), gettext("pasted text")

    @property
    def defaults(self) -> dict[str, str]:
        return {name: value for name in ("action", "category") if (value := self.cleaned_data[name])}


class ImportPages(_Base):
    """The pages. Import needs the permissions to add and to change rules; export, the permission to view them."""

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"streaming_moderationrule_{name}")

        pages = [
            page("import/", self.import_view, "import"),
            page("import/<int:pk>/", self.preview_view, "import_preview"),
            page("import/<int:pk>/undo/", self.undo_view, "import_undo"),
            page("export/", self.export_view, "export"),
        ]
        return [*pages, *super().get_urls()]

    def _check_may_import(self, request: HttpRequest) -> None:
        if not self.has_import_permission(request):
            raise PermissionDenied

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = {"has_import_permission": self.has_import_permission(request)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def import_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_import(request)
        form = ImportForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            data, name = form.content
            try:
                with no_long_pauses():
                    rule_files.read(data, form.defaults)
                rule_import = rule_imports.save_preview(data, name, request.user.get_username(), form.defaults)
                return HttpResponseRedirect(
                    reverse("admin:streaming_moderationrule_import_preview", args=[rule_import.pk])
                )
            except rule_files.FileError as error:
                where = gettext("Line %d: ") % error.line if error.line else ""
                form.add_error("file" if form.cleaned_data["file"] else "text", f"{where}{error}")
        recent = RuleImport.objects.exclude(state=RuleImport.State.PREVIEW).defer("data", "before")[:RECENT]
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
        if request.method == "POST":
            return self._start_import(request, rule_import)
        with no_long_pauses():
            parsed = rule_imports.read_preview(rule_import)
            comparison = rule_imports.compare(parsed)
        context = {"rule_import": rule_import, "parsed": parsed, "comparison": comparison, "max_rows": PREVIEW_ROWS}
        context |= _preview_lists(comparison)
        context["file_format"] = _FORMAT_NAMES[parsed.file_format]
        return self._page(request, "import_preview.html", gettext("Import preview"), **context)

    def _start_import(self, request: HttpRequest, rule_import: RuleImport) -> HttpResponseBase:
        """A page that is streamed during the import: each step appends a bar, and CSS hides all but the last."""
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": gettext("Import rules")}
        context = {**page, "rule_import": rule_import, "media": self.media, "marker": _MARKER}
        page_html = render_to_string("admin/streaming/moderationrule/import_progress.html", context, request)
        job = _ImportThread(rule_import, request.user.pk)
        job.start()
        response = StreamingHttpResponse(_progress_page(page_html, job))
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"
        response["Content-Encoding"] = "identity"
        return response

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        self._check_may_import(request)
        if not self.has_delete_permission(request):
            raise PermissionDenied
        done = RuleImport.objects.filter(pk=pk).first()
        if request.method == "POST" and done:
            try:
                with changing(who=request.user.get_username()):
                    undone = rule_imports.undo(done, request.user.pk)
            except rule_imports.AlreadyDone:
                self.message_user(request, gettext("This import was already undone."), messages.WARNING)
            else:
                self.message_user(request, _undo_message(undone), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import"))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The rules that the list shows with the same search and filters, on all its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rules = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{reverse('admin:streaming_moderationrule_changelist')}?{ERROR_FLAG}=1")
        # With a BOM, from which Excel recognizes UTF-8.
        lines: Iterator[str] = rule_files.write_csv(rule_imports.export(rules))
        response = HttpResponse("\ufeff" + "".join(lines), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="rules-{timezone.now():%Y-%m-%d}.csv"'
        return response


_FORMAT_NAMES = {"words": _("a word list"), "csv": "CSV", "automod": "Discord AutoMod"}


def _preview_lists(comparison: rule_imports.Comparison) -> dict[str, Any]:
    """The first items of each kind, with values as text for a person."""
    added = [
        (line, row, display_value("kind", row.kind), display_value("action", row.action))
        for line, row in comparison.added[:PREVIEW_ROWS]
    ]
    changed = [(change, list(_labelled(change.differences))) for change in comparison.changed[:PREVIEW_ROWS]]
    return {"added": added, "changed": changed, "refused": comparison.refused[:PREVIEW_ROWS]}


def _labelled(differences: dict[str, tuple[Any, Any]]) -> Iterator[tuple[Any, str, str]]:
    for name, (old, new) in differences.items():
        field: Any = ModerationRule._meta.get_field(name)
        yield field.verbose_name, display_value(name, old), display_value(name, new)


def _undo_message(undone: rule_imports.Undone) -> str:
    message = gettext("The import was undone. Removed: %(removed)d, restored to their previous values: %(restored)d.")
    message = message % {"removed": undone.removed, "restored": undone.restored}
    if undone.kept:
        message += " " + gettext("Not undone because they were edited or deleted since: %d.") % undone.kept
    return message


class _ImportThread(threading.Thread):
    """Carries out an import; it continues to the end even if the page is closed."""

    def __init__(self, rule_import: RuleImport, user_id: int | None) -> None:
        super().__init__(name="import", daemon=False)
        self._rule_import = rule_import
        self._user_id = user_id
        self.done = self.total = 0
        self.comparison: rule_imports.Comparison | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with no_long_pauses():
                self.comparison = rule_imports.carry_out(self._rule_import, self._user_id, self._progress)
        except Exception as error:  # noqa: BLE001 (shown on the page)
            self.error = error
        finally:
            connections.close_all()

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total


_MARKER = "<!-- the bars -->"


async def _progress_page(page_html: str, job: _ImportThread) -> AsyncIterator[str]:
    before, _, after = page_html.partition(_MARKER)
    yield before
    last = None
    while job.is_alive():
        now = (job.done, job.total)
        if now != last:
            last = now
            yield _bar(*now)
        await asyncio.to_thread(job.join, POLL_SECONDS)
    yield _bar(max(job.total, 1), max(job.total, 1))
    yield _render_outcome(job)
    yield after


def _bar(done: int, total: int) -> str:
    if not total:
        return format_html('<p class="bar"><progress></progress> {}</p>\n', gettext("Reading …"))
    message = gettext("%(done)d of %(total)d") % {"done": done, "total": total}
    return format_html('<p class="bar"><progress value="{}" max="{}"></progress> {}</p>\n', done, total, message)


def _render_outcome(job: _ImportThread) -> str:
    context = {
        "job": job,
        "rule_import": job._rule_import,
        "refused": len(job.comparison.refused) if job.comparison else 0,
    }
    if isinstance(job.error, rule_imports.AlreadyDone):
        context["reason"] = gettext("This import was already carried out.")
    elif job.error:
        context["reason"] = str(job.error)
    return render_to_string("admin/streaming/moderationrule/import_outcome.html", context)
