"""The page of what runs now, in all workers. It is live over an event stream, and has a button to stop each stream."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _

from streaming import open_streams, registry
from streaming.live_stream import LiveStream
from streaming.models import UsageRecord
from streaming.relay import EncodedRelay
from streaming.responses import EventStreamResponse, label_of
from streaming.sse import Message, encode
from streaming.visible_text import visible

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[UsageRecord]
else:
    _Base = object

SECONDS = 1.0
"""Between two lists."""

MAX_LISTS = 300
"""After so many the page connects again, and is asked again whether it may."""


class OpenStreamsPage(_Base):
    """The page, its event stream, and the button."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("open/", view(self.open_view), name="streaming_usagerecord_open"),
            path("open/events", self.events_view, name="streaming_usagerecord_open_events"),
            path("open/stop/", view(self.stop_view), name="streaming_usagerecord_stop"),
            *super().get_urls(),
        ]

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("streaming.stop_streams"))

    def open_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = async_to_sync(open_streams.everywhere)()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Open streams"),
            "media": self.media,
            "open": found,
            "may_stop": self.has_stop_permission(request),
        }
        return render(request, "admin/streaming/usagerecord/open.html", context)

    async def events_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list, each second. Not wrapped by ``admin_view``, which calls views in a thread: it asks the same."""
        if not await sync_to_async(self._may_read)(request):
            raise PermissionDenied
        stream = LiveStream(_Lists(), EncodedRelay(), label=label_of(request))
        return registry.watch(EventStreamResponse(request, stream))

    def _may_read(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request) and self.has_view_permission(request)

    def stop_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request) or not self.has_stop_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if async_to_sync(open_streams.stop)(request.POST.get("key", "")):
            messages.success(request, _("The stream ends within a second."))
        else:
            messages.warning(request, _("This stream has ended already."))
        return HttpResponseRedirect(reverse("admin:streaming_usagerecord_open"))


def _row(stream: open_streams.OpenStream) -> dict[str, Any]:
    """A row as the page shows it: what users choose is made visible, as in the page itself."""
    return {**stream._asdict(), "who": visible(stream.who), "where": visible(stream.where)}


class _Lists:
    """A source of encoded messages: the open streams of all workers as JSON."""

    def __init__(self) -> None:
        self._sent = 0

    async def read(self) -> bytes:
        if self._sent:
            await asyncio.sleep(SECONDS)
        if self._sent >= MAX_LISTS:
            return b""
        found = await open_streams.everywhere()
        self._sent += 1
        data = {"complete": found.is_complete, "streams": [_row(each) for each in found.streams]}
        return encode(Message(json.dumps(data)))

    def close(self, *, linger: bool = False) -> None:
        """Nothing to close."""
