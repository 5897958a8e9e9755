"""A chart of the last days, as the bars of an SVG; each page that shows one has its figures in a table, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone

DAYS = 30


@dataclass(frozen=True, slots=True)
class Bar:
    day: date
    count: int
    x: int
    y: float
    height: float


class DailyChart:
    """A figure of each of the last DAYS days, as the bars of an SVG of 600 by 120 units."""

    HEIGHT, STEP = 100, 20

    def __init__(self, counts: Mapping[date, int]) -> None:
        self.first, self.last = first_day(), timezone.localdate()
        shown = {day: count for day, count in counts.items() if self.first <= day <= self.last}
        self.most = max(shown.values(), default=0)
        self.total = sum(shown.values())
        self.bars = [self._bar(number, self.first + timedelta(days=number), shown) for number in range(DAYS)]

    def _bar(self, number: int, day: date, counts: Mapping[date, int]) -> Bar:
        count = counts.get(day, 0)
        height = round(count / self.most * self.HEIGHT, 1) if self.most else 0.0
        return Bar(day, count, number * self.STEP, self.HEIGHT - height, height)


def first_day() -> date:
    """The first day of the chart that ends today."""
    return timezone.localdate() - timedelta(days=DAYS - 1)
