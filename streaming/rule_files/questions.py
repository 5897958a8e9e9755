"""What only a person can say about a file of rules: questions that a preview asks, and the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.utils.translation import gettext as _

Joined = Literal["", "any", "all", "one"]
WholeWord = Literal["", "auto", "yes", "no"]

JOINED: tuple[Joined, ...] = ("any", "all", "one")
WHOLE_WORD: tuple[WholeWord, ...] = ("auto", "yes", "no")

SKIPPED = ""
"""The field of a column that is not imported."""


@dataclass(frozen=True, slots=True)
class JoinedQuestion:
    """Some lines have several words with a separator between them, as the one on ``line`` has."""

    line: int
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class ColumnsQuestion:
    """The file is a table whose columns do not say which field of a rule they are."""

    names: tuple[str, ...]
    guesses: tuple[str, ...]
    """For each column the field that its name stands for, or SKIPPED."""
    samples: tuple[tuple[str, ...], ...]
    """The first cells of each column."""
    has_header: bool
    line: int = 1
    """The line of the header, or else of the first row."""

    @property
    def unknown(self) -> str:
        """What is wrong, where nobody can be asked."""
        names = [name for name, guess in zip(self.names, self.guesses, strict=True) if guess == SKIPPED]
        message = _("Unknown column “%(name)s”. The first line has to name the columns; one of them is “pattern”.")
        return message % {"name": (names or list(self.names))[0]}


Question = JoinedQuestion | ColumnsQuestion


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the questions, as far as they are given, and the choices that are made for all rules of a file.

    ``joined`` is what words of one line mean: any of them, all of them in one text, or one phrase. ``columns`` is the
    field of each column; ``("words",)`` says that the file is a list of words and no table. ``whole_word`` is ``auto``
    for what the alphabet of each word suggests, and empty for what the file says.
    """

    joined: Joined = ""
    columns: tuple[str, ...] = ()
    has_header: bool = True
    whole_word: WholeWord = ""

    def is_whole_word(self, pattern: str) -> bool:
        return self.whole_word == "yes" or (self.whole_word == "auto" and has_word_bounds(pattern))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Answers:
        """From JSON that ``as_json`` wrote."""
        return cls(**{**values, "columns": tuple(values.get("columns", ()))})

    def as_json(self) -> dict[str, Any]:
        return {
            "joined": self.joined,
            "columns": list(self.columns),
            "has_header": self.has_header,
            "whole_word": self.whole_word,
        }


def has_word_bounds(pattern: str) -> bool:
    """Whether the pattern begins and ends with letters of alphabets that write spaces between words."""
    return bool(pattern) and _writes_spaces(pattern[0]) and _writes_spaces(pattern[-1])


def _writes_spaces(char: str) -> bool:
    # South-East Asian scripts have no spaces between words; Korean adds endings to words.
    is_of_them = char < "\u0e00" or "\u10a0" <= char < "\u1100" or "\u1200" <= char < "\u1780" or "Ḁ" <= char < "\u2000"
    return is_of_them and char.isalnum()


@dataclass(slots=True)
class Reading:
    """What a reader finds out about a file beside its rows: what it asks, what it says, and what it leaves out."""

    answers: Answers = field(default_factory=Answers)
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    """Names of parts that are not imported, and how often each is there."""

    def drop(self, name: str) -> None:
        self.dropped[name] = self.dropped.get(name, 0) + 1

    def drop_others(self, table: Mapping[str, Any], known: Collection[str]) -> None:
        """Count the parts of a table that are not among the known ones, unless they are empty."""
        for name, value in table.items():
            if name not in known and value not in (None, "", [], {}, False):
                self.drop(name)
