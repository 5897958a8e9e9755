"""The compiled rules in force, swapped in whole: a stream keeps the snapshot that it began with."""

from __future__ import annotations

import logging
import threading
from typing import Any

from asgiref.sync import sync_to_async

from streaming.models import ModerationRule
from streaming.moderation import RuleError, RuleSet

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_snapshot: tuple[tuple[Any, ...] | None, RuleSet] = (None, RuleSet([]))


async def current() -> RuleSet:
    """The rules as they stand now in the database, compiled off the event loop and only when they have changed.

    While they cannot be compiled the last good ones hold; RuleError if there are none: no text goes out unmoderated.
    """
    return await sync_to_async(_load)()


def _load() -> RuleSet:
    global _snapshot
    # The version is read before the rules: rules that change in between are read again next time.
    version = ModerationRule.objects.version()
    with _lock:
        if _snapshot[0] != version:
            try:
                _snapshot = (version, RuleSet(ModerationRule.objects.in_force()))
            except RuleError as error:
                logger.error("the rules cannot be compiled, for %r: %s", error.rule, error)  # noqa: TRY400
                if _snapshot[0] is None:
                    raise
                _snapshot = (version, _snapshot[1])  # tried once; the next change may mend them
        return _snapshot[1]
