"""Reads a file of rules in any supported format and checks every row; invalid rows get a line number and a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import RuleError, compile_rule
from streaming.rule_fields import LIMITS
from streaming.rule_files.automod import read_automod
from streaming.rule_files.csv import columns_of, current_columns, read_csv
from streaming.rule_files.decoding import decode
from streaming.rule_files.rows import COLUMNS, FileError, ParsedFile, Refusal, Row, RowKey, RowsAndRefusals
from streaming.rule_files.words import read_words

MAX_BYTES = 20_000_000
"""The largest file, in bytes; a hundred thousand rules with all columns take about half of it."""


def read(data: bytes, defaults: Mapping[str, Any] | None = None) -> ParsedFile:
    """The rules in a file. ``defaults`` are the values of columns that it does not have.

    FileError if the file as a whole cannot be read.
    """
    if len(data) > MAX_BYTES:
        raise FileError(_("The file has %(size)d MB; at most %(most)d MB can be read.") % _megabytes(len(data)))
    text, encoding = decode(data)
    row_defaults = Row("", **(defaults or {}))
    for file_format, reader in _READERS.items():
        if (items := reader(text, row_defaults)) is not None:
            names = current_columns(columns_of(text)) if file_format == "csv" else _COLUMNS_OF_FORMAT[file_format]
            given = {*names, *(defaults or {})}
            return _checked(ParsedFile(file_format, encoding, tuple(name for name in COLUMNS if name in given)), items)
    raise AssertionError("any text is a word list")


_COLUMNS_OF_FORMAT = {"words": ("pattern",), "automod": ("pattern", "kind", "whole_word", "enabled")}


def _megabytes(size: int) -> dict[str, int]:
    return {"size": -(-size // 1_000_000), "most": MAX_BYTES // 1_000_000}


def _checked(parsed: ParsedFile, items: RowsAndRefusals) -> ParsedFile:
    """Sorts the items into valid rules and refusals; of duplicates the first is valid."""
    lines: dict[RowKey, tuple[int, Row]] = {}
    for item in items:
        if isinstance(item, Refusal):
            parsed.refused.append(item)
            continue
        line, row = item
        if reason := find_problem(row):
            parsed.refused.append(Refusal(line, row.pattern[:200], reason))
        elif first := lines.get(row.key):
            same = (
                _("The same rule is on line %d.")
                if first[1] == row
                else _("Line %d has the same pattern with other values.")
            )
            parsed.refused.append(Refusal(line, row.pattern[:200], same % first[0]))
        else:
            lines[row.key] = item
            parsed.rows.append(item)
    return parsed


def find_problem(row: Row) -> str:
    """Why the row is not a valid rule, as a sentence; empty if it is valid."""
    for name, limit in LIMITS.items():
        value = getattr(row, name)
        if len(value) > limit:
            return _("The %(name)s has %(count)d characters; the maximum is %(limit)d.") % {
                "name": name,
                "count": len(value),
                "limit": limit,
            }
        if "\0" in value:
            return _("The %s contains a NUL character.") % name
    if not -(1 << 31) <= row.priority < 1 << 31:
        return _("The priority is out of range.")
    if row.valid_from and row.valid_until and row.valid_until <= row.valid_from:
        return _("valid_until has to be later than valid_from.")
    try:
        compile_rule(row.as_rule(""))
    except RuleError as error:
        return _(error.template) % error.params
    return ""


_READERS: dict[str, Callable[[str, Row], RowsAndRefusals | None]] = {
    "automod": read_automod,
    "csv": read_csv,
    "words": read_words,
}
