"""Reads and writes rules as CSV: a header that names the columns, then one rule on each line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import ACTIONS, COMPARES, KINDS, OVERFLOWS
from streaming.rule_fields import APPLIES_TO
from streaming.rule_files.decoding import split_lines
from streaming.rule_files.rows import COLUMNS, FileError, Refusal, Row, RowsAndRefusals


def read_csv(text: str, defaults: Row) -> RowsAndRefusals | None:
    """The rows of a CSV file; None if the first line that is not empty or a comment has no column ``pattern``."""
    if not (names := columns_of(text)):
        return None
    return _csv_rows(text, _delimiter(text), names, defaults)


def columns_of(text: str) -> list[str]:
    names = [name.strip().strip('"').lower() for name in _head(text).split(_delimiter(text))]
    names = [_FIELD_OF.get(name, name) for name in names]
    return names if "pattern" in names else []


_FIELD_OF = {"check": "match_check", "list": "rule_list"}
_COLUMN_OF = {field: column for column, field in _FIELD_OF.items()}

_OLD_COLUMNS = {"exact": "exact", "squeeze": "loose"}
"""Columns of older files, and the value of ``compare`` that each means where it is true."""


def current_columns(names: Iterable[str]) -> set[str]:
    """The columns of a ``Row`` that a file with these columns sets."""
    return {"compare" if name in _OLD_COLUMNS else name for name in names}


def _head(text: str) -> str:
    return next((line for line in split_lines(text) if line.strip() and not line.startswith("#")), "")


def _delimiter(text: str) -> str:
    return max(",;\t", key=_head(text).count)


def _csv_rows(text: str, delimiter: str, names: list[str], defaults: Row) -> RowsAndRefusals:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    headed = False
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or (not headed and cells[0].startswith("#")):
                continue
            if not headed:
                _check_header(names, reader.line_num)
                headed = True
                continue
            yield _csv_row(reader.line_num, names, cells, defaults)
    except csv.Error as error:
        message = _("This is not valid CSV (%s). Is a closing quotation mark missing?")
        raise FileError(message % error, reader.line_num) from error


def _check_header(names: list[str], line: int) -> None:
    if unknown := [name for name in names if name not in COLUMNS and name not in _OLD_COLUMNS]:
        message = _("Unknown column “%(name)s”. The columns are: %(columns)s.")
        raise FileError(message % {"name": unknown[0], "columns": ", ".join(_header())}, line)
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise FileError(_("The column “%s” appears twice.") % duplicates[0], line)


def _csv_row(line: int, names: list[str], cells: list[str], defaults: Row) -> tuple[int, Row] | Refusal:
    excerpt = ",".join(cells)[:200]
    if len(cells) > len(names):
        message = _("There are %(cells)d cells but only %(columns)d columns.")
        return Refusal(line, excerpt, message % {"cells": len(cells), "columns": len(names)})
    values: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=False):
        try:
            if name in _OLD_COLUMNS:
                if cell.strip() and _parse_bool(cell):
                    values.setdefault("compare", _OLD_COLUMNS[name])
            elif name not in _PARSERS:
                values[name] = _without_escape(cell)
            elif cell.strip():  # an empty cell means the default
                values[name] = _PARSERS[name](cell)
        except ValueError as error:
            return Refusal(line, excerpt, f"{name}: {error}")
    return line, replace(defaults, **values)


_TRUE = ("1", "true", "yes", "y", "on", "是", "x")
_FALSE = ("0", "false", "no", "n", "off", "否")


def _parse_bool(cell: str) -> bool:
    word = cell.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(_("“%s” is neither true nor false.") % cell[:50])
    return word in _TRUE


def _parse_int(cell: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise ValueError(_("“%s” is not a whole number.") % cell[:50]) from None


def _parse_moment(cell: str) -> datetime:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise ValueError(_("“%s” is not a time like 2026-01-31 18:00.") % cell[:50]) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_names(cell: str) -> tuple[str, ...]:
    names = re.split("[|,;]", _without_escape(cell.strip()))
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _parse_choice(choices: Iterable[str]) -> Callable[[str], str]:
    def parse(cell: str) -> str:
        word = cell.strip().lower()
        if word not in choices:
            message = _("“%(word)s” is not one of %(choices)s.")
            raise ValueError(message % {"word": cell[:50], "choices": ", ".join(choices)})
        return word

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "pattern": lambda cell: _without_escape(cell.strip()),
    "kind": _parse_choice(KINDS),
    "action": _parse_choice(ACTIONS),
    "applies_to": _parse_choice(APPLIES_TO),
    "whole_word": _parse_bool,
    "compare": _parse_choice(COMPARES),
    "group": _parse_int,
    "overflow": _parse_choice(OVERFLOWS),
    "on_trial": _parse_bool,
    "enabled": _parse_bool,
    "priority": _parse_int,
    "upstreams": _parse_names,
    "valid_from": _parse_moment,
    "valid_until": _parse_moment,
    "rule_list": lambda cell: _without_escape(cell.strip()),
}


# Beginnings of a formula in a spreadsheet, which may run programs or send data (CSV injection). A leading apostrophe
# makes the cell text. Where there are apostrophes already, one more is added, so that reading can remove exactly one.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def _with_escape(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _without_escape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class _Line:
    """A file-like object for csv.writer whose ``write`` returns the line."""

    def write(self, line: str) -> str:
        return line


def csv_line(values: Iterable[Any]) -> str:
    """One line of a CSV file for spreadsheets, in which no cell is a formula."""
    return str(csv.writer(_Line()).writerow([_cell(value) for value in values]))


def write_csv(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a CSV file; reading it gives the same rows."""
    writer = csv.writer(_Line())
    yield writer.writerow(_header())
    for row in rows:
        yield writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])


def _header() -> list[str]:
    return [_COLUMN_OF.get(name, name) for name in COLUMNS]


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(" ")
        case tuple():
            return _with_escape("|".join(value))
        case str():
            return _with_escape(value)
    return str(value)
