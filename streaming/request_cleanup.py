"""Closes what a request opened when the request ends, even if its response was lost on the way.

A view passes its response to middleware, and that to Django. If one of them is cancelled, the response is never closed.
So whatever holds a connection or a slot is registered with the request as soon as it is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

logger = logging.getLogger(__name__)

Close = Callable[[], None]


class RequestScope:
    """Close callbacks of one request. Each is called once; one that is added after the end, immediately."""

    def __init__(self) -> None:
        self._callbacks: dict[Close, None] | None = {}

    def close_at_end(self, close: Close) -> None:
        """``close`` must not block, and must tolerate a second call."""
        if self._callbacks is None:
            _call(close)
        else:
            self._callbacks[close] = None

    def release(self, close: Close) -> None:
        """Removes a callback: it was closed already, or another owner closes it."""
        if self._callbacks:
            self._callbacks.pop(close, None)

    def close(self) -> None:
        callbacks, self._callbacks = self._callbacks or {}, None
        for close in reversed(callbacks):
            _call(close)


def _call(close: Close) -> None:
    try:
        close()
    except Exception:  # the other callbacks still run
        logger.exception("failed to close a resource of a request")


_current: ContextVar[RequestScope | None] = ContextVar("request_scope", default=None)


@contextmanager
def request_scope() -> Iterator[RequestScope]:
    """Wraps the handling of one request, including the tasks it starts."""
    scope = RequestScope()
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)
        scope.close()


def is_active() -> bool:
    """Whether this is called within a request, so that ``close_at_end`` has an effect."""
    return _current.get() is not None


def close_at_end(close: Close) -> None:
    """Calls this at the end of the current request. Outside of one it does nothing: the caller has to close."""
    if scope := _current.get():
        scope.close_at_end(close)


def release(close: Close) -> None:
    """Undoes ``close_at_end``."""
    if scope := _current.get():
        scope.release(close)


def detached_context() -> Context:
    """A context for a task whose resources are not closed with the current request."""
    context = copy_context()
    context.run(_current.set, None)
    return context
