"""Follows the matches that begin at each place of a text, and none twice: two in one state have the same future."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)


class _Walk(Generic[State]):
    """How far a match has been followed: the state that it reaches with the symbol ``at``, which is not walked yet."""

    __slots__ = ("at", "into", "state")

    def __init__(self, at: int, state: State | None) -> None:
        self.at = at
        self.state = state
        self.into: _Walk[State] | None = None  # the earlier one that it has met

    @property
    def last(self) -> _Walk[State]:
        walk = self
        while walk.into:
            walk = walk.into
        return walk


class Walks(Generic[State]):
    """The walks through one text. ``step`` is the state after a further symbol, given by its index; None if none is."""

    def __init__(self, step: Callable[[State, int], State | None]) -> None:
        self._step = step
        self._met: dict[tuple[int, State], _Walk[State]] = {}

    def walk(self, start: int, state: State | None, limit: int) -> Iterator[tuple[int, State]]:
        """The states that no earlier walk came through, each with the index of the symbol that led to it.

        ``state`` is the one after the symbol ``start``, and ``limit`` the index before which it has to end. Walks begin
        in order, and each is followed to its end. Where its limit stopped one, the next one that meets it goes on.
        """
        walk = _Walk(start, state)
        while (reached := walk.state) is not None and walk.at < limit:
            at = walk.at
            met = self._met.setdefault((at, reached), walk).last
            if met is not walk:
                walk.into = walk = met
                continue
            walk.at, walk.state = at + 1, self._step(reached, at + 1)
            yield at, reached
