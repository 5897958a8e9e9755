"""A pack: rules about one subject, written for this project from public descriptions of formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streaming.moderation import Compare, Overflow
from streaming.rule_files import Row, write_csv


@dataclass(frozen=True, slots=True)
class PackRule:
    """One regular expression of a pack: what it finds, where its format is described, and examples, which are tested.

    ``finds`` and ``ignores`` are texts in which it matches and does not.
    """

    title: str
    pattern: str
    source: str
    finds: tuple[str, ...]
    ignores: tuple[str, ...] = ()
    group: int = 0
    check: str = ""
    overflow: Overflow = "pass"


@dataclass(frozen=True, slots=True)
class Pack:
    """``name`` identifies the pack; ``title`` and ``description`` are for moderators, translated."""

    name: str
    title: Any
    description: Any
    category: str
    rules: tuple[PackRule, ...]
    compare: Compare = "normal"

    def rows(self) -> list[Row]:
        """The rules, as far as a pack determines them: the action is the moderators' choice."""
        return [
            Row(
                each.pattern,
                kind="regex",
                category=self.category,
                compare=self.compare,
                group=each.group,
                match_check=each.check,
                overflow=each.overflow,
                note=f"{each.title}{_BEFORE_SOURCE}{each.source}",
            )
            for each in self.rules
        ]

    def as_file(self) -> bytes:
        """The pack as a CSV file, to be imported like any other."""
        return "".join(write_csv(self.rows(), _COLUMNS)).encode()


_BEFORE_SOURCE = ". "


def title_in(note: str) -> str:
    """The title of a rule of a pack, by which it is known again when it has another pattern; empty if it has none."""
    return note.rpartition(_BEFORE_SOURCE)[0]


_COLUMNS = ("pattern", "kind", "category", "compare", "group", "match_check", "overflow", "note")
