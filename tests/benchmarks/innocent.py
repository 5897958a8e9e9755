"""How many of Django's own messages public word lists hit: innocent text, in any language that Django has.

    uv run --group dev tests/benchmarks/innocent.py th=th.json vi=words.txt ...

Word lists are brought by the person who runs it: a file for each language, with a word a line, or as JSON, a list of
words or an object with such lists in it. Each list is tried as it would be imported: as substrings and as whole words.
A message that is hit *has the word* if one of the list's words is in it as written, whatever the case; the others are
hit because of how moderation reads text. The messages come from the installed Django and its contributed apps.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import polib

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from streaming.moderation import Hit, Moderator, Rule, RuleError, RuleSet, compile_rule


def messages(language: str) -> list[str]:
    """Django's messages in a language, without those that have not been translated."""
    folder = language.replace("-", "_")
    paths = sorted(Path(django.__file__).parent.rglob(f"locale/{folder}/LC_MESSAGES/django.po"))
    entries = (entry for path in paths for entry in polib.pofile(str(path)).translated_entries())
    return [text for entry in entries for text in (entry.msgstr, *entry.msgstr_plural.values()) if text]


def words_in(path: Path) -> list[str]:
    text = path.read_text("utf-8-sig")
    words = _words_of(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    return list(dict.fromkeys(stripped for word in words if (stripped := word.strip())))


def _words_of(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _words_of(each)


def rules_for(words: list[str], *, whole_word: bool) -> list[Rule]:
    rules = [Rule(number, word, whole_word=whole_word) for number, word in enumerate(words)]
    return [rule for rule in rules if _compiles(rule)]


def _compiles(rule: Rule) -> bool:
    try:
        compile_rule(rule)
    except RuleError:
        return False
    return True


def words_hit(rule_set: RuleSet, text: str) -> set[str]:
    moderator = Moderator(rule_set, "markdown")
    outcomes = [*moderator.feed(text), *moderator.finish()]
    return {each.rule.pattern for each in outcomes if isinstance(each, Hit)}


def has_word(words: list[str], text: str, *, whole_word: bool) -> bool:
    edge = r"\b" if whole_word else ""
    return any(re.search(f"{edge}{re.escape(word.lower())}{edge}", text.lower()) for word in words)


def row(language: str, path: Path, *, whole_word: bool) -> str:
    words, texts = words_in(path), messages(language)
    if not texts:
        sys.exit(f"Django has no messages in {language!r}")
    rule_set = RuleSet(rules_for(words, whole_word=whole_word))
    hits = [(text, found) for text in texts if (found := words_hit(rule_set, text))]
    having = sum(has_word(words, text, whole_word=whole_word) for text, _ in hits)
    often = Counter(word for _, found in hits for word in found).most_common(3)
    kind = "whole words" if whole_word else "substrings"
    share = f"{100 * len(hits) / len(texts):.1f} %"
    most = ", ".join(f"{word} {count}" for word, count in often)
    return f"| {language} | {len(words)} {kind} | {len(texts):,} | {share} | {having} of {len(hits)} | {most} |"


def main() -> None:
    lists = [part.split("=", 1) for part in sys.argv[1:]]
    if not lists or any(len(pair) != 2 for pair in lists):
        sys.exit(__doc__)
    print("| language | list | messages | hit | have the word | most often |\n| --- | --- | --: | --: | --: | --- |")
    for language, name in lists:
        for whole_word in (False, True):
            print(row(language, Path(name), whole_word=whole_word), flush=True)


if __name__ == "__main__":
    main()
