"""What a journal may have to refuse, as situations."""

from __future__ import annotations


class JournalError(Exception):
    """The journal cannot do what was asked of it."""


class UnknownStream(JournalError):
    """There is no such stream: it never was, it expired, or it failed before it began."""


class Gap(JournalError):
    """Something of what was asked for is not kept any more, and no reader may silently skip it."""


class StoreUnavailable(JournalError):
    """The store does not answer now. It may later."""


class JournalFull(JournalError):
    """Only running streams are left, and they fill what all streams together may hold."""


class AlreadyClaimed(JournalError):
    """An earlier request with the same idempotency key has a stream."""

    def __init__(self, stream: str, fingerprint: str) -> None:
        super().__init__("an earlier request with this idempotency key has a stream")
        self.stream = stream
        self.fingerprint = fingerprint
