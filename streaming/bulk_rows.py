"""Writes many rows at once, without an instance of the model for each, which would take five times as long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model

T = TypeVar("T")


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def insert(model: type[Model], rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows, given by the attribute names of all fields but the primary key; that too, if the rows have it."""
    rows = list(rows)
    fields = model._meta.local_concrete_fields
    columns = [field for field in fields if not field.primary_key or (rows and field.attname in rows[0])]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in columns)
    table, placeholders = connection.ops.quote_name(model._meta.db_table), ", ".join(["%s"] * len(columns))
    convert = ValueConverter()
    converted = [[convert(field, row[field.attname]) for field in columns] for row in rows]
    insert = f"INSERT INTO {table} ({names}) VALUES"
    with connection.cursor() as cursor:
        if rows and connection.features.max_query_params:  # SQLite limits parameters, but has no network round trip
            cursor.executemany(f"{insert} ({placeholders})", converted)
        elif converted:
            cursor.execute(
                f"{insert} {', '.join([f'({placeholders})'] * len(converted))}", [*chain.from_iterable(converted)]
            )


def write(model: type[Model], rows: Iterable[Model], names: Sequence[str]) -> None:
    """Write these fields of the rows. bulk_update's single statement takes ten times as long."""
    columns: list[Any] = [model._meta.get_field(name) for name in names]
    quote, convert = connection.ops.quote_name, ValueConverter()
    placeholders = ", ".join(f"{quote(column.column)} = %s" for column in columns)
    primary_key: Any = model._meta.pk
    update = f"UPDATE {quote(model._meta.db_table)} SET {placeholders} WHERE {quote(primary_key.column)} = %s"  # noqa: S608 (own names)
    values = [[*(convert(column, getattr(row, column.attname)) for column in columns), row.pk] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(update, values)


class ValueConverter:
    """Converts values for the database. Most need no conversion; the others repeat, so results are cached."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, field: Any, value: Any) -> Any:
        if value is None or type(value) in (str, int, bool):
            return value
        if isinstance(value, dict):
            return field.get_db_prep_save(value, connection)
        key = (field, tuple(value) if isinstance(value, list) else value)
        if key not in self._known:
            self._known[key] = field.get_db_prep_save(value, connection)
        return self._known[key]
