"""What a request has opened is closed when the request is over, whoever lost sight of it.

A view hands its response to middleware, and that to Django; each of them can be cancelled, and then nobody closes the
response. What holds a connection or a slot therefore belongs to the request's own task from the moment it is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

logger = logging.getLogger(__name__)

Close = Callable[[], None]


class RequestScope:
    """Closes what belongs to a request, each once; what comes too late is closed at once."""

    def __init__(self) -> None:
        self._owned: dict[Close, None] | None = {}

    def own(self, close: Close) -> None:
        """``close`` may be called more than once, and does not wait."""
        if self._owned is None:
            _call(close)
        else:
            self._owned[close] = None

    def release(self, close: Close) -> None:
        """It is closed already, or somebody else's from now on."""
        if self._owned:
            self._owned.pop(close, None)

    def close(self) -> None:
        owned, self._owned = self._owned or {}, None
        for close in reversed(owned):
            _call(close)


def _call(close: Close) -> None:
    try:
        close()
    except Exception:  # the others are closed all the same
        logger.exception("what a request had opened could not be closed")


_current: ContextVar[RequestScope | None] = ContextVar("request_scope", default=None)


@contextmanager
def request_scope() -> Iterator[RequestScope]:
    """Around all that is done for one request, in whatever tasks."""
    scope = RequestScope()
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)
        scope.close()


def own(close: Close) -> None:
    """Has this called at the end of the request that is being answered. Outside of one, whoever opens closes."""
    if scope := _current.get():
        scope.own(close)


def release(close: Close) -> None:
    """The contrary of ``own``."""
    if scope := _current.get():
        scope.release(close)


def outside() -> Context:
    """A context for tasks whose result belongs to no request until somebody who answers one has taken it."""
    context = copy_context()
    context.run(_current.set, None)
    return context
