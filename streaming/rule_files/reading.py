"""Reads a file of rules in any supported format and checks every row; invalid rows get a line number and a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from django.utils.translation import gettext as _

from streaming.moderation import RuleError, compile_rule
from streaming.rule_fields import LIMITS
from streaming.rule_files.automod import read_automod
from streaming.rule_files.csv import fields_of, read_csv, read_lists
from streaming.rule_files.decoding import UNREADABLE, decode, has_control
from streaming.rule_files.pattern_lists import read_litellm, read_presidio, read_words_of_structure
from streaming.rule_files.questions import Answers, Reading
from streaming.rule_files.rows import COLUMNS, FileError, ParsedFile, Refusal, Row, RowKey, RowsAndRefusals
from streaming.rule_files.scanner_rules import read_gitleaks, read_trufflehog
from streaming.rule_files.structures import parse_json, parse_toml, parse_yaml
from streaming.rule_files.words import read_words

MAX_BYTES = 20_000_000
"""The largest file, in bytes; a hundred thousand rules with all columns take about half of it."""


def read(
    data: bytes, defaults: Mapping[str, Any] | None = None, answers: Answers | None = None, name: str = ""
) -> ParsedFile:
    """The rules in a file. ``defaults`` are the values of columns that it does not have; ``name`` tells its format.

    FileError if the file as a whole cannot be read.
    """
    if len(data) > MAX_BYTES:
        raise FileError(_("The file has %(size)d MB; at most %(most)d MB can be read.") % _megabytes(len(data)))
    text, encoding = decode(data)
    reading, row_defaults = Reading(answers or Answers()), Row("", **_row_values(defaults or {}))
    file_format, names, items = _read_text(text, name, row_defaults, reading)
    own_whole_word = "whole_word" in names
    given = {*names, *(defaults or {})}
    if reading.answers.whole_word in ("yes", "no") and not own_whole_word:
        given.add("whole_word")
    columns = tuple(column for column in COLUMNS if column in given)
    parsed = ParsedFile(file_format, encoding, columns, questions=reading.questions, notes=reading.notes)
    _check(parsed, items if own_whole_word else _with_whole_word(items, reading.answers))
    if file_format == "csv":
        parsed.lists = {name: row for name, row in read_lists(text).items() if not find_problem(row)}
    if parsed.lists:
        parsed.notes.append(_("The file describes lists: those that are not there yet are made as they were."))
    if reading.dropped:
        parts = ", ".join(f"{part} ({count})" for part, count in sorted(reading.dropped.items())[:20])
        parsed.notes.append(_("Not imported, because a rule here has no such part: %s.") % parts)
    return parsed


def _row_values(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if name in ("upstreams", "only_for") else value for name, value in defaults.items()}


def _read_text(text: str, name: str, defaults: Row, reading: Reading) -> tuple[str, set[str], RowsAndRefusals]:
    """The format of a text, the fields of a row that it sets, and its rows."""
    if (structure := _structure(text, PurePath(name).suffix.lower())) is not None:
        kind, data = structure
        for file_format, (reader, names) in _READERS.items():
            if (items := reader(data, defaults, reading)) is not None:
                fields = {*names, *reading.answers.columns} - {""}
                return file_format if file_format != "list" else kind, fields, items
        raise FileError(
            _("This %s has none of the forms that can be read; the page for import names them.") % kind.upper()
        )
    if (items := read_csv(text, defaults, reading)) is not None:
        return "csv", fields_of(text, reading), items
    return "words", {"pattern"}, read_words(text, defaults, reading)


_TOML_SIGNS = re.compile(r"^\[\[?[\w.-]+\]\]?\s*$", re.MULTILINE), re.compile(r"^\w+\s*=", re.MULTILINE)
_YAML_SIGNS = re.compile(r"^[\w -]+:[ ]*(?:#.*)?\r?\n(?:\s*#.*\n)*\s*- ", re.MULTILINE), re.compile("")


def _structure(text: str, suffix: str) -> tuple[str, Any] | None:
    """The name of its language and the content of a text in JSON, TOML or YAML; None if it is in none."""
    begin = text.lstrip()[:1]
    for kind, suffixes, parse, looks_so, is_certain in (
        ("json", (".json",), parse_json, begin in ("{", "["), begin == "{"),
        ("toml", (".toml",), parse_toml, all(sign.search(text) for sign in _TOML_SIGNS), False),
        ("yaml", (".yml", ".yaml"), parse_yaml, all(sign.search(text) for sign in _YAML_SIGNS), False),
    ):
        if suffix in suffixes or looks_so:
            try:
                data = parse(text)
            except FileError:
                if suffix in suffixes or (is_certain and suffix not in (".yml", ".yaml")):
                    raise
                continue  # a word list may begin with a bracket too
            if isinstance(data, list | dict):
                return kind, data
    return None


_Reader = Callable[[Any, Row, Reading], RowsAndRefusals | None]

_READERS: dict[str, tuple[_Reader, tuple[str, ...]]] = {
    "automod": (read_automod, ("pattern", "kind", "whole_word", "enabled")),
    "gitleaks": (read_gitleaks, ("pattern", "kind", "compare", "group", "match_check", "whole_word")),
    "presidio": (read_presidio, ("pattern", "kind", "whole_word", "category", "enabled")),
    "litellm": (read_litellm, ("pattern", "kind", "action", "whole_word", "category")),
    "trufflehog": (read_trufflehog, ("pattern", "kind", "compare", "group", "match_check", "whole_word")),
    "list": (read_words_of_structure, ("pattern",)),
}
"""For each format that is a structure, its reader and the fields of a row that it sets."""


def _with_whole_word(items: RowsAndRefusals, answers: Answers) -> RowsAndRefusals:
    for item in items:
        if isinstance(item, Refusal) or not answers.whole_word or item[1].kind == "regex":
            yield item
        else:
            line, row = item
            is_whole = answers.is_whole_word(row.pattern)
            yield item if row.whole_word == is_whole else (line, replace(row, whole_word=is_whole))


def _megabytes(size: int) -> dict[str, int]:
    return {"size": -(-size // 1_000_000), "most": MAX_BYTES // 1_000_000}


def _check(parsed: ParsedFile, items: RowsAndRefusals) -> None:
    """Sorts the items into valid rules and refusals; of duplicates the first is valid."""
    lines: dict[RowKey, tuple[int, Row]] = {}
    for item in items:
        if isinstance(item, Refusal):
            parsed.refused.append(item)
            continue
        line, row = item
        if row.kind == "regex" and row.compare == "loose":
            item = line, row = line, replace(row, compare="normal")  # loose is for words
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
    for name in (*LIMITS, "upstreams", "only_for"):
        if "\0" in "".join(getattr(row, name)):
            return _("The %s contains a NUL character.") % name
    if bad := has_control(row.pattern):
        if bad == UNREADABLE:
            return _("It contains bytes that are not text in the file’s encoding.")
        return _("It contains the control character U+%04X.") % ord(bad)
    if not -(1 << 31) <= row.priority < 1 << 31:
        return _("The priority is out of range.")
    if row.valid_from and row.valid_until and row.valid_until <= row.valid_from:
        return _("valid_until has to be later than valid_from.")
    try:
        compile_rule(row.as_rule(""))
    except RuleError as error:
        return _(error.template) % error.params
    return ""
