"""Import and export: a file is looked at, carried out while a bar grows, and undone with one click."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
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
from streaming.admin.forms import shown
from streaming.gc_pauses import no_long_pauses
from streaming.models import ModerationRule, RuleImport

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[ModerationRule]
else:
    _Base = object

SHOWN = 100
"""Rules of each kind that the preview lists."""

RECENT = 10
POLL_SECONDS = 0.1


class ImportForm(forms.Form):
    """A file, or text; and what holds for the rules of which it does not say so."""

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
            said = gettext("The file has %(size)d MB; at most %(most)d MB can be read.")
            sizes = {"size": -(-file.size // 1_000_000), "most": rule_files.MAX_BYTES // 1_000_000}
            raise forms.ValidationError(said % sizes)
        return file

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "file" in values and not values.get("file") and not (values.get("text") or "").strip():
            self.add_error("file", gettext("Choose a file, or paste the words below."))
        return values

    @property
    def content(self) -> tuple[bytes, str]:
        """What was sent, and what it is called."""
        if file := self.cleaned_data["file"]:
            return file.read(), file.name
        return self.cleaned_data["text"].encode(), gettext("pasted text")

    @property
    def defaults(self) -> dict[str, str]:
        return {name: value for name in ("action", "category") if (value := self.cleaned_data[name])}


class ImportPages(_Base):
    """The pages for it. Import needs the permission to add and to change rules; export, that to see them."""

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=f"streaming_moderationrule_{name}")

        own = [
            page("import/", self.import_view, "import"),
            page("import/<int:pk>/", self.preview_view, "import_preview"),
            page("import/<int:pk>/undo/", self.undo_view, "import_undo"),
            page("export/", self.export_view, "export"),
        ]
        return [*own, *super().get_urls()]

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
                kept = rule_imports.keep(data, name, request.user.get_username(), form.defaults)
                return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import_preview", args=[kept.pk]))
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
        kept = RuleImport.objects.filter(pk=pk).first()
        if kept is None:
            raise Http404
        if kept.state != RuleImport.State.PREVIEW:
            self.message_user(request, gettext("This import was carried out already."), messages.WARNING)
            return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import"))
        if request.method == "POST":
            return self._carried_out(request, kept)
        with no_long_pauses():
            reading = rule_imports.reading_of(kept)
            comparison = rule_imports.compare(reading)
        context = {"kept": kept, "reading": reading, "comparison": comparison, "shown": SHOWN}
        context |= _listed(comparison)
        context["form"] = _FORMS[reading.file_format]
        return self._page(request, "import_preview.html", gettext("Look before you import"), **context)

    def _carried_out(self, request: HttpRequest, kept: RuleImport) -> HttpResponseBase:
        """A page that is sent while the work is done: each step brings another bar, and the last one is seen."""
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": gettext("Import rules")}
        context = {**page, "kept": kept, "media": self.media, "marker": _MARKER}
        whole = render_to_string("admin/streaming/moderationrule/import_progress.html", context, request)
        job = _Job(kept, request.user.pk)
        job.start()
        response = StreamingHttpResponse(_progress_page(whole, job))
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
                undone = rule_imports.undo(done, request.user.pk)
            except rule_imports.NotPossible:
                self.message_user(request, gettext("This import was undone already."), messages.WARNING)
            else:
                self.message_user(request, _said(undone), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:streaming_moderationrule_import"))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        # With a BOM, by which Excel knows that it is UTF-8.
        lines: Iterator[str] = rule_files.write_csv(rule_imports.export())
        response = HttpResponse("\ufeff" + "".join(lines), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="rules-{timezone.now():%Y-%m-%d}.csv"'
        return response


_RULE = ModerationRule()
_FORMS = {"words": _("a word list"), "csv": "CSV", "automod": "Discord AutoMod"}


def _listed(comparison: rule_imports.Comparison) -> dict[str, Any]:
    """The first of each kind, as a person reads them."""
    added = [
        (line, row, shown(_RULE, "kind", row.kind), shown(_RULE, "action", row.action))
        for line, row in comparison.added[:SHOWN]
    ]
    changed = [(change, list(_labelled(change.differences))) for change in comparison.changed[:SHOWN]]
    return {"added": added, "changed": changed, "refused": comparison.refused[:SHOWN]}


def _labelled(differences: dict[str, tuple[Any, Any]]) -> Iterator[tuple[Any, str, str]]:
    for name, (old, new) in differences.items():
        field: Any = ModerationRule._meta.get_field(name)
        yield field.verbose_name, shown(_RULE, name, old), shown(_RULE, name, new)


def _said(undone: rule_imports.Undone) -> str:
    said = gettext("The import is undone. Removed: %(removed)d, restored to what they were before: %(restored)d.")
    said = said % {"removed": undone.removed, "restored": undone.restored}
    if undone.kept:
        said += " " + gettext("Edited since, or deleted, and left as they are: %d.") % undone.kept
    return said


class _Job(threading.Thread):
    """An import that is being carried out; it goes on to its end whoever watches."""

    def __init__(self, kept: RuleImport, user_id: int | None) -> None:
        super().__init__(name="import", daemon=False)
        self._kept = kept
        self._user_id = user_id
        self.done = self.total = 0
        self.comparison: rule_imports.Comparison | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with no_long_pauses():
                self.comparison = rule_imports.carry_out(self._kept, self._user_id, self._progress)
        except Exception as error:  # noqa: BLE001 (it is told on the page)
            self.error = error
        finally:
            connections.close_all()

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total


_MARKER = "<!-- the bars -->"


async def _progress_page(whole: str, job: _Job) -> AsyncIterator[str]:
    before, _, after = whole.partition(_MARKER)
    yield before
    last = None
    while job.is_alive():
        now = (job.done, job.total)
        if now != last:
            last = now
            yield _bar(*now)
        await asyncio.to_thread(job.join, POLL_SECONDS)
    yield _bar(max(job.total, 1), max(job.total, 1))
    yield _outcome(job)
    yield after


def _bar(done: int, total: int) -> str:
    if not total:
        return format_html('<p class="bar"><progress></progress> {}</p>\n', gettext("Reading …"))
    said = gettext("%(done)d of %(total)d") % {"done": done, "total": total}
    return format_html('<p class="bar"><progress value="{}" max="{}"></progress> {}</p>\n', done, total, said)


def _outcome(job: _Job) -> str:
    context = {"job": job, "kept": job._kept, "refused": len(job.comparison.refused) if job.comparison else 0}
    if isinstance(job.error, rule_imports.NotPossible):
        context["reason"] = gettext("This import was carried out already.")
    elif job.error:
        context["reason"] = str(job.error)
    return render_to_string("admin/streaming/moderationrule/import_outcome.html", context)
