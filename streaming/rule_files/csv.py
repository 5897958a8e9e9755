"""Reads and writes rules as CSV: a header that names the columns, then one rule on each line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import ACTIONS, COMPARES, KINDS, OVERFLOWS
from streaming.rule_fields import APPLIES_TO, read_labels
from streaming.rule_files.columns import FIELD_OF, OLD_COLUMNS, field_of, guessed_field_of, guesses, value_of
from streaming.rule_files.questions import SKIPPED, ColumnsQuestion, Reading
from streaming.rule_files.rows import COLUMNS, FileError, Refusal, Row, RowsAndRefusals

_COLUMN_OF = {field: column for column, field in FIELD_OF.items()}

NO_TABLE = ("words",)
"""The answer to the question about columns that says that the file has none."""

MAX_COLUMNS = 100
_SAMPLES = 3
_COMMENT = ("#", '"#')
_SEPARATOR_LINE = re.compile(r"sep=([,;\t|])(?=[\r\n])", re.IGNORECASE)
_LOOKED_AT = 200
_MAX_LINES_OF_A_ROW = 2_000
_MAX_BROKEN_ROWS = 100


def read_csv(text: str, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    """The rows of a table; None if the text is none.

    A table has a header with a column ``pattern``, or most of its first lines have the same number of cells. Unless the
    header has nothing but names of our own files, what each column is is asked.
    """
    answer = reading.answers.columns
    if answer == NO_TABLE:
        return None
    text, delimiter = _table(text)
    first = next(_records(text, delimiter), None)
    if first is None:
        return None
    names = first[1]
    own = [field_of(name) for name in names]
    has_header = any(guessed_field_of(name) for name in names)
    if len(names) > MAX_COLUMNS or not (answer or "pattern" in own or _looks_like_a_table(text, delimiter, names)):
        return None
    if not answer and not ("pattern" in own and SKIPPED not in own):
        answer = guesses(names) if has_header else (SKIPPED,) * len(names)
        samples = islice(_records(text, delimiter), 1 if has_header else 0, _SAMPLES + has_header)
        cells = [cells for _line, cells in samples]
        columns = tuple(tuple(row[at][:80] if at < len(row) else "" for row in cells) for at in range(len(names)))
        shown = tuple(names) if has_header else tuple(_("Column %d") % at for at in range(1, len(names) + 1))
        reading.questions.append(ColumnsQuestion(shown, answer, columns, has_header, first[0]))
        if "pattern" not in answer:
            return iter(())
    fields = list(answer or own)
    if duplicates := [name for name, count in Counter(filter(None, fields)).items() if count > 1]:
        raise FileError(_("The column “%s” appears twice.") % _COLUMN_OF.get(duplicates[0], duplicates[0]), first[0])
    headed = has_header if not reading.answers.columns else reading.answers.has_header
    return _rows(text, delimiter, fields, defaults, headed=headed)


def fields_of(text: str, reading: Reading) -> set[str]:
    """The fields of a ``Row`` that the columns set."""
    if reading.answers.columns:
        return set(reading.answers.columns) - {SKIPPED}
    first = next(_records(*_table(text)), (0, []))
    return {"compare" if name in OLD_COLUMNS else name for name in map(guessed_field_of, first[1])} - {SKIPPED}


def _looks_like_a_table(text: str, delimiter: str, names: list[str]) -> bool:
    """Whether nearly all of the first lines have the same number of cells, more than one; or the first is a header."""
    found = [len(cells) for _line, cells in islice(_records(text, delimiter), _LOOKED_AT)]
    if len(names) == 1:
        return len(found) > 1 and guessed_field_of(names[0]) == "pattern"
    return len(found) > 1 and found.count(len(names)) >= 0.9 * len(found)


def _table(text: str) -> tuple[str, str]:
    """The text of a table and its delimiter, which Excel may say in a first line ``sep=;``. That becomes empty."""
    if said := _SEPARATOR_LINE.match(text):
        return text[said.end() :], said[1]
    return text, _delimiter(text)


def _delimiter(text: str) -> str:
    head = next((line for line in text.splitlines() if line.strip() and not line.startswith(_COMMENT)), "")
    return max(",;\t|", key=head.count)


class _Lines:
    """The lines of a text for csv.reader, which begins again behind a line where quotation marks do not match."""

    def __init__(self, text: str) -> None:
        self._lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
        self.next = 0
        self.begun = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.next >= len(self._lines) or self.next - self.begun >= _MAX_LINES_OF_A_ROW:
            raise StopIteration
        self.next += 1
        return self._lines[self.next - 1]

    @property
    def is_over(self) -> bool:
        return self.next >= len(self._lines)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    return (record for record in _records_and_refusals(text, delimiter) if isinstance(record, tuple))


def _records_and_refusals(text: str, delimiter: str) -> Iterator[tuple[int, list[str]] | Refusal]:
    """Each row that is not empty or a comment before the header, with its last line."""
    lines, headed, broken = _Lines(text), False, 0
    while not lines.is_over:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            while not lines.is_over:
                lines.begun = lines.next
                cells = next(reader)
                if any(cell.strip() for cell in cells) and (headed or not cells[0].startswith("#")):
                    headed = True
                    yield lines.next, cells
        except StopIteration:
            lines.next = max(lines.next, lines.begun + 1)
        except csv.Error as error:
            broken += 1
            message = _("This is not valid CSV (%s). Is a closing quotation mark missing?") % error
            if broken > _MAX_BROKEN_ROWS:
                raise FileError(message, lines.begun + 1) from error
            yield Refusal(lines.begun + 1, lines._lines[lines.begun].strip()[:200], message)
            lines.next = lines.begun + 1


def _rows(text: str, delimiter: str, names: list[str], defaults: Row, *, headed: bool) -> RowsAndRefusals:
    for record in _records_and_refusals(text, delimiter):
        if isinstance(record, Refusal):
            yield record
        elif headed:
            headed = False
        else:
            yield _csv_row(record[0], names, record[1], defaults)


def _csv_row(line: int, names: list[str], cells: list[str], defaults: Row) -> tuple[int, Row] | Refusal:
    excerpt = ",".join(cells)[:200]
    if any(cell.strip() for cell in cells[len(names) :]):
        message = _("There are %(cells)d cells but only %(columns)d columns.")
        return Refusal(line, excerpt, message % {"cells": len(cells), "columns": len(names)})
    return row_of(line, excerpt, zip(names, cells, strict=False), defaults)


def row_of(line: int, excerpt: str, cells: Iterable[tuple[str, str]], defaults: Row) -> tuple[int, Row] | Refusal:
    """A row from texts by their fields; those of SKIPPED fields are left out."""
    values: dict[str, Any] = {}
    cells = list(cells)
    for name, cell in cells:
        try:
            if name == SKIPPED:
                continue
            if name in OLD_COLUMNS:
                if cell.strip() and _parse_bool(cell):
                    values.setdefault("compare", OLD_COLUMNS[name])
            elif name not in _PARSERS:
                values[name] = _without_escape(cell)
            elif cell.strip():  # an empty cell means the default
                values[name] = _PARSERS[name](cell)
        except ValueError as error:
            return Refusal(line, excerpt, f"{_COLUMN_OF.get(name, name)}: {error}")
    row = replace(defaults, **values)
    if row.kind == "regex" and row.compare == "loose" and any(name in OLD_COLUMNS for name, _cell in cells):
        row = replace(row, compare="normal")  # where regular expressions could be squeezed, it was of no effect
    return line, row


def _parse_bool(cell: str) -> bool:
    word = value_of(cell)
    if word not in ("true", "false"):
        raise ValueError(_("“%s” is neither true nor false.") % cell[:50])
    return word == "true"


def _parse_int(cell: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise ValueError(_("“%s” is not a whole number.") % cell[:50]) from None


def _parse_moment(cell: str) -> datetime:
    try:
        moment = datetime.fromisoformat(cell.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)  # as databases store it
    except (ValueError, OverflowError):
        raise ValueError(_("“%s” is not a time like 2026-01-31 18:00.") % cell[:50]) from None
    return moment


def _parse_names(cell: str) -> tuple[str, ...]:
    names = re.split("[|,;]", _without_escape(cell.strip()))
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _parse_labels(cell: str) -> tuple[str, ...]:
    try:
        return tuple(read_labels(_without_escape(cell)))
    except ValueError as error:
        raise ValueError(_("“%s” is not like model:gpt-4o, key:ann/laptop or group:staff.") % str(error)[:50]) from None


def _parse_choice(choices: Iterable[str]) -> Callable[[str], str]:
    def parse(cell: str) -> str:
        word = value_of(cell)
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
    "only_for": _parse_labels,
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


def write_csv(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Iterator[str]:
    """The lines of a CSV file; reading it gives the same rows."""
    writer = csv.writer(_Line())
    yield writer.writerow([_COLUMN_OF.get(name, name) for name in columns])
    for row in rows:
        yield writer.writerow([_cell(getattr(row, name)) for name in columns])


LIST_COLUMNS = (
    *("rule_list", "enabled", "on_trial", "upstreams", "only_for", "applies_to", "valid_from", "valid_until"),
    "note",
)
"""What is kept of a list, in a Row whose ``rule_list`` is its name."""

_LIST_COMMENT = "# list: "
MAX_LISTS = 10_000


def write_lists(lists: Iterable[Row]) -> Iterator[str]:
    """Comments, to be written before a table: its columns cannot say which lists are not enabled, or limited.

    A list that is neither needs none. Each has the cells of LIST_COLUMNS as JSON, so that it is one line; and that in
    one cell, so that a spreadsheet saves it as it was.
    """
    for each in lists:
        if each != Row("", rule_list=each.rule_list):
            cells = json.dumps([_cell(getattr(each, name)) for name in LIST_COLUMNS])
            yield csv_line([f"{_LIST_COMMENT}{cells}"])


def read_lists(text: str) -> dict[str, Row]:
    """The lists in the comments at the beginning of a text, by name; comments that are not like that say nothing."""
    found: dict[str, Row] = {}
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.startswith(_COMMENT) or len(found) >= MAX_LISTS:
            break
        comment = line[1:].replace('""', '"') if line.startswith('"') else line
        if comment.startswith(_LIST_COMMENT) and (row := _list_of(number, comment.removeprefix(_LIST_COMMENT))):
            found[row.rule_list] = row
    return found


def _list_of(number: int, comment: str) -> Row | None:
    try:
        cells, _rest = json.JSONDecoder().raw_decode(comment)  # behind it are the quotation mark and empty cells
    except (ValueError, RecursionError):
        return None
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        return None
    item = row_of(number, comment[:200], zip(LIST_COLUMNS, cells, strict=False), Row("list"))
    return None if isinstance(item, Refusal) else item[1]


def write_refusals(refusals: Iterable[Refusal]) -> Iterator[str]:
    """The lines of a CSV file with everything that was refused of a file."""
    writer = csv.writer(_Line())
    yield writer.writerow(["line", "text", "reason"])
    for each in refusals:
        yield writer.writerow([each.line, _with_escape(each.text), each.reason])


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
