"""Errors of upstreams: one class for each situation that a caller can act on."""

from __future__ import annotations

from streaming.formats.errors import NO_FACTS, ErrorFacts


class UpstreamError(Exception):
    """An upstream could not be used, or failed in the middle. ``name`` is its name in the settings."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(f"the upstream {name!r} {sentence}")
        self.name = name

    @property
    def kind(self) -> str:
        """Its name in the metrics; empty where the request was wrong, not the upstream."""
        return type(self).__name__.lower() if isinstance(self, _FAILURES) else ""

    def for_log(self) -> str:
        """The error without words of the upstream: they may quote a prompt, which belongs in no log."""
        return str(self)


class Unknown(UpstreamError):
    """No upstream has this name."""


class Closed(UpstreamError):
    """It is not open to ``/proxy``."""


class Outside(UpstreamError):
    """The requested path is not below the upstream's URL."""


class BadPrompt(UpstreamError):
    """The client's request cannot be sent to it. ``sentence`` says why."""


class UnreadablePrompt(UpstreamError):
    """The body of the client's request is in a format or charset that cannot be moderated. ``sentence`` says which."""


class PostOnly(UpstreamError):
    """It takes prompts, which have to be sent by POST."""


class Unreachable(UpstreamError):
    """No connection, or the other end does not speak HTTP."""


class Silent(UpstreamError):
    """A timeout: it took the request and then sent nothing for too long, or took too long altogether."""


class Busy(UpstreamError):
    """As many requests to it are open as its CONCURRENCY allows, in all workers together."""


class Broken(UpstreamError):
    """The connection ended in the middle of the response."""


class Refused(UpstreamError):
    """It responded with an error, or with something unusable. ``status``, ``facts`` and ``retry_after`` come from it.

    ``retry_after`` is whole seconds or a date, as in the header of that name, or nothing.
    """

    def __init__(
        self, name: str, status: int, sentence: str, facts: ErrorFacts = NO_FACTS, retry_after: str = ""
    ) -> None:
        super().__init__(name, sentence)
        self.status = status
        self.facts = facts
        self.retry_after = retry_after

    def for_log(self) -> str:
        return f"the upstream {self.name!r} refused with {self.status}"


_FAILURES = (Unreachable, Silent, Busy, Broken, Refused)
"""What counts as a failure of the upstream."""
