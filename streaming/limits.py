"""How much a caller may use: streams at once, requests a minute, tokens a day.

The limits of an API key count for that key; the site's count for a user with all their keys and sessions, and for an
address where nobody has logged in. All workers share them if there is Redis; otherwise each counts for itself.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from django.http import HttpRequest

from streaming import api_keys, conf, registry, request_cleanup, usage_log
from streaming.caller import NOBODY, Caller, caller_of
from streaming.counters import Admission, Limit, Rate, Slots, counters
from streaming.errors import LimitReached
from streaming.forwarded import forwarded

MINUTE = 60.0

reached = Counter[str]()
"""How often each limit of this process was reached, by its name, for operators."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """What one caller may use; 0: no limit. ``streams_of`` and so on name for whom it is counted; empty: nobody."""

    streams: int
    streams_of: str
    requests: int
    requests_of: str
    tokens: int
    tokens_of: str


def limits_of(caller: Caller, address: str) -> CallerLimits:
    """The limits of this caller, who comes from this address (empty if it is not known)."""
    user = f"user:{caller.user.pk}" if caller.is_known else ""
    whom = user or (f"address:{_network_of(address)}" if address else "")

    def choose(field: str, setting: int) -> tuple[int, str]:
        own: int | None = getattr(caller.api_key, field, None)
        return (setting, whom) if own is None else (own, caller.subject)

    per_caller = conf.streams_per_caller() if user else conf.streams_per_address()
    return CallerLimits(
        *choose("streams_at_once", per_caller),
        *choose("requests_per_minute", conf.requests_per_minute()),
        *choose("tokens_per_day", conf.tokens_per_day() if user else 0),
    )


def _network_of(address: str) -> str:
    """The address, or the /64 of an IPv6 address: one client has all of those."""
    is_v6 = ":" in address
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if is_v6 else address


async def admit(request: HttpRequest, *, uses_upstream: bool) -> None:
    """Counts this request, which opens a stream or waits for an answer. LimitReached if that is too much.

    What it takes is freed at its end, and at the end of the stream that it began, see ``hold``.
    """
    _refuse_if_full()
    _count_until_it_begins(request)
    limits = limits_of(await _counted_caller(request, uses_upstream), forwarded(request).address)
    checked = [*_slots(limits), *(_rates(limits) if uses_upstream else [])]
    if uses_upstream and limits.tokens and limits.tokens_of:
        await _check_tokens(request, limits)
    if checked and request_cleanup.is_active():  # without it nothing would free the slots
        await _take(request, checked)


async def _counted_caller(request: HttpRequest, uses_upstream: bool) -> Caller:
    """What is open to everyone counts for the address: it needs neither the database nor a look at the session."""
    is_open = not uses_upstream or (conf.access() == "public" and not api_keys.key_in(request))
    return NOBODY if is_open else await caller_of(request)


def _slots(limits: CallerLimits) -> list[Limit]:
    is_limited = limits.streams and limits.streams_of
    return [Slots(f"streams:{limits.streams_of}", limits.streams)] if is_limited else []


def _rates(limits: CallerLimits) -> list[Limit]:
    is_limited = limits.requests and limits.requests_of
    return [Rate(f"requests:{limits.requests_of}", limits.requests, MINUTE)] if is_limited else []


async def _check_tokens(request: HttpRequest, limits: CallerLimits) -> None:
    used = await usage_log.tokens_today(limits.tokens_of)
    reset = usage_log.seconds_until_tomorrow()
    _add_headers(request, _headers_for("tokens", limits.tokens, limits.tokens - used, reset))
    if used >= limits.tokens:
        detail = f"{used:,} tokens were used today; at most {limits.tokens:,} a day are allowed"
        raise _reached("tokens_per_day", detail, code="insufficient_quota", retry_after=reset)


async def _take(request: HttpRequest, checked: list[Limit]) -> None:
    place = Place([limit.key for limit in checked if isinstance(limit, Slots)])
    request_cleanup.close_at_end(place.hold())
    admission = await counters().admit(checked, place.member)
    _add_headers(request, _ratelimit_headers(checked, admission))
    if admission.refused_by:
        place.took_nothing()
    match admission.refused_by:
        case None:
            request._streaming_place = place  # type: ignore[attr-defined]
        case Slots() as slots:
            detail = f"{slots.limit} streams are open already, the most that are allowed at once"
            raise _reached("streams_at_once", detail)
        case Rate() as rate:
            detail = f"at most {rate.limit} requests a minute are allowed"
            raise _reached("requests_per_minute", detail, retry_after=admission.retry_after)


def _refuse_if_full() -> None:
    if (most := conf.max_streams()) and registry.count_open() + len(_opening) >= most:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise _reached("max_streams", "too many streams are open", status=status, code="server_overloaded")


_opening = set[HttpRequest]()


def _count_until_it_begins(request: HttpRequest) -> None:
    """Its stream counts at once, and not only when it is open: many may come at the same moment, and open slowly."""
    if request_cleanup.is_active():
        _opening.add(request)
        has_begun = partial(_opening.discard, request)
        request._streaming_has_begun = has_begun  # type: ignore[attr-defined]
        request_cleanup.close_at_end(has_begun)


def _reached(limit: str, detail: str, **more: object) -> LimitReached:
    reached[limit] += 1
    return LimitReached(limit, detail, **more)  # type: ignore[arg-type]


class Place:
    """The slots that a request takes. They are freed when everything that holds them has let go."""

    def __init__(self, keys: list[str]) -> None:
        self.member = uuid.uuid4().hex
        self._keys = keys
        self._holders = 0

    def took_nothing(self) -> None:
        """There is nothing to free: a flood of refused requests costs the store nothing more."""
        self._keys = []

    def hold(self) -> Callable[[], None]:
        """Holds them once more. Gives a function that lets go; it may be called again."""
        self._holders += 1
        is_held = True

        def let_go() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._holders -= 1
                if not self._holders and self._keys:
                    counters().release(self._keys, self.member)

        return let_go


def hold(request: HttpRequest) -> Callable[[], None]:
    """Holds what the request has taken for the stream that it begins, which may outlive it. Gives what lets go."""
    place: Place | None = getattr(request, "_streaming_place", None)
    return place.hold() if place else lambda: None


# --- Headers


def headers_of(request: HttpRequest) -> Mapping[str, str]:
    """``x-ratelimit-*``, as OpenAI documents them (https://platform.openai.com/docs/guides/rate-limits)."""
    headers: Mapping[str, str] = getattr(request, "_streaming_ratelimit_headers", {})
    return headers


def _add_headers(request: HttpRequest, headers: Mapping[str, str]) -> None:
    request._streaming_ratelimit_headers = {**headers_of(request), **headers}  # type: ignore[attr-defined]


def _ratelimit_headers(checked: list[Limit], admission: Admission) -> dict[str, str]:
    headers: dict[str, str] = {}
    for limit, remaining, reset in zip(checked, admission.remaining, admission.reset, strict=True):
        if isinstance(limit, Rate):
            headers |= _headers_for("requests", limit.limit, remaining, reset)
    return headers


def _headers_for(unit: str, limit: int, remaining: int, reset: float) -> dict[str, str]:
    values = {"limit": str(limit), "remaining": str(max(remaining, 0)), "reset": duration(reset)}
    return {f"x-ratelimit-{name}-{unit}": value for name, value in values.items()}


def duration(seconds: float) -> str:
    """A time as OpenAI writes it: ``17ms``, ``1s``, ``6m0s``, ``2h0m0s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
