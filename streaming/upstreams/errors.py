"""Why an upstream could not be used, or not to the end: one class for each thing that can be done about it."""

from __future__ import annotations

from streaming.formats.errors import NO_FACTS, ErrorFacts


class UpstreamError(Exception):
    """An upstream could not be used. ``name`` is its name in the settings."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(f"the upstream {name!r} {sentence}")
        self.name = name


class Unknown(UpstreamError):
    """No upstream has this name."""


class Closed(UpstreamError):
    """It is not open to ``/proxy``."""


class Outside(UpstreamError):
    """The path asked for does not lie below the upstream's URL."""


class BadPrompt(UpstreamError):
    """What the reader sent cannot be asked of it. ``sentence`` says why."""


class PostOnly(UpstreamError):
    """It takes prompts, and those come by POST."""


class Unreachable(UpstreamError):
    """No connection, or none that speaks HTTP."""


class Silent(UpstreamError):
    """It took the request, and was silent for too long."""


class Busy(UpstreamError):
    """More streams are open to it than its settings allow."""


class Broken(UpstreamError):
    """The connection ended in the middle of the response."""


class Refused(UpstreamError):
    """It answered, but not with what it was asked for. ``status``, ``facts`` and ``retry_after`` are its own.

    ``retry_after`` is whole seconds or a date, as in the header of that name, or nothing.
    """

    def __init__(
        self, name: str, status: int, sentence: str, facts: ErrorFacts = NO_FACTS, retry_after: str = ""
    ) -> None:
        super().__init__(name, sentence)
        self.status = status
        self.facts = facts
        self.retry_after = retry_after
