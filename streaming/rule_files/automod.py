"""Rules as Discord's AutoMod has them: https://discord.com/developers/docs/resources/auto-moderation"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from streaming.rule_files.rows import LIMITS, FileError, Found, Refusal, Row

_KEYWORD = 1
_MEMBER_PROFILE = 6
_KINDS_WITHOUT_WORDS = {3: "spam", 4: "keyword_preset", 5: "mention_spam"}

# Of a word, more of it. Latin letters are folded to a-z; from U+2E80 on nothing joins with its like to a word.
_MORE = r"[\w\x{388}-\x{1dbf}]{0,64}"


def read_automod(text: str, basis: Row) -> Found | None:
    """A rule as Discord's API gives it, or a list of them."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        data = json.loads(text)
    except RecursionError:
        raise FileError(_("The JSON is nested too deep.")) from None
    except ValueError as error:
        if text.lstrip().startswith("["):
            return None  # a word list may begin so
        line = getattr(error, "lineno", None)
        raise FileError(_("It begins like JSON, but is none: %s.") % getattr(error, "msg", error), line) from error
    rules = data if isinstance(data, list) else [data]
    if not all(isinstance(rule, dict) for rule in rules):
        raise FileError(_("This JSON is not what Discord's AutoMod gives: a rule, or a list of rules."))
    return _automod_rows(text, rules, basis)


def _automod_rows(text: str, rules: list[dict[str, Any]], basis: Row) -> Found:
    place = _Place(text)
    for rule in rules:
        metadata = rule.get("trigger_metadata", rule)
        name, kind = str(rule.get("name", "")), rule.get("trigger_type", _KEYWORD)
        own = replace(basis, enabled=bool(rule.get("enabled", True)) and basis.enabled, note=_automod_note(name, basis))
        if not isinstance(metadata, dict) or kind not in (_KEYWORD, _MEMBER_PROFILE):
            reason = _("A rule of Discord's of the kind “%s” has no words of its own.")
            yield Refusal(place.of(name), name[:200], reason % _KINDS_WITHOUT_WORDS.get(kind, kind))
            continue
        for key, make in (("keyword_filter", _from_keyword), ("allow_list", _allowed), ("regex_patterns", _from_regex)):
            words = metadata.get(key) or []
            for word in words if isinstance(words, list) else [words]:
                line = place.of(word) if isinstance(word, str) else place.line
                if isinstance(word, str) and word.strip("* "):
                    yield line, make(word.strip(), own)
                else:
                    yield Refusal(line, str(word)[:200], _("This is not a word."))


def _automod_note(name: str, basis: Row) -> str:
    return basis.note or (f"Discord AutoMod: {name}"[: LIMITS["note"]] if name else "")


def _from_keyword(word: str, basis: Row) -> Row:
    """``cat`` is a whole word, ``cat*`` and ``*cat`` begin and end one, ``*cat*`` may stand anywhere."""
    core = word.strip("*")
    before, after = word.startswith("*"), word.endswith("*")
    # Where there are no bounds of words, a word begins and ends anywhere.
    before, after = before or core[0] >= "\u2e80", after or core[-1] >= "\u2e80"
    if before and after:
        return replace(basis, pattern=core)
    if not before and not after:
        return replace(basis, pattern=core, whole_word=True)
    quoted = re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", core)
    starts_open, ends_open = word.startswith("*") and core[0] < "\u2e80", word.endswith("*") and core[-1] < "\u2e80"
    pattern = f"{_MORE if starts_open else ''}{quoted}{_MORE if ends_open else ''}"
    return replace(basis, pattern=pattern, kind="regex", whole_word=True)


def _allowed(word: str, basis: Row) -> Row:
    return replace(_from_keyword(word, basis), action="allow")


def _from_regex(pattern: str, basis: Row) -> Row:
    return replace(basis, pattern=pattern, kind="regex")


class _Place:
    """On which line of a JSON text its strings stand, asked for in their order."""

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
