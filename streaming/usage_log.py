"""Records what each request used: a row in the database and a line in the log, once its answer has ended.

Rows are written in batches from a background thread. While the database is away they wait; when too many wait, further
ones are discarded and counted, so that no stream is ever held up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.models import F, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from streaming import conf, metrics, request_cleanup, sources, upstream_settings, usage_meter
from streaming.caller import Caller, caller_of
from streaming.hit_context import HitContext, HitHandler
from streaming.models import LostUsage, UsageRecord
from streaming.responses import label_of
from streaming.usage_meter import UsageMeter
from streaming.write_behind import WriteBehind, storable

logger = logging.getLogger(__name__)

PRUNE_SECONDS = 3600.0
"""How often old rows are deleted (STREAMING_USAGE_DAYS)."""

PRUNE_ROWS = 2_000
"""The limit for one deletion, so that nothing waits long for it."""

open_meters: WeakSet[UsageMeter] = WeakSet()
"""The requests of this process that are being answered."""


async def begin(
    request: HttpRequest, upstream: str, stream: str = "", *, model: str = "", caller: Caller | None = None
) -> UsageMeter:
    """Measures this request from now on. Its stream's end, its response or its disconnection completes the record."""
    caller = caller or await caller_of(request)
    match = request.resolver_match
    meter = UsageMeter(
        (match and match.url_name) or "",
        upstream,
        _on_end,
        stream,
        model,
        user_id=caller.user.pk,
        username=caller.username,
        api_key_id=caller.api_key.pk if caller.api_key else None,
        key_name=caller.api_key.name if caller.api_key else "",
        label=label_of(request),
    )
    usage_meter.attach(request, meter)
    request_cleanup.close_at_end(meter.request_ended)
    open_meters.add(meter)
    endpoint, name, _model = _labels(meter)
    metrics.count("streams_opened", endpoint=endpoint, upstream=name)
    return meter


def counting(on_hit: HitHandler, meter: UsageMeter) -> HitHandler:
    """The handler, which also counts the hits for the meter."""

    def count(context: HitContext) -> None:
        meter.hits += 1
        metrics.count("moderation_hits", action=context.rule.action)
        on_hit(context)

    return count


def _on_end(meter: UsageMeter) -> None:
    open_meters.discard(meter)
    _quotas.add(meter)
    _count(meter)
    logger.info(*_line(meter), extra={"fields": _facts(meter)})
    _usage_log.put(meter)  # last: what is in the database is in the log


def _line(meter: UsageMeter) -> tuple[Any, ...]:
    """One line about one stream. Its id is shortened: that of an anonymous stream grants access to it."""
    reason = meter.reason if meter.reason != "error" else f"error: {meter.error}" if meter.error else "error"
    first = "-" if meter.first_byte_seconds is None else f"{meter.first_byte_seconds:.2f} s"
    words = "%s ended (%s) after %.1f s, %d messages, %d bytes; first byte %s, status %d; %s"
    stream = f"{meter.stream[:8]}..." if meter.stream else "-"
    where = f"stream {stream}, by {meter.who or '-'}, upstream {meter.upstream}, model {meter.model[:100] or '-'}"
    figures = (meter.seconds, meter.messages, meter.bytes, first, meter.status)
    return words, meter.label, reason, *figures, where


def _facts(meter: UsageMeter) -> dict[str, Any]:
    """The same for programs: the fields of the line with LOG_FORMAT=json."""
    return {
        "stream": meter.stream[:8],
        "endpoint": meter.endpoint,
        "user": meter.username,
        "api_key": meter.key_name,
        "upstream": meter.upstream,
        "model": meter.model[:200],
        "reason": meter.reason,
        "status": meter.status,
        "first_byte_seconds": meter.first_byte_seconds and round(meter.first_byte_seconds, 3),
        "seconds": round(meter.seconds, 3),
        "messages": meter.messages,
        "bytes": meter.bytes,
        "prompt_tokens": meter.tokens.prompt,
        "completion_tokens": meter.tokens.completion,
        "prompt_chars": meter.prompt_chars,
        "completion_chars": meter.completion_chars,
        "hits": meter.hits,
    }


# --- Metrics


class _KnownNames:
    """The configured names of upstreams and models, read every few seconds: reading settings takes a while."""

    FRESH_SECONDS = 5.0

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self.upstreams, self.models = set[str](), set[str]()

    def refresh(self) -> None:
        if time.monotonic() - self._read_at < self.FRESH_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            models = upstream_settings.routes()
        except ImproperlyConfigured:  # reported to each request for an upstream
            models = {}
        self.upstreams = {sources.SIMULATED, *upstream_settings.names()}
        self.models = {sources.SIMULATED, *models, *(route.model for routes in models.values() for route in routes)}


_known = _KnownNames()


def _labels(meter: UsageMeter) -> tuple[str, str, str]:
    """The endpoint, upstream and model, as far as they are configured: what users make up is "other"."""
    _known.refresh()
    upstream = meter.upstream if meter.upstream in _known.upstreams else "other"
    model = meter.model if meter.model in _known.models else "other" if meter.model else ""
    return meter.endpoint, upstream, model


def labels_of_open(meter: UsageMeter) -> tuple[str, str]:
    """The labels of the gauge of open requests: their endpoint and upstream."""
    return _labels(meter)[:2]


def _count(meter: UsageMeter) -> None:
    endpoint, upstream, model = _labels(meter)
    metrics.count("streams_ended", endpoint=endpoint, upstream=upstream, model=model, reason=meter.reason)
    metrics.observe("stream_duration_seconds", meter.seconds, upstream=upstream)
    if meter.first_byte_seconds is not None:
        metrics.observe("first_byte_seconds", meter.first_byte_seconds, upstream=upstream)
    for direction, tokens in meter.tokens._asdict().items():
        metrics.count("tokens", tokens or 0, upstream=upstream, model=model, direction=direction)
    if meter.upstream_error:
        metrics.count("upstream_errors", upstream=upstream, error=meter.upstream_error)
    _count_progress([meter])


def count_progress() -> None:
    """Counts what running streams have sent since the last call."""
    meters = list(open_meters)
    for meter in meters:
        meter.update()
    _count_progress(meters)


def _count_progress(meters: Iterable[UsageMeter]) -> None:
    taken = [meter.take_progress() for meter in meters]
    metrics.count("events", sum(messages for messages, _ in taken))
    metrics.count("sent_bytes", sum(sent_bytes for _, sent_bytes in taken))


# --- Rows


class UsageLog(WriteBehind[UsageMeter]):
    """The queue of finished requests of this process."""

    def __init__(self, **bounds: Any) -> None:
        super().__init__("usage records", _write, _probe, **bounds)


def _write(meters: Sequence[UsageMeter], lost: int) -> None:
    with transaction.atomic():
        UsageRecord.objects.bulk_create([_row(meter) for meter in meters])
        if lost:
            LostUsage.objects.create(count=lost)
    _pruning.prune_when_due()


def _probe() -> None:
    with transaction.atomic():
        UsageRecord.objects.create(when=timezone.now(), seconds=0, status=200)
        transaction.set_rollback(True)


def _row(meter: UsageMeter) -> UsageRecord:
    return UsageRecord(
        when=meter.when,
        stream=meter.stream[:64],
        endpoint=storable(meter.endpoint, 50),
        user_id=meter.user_id,
        api_key_id=meter.api_key_id,
        username=storable(meter.username, 150),
        key_name=storable(meter.key_name, 100),
        upstream=storable(meter.upstream, 100),
        model=storable(meter.model, 200),
        prompt_tokens=meter.tokens.prompt,
        completion_tokens=meter.tokens.completion,
        prompt_chars=meter.prompt_chars,
        completion_chars=meter.completion_chars,
        hits=meter.hits,
        first_byte_seconds=meter.first_byte_seconds,
        seconds=meter.seconds,
        bytes=meter.bytes,
        reason=meter.reason[:20],
        status=meter.status,
    )


def delete_before(end: datetime, most: int | None = None) -> int:
    """Deletes rows older than this, at most so many, and returns their number. In batches: writers need not wait."""
    deleted = 0
    while most is None or deleted < most:
        old = UsageRecord.objects.filter(when__lt=end).order_by("when")
        keys = list(old.values_list("pk", flat=True)[:PRUNE_ROWS])
        if not keys:
            LostUsage.objects.filter(when__lt=end).delete()
            break
        deleted += UsageRecord.objects.filter(pk__in=keys).delete()[0]
    return deleted


class _Pruning:
    """Deletes old rows now and then, in the thread that writes new ones."""

    def __init__(self) -> None:
        self._due = 0.0

    def prune_when_due(self) -> None:
        if (days := conf.usage_days()) <= 0 or time.monotonic() < self._due:
            return
        try:
            deleted = delete_before(timezone.now() - timedelta(days=days), PRUNE_ROWS)
        except Error as error:  # InterfaceError is no DatabaseError
            logger.warning("old usage records were not deleted: %s", type(error).__name__)
            deleted = 0
        self._due = time.monotonic() + (0 if deleted >= PRUNE_ROWS else PRUNE_SECONDS)


# --- Quotas


@dataclass(slots=True)
class _Total:
    day: Any
    tokens: int
    read_at: float


class _Quotas:
    """The tokens that each API key and user has used today. Read from the database at most every few seconds.

    Where an upstream reports none, CHARS_PER_TOKEN characters count as one.

    What this process records is added at once; what other workers record is seen with the next reading.
    """

    FRESH_SECONDS = 5.0
    MAX_TOTALS = 10_000

    def __init__(self) -> None:
        self._totals: dict[str, _Total] = {}

    def add(self, meter: UsageMeter) -> None:
        prompt = _tokens(meter.tokens.prompt, meter.prompt_chars)
        tokens = prompt + _tokens(meter.tokens.completion, meter.completion_chars)
        for subject in (f"key:{meter.api_key_id}", f"user:{meter.user_id}"):
            if subject in self._totals:
                self._totals[subject].tokens += tokens

    async def today(self, subject: str) -> int:
        day, now, known = timezone.localdate(), time.monotonic(), self._totals.get(subject)
        if known and known.day == day and now - known.read_at < self.FRESH_SECONDS:
            return known.tokens
        try:
            tokens = await _tokens_since(subject, _midnight())
        except Error:  # InterfaceError is no DatabaseError
            return known.tokens if known and known.day == day else 0
        known = self._totals.get(subject)  # another request may have read it meanwhile
        if known and known.day == day:
            tokens = max(tokens, known.tokens)  # some rows may still wait to be written
        if len(self._totals) >= self.MAX_TOTALS:
            self._totals.clear()
        self._totals[subject] = _Total(day, tokens, now)
        return tokens


CHARS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English (https://platform.openai.com/tokenizer)."""


def _tokens(reported: int | None, chars: int | None) -> int:
    return (chars or 0) // CHARS_PER_TOKEN if reported is None else reported


def _midnight() -> datetime:
    """The beginning of today, in the active time zone."""
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def seconds_until_tomorrow() -> float:
    return (_midnight() + timedelta(days=1) - timezone.localtime()).total_seconds()


async def _tokens_since(subject: str, begin: datetime) -> int:
    prompt = Coalesce(F("prompt_tokens"), F("prompt_chars") / CHARS_PER_TOKEN, 0)
    tokens = prompt + Coalesce(F("completion_tokens"), F("completion_chars") / CHARS_PER_TOKEN, 0)
    kind, _, pk = subject.partition(":")
    whose = {"api_key_id": pk} if kind == "key" else {"user_id": pk}
    rows = UsageRecord.objects.filter(when__gte=begin, **whose)
    return int((await rows.aaggregate(sum=Sum(tokens)))["sum"] or 0)


_pruning = _Pruning()
_quotas = _Quotas()
_usage_log = UsageLog()
tokens_today = _quotas.today
"""``await tokens_today("key:7")``: the tokens, of prompts and completions, that an API key, or a user (``user:3``), has
used since midnight.

Cheap: at most one query every few seconds for each. While the database is away it is what was known before.
"""
state = _usage_log.state
