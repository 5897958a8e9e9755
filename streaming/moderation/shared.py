"""What all texts share, such as the compiled rules: it is not copied with the state of a text."""

from __future__ import annotations

from typing import Any, Self


class Shared:
    """Refers to the same object in a copy of what refers to it (``copy.deepcopy``)."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
