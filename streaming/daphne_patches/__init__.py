"""The one place that knows the internals of Daphne (4.2) and of Twisted below it. It patches what they lack:

* Request bodies reach the application while they arrive, with back-pressure. Daphne would collect each body first, and
  Twisted would parse forms. So a request is refused (for its size, sender or method) before its body is read. A
  response that is complete before the request's body ends the connection (HTTP/1.1) or resets the stream (HTTP/2).
* The head of a request has to arrive within STREAMING_HEAD_SECONDS.
* Back-pressure for responses: ``send`` waits while the connection's buffer is full. Otherwise the server would buffer
  everything for a client that does not read.
* ``abort`` breaks the connection of a response that cannot be finished, so that the client can tell it is incomplete.
* An exception after the response has begun breaks the connection too. Daphne's own handler would raise in its
  housekeeping task, which stops that task for good.
* At the end no task is left pending. Daphne only cancels its applications, and not all of those if a connection has
  none; CPython 3.11 may crash when it collects a pending task at exit.
* The header Daphne-Root-Path is ignored. The access log has no query strings, and stream ids are shortened in it.
"""

from streaming.daphne_patches.arriving_bodies import arriving
from streaming.daphne_patches.breaking import abort
from streaming.daphne_patches.installing import install

__all__ = ["abort", "arriving", "install"]
