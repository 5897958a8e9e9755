"""The errors of a journal."""

from __future__ import annotations


class JournalError(Exception):
    """The base class of a journal's errors."""


class UnknownStream(JournalError):
    """The stream does not exist: it never did, it expired, or it failed before it began."""


class Gap(JournalError):
    """Some of the requested events are no longer kept. They must not be skipped silently."""


class StoreUnavailable(JournalError):
    """The store does not respond at the moment."""


class JournalFull(JournalError):
    """Running streams alone use up the limit for all streams, so nothing can be dropped for a new one."""


class AlreadyClaimed(JournalError):
    """An earlier request with the same idempotency key already has a stream."""

    def __init__(self, stream: str, fingerprint: str) -> None:
        super().__init__("an earlier request with this idempotency key has a stream")
        self.stream = stream
        self.fingerprint = fingerprint
