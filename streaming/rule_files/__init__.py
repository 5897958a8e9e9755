"""Rules as files: word lists, CSV, Discord AutoMod JSON, in and out. Knows no database and no web."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import ACTIONS, KINDS, RuleError, compile_rule
from streaming.rule_files.automod import read_automod
from streaming.rule_files.rows import COLUMNS, LIMITS, SCOPES, FileError, Found, Reading, Refusal, Row
from streaming.sentences import translated

__all__ = ["COLUMNS", "MAX_BYTES", "FileError", "Reading", "Refusal", "Row", "decode", "flaw", "read", "write_csv"]

MAX_BYTES = 20_000_000
"""Of a file; a hundred thousand rules with all their columns are about half of it."""


def read(data: bytes, defaults: Mapping[str, Any] | None = None) -> Reading:
    """The rules in a file. ``defaults`` are for the columns that it does not have. FileError if it is none at all."""
    if len(data) > MAX_BYTES:
        raise FileError(_("The file has %(size)d MB; at most %(most)d MB can be read.") % _megabytes(len(data)))
    text, encoding = decode(data)
    basis = Row("", **(defaults or {}))
    for form, reader in _READERS.items():
        if (found := reader(text, basis)) is not None:
            says = {*(_columns_of(text) if form == "csv" else _SAID_BY[form]), *(defaults or {})}
            return _checked(Reading(form, encoding, tuple(name for name in COLUMNS if name in says)), found)
    raise AssertionError("any text is a word list")


_SAID_BY = {"words": ("pattern",), "automod": ("pattern", "kind", "whole_word", "enabled")}


def _megabytes(size: int) -> dict[str, int]:
    return {"size": -(-size // 1_000_000), "most": MAX_BYTES // 1_000_000}


# --- bytes to text

_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file and the name of its encoding: UTF-8, with a BOM or not, UTF-16 with one, or else GBK."""
    for bom, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(bom):
            return _decoded(data, encoding), encoding
    if found := _NO_TEXT.search(data):
        raise FileError(_("This is not a text file."), data.count(b"\n", 0, found.start()) + 1)
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError as error:
        if _is_damaged_utf8(data):
            raise _undecodable(data, error) from error
        return _decoded(data, "gb18030"), "gbk"


def _decoded(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(data, error) from error
    if "\0" in text:
        raise FileError(_("This is not a text file."), text.count("\n", 0, text.index("\0")) + 1)
    return text


def _is_damaged_utf8(data: bytes) -> bool:
    """Rather than GBK, in which hardly any character happens to look like one of UTF-8."""
    text = data.decode(errors="replace")
    wrong = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) - wrong > wrong


def _undecodable(data: bytes, error: UnicodeDecodeError) -> FileError:
    said = _("The byte 0x%(byte)02X is not %(encoding)s. Save the file as UTF-8.")
    encoding = "UTF-8" if error.encoding in ("utf-8", "utf-8-sig") else "UTF-8, nor GBK"
    byte = data[error.start] if error.start < len(data) else 0
    return FileError(said % {"byte": byte, "encoding": encoding}, data.count(b"\n", 0, error.start) + 1)


# --- text to rows


def _checked(reading: Reading, found: Found) -> Reading:
    """Sorts out what is a rule, and the first of its kind in the file."""
    lines: dict[tuple[str, str, str], tuple[int, Row]] = {}
    for each in found:
        if isinstance(each, Refusal):
            reading.refused.append(each)
            continue
        line, row = each
        if reason := flaw(row):
            reading.refused.append(Refusal(line, row.pattern[:200], reason))
        elif first := lines.get(row.key):
            same = _("It is on line %d already.") if first[1] == row else _("Line %d says otherwise of it.")
            reading.refused.append(Refusal(line, row.pattern[:200], same % first[0]))
        else:
            lines[row.key] = each
            reading.rows.append(each)
    return reading


def flaw(row: Row) -> str:
    """What is wrong with it as a rule; empty if nothing is."""
    for name, limit in LIMITS.items():
        value = getattr(row, name)
        if len(value) > limit:
            return _("The %(name)s has %(count)d characters; at most %(limit)d are possible.") % {
                "name": name,
                "count": len(value),
                "limit": limit,
            }
        if "\0" in value:
            return _("The %s has a NUL character in it.") % name
    if not -(1 << 31) <= row.priority < 1 << 31:
        return _("The priority is too large.")
    if row.valid_from and row.valid_until and row.valid_until <= row.valid_from:
        return _("valid_until is not after valid_from: the rule would never hold.")
    try:
        compile_rule(row.as_rule(""))
    except RuleError as error:
        return translated(str(error))
    return ""


def _lines(text: str) -> list[str]:
    """As an editor counts them; str.splitlines() would split at a form feed too."""
    return re.split("\r\n|\r|\n", text)


_SEPARATORS = re.compile("[,、，；|]")


def _read_words(text: str, basis: Row) -> Found:
    """One word a line, or several with a separator between; a line that begins with # is a comment."""
    for number, line in enumerate(_lines(text), 1):
        if not line.lstrip().startswith("#"):
            for word in _SEPARATORS.split(line):
                if pattern := word.strip():
                    yield number, replace(basis, pattern=pattern)


def _read_csv(text: str, basis: Row) -> Found | None:
    """CSV, if the first line that says anything names a column ``pattern``."""
    if not (names := _columns_of(text)):
        return None
    return _csv_rows(text, _delimiter(text), names, basis)


def _columns_of(text: str) -> list[str]:
    names = [name.strip().strip('"').lower() for name in _head(text).split(_delimiter(text))]
    return names if "pattern" in names else []


def _head(text: str) -> str:
    return next((line for line in _lines(text) if line.strip() and not line.startswith("#")), "")


def _delimiter(text: str) -> str:
    return max(",;\t", key=_head(text).count)


def _csv_rows(text: str, delimiter: str, names: list[str], basis: Row) -> Found:
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
            yield _csv_row(reader.line_num, names, cells, basis)
    except csv.Error as error:
        said = _("It is not CSV from here on (%s). Is a quotation mark not closed?")
        raise FileError(said % error, reader.line_num) from error


def _check_header(names: list[str], line: int) -> None:
    if unknown := [name for name in names if name not in COLUMNS]:
        said = _("The column “%(name)s” is not known. There are: %(columns)s.")
        raise FileError(said % {"name": unknown[0], "columns": ", ".join(COLUMNS)}, line)
    if twice := [name for name in names if names.count(name) > 1]:
        raise FileError(_("The column “%s” is there twice.") % twice[0], line)


def _csv_row(line: int, names: list[str], cells: list[str], basis: Row) -> tuple[int, Row] | Refusal:
    shown = ",".join(cells)[:200]
    if len(cells) > len(names):
        said = _("There are %(cells)d cells, but %(columns)d columns.")
        return Refusal(line, shown, said % {"cells": len(cells), "columns": len(names)})
    values: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=False):
        try:
            if name not in _PARSERS:
                values[name] = cell
            elif cell.strip():  # what is left empty is as if the column were not there
                values[name] = _PARSERS[name](cell)
        except ValueError as error:
            return Refusal(line, shown, f"{name}: {error}")
    return line, replace(basis, **values)


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
    return tuple(dict.fromkeys(name.strip() for name in re.split("[|,;]", cell) if name.strip()))


def _parse_choice(choices: Iterable[str]) -> Callable[[str], str]:
    def parse(cell: str) -> str:
        word = cell.strip().lower()
        if word not in choices:
            said = _("“%(word)s” is none of %(choices)s.")
            raise ValueError(said % {"word": cell[:50], "choices": ", ".join(choices)})
        return word

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "pattern": str.strip,
    "kind": _parse_choice(KINDS),
    "action": _parse_choice(ACTIONS),
    "applies_to": _parse_choice(SCOPES),
    "whole_word": _parse_bool,
    "exact": _parse_bool,
    "squeeze": _parse_bool,
    "enabled": _parse_bool,
    "priority": _parse_int,
    "upstreams": _parse_names,
    "valid_from": _parse_moment,
    "valid_until": _parse_moment,
}


_READERS: dict[str, Callable[[str, Row], Found | None]] = {
    "automod": read_automod,
    "csv": _read_csv,
    "words": _read_words,
}


# --- rows to text


class _Line:
    """What csv.writer writes a line into."""

    def write(self, line: str) -> str:
        return line


def write_csv(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a CSV that, read again, gives the same rows."""
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(" ")
        case tuple():
            return "|".join(value)
    return str(value)
