"""The states of a lazily built DFA: sets of positions of a pattern, with the steps between them that texts led to."""

from __future__ import annotations

from collections.abc import Callable

from streaming.moderation.glushkov import Positions
from streaming.moderation.shared import Shared

_MIN_STATES, _MAX_STATES, _MAX_BITS = 4_096, 10_000, 1 << 26
"""How many states are kept: at least, at most, and with at most so many bits. A gap of 4,000 has twice as many."""

_MAX_TRANSITIONS = 1 << 16


class State(Shared, dict[str, "State"]):
    """A set of positions. ``state[symbol]`` is the next state, computed on first use."""

    __slots__ = ("begins", "distance", "machine", "may_grow", "positions", "with_open")

    is_hit = False

    def __init__(self, machine: StateMachine, positions: int, begins: bool) -> None:
        self.machine = machine
        self.positions = positions
        self.begins = begins  # whether one of them is the first position of a pattern
        self.may_grow = positions != 0
        self.distance = -1  # to the nearest end; -1 while it is not known
        self.with_open: dict[str, bool] = {}  # whether it can continue with what an open letter may become

    def __missing__(self, symbol: str) -> State:
        return self.machine.go(self, symbol)


class _Accepting(State):
    """A state with a complete match: every symbol leads to the machine's ``hit`` state."""

    __slots__ = ()
    is_hit = True

    def __getitem__(self, symbol: str) -> State:
        return self.machine.hit


class _Hit(State):
    """The state after a match."""

    __slots__ = ()
    is_hit = True

    def __missing__(self, symbol: str) -> State:
        self[symbol] = self
        return self


class StateMachine(Shared):
    """A cache of states by their positions, filled on demand and cleared when there are too many."""

    def __init__(self, places: Positions, start: int, step: Callable[[int, str], int], accepting: int = 0) -> None:
        self.step = step
        self._accepting = accepting
        self._first = places.first
        self._states: dict[int, State] = {}
        self._transitions = 0
        self._most = max(_MIN_STATES, min(_MAX_STATES, _MAX_BITS // places.count))
        self.start = State(self, start, begins=False)
        self.hit: State = _Hit(self, 0, begins=False)

    def go(self, state: State, symbol: str) -> State:
        positions = self.step(state.positions, symbol)
        if len(self._states) >= self._most or self._transitions >= _MAX_TRANSITIONS:
            self._forget()
        self._transitions += 1
        state[symbol] = found = self.state(positions)
        return found

    def state(self, positions: int) -> State:
        """The state for a set of positions, reachable or not."""
        found = self._states.get(positions)
        if found is None:
            kind = _Accepting if positions & self._accepting else State
            found = self._states[positions] = kind(self, positions, begins=bool(positions & self._first))
        return found

    def _forget(self) -> None:
        for old in self._states.values():
            old.clear()
        self.start.clear()
        self.hit.clear()
        self._states.clear()
        self._transitions = 0

    def dismantle(self) -> None:
        for state in [self.start, self.hit, *self._states.values()]:
            state.clear()
            del state.machine
        self._states.clear()
