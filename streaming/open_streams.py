"""What runs now: the requests that all workers are answering, and how an operator stops one.

Each worker with open streams posts a list of them once a second, where the journal is: all workers share it if that is
Redis. It holds no stream ids, which would grant access to what anonymous users read.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any, NamedTuple

from streaming import conf, resumption
from streaming.journal import JournalError, UnknownStream
from streaming.usage_log import open_meters
from streaming.usage_meter import UsageMeter

MAX_SHOWN = 500
"""The limit for the list of one worker: the oldest."""

_has_posted = False


class OpenStream(NamedTuple):
    """A request that is being answered."""

    key: str
    stream: str = ""
    """The first digits of its stream's id."""
    who: str = ""
    endpoint: str = ""
    upstream: str = ""
    model: str = ""
    since: str = ""
    """When the request arrived (ISO 8601, UTC)."""
    seconds: int = 0
    chars: int = 0
    held: int = 0
    """Characters that moderation holds back."""
    hits: int = 0
    readers: int = 0
    process: str = ""
    """The host and process that answers it."""

    @property
    def where(self) -> str:
        return ", ".join(filter(None, (self.endpoint, self.upstream, self.model)))


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """The open streams of all workers, the oldest first. ``is_complete`` is False if the store did not answer: then
    they are those of one worker."""

    streams: tuple[OpenStream, ...]
    is_complete: bool = True


async def exchange() -> None:
    """Posts the list of this worker, and stops what other workers asked it to stop. Called once a second.

    Without Redis there are no others to tell.
    """
    global _has_posted
    if not conf.redis_url() or not (open_meters or _has_posted):
        return
    mine = _mine()
    try:
        for key in await resumption.journal().post(
            json.dumps([each._asdict() for each in mine]).encode() if mine else b""
        ):
            await _stop_here(key)
        _has_posted = bool(mine)
    except JournalError:
        pass  # the page says that it is not complete


async def everywhere() -> OpenStreams:
    """Those of this worker as they are now, and those of the others as they were a second ago."""
    mine = {each.key: each for each in _mine()}
    try:
        posted = await resumption.journal().notices()
    except JournalError:
        return OpenStreams(tuple(mine.values()), is_complete=False)
    here = _process()
    others = [_read(fields) for _, notice in posted for fields in json.loads(notice)]
    others = [each for each in others if each.process != here]
    return OpenStreams(tuple(sorted([*mine.values(), *others], key=lambda each: (each.since, each.key))))


def _read(fields: dict[str, Any]) -> OpenStream:
    """One of another worker, which may run another version of this app: while a new one is deployed, both run."""
    return OpenStream(**{name: value for name, value in fields.items() if name in OpenStream._fields})


async def stop(key: str) -> bool:
    """Stops the stream with this key, in whichever worker it runs: there within a second. False if there is none."""
    if await _stop_here(key):
        return True
    here = _process()
    try:
        for worker, notice in await resumption.journal().notices():
            if any(fields["key"] == key and fields["process"] != here for fields in json.loads(notice)):
                await resumption.journal().ask(worker, key)
                return True
    except JournalError:
        return False
    return False


async def _stop_here(key: str) -> bool:
    for meter in list(open_meters):
        if meter.key == key:
            return await _stop(meter)
    return False


async def _stop(meter: UsageMeter) -> bool:
    if meter.progress:
        meter.progress.stop("stopped")
    elif meter.on_stop:
        meter.on_stop()
    elif meter.stream:  # its upstream has not answered yet
        try:
            await resumption.journal().stop(meter.stream)
        except UnknownStream:  # it has just failed
            return False
    return True


def _mine() -> list[OpenStream]:
    oldest = sorted(open_meters, key=lambda meter: meter.when)
    return [_shown(meter) for meter in oldest[:MAX_SHOWN]]


def _shown(meter: UsageMeter) -> OpenStream:
    meter.update()
    progress = meter.progress
    return OpenStream(
        meter.key,
        meter.stream[:8],
        meter.who,
        meter.endpoint,
        meter.upstream,
        meter.model[:100],
        meter.when.isoformat(timespec="seconds"),
        int(meter.running_seconds),
        meter.completion_chars or 0,
        progress.held_chars if progress else 0,
        meter.hits,
        progress.readers if progress else 1,
        _process(),
    )


def _process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
