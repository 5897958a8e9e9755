"""Records hits of moderation rules in the database, from a background thread, so that no stream waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from streaming import alerts, conf
from streaming.hit_context import HitContext, HitHandler
from streaming.models import LostHits, ModerationHit
from streaming.moderation.folding import fold
from streaming.rule_fields import Direction
from streaming.write_behind import WriteBehind, storable


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The stream that a hit belongs to."""

    stream: str
    upstream: str
    direction: Direction
    version: int
    """The edition of the rules that the stream began with."""
    who: str = ""


@dataclass(frozen=True, slots=True)
class _Hit:
    when: datetime
    stream: StreamInfo
    context: HitContext


def _write(hits: Sequence[_Hit], lost: int) -> None:
    with transaction.atomic():
        ModerationHit.objects.bulk_create([_row(hit) for hit in hits])
        if lost:
            LostHits.objects.create(count=lost)
    alerts.wake()


def _probe() -> None:
    with transaction.atomic():
        ModerationHit.objects.create(when=timezone.now(), version=0, offset=0)
        transaction.set_rollback(True)


class HitLog(WriteBehind[_Hit]):
    """The queue of hits of all streams in this process."""

    def __init__(self, **bounds: Any) -> None:
        super().__init__("hits of moderation rules", _write, _probe, **bounds)

    def on_hit(self, stream: StreamInfo) -> HitHandler:
        """A handler for the hits of one stream. It neither blocks nor raises."""
        return lambda context: self.put(_Hit(timezone.now(), stream, context))


def _row(hit: _Hit) -> ModerationHit:
    stream, context = hit.stream, hit.context
    return ModerationHit(
        when=hit.when,
        stream=stream.stream[:64],
        upstream=storable(stream.upstream)[:100],
        who=stream.who[:150],
        direction=stream.direction,
        version=stream.version,
        rule_id=context.rule.id,
        pattern=context.rule.pattern[:200],
        category=context.rule.category[:50],
        action=context.rule.action,
        on_trial=context.rule.on_trial,
        channel=storable(context.channel)[:100],
        choice=context.choice,
        offset=context.start,
        **_texts(context),
    )


def _texts(context: HitContext) -> dict[str, str]:
    if conf.stores_hit_texts():
        return {"before": storable(context.before), "text": storable(context.text), "after": storable(context.after)}
    return {"digest": salted_hmac("streaming.hit", fold(storable(context.text)), algorithm="sha256").hexdigest()}


_hit_log = HitLog()
on_hit = _hit_log.on_hit
state = _hit_log.state
