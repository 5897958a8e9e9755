"""What the rules have met goes into the database: in batches, and never in a stream's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from streaming.models import Direction, LostHits, ModerationHit
from streaming.moderation.folding import fold
from streaming.sightings import Sighting, Witness
from streaming.write_behind import WriteBehind


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


def _write(hits: Sequence[_Hit], lost: int) -> None:
    with transaction.atomic():
        ModerationHit.objects.bulk_create([_row(hit) for hit in hits])
        if lost:
            LostHits.objects.create(count=lost)


def _probe() -> None:
    with transaction.atomic():
        ModerationHit.objects.create(when=timezone.now(), version=0, offset=0)
        transaction.set_rollback(True)


class HitLog(WriteBehind[_Hit]):
    """Takes the hits of this process's streams."""

    def __init__(self, **bounds: Any) -> None:
        super().__init__("hits of moderation rules", _write, _probe, **bounds)

    def witness(self, occasion: Occasion) -> Witness:
        """Takes the sightings of one stream. It does not wait, and does not fail."""
        return lambda sighting: self.put(_Hit(timezone.now(), occasion, sighting))


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


_hit_log = HitLog()
witness = _hit_log.witness
state = _hit_log.state
