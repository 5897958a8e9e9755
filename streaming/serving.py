"""``wrap``, by way of ``asgi.py``, makes a Django ASGI application fit for many long streams, under any ASGI server.

It limits the threads, hands over request bodies while they arrive, ends streams properly at shutdown, and runs
middleware that never blocks on the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries

from streaming import counters, registry, resumption, upstreams, write_behind
from streaming.forwarded import with_forwarded_scheme
from streaming.gc_pauses import raise_threshold
from streaming.log_lines import note_request_id
from streaming.middleware import load_inline
from streaming.monitoring import every_second
from streaming.request_body import Receive, Scope, Send, limit_body
from streaming.request_cleanup import RequestScope, request_scope
from streaming.request_target import hide_secrets_in_logs

try:
    from streaming import daphne_patches
except ModuleNotFoundError:  # another server
    daphne_patches = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SYNC_THREADS = 8
"""Threads for all synchronous work. Each request uses one of them, shared with other requests.

By default asgiref gives every request a thread of its own until its response ends: 2,000 streams, 2,000 threads.
The price of sharing: a slow synchronous call delays the other requests on its thread.
"""

UNANSWERED_SECONDS = 5.0
"""How long requests may go on to wait for an upstream at shutdown. Those without a response then get a 503."""

LAST_REQUESTS_SECONDS = 1.0
"""How long requests may take to finish at shutdown once the streams have ended, so that no task is cut off."""

SHUTDOWN_SECONDS = 15.0
"""How long all of that may take. If a connection cannot be closed, the server has to go down all the same: uvicorn's
parent process waits for its workers without a limit."""


def wrap(django_application: ASGIHandler) -> Application:
    """The application to serve, from what ``get_asgi_application()`` returns. Call it once, before the server starts.

    A relayed body that breaks off breaks the connection, since the response has no other way to report it: under
    Daphne the connection is aborted, other servers do it when the UpstreamError reaches them.
    """
    _prepare_process()
    load_inline(django_application)
    executors = itertools.cycle(
        [ThreadPoolExecutor(1, thread_name_prefix=f"sync-{number}") for number in range(SYNC_THREADS)]
    )
    shutdown = GracefulShutdown()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: the server answers 403
            return
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"this site does not support {scope['type']}")
        shutdown.install()
        shutdown.track_request()
        every_second.start()
        note_request_id(scope)
        if daphne_patches:
            receive = daphne_patches.arriving(receive, send)
        try:
            # Closes what the request opened, even if its response got lost in a middleware.
            with request_scope() as opened:
                async with ThreadSensitiveContext(executor=next(executors)):
                    receive = ending_with_request(receive, opened)
                    await limit_body(django_application, with_forwarded_scheme(scope), receive, send)
        except asyncio.CancelledError:
            if not shutdown.has_begun:  # otherwise the server could not wait any longer: no reason for a traceback
                raise
        except upstreams.UpstreamError:  # its response has logged it
            if not (daphne_patches and daphne_patches.abort(send)):
                raise

    return application


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan. Signals end the streams, before a server would; what is recorded of them is written here.

    uvicorn ends by the default action of the signal, so that nothing in Python runs after this.
    """
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await write_behind.close_all()
    await send({"type": "lifespan.shutdown.complete"})


def ending_with_request(receive: Receive, opened: RequestScope) -> Receive:
    """A ``receive`` whose callers are tasks that end with the request.

    If a server cancels a request, Django before 6.1 forgets the task that waits for the client to leave. Its exception
    would be logged as never retrieved, when the client leaves.
    """
    request = asyncio.current_task()
    known = {request}

    async def receive_in_request() -> dict[str, Any]:
        if (task := asyncio.current_task()) and task not in known:
            known.add(task)
            opened.close_at_end(partial(_end, task))
        return await receive()

    return receive_in_request


def _end(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.exception()  # now it was retrieved


def _prepare_process() -> None:
    if daphne_patches:
        daphne_patches.install()
    hide_secrets_in_logs()
    # Both take a thread hop at the start of each request for nothing: connections are closed when a request ends, and
    # queries are recorded only where DEBUG is on.
    request_started.disconnect(close_old_connections)
    if not settings.DEBUG:
        request_started.disconnect(reset_queries)
    raise_threshold()


class GracefulShutdown:
    """On SIGTERM and Ctrl-C every stream sends its final messages; then the server's own signal handler is called."""

    def __init__(self) -> None:
        self._is_installed = self.has_begun = False
        self._requests = set[asyncio.Task[None]]()

    def track_request(self) -> None:
        """The current task is answering a request: shutdown waits for it."""
        if request := asyncio.current_task():
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def install(self) -> None:
        """Called with each request, and effective with the first: by then the server has installed its handlers."""
        if self._is_installed:
            return
        self._is_installed = True
        # Under runserver's reloader the site runs in another thread, where Python cannot set signal handlers.
        if threading.current_thread() is threading.main_thread():
            self._loop = asyncio.get_running_loop()
            handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            # An ignored signal stays ignored: a shell ignores Ctrl-C for jobs in the background.
            self._server_handlers = {number: old for number, old in handlers.items() if old != signal.SIG_IGN}
            for number in self._server_handlers:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.has_begun:  # a second signal: the operator does not want to wait
            self._call_server_handler(number, frame)
        else:
            self.has_begun = True
            self._loop.call_soon_threadsafe(self._drain, number)

    def _drain(self, number: int) -> None:
        self._task = self._loop.create_task(self._end_in_time())
        self._task.add_done_callback(partial(self._hand_on, number))

    def _hand_on(self, number: int, ended: asyncio.Task[None]) -> None:
        if not ended.cancelled():  # by the server, which is going down already
            self._call_server_handler(number, None)

    async def _end_in_time(self) -> None:
        # Not with asyncio.timeout: it relies on a cancellation, which what hangs may swallow.
        ending = self._loop.create_task(self._end_streams())
        await asyncio.wait({ending}, timeout=SHUTDOWN_SECONDS)
        if not ending.done():
            logger.error("not everything was closed within %g s: the server goes down without", SHUTDOWN_SECONDS)
        elif error := ending.exception():
            logger.error("not everything was closed", exc_info=error)

    def _call_server_handler(self, number: int, frame: FrameType | None) -> None:
        handler = self._server_handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    async def _end_streams(self) -> None:
        latest = self._loop.time() + UNANSWERED_SECONDS
        await registry.drain()
        await registry.refuse_unanswered(latest)
        await registry.drain(grace=LAST_REQUESTS_SECONDS)  # what would have gone on without a client
        await self._last_requests()
        await every_second.close()
        await resumption.close()
        await counters.close()
        await upstreams.close()
        await self._last_requests()

    async def _last_requests(self) -> None:
        if self._requests:
            await asyncio.wait(self._requests, timeout=LAST_REQUESTS_SECONDS)
