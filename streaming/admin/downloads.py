"""Tables as CSV files that are sent while they are read: there may be millions of rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from streaming.rule_files.csv import csv_line

ROWS_AT_ONCE = 2_000


def csv_download(name: str, rows: QuerySet[Any], columns: Sequence[str]) -> StreamingHttpResponse:
    """All these rows, the latest (``when``) first, under a header that names the columns.

    Each part is a query of its own: while a slow client reads, no cursor and no transaction is open. What is added
    meanwhile is not in the file.
    """
    parts = _parts(rows, columns)
    begun = next(parts)  # so that what is wrong with the filters is said by a page, and not by a file that breaks off
    response = StreamingHttpResponse(_sent(begun, parts), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.now():%Y-%m-%d}.csv"'
    return response


async def _sent(begun: str, parts: Iterator[str]) -> AsyncIterator[str]:
    part = begun
    while part:
        yield part
        part = await sync_to_async(lambda: next(parts, ""), thread_sensitive=True)()


def _parts(rows: QuerySet[Any], columns: Sequence[str]) -> Iterator[str]:
    head = f"\ufeff{csv_line(columns)}"  # with a BOM, from which Excel recognizes UTF-8
    for part in _latest_first(rows, columns):
        yield head + "".join(map(csv_line, part))
        head = ""
    if head:
        yield head


def _latest_first(rows: QuerySet[Any], columns: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
    ordered = rows.order_by("-when", "-pk").values_list(*columns, "when", "pk")
    found = list(ordered[:ROWS_AT_ONCE])
    while found:
        yield [row[: len(columns)] for row in found]
        when, pk = found[-1][len(columns) :]
        found = list(ordered.filter(when__lte=when).exclude(when=when, pk__gte=pk)[:ROWS_AT_ONCE])
