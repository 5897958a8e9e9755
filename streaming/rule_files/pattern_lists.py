"""Reads lists of words and patterns in JSON or YAML: plain ones, Presidio's recognizers, and LiteLLM's filters.

Their formats: https://microsoft.github.io/presidio/analyzer/adding_recognizers/ and
https://docs.litellm.ai/docs/proxy/guardrails/litellm_content_filter
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from streaming.rule_fields import LIMITS
from streaming.rule_files.columns import guesses
from streaming.rule_files.csv import row_of
from streaming.rule_files.questions import SKIPPED, ColumnsQuestion, Reading
from streaming.rule_files.rows import Refusal, Row, RowsAndRefusals
from streaming.rule_files.structures import TextAt, line_of

_LISTS = {
    "words",
    "keywords",
    "terms",
    "list",
    "items",
    "data",
    "entries",
    "blocklist",
    "blacklist",
    "patterns",
    "rules",
}
"""Names of lists that say nothing of what the words are about."""

_SAMPLES = 3


def read_presidio(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    found = data.get("recognizers") if isinstance(data, dict) and "recognizers" in data else data
    recognizers = found if isinstance(found, list) else [found]
    wanted = {"supported_entity", "supported_entities", "deny_list"}
    if not any(isinstance(each, dict) and wanted & each.keys() for each in recognizers):
        return None
    return (item for each in recognizers for item in _of_recognizer(each, defaults, reading))


def _of_recognizer(each: Any, defaults: Row, reading: Reading) -> Iterator[tuple[int, Row] | Refusal]:
    patterns = _list(each.get("patterns")) if isinstance(each, dict) else []
    denied = _list(each.get("deny_list")) if isinstance(each, dict) else []
    if not patterns and not denied:
        name = str(each.get("name", each)) if isinstance(each, dict) else str(each)
        yield Refusal(line_of(each), name[:200], _("This recognizer has no pattern and no words; it is a program."))
        return
    known = (
        "name",
        "patterns",
        "deny_list",
        "supported_entity",
        "supported_entities",
        "supported_language",
        "type",
        "enabled",
    )
    reading.drop_others(each, known)
    entity = each.get("supported_entity") or next(iter(_list(each.get("supported_entities"))), "")
    row = _about(defaults, str(entity), f"Presidio: {each.get('name', entity)}")
    row = replace(row, enabled=row.enabled and str(each.get("enabled", True)).lower() != "false")
    for pattern in patterns:
        regex = pattern.get("regex") if isinstance(pattern, dict) else None
        if not isinstance(regex, str) or not regex:
            yield Refusal(line_of(pattern), str(pattern)[:200], _("There is no regular expression."))
            continue
        reading.drop_others(pattern, ("name", "regex"))
        # Presidio compares in this way, and as the default upper and lower case alike, as rules do here.
        yield line_of(regex), replace(row, pattern=f"(?ms){regex}" if _has_anchors(regex) else str(regex), kind="regex")
    for word in denied:
        yield _word(word, replace(row, whole_word=True))


def _has_anchors(regex: str) -> bool:
    return any(sign in regex for sign in "^$.")


def read_litellm(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    """The patterns of its content filter, and its blocked words and categories of words."""
    if (
        isinstance(data, list)
        and data
        and all(isinstance(each, dict) and {"match", "severity"} <= each.keys() for each in data)
    ):
        return (item for each in data for item in _of_matches(each, defaults, reading))
    if not isinstance(data, dict):
        return None
    patterns = [each for each in _list(data.get("patterns")) if isinstance(each, dict) and "pattern" in each]
    patterns += [{"pattern": each} for each in _list(data.get("phrase_patterns"))]
    words = [each for name in ("keywords", "blocked_words", "always_block_keywords") for each in _list(data.get(name))]
    words = [each for each in words if isinstance(each, dict) and "keyword" in each]
    if not patterns and not words:
        return None
    known = ("patterns", "phrase_patterns", "keywords", "blocked_words", "always_block_keywords", "category_name")
    reading.drop_others(data, (*known, "description", "version", "display_name", "exceptions", "default_action"))
    return _of_litellm(data, patterns, words, defaults, reading)


def _of_matches(each: dict[str, Any], defaults: Row, reading: Reading) -> RowsAndRefusals:
    """An entry of a list of toxic words: several words with ``|`` between them."""
    reading.drop_others(each, ("id", "match", "tags"))
    tags = [tag for tag in _list(each.get("tags")) if isinstance(tag, str)]
    row = replace(_about(defaults, tags[0] if tags else "", f"LiteLLM: {each.get('id', '')}"), whole_word=True)
    if not isinstance(each["match"], str):
        yield _word(each["match"], row)
        return
    for word in each["match"].split("|"):
        yield _word(TextAt.at(line_of(each["match"]), word), row)


def _of_litellm(
    data: dict[str, Any], patterns: list[Any], words: list[Any], defaults: Row, reading: Reading
) -> RowsAndRefusals:
    category = str(data.get("category_name", ""))
    defaults = replace(defaults, action=_action({"action": data.get("default_action", "")}, defaults))
    for each in patterns:
        if not isinstance(each["pattern"], str):
            yield Refusal(line_of(each), str(each)[:200], _("There is no regular expression."))
            continue
        reading.drop_others(each, ("pattern", "name", "display_name", "category", "description", "action"))
        title = each.get("display_name", each.get("name", ""))
        row = _about(defaults, str(each.get("category", category)), f"LiteLLM: {title}")
        yield (
            line_of(each["pattern"]),
            replace(row, pattern=str(each["pattern"]), kind="regex", action=_action(each, row)),
        )
    for each in words:
        reading.drop_others(each, ("keyword", "description", "action"))
        row = _about(defaults, category, f"LiteLLM: {each.get('description', '')}")
        yield _word(each["keyword"], replace(row, whole_word=True, action=_action(each, row)))
    for word in _list(data.get("exceptions")):
        yield _word(word, replace(defaults, action="allow"))


def _action(each: dict[str, Any], row: Row) -> Any:
    return {"BLOCK": "block", "MASK": "mask"}.get(str(each.get("action", "")).upper(), row.action)


def read_words_of_structure(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    """A list of words, lists by category, or a list of objects, whose keys are asked about."""
    if isinstance(data, list) and data:
        if isinstance(data[0], dict):
            return _table(data, defaults, reading)
        return (_word(word, defaults) for word in data)
    if not isinstance(data, dict):
        return None
    lists = {name: value for name, value in data.items() if isinstance(value, list) and value}
    if not lists:
        return None
    reading.drop_others(data, lists.keys())
    if len(lists) == 1 and isinstance((only := next(iter(lists.values())))[0], dict):
        return _table(only, defaults, reading)
    return (
        _word(word, defaults if name.lower() in _LISTS else _about(defaults, name, ""))
        for name, words in lists.items()
        for word in words
    )


def _table(objects: list[Any], defaults: Row, reading: Reading) -> RowsAndRefusals:
    names = tuple(dict.fromkeys(name for each in objects if isinstance(each, dict) for name in each))[:100]
    fields = reading.answers.columns
    if not fields:
        fields = guesses(names)
        samples = tuple(
            tuple(_text(each.get(name))[:80] for each in objects[:_SAMPLES] if isinstance(each, dict)) for name in names
        )
        reading.questions.append(ColumnsQuestion(names, fields, samples, has_header=True))
    if "pattern" not in fields:
        return iter(())
    return _rows(objects, dict(zip(names, fields, strict=False)), defaults)


def _rows(objects: list[Any], fields: dict[str, str], defaults: Row) -> RowsAndRefusals:
    for each in objects:
        if not isinstance(each, dict):
            yield Refusal(line_of(each), str(each)[:200], _("This is not a word."))
            continue
        cells = [(fields.get(name, SKIPPED), _text(value)) for name, value in each.items()]
        yield row_of(line_of(each), str(each)[:200], cells, defaults)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _about(defaults: Row, category: str, note: str) -> Row:
    note = note.strip().removesuffix(":")
    return replace(
        defaults,
        category=defaults.category or category[: LIMITS["category"]],
        note=(defaults.note or note)[: LIMITS["note"]],
    )


def _word(word: Any, row: Row) -> tuple[int, Row] | Refusal:
    if not isinstance(word, str) or not word.strip():
        return Refusal(line_of(word), str(word)[:200], _("This is not a word."))
    return line_of(word), replace(row, pattern=str(word).strip())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
