"""Work that takes longer than a page should: it runs in a thread, and the page that shows its progress is streamed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import get_language, gettext, ngettext, override

from streaming.gc_pauses import no_long_pauses
from streaming.rule_imports import AlreadyDone, Progress

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

MARKER = "<!-- the bars -->"
"""Where the page is divided: the bars and the outcome are sent between its parts."""

LONG = 5_000
"""With this many rules or more, the work takes seconds."""

POLL_SECONDS = 0.1


class Job(threading.Thread):
    """Does its work to the end even if the page is closed."""

    def __init__(self, name: str, work: Callable[[Progress], Any]) -> None:
        super().__init__(name=name, daemon=False)
        self._work = work
        self.language = get_language() or "en"
        self.done = self.total = 0
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with no_long_pauses(), override(self.language):
                self.result = self._work(self._progress)
        except Exception as error:  # noqa: BLE001 (shown on the page)
            self.error = error
        finally:
            connections.close_all()

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total


class JobPages(_Base):
    """Pages on which a job runs."""

    def run_on_page(
        self, request: HttpRequest, what: str, job: Job, outcome: Callable[[], str]
    ) -> StreamingHttpResponse:
        """Starts the job. Each step appends a bar to the page, and CSS hides all but the last; the outcome ends it."""
        page = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        context = {**page, "title": job.name, "what": what, "marker": MARKER}
        page_html = render_to_string("admin/streaming/moderationrule/progress.html", context, request)
        job.start()
        response = StreamingHttpResponse(_parts(job, page_html, outcome))
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"
        response["Content-Encoding"] = "identity"
        return response


def alerts_too(count: int) -> str:
    """What is said of alerts that were deleted with rules; empty if there were none."""
    if not count:
        return ""
    message = ngettext(
        "%d alert that was only about them was deleted too.",
        "%d alerts that were only about them were deleted too.",
        count,
    )
    return f" {message % count}"


def undo_outcome(job: Job, messages: Callable[[Any], list[str]]) -> str:
    """The end of the page of an undo. Of the messages, which are made from the result, the first is the success."""
    error = gettext("This import was already undone.") if isinstance(job.error, AlreadyDone) else str(job.error or "")
    done = messages(job.result) if job.error is None else []
    context = {"error": error, "done": done[:1], "warnings": done[1:]}
    return render_to_string("admin/streaming/moderationrule/undo_outcome.html", context)


async def _parts(job: Job, page_html: str, outcome: Callable[[], str]) -> AsyncIterator[str]:
    before, _, after = page_html.partition(MARKER)
    yield before
    last = None
    while job.is_alive():
        now = (job.done, job.total)
        if now != last:
            last = now
            yield _bar(job, *now)
        await asyncio.to_thread(job.join, POLL_SECONDS)
    yield _bar(job, max(job.total, 1), max(job.total, 1))
    yield await asyncio.to_thread(_in_language, job.language, outcome)
    yield after


def _in_language(language: str, outcome: Callable[[], str]) -> str:
    try:
        with override(language):  # the request's own is over while its response streams
            return outcome()
    finally:
        connections.close_all()  # of this thread, which no request ends


def _bar(job: Job, done: int, total: int) -> str:
    with override(job.language):
        if not total:
            return format_html('<p class="bar"><progress></progress> {}</p>\n', gettext("Reading …"))
        message = gettext("%(done)d of %(total)d") % {"done": done, "total": total}
    return format_html('<p class="bar"><progress value="{}" max="{}"></progress> {}</p>\n', done, total, message)
