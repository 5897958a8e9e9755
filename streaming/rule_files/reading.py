"""A file of rules, whatever its format: its rows checked, each refusal with its line and reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import RuleError, compile_rule
from streaming.rule_files.automod import read_automod
from streaming.rule_files.csv import columns_of, columns_said_by, read_csv
from streaming.rule_files.decoding import decode
from streaming.rule_files.rows import COLUMNS, LIMITS, FileError, Found, Reading, Refusal, Row
from streaming.rule_files.words import read_words

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
            says = {
                *(columns_said_by(columns_of(text)) if form == "csv" else _COLUMNS_OF_FORM[form]),
                *(defaults or {}),
            }
            return _checked(Reading(form, encoding, tuple(name for name in COLUMNS if name in says)), found)
    raise AssertionError("any text is a word list")


_COLUMNS_OF_FORM = {"words": ("pattern",), "automod": ("pattern", "kind", "whole_word", "enabled")}


def _megabytes(size: int) -> dict[str, int]:
    return {"size": -(-size // 1_000_000), "most": MAX_BYTES // 1_000_000}


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
        return _(error.template) % error.params
    return ""


_READERS: dict[str, Callable[[str, Row], Found | None]] = {
    "automod": read_automod,
    "csv": read_csv,
    "words": read_words,
}
