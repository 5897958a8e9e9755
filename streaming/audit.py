"""What the rules have met goes into the database: in batches, and never in a stream's way."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, connections, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from streaming.models import Direction, LostHits, ModerationHit
from streaming.moderation.folding import fold
from streaming.sightings import Sighting, Witness

logger = logging.getLogger(__name__)

MAX_WAITING = 20_000
"""Hits that are kept while they cannot be written; about 20 MB. What comes after them is lost, and counted."""

BATCH = 500
GATHERING_SECONDS = 0.25
PATIENCE_SECONDS = 2.0
"""After which a database that is away is tried again."""

LEAVING_SECONDS = 3.0

_AWAY = (OperationalError, InterfaceError, ProgrammingError)  # the last, when a table is missing


@dataclass(frozen=True, slots=True)
class Occasion:
    """The stream that a hit belongs to."""

    stream: str
    upstream: str
    direction: Direction
    version: int
    """Of the rules that the stream began with."""
    who: str = ""


@dataclass(frozen=True, slots=True)
class _Hit:
    when: datetime
    occasion: Occasion
    sighting: Sighting


async def name_of(request: HttpRequest) -> str:
    """Who asks, if they are logged in."""
    user = await request.auser()
    return user.get_username() if user.is_authenticated else ""


class Recorder:
    """Takes hits at once, and writes them from a thread of its own."""

    def __init__(self, most: int = MAX_WAITING, patience: float = PATIENCE_SECONDS) -> None:
        self._most = most
        self._patience = patience
        self._queue: deque[_Hit] = deque()
        self._batch: list[_Hit] = []
        self._unreported = 0
        self._filled, self._leaving = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.lost = 0

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._batch)

    def state(self) -> dict[str, Any]:
        """What there is to say of this process."""
        return {"waiting": self.waiting, "lost": self.lost}

    def witness(self, occasion: Occasion) -> Witness:
        """Takes the sightings of one stream. It does not wait, and does not fail."""

        def take(sighting: Sighting) -> None:
            self._take(_Hit(timezone.now(), occasion, sighting))

        return take

    def _take(self, hit: _Hit) -> None:
        if self.waiting >= self._most:
            with self._lock:
                self.lost += 1
                self._unreported += 1
            return
        self._queue.append(hit)
        self._filled.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
                atexit.register(self.leave)

    def leave(self) -> None:
        """Writes what is left, if that does not take long."""
        self._leaving.set()
        self._filled.set()
        if self._thread:
            self._thread.join(LEAVING_SECONDS)
        if self.waiting:
            logger.error("%d hits of moderation rules were not recorded before the end", self.waiting)

    def _run(self) -> None:
        while self._filled.wait():
            self._filled.clear()
            self._leaving.wait(GATHERING_SECONDS)
            try:
                self._write_all()
            except Exception:
                logger.exception("hits of moderation rules could not be recorded")
            finally:
                connections.close_all()
            if self._leaving.is_set():
                return

    def _write_all(self) -> None:
        while self._queue or self._batch:
            while self._queue and len(self._batch) < BATCH:
                self._batch.append(self._queue.popleft())
            try:
                self._write([_row(hit) for hit in self._batch])
            except _AWAY as error:
                logger.warning("the database takes no hits: %s; %d are waiting", error, self.waiting)
                connections.close_all()
                if self._leaving.wait(self._patience):
                    return
                continue
            self._batch = []

    def _write(self, rows: list[ModerationHit]) -> None:
        try:
            with transaction.atomic():
                ModerationHit.objects.bulk_create(rows)
                self._report_loss()
        except _AWAY:
            raise
        except DatabaseError:
            # One that the database will never take must not hold the others up.
            for row in rows:
                self._write_one(row)

    def _write_one(self, row: ModerationHit) -> None:
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except _AWAY:
            raise
        except DatabaseError:
            logger.exception("a hit could not be recorded")
            with self._lock:
                self.lost += 1
                self._unreported += 1

    def _report_loss(self) -> None:
        if count := self._unreported:
            LostHits.objects.create(count=count)
            with self._lock:
                self._unreported -= count


def _row(hit: _Hit) -> ModerationHit:
    occasion, seen = hit.occasion, hit.sighting
    return ModerationHit(
        when=hit.when,
        stream=occasion.stream[:64],
        upstream=_clean(occasion.upstream)[:100],
        who=occasion.who[:150],
        direction=occasion.direction,
        version=occasion.version,
        rule_id=seen.rule.id,
        pattern=seen.rule.pattern[:200],
        category=seen.rule.category[:50],
        action=seen.rule.action,
        channel=_clean(seen.channel)[:100],
        choice=seen.choice,
        offset=seen.start,
        **_texts(seen),
    )


def _texts(seen: Sighting) -> dict[str, str]:
    if settings.STREAMING_HIT_TEXTS:
        return {"before": _clean(seen.before), "text": _clean(seen.text), "after": _clean(seen.after)}
    return {"digest": salted_hmac("streaming.hit", fold(_clean(seen.text)), algorithm="sha256").hexdigest()}


def _clean(text: str) -> str:
    """What every database takes: no NUL, no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


_recorder = Recorder()
witness = _recorder.witness
state = _recorder.state
