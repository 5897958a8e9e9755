"""The way in: few threads for many streams, back-pressure on Daphne, and a clean goodbye.

Run it with ``daphne ssesite.asgi:application``; any ASGI server will do.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from asgiref.sync import ThreadSensitiveContext

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ssesite.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries

from ssesite import daphne_patches
from streaming import registry, resumption, upstreams
from streaming.gc_pauses import raise_threshold
from streaming.middleware import load_inline
from streaming.request_body import Receive, Scope, Send, limit_body
from streaming.request_scope import request_scope
from streaming.request_target import hide_queries_from_uvicorns_log, in_origin_form

LANES = 8
"""Threads for all synchronous work. Each request keeps to one of them, which it shares with others.

Left to itself asgiref gives every request a thread of its own, until its response ends: 2,000 streams, 2,000 threads.
The price is that a slow synchronous call holds up the others in its lane.
"""

_lanes = itertools.cycle([ThreadPoolExecutor(1, thread_name_prefix=f"lane-{number}") for number in range(LANES)])

daphne_patches.install()
hide_queries_from_uvicorns_log()
load_inline(django_application)

# Both hop to a thread as each request starts, and have nothing to do there: connections are closed when a request ends,
# and queries are kept only where DEBUG is on.
request_started.disconnect(close_old_connections)
if not settings.DEBUG:
    request_started.disconnect(reset_queries)

raise_threshold()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})  # before it was accepted: the server answers 403
        return
    if scope["type"] != "http":
        # Refused in so many words: of "lifespan" servers take it for "not supported", and go on.
        raise ValueError(f"this site does not speak {scope['type']}")
    _goodbye.install()
    if request := asyncio.current_task():
        _requests.add(request)
        request.add_done_callback(_requests.discard)
    receive = daphne_patches.arriving(receive, send)
    scope = in_origin_form(scope)
    try:
        # What was opened for the request ends with it, even if its response was lost on the way through the middleware.
        with request_scope():
            async with ThreadSensitiveContext(executor=next(_lanes)):
                await limit_body(django_application, scope, receive, send)
    except upstreams.UpstreamError:
        # A relayed body broke off, which its response has logged. Its reader must not take it for whole: Daphne is
        # told to break the connection, other servers do so when an exception reaches them.
        if not daphne_patches.abort(send):
            raise


class _Goodbye:
    """On SIGTERM and Ctrl-C every stream says its last words; then the server's own handler is called."""

    def __init__(self) -> None:
        self._installed = self._leaving = False

    def install(self) -> None:
        """At the first request: by then the server has installed its own handlers."""
        if self._installed:
            return
        self._installed = True
        # Under runserver's reloader the site is in another thread, where Python sets no handlers.
        if threading.current_thread() is threading.main_thread():
            self._loop = asyncio.get_running_loop()
            servers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            # One that is passed over, as a shell has it for what runs in the background, stays so.
            self._servers = {number: server for number, server in servers.items() if server != signal.SIG_IGN}
            for number in self._servers:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._leaving:  # who asks twice does not want to wait
            self._pass_on(number, frame)
        else:
            self._leaving = True
            self._loop.call_soon_threadsafe(self._drain, number)

    def _drain(self, number: int) -> None:
        self._task = self._loop.create_task(_end_streams())
        self._task.add_done_callback(lambda _: self._pass_on(number, None))

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        server = self._servers[signal.Signals(number)]
        if callable(server):
            server(number, frame)
        elif server == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


_requests: set[asyncio.Task[None]] = set()
"""Those that are being answered."""

LAST_REQUESTS = 1.0
"""Seconds that those have which are being answered when the server goes down: no task of theirs is cut off."""


async def _end_streams() -> None:
    await registry.drain()
    if _requests:
        await asyncio.wait(_requests, timeout=LAST_REQUESTS)
    await resumption.close()
    await upstreams.close()


_goodbye = _Goodbye()
