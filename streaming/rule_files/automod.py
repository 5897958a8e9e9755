"""Rules in the JSON of Discord's AutoMod: https://discord.com/developers/docs/resources/auto-moderation"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from streaming.rule_fields import LIMITS
from streaming.rule_files.questions import Reading
from streaming.rule_files.rows import Refusal, Row, RowsAndRefusals
from streaming.rule_files.structures import line_of

_KEYWORD = 1
_MEMBER_PROFILE = 6
_KINDS_WITHOUT_WORDS = {3: "spam", 4: "keyword_preset", 5: "mention_spam"}

# The rest of a word, for a wildcard. Latin letters are folded to a-z; from U+2E80 on, text has no word boundaries.
_WORD_REST = r"[\w\x{388}-\x{1dbf}]{0,64}"


def read_automod(data: Any, defaults: Row, reading: Reading) -> RowsAndRefusals | None:
    """A rule as returned by Discord's API, or a list of them; None if it is neither."""
    rules = data if isinstance(data, list) else [data]
    wanted = {"trigger_metadata", "trigger_type", "keyword_filter", "regex_patterns"}
    if not rules or not all(isinstance(rule, dict) and wanted & rule.keys() for rule in rules):
        return None
    return (item for rule in rules for item in _of_rule(rule, defaults, reading))


_KNOWN = ("id", "guild_id", "creator_id", "name", "enabled", "event_type", "trigger_type", "trigger_metadata")
_LISTS = ("keyword_filter", "allow_list", "regex_patterns")


def _of_rule(rule: dict[str, Any], defaults: Row, reading: Reading) -> RowsAndRefusals:
    metadata = rule.get("trigger_metadata", rule)
    name, kind = str(rule.get("name", "")), rule.get("trigger_type", _KEYWORD)
    rule_defaults = replace(
        defaults, enabled=bool(rule.get("enabled", True)) and defaults.enabled, note=_automod_note(name, defaults)
    )
    reading.drop_others(rule, (*_KNOWN, *_LISTS))
    if not isinstance(metadata, dict) or kind not in (_KEYWORD, _MEMBER_PROFILE):
        reason = _("Discord rules of the type “%s” contain no words.")
        named = _KINDS_WITHOUT_WORDS.get(kind, kind) if isinstance(kind, int) else str(kind)[:50]
        yield Refusal(line_of(rule.get("name", rule)), name[:200], reason % named)
        return
    if metadata is not rule:
        reading.drop_others(metadata, _LISTS)
    for key, make in zip(_LISTS, (_from_keyword, _allowed, _from_regex), strict=True):
        words = metadata.get(key) or []
        for word in words if isinstance(words, list) else [words]:
            if isinstance(word, str) and word.strip("* "):
                yield line_of(word), make(str(word.strip()), rule_defaults)
            else:
                yield Refusal(line_of(word, line_of(rule)), str(word)[:200], _("This is not a word."))


def _automod_note(name: str, defaults: Row) -> str:
    return defaults.note or (f"Discord AutoMod: {name}"[: LIMITS["note"]] if name else "")


def _from_keyword(word: str, defaults: Row) -> Row:
    """``cat`` matches a whole word, ``cat*`` its beginning, ``*cat`` its end, and ``*cat*`` anywhere in a word."""
    core = word.strip("*")
    before, after = word.startswith("*"), word.endswith("*")
    # In scripts without word boundaries, a word may begin and end anywhere.
    before, after = before or core[0] >= "\u2e80", after or core[-1] >= "\u2e80"
    if before and after:
        return replace(defaults, pattern=core)
    if not before and not after:
        return replace(defaults, pattern=core, whole_word=True)
    quoted = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", core)
    has_open_start, has_open_end = (
        word.startswith("*") and core[0] < "\u2e80",
        word.endswith("*") and core[-1] < "\u2e80",
    )
    pattern = f"{_WORD_REST if has_open_start else ''}{quoted}{_WORD_REST if has_open_end else ''}"
    return replace(defaults, pattern=pattern, kind="regex", whole_word=True)


def _allowed(word: str, defaults: Row) -> Row:
    return replace(_from_keyword(word, defaults), action="allow")


def _from_regex(pattern: str, defaults: Row) -> Row:
    return replace(defaults, pattern=pattern, kind="regex")
