"""The names of the keys in Redis. What belongs to one stream has its id in braces."""

from __future__ import annotations

PREFIX = "streams:"
NOTICES = f"{PREFIX}notices"
"""The workers that have posted a notice, by the time of the last."""


def of_stream(stream: str) -> tuple[str, str]:
    """Of the stream's metadata, and of its log: see scripts.py."""
    return f"{PREFIX}{{{stream}}}:meta", f"{PREFIX}{{{stream}}}:log"


def of_claim(claim: str) -> str:
    return f"{PREFIX}claim:{claim}"


def of_lease(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:lease"


def of_notice(worker: str) -> str:
    return f"{PREFIX}worker:{worker}:notice"


def of_requests(worker: str) -> str:
    """A list of what other workers have asked of it."""
    return f"{PREFIX}worker:{worker}:asked"


def of_inbox(worker: str) -> str:
    """A Redis stream of messages to the worker."""
    return f"{PREFIX}worker:{worker}:inbox"
