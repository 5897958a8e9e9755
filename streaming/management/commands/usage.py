"""``manage.py usage``: sums up what was used, by day, user, key, model, upstream, endpoint or reason."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, time, timedelta
from typing import Any

from django.core.management import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date

from streaming import usage_report
from streaming.management.commands._plain_errors import PlainCommand
from streaming.models import UsageRecord
from streaming.usage_report import Total
from streaming.visible_text import visible

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""Between them every time zone and every number of days has dates."""

HEADINGS = ("requests", "errors", "prompt tokens", "completion tokens", "characters", "bytes")


class Command(PlainCommand):
    help = "Sums up the usage of the last days. --csv prints the records themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", choices=list(usage_report.GROUPINGS), default="day", help="(default: %(default)s)")
        parser.add_argument("--days", type=int, default=30, help="how many days back (default: %(default)s)")
        parser.add_argument("--since", metavar="DATE", help="the first day, as 2026-01-31, instead of --days")
        parser.add_argument("--until", metavar="DATE", help="the last day (default: today)")
        parser.add_argument("--user", help="only this user's")
        parser.add_argument("--key", help="only those of API keys with this name")
        parser.add_argument("--csv", action="store_true", help="print every record as CSV, the oldest first")

    def handle(self, *args: Any, by: str, csv: bool, **options: Any) -> None:
        records = self._records(**options)
        if csv:
            for line in usage_report.csv_lines(records.order_by("when", "pk")):
                self.stdout.write(line, ending="")
            return
        rows = [_cells(total) for total in usage_report.totals(records, by)]
        for line in _table([(by, *HEADINGS), *rows]):
            self.stdout.write(line)

    def _records(
        self, days: int, since: str | None, until: str | None, user: str | None, key: str | None, **_: Any
    ) -> Any:
        if not 1 <= days <= 36_500:
            raise CommandError(f"--days is {days}: it may be 1 to 36,500.")
        last = _day(until, "--until") if until else timezone.localdate()
        first = _day(since, "--since") if since else last - timedelta(days=days - 1)
        if last < first:
            raise CommandError(f"--since is {first}, after the last day, {last}.")
        begin, end = (timezone.make_aware(datetime.combine(day, time.min)) for day in (first, last + timedelta(days=1)))
        records = UsageRecord.objects.filter(when__gte=begin, when__lt=end)
        records = records.filter(username=user) if user else records
        return records.filter(key_name=key) if key else records


def _day(text: str, option: str) -> Any:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise CommandError(f"{option} is {text!r}: it has to be a date like 2026-01-31.")
    return day


def _cells(total: Total) -> tuple[str, ...]:
    name = " · ".join(visible(str(each)) for each in total.names if each) or "-"
    chars = total.prompt_chars + total.completion_chars
    figures = (total.requests, total.errors, total.prompt_tokens, total.completion_tokens, chars, total.bytes)
    return name, *(f"{figure:,}" for figure in figures)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
