"""In which order the upstreams of one model are tried, and which errors lead to the next one."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from streaming import metrics
from streaming.upstream_settings import Route, UpstreamConfig
from streaming.upstreams.errors import Broken, Busy, Refused, Silent, Unreachable, UpstreamError
from streaming.upstreams.guardrail import Fields, Guardrail

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_COOLDOWN = 600.0
"""Seconds: an upstream's Retry-After may ask for more, but is tried again by then."""


class Cooldowns:
    """The upstreams of this process that failed a short while ago: they are tried last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}

    def begin(self, route: Route, error: UpstreamError) -> None:
        """Its own COOLDOWN, or as long as it asked for in Retry-After. A busy one may be free the next moment."""
        if isinstance(error, Busy):
            return
        asked = error.retry_after if isinstance(error, Refused) else ""
        seconds = max(route.upstream.cooldown, float(asked) if asked.isdigit() else 0.0)
        self._until[_key(route)] = self._clock() + min(seconds, LONGEST_COOLDOWN)

    def end(self, route: Route) -> None:
        """It answered."""
        self._until.pop(_key(route), None)

    def seconds_left(self, route: Route) -> float:
        return max(self._until.get(_key(route), 0.0) - self._clock(), 0.0)


def _key(route: Route) -> tuple[str, str]:
    return route.upstream.name, route.model


def in_order(routes: Iterable[Route], cooldowns: Cooldowns, dice: random.Random) -> list[Route]:
    """The routes, the best one first: by ORDER, and within it at random, in proportion to WEIGHT.

    Those that are cooling down come last, the one that is ready first before the others: if nothing else is left they
    are tried all the same.
    """

    def key(route: Route) -> tuple[float, int, float]:
        # The smallest of exponentially distributed numbers belongs to each route in proportion to its rate.
        return cooldowns.seconds_left(route), route.upstream.order, dice.expovariate(route.upstream.weight)

    return sorted(routes, key=key)


def may_try_next(error: UpstreamError) -> bool:
    """Whether another upstream may do better: the fault is this one's, and it has sent nothing of an answer."""
    match error:
        case Unreachable() | Silent() | Busy() | Broken():
            return True
        case Refused(status=status):
            is_about_the_site = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)  # its credentials there
            is_passing = status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
            return is_about_the_site or is_passing or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return False


# --- Trying them in turn


@dataclass(frozen=True, slots=True)
class Attempt:
    """A completion request as one upstream gets it. Its prompt has been moderated."""

    upstream: UpstreamConfig
    fields: Fields
    guardrail: Guardrail


Prepare = Callable[[], Awaitable[Attempt]]
"""Prepares an attempt, when it is its turn. Raises an error if the prompt may not be sent."""

cooldowns = Cooldowns()


def in_order_now(routes: Iterable[Route]) -> list[Route]:
    """The routes in the order in which this process would try them now."""
    return in_order(routes, cooldowns, random.Random())  # noqa: S311 (nothing secret)


async def first_that_answers(attempts: Sequence[Prepare], ask: Callable[[Attempt, bool], Awaitable[T]]) -> T:
    """What ``ask`` returns for the first upstream that does not fail; otherwise raises the last one's error.

    ``ask`` gets the attempt, and whether it is the last. It has to raise the errors that come before the first byte.
    """
    for number, prepare in enumerate(attempts, 1):
        attempt = await prepare()
        route = Route(attempt.upstream, str(attempt.fields.get("model")))
        try:
            answer = await ask(attempt, number == len(attempts))
        except UpstreamError as error:
            if not may_try_next(error):
                raise
            cooldowns.begin(route, error)
            if number == len(attempts):
                raise
            metrics.count("upstream_errors", upstream=route.upstream.name, error=error.kind)
            logger.warning("%s; the next upstream that has the model is asked", error.for_log())
        else:
            cooldowns.end(route)
            return answer
    raise AssertionError("there is at least one attempt")
