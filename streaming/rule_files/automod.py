"""Rules in the JSON of Discord's AutoMod: https://discord.com/developers/docs/resources/auto-moderation"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from streaming.rule_fields import LIMITS
from streaming.rule_files.rows import FileError, Refusal, Row, RowsAndRefusals

_KEYWORD = 1
_MEMBER_PROFILE = 6
_KINDS_WITHOUT_WORDS = {3: "spam", 4: "keyword_preset", 5: "mention_spam"}

# The rest of a word, for a wildcard. Latin letters are folded to a-z; from U+2E80 on, text has no word boundaries.
_WORD_REST = r"[\w\x{388}-\x{1dbf}]{0,64}"


def read_automod(text: str, defaults: Row) -> RowsAndRefusals | None:
    """A rule as returned by Discord's API, or a list of them; None if the text is not JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        data = json.loads(text)
    except RecursionError:
        raise FileError(_("The JSON is nested too deeply.")) from None
    except ValueError as error:
        if text.lstrip().startswith("["):
            return None  # a word list may begin with a bracket too
        line = getattr(error, "lineno", None)
        raise FileError(_("This is not valid JSON: %s.") % getattr(error, "msg", error), line) from error
    rules = data if isinstance(data, list) else [data]
    if not all(isinstance(rule, dict) for rule in rules):
        raise FileError(_("This JSON is not a rule, or a list of rules, of Discord's AutoMod."))
    return _automod_rows(text, rules, defaults)


def _automod_rows(text: str, rules: list[dict[str, Any]], defaults: Row) -> RowsAndRefusals:
    lines = _LineFinder(text)
    for rule in rules:
        metadata = rule.get("trigger_metadata", rule)
        name, kind = str(rule.get("name", "")), rule.get("trigger_type", _KEYWORD)
        rule_defaults = replace(
            defaults, enabled=bool(rule.get("enabled", True)) and defaults.enabled, note=_automod_note(name, defaults)
        )
        if not isinstance(metadata, dict) or kind not in (_KEYWORD, _MEMBER_PROFILE):
            reason = _("Discord rules of the type “%s” contain no words.")
            yield Refusal(lines.of(name), name[:200], reason % _KINDS_WITHOUT_WORDS.get(kind, kind))
            continue
        for key, make in (("keyword_filter", _from_keyword), ("allow_list", _allowed), ("regex_patterns", _from_regex)):
            words = metadata.get(key) or []
            for word in words if isinstance(words, list) else [words]:
                line = lines.of(word) if isinstance(word, str) else lines.line
                if isinstance(word, str) and word.strip("* "):
                    yield line, make(word.strip(), rule_defaults)
                else:
                    yield Refusal(line, str(word)[:200], _("This is not a word."))


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


class _LineFinder:
    """Finds the line numbers of strings in a JSON text; ask for them in the order of the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._is_ascii = "\\u" in text
        self._at = 0
        self.line = 1

    def of(self, word: str) -> int:
        at = self._text.find(json.dumps(word, ensure_ascii=self._is_ascii), self._at)
        if at >= 0:
            self.line += self._text.count("\n", self._at, at)
            self._at = at + 1
        return self.line
