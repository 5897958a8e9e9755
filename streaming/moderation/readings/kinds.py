"""The keys that identify readings: a medium and a kind. The words are explained in ``moderation/__init__.py``."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Medium = Literal["markdown", "json", "plain"]
"""The format of a text, which depends on its channel."""

Kind = Literal["deep", "decoded", "flat", "json", "written", "raw"]

MEDIA: tuple[Medium, ...] = get_args(Medium)
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The fullest reading first: of two equal matches, the one in the fuller reading counts."""

_OF_MEDIUM: dict[Medium, tuple[Kind, ...]] = {
    "markdown": ("deep", "decoded", "flat", "written"),
    "json": ("json",),
    "plain": ("written",),
}


def kinds_of(medium: Medium) -> tuple[Kind, ...]:
    """The kinds of reading in which rules that are not exact are compared."""
    return _OF_MEDIUM[medium]


class Key(NamedTuple):
    """Identifies a reading: its kind, whether accents count, and whether a run of white space is one space."""

    kind: Kind
    accents: bool = False
    spaces: bool = False
