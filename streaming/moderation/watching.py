"""The scanners of one text: while its readings agree, one for each automaton, and else one for each reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from streaming.moderation.loose_words import LooseWords
from streaming.moderation.plan import Plan, readings_of
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.scanning import (
    AllWords,
    LiteralScanner,
    LongestWords,
    Machine,
    RegexScanner,
    RescanningScanner,
    Scanner,
)
from streaming.moderation.scanning_of_allowed import (
    ReachOfCheckedRegexes,
    ReachOfLooseWords,
    ReachOfRegexes,
    ReachOfWords,
)
from streaming.moderation.window import Window
from streaming.moderation.word_automaton import Literals


class _Scanners(NamedTuple):
    replacing: list[Any]
    blocking: list[Any]
    exempting: list[Any]


class Watch:
    """The scanners that watch a text, by what their rules do."""

    def __init__(self, plan: Plan, window: Window) -> None:
        self._window = window
        self._apart = _Scanners(
            _scanners(plan.replacing, window, (LongestWords, RegexScanner, RescanningScanner)),
            _scanners(plan.blocking, window, (AllWords, RegexScanner, RescanningScanner)),
            _scanners(plan.exempting, window, (ReachOfWords, ReachOfRegexes, ReachOfLooseWords)),
        )
        # The first scanner of each automaton leads: while the readings agree, the others follow it.
        leaders: dict[int, Scanner] = {}
        self._followers: list[tuple[Any, Any]] = []
        self._sleepers: list[tuple[Any, Any]] = []
        flat = {(id(s.automaton), s.own.key): s for each in self._apart for s in each if s.own.key.kind == "flat"}
        self._flat: list[Any] = []  # for each of the sleepers
        for scanner in (*self._apart.replacing, *self._apart.blocking, *self._apart.exempting):
            leader = leaders.setdefault(id(scanner.automaton), scanner)
            if scanner.own.key.kind == "decoded":
                self._sleepers.append((scanner, leader))
                self._flat.append(flat[id(scanner.automaton), scanner.own.key._replace(kind="flat")])
            elif leader is not scanner:
                self._followers.append((scanner, leader))
            scanner.removed = plan.removed
        self._leaders = list(leaders.values())
        self._together = _Scanners(*([s for s in each if leaders[id(s.automaton)] is s] for each in self._apart))
        self._few = _Scanners(*([s for s in each if s.own.key.kind != "decoded"] for each in self._apart))
        self._use(self._together)
        for scanner in self._leaders:
            scanner.spelling = scanner.own.leader

    def _use(self, scanners: _Scanners) -> None:
        self.replacing, self.blocking, self.exempting = scanners
        self.acting = (*self.replacing, *self.blocking)

    def fork(self) -> None:
        """Each scanner goes on in its own spelling, from the state of its leader."""
        for scanner in self._leaders:
            scanner.spelling = scanner.own
        for scanner, leader in self._followers:
            scanner.follow(leader)
        self._use(self._few)

    def wake(self) -> None:
        """The scanners of the decoded readings go on from the state of those that these have equalled so far."""
        for (scanner, leader), flat in zip(self._sleepers, self._flat, strict=True):
            scanner.follow(flat if self._window.has_codes else leader)
        self._use(self._apart)

    def agree(self) -> bool:
        """Whether the scanners of each automaton are in the same state, so that they may join."""
        others = (*self._followers, *self._sleepers) if self._window.is_awake else self._followers
        return all(scanner.state is leader.state for scanner, leader in others)

    def join(self) -> None:
        self._window.join()
        self._use(self._together)
        for scanner in self._leaders:
            scanner.join()


def _scanners(
    machines: Iterable[Machine],
    window: Window,
    kinds: tuple[type[LiteralScanner], type[RescanningScanner], type[RescanningScanner]],
) -> list[Any]:
    words, regexes, loose = kinds
    scanners: list[Any] = []
    for machine in machines:
        automaton = machine.automaton
        kind: type[Scanner] = words if isinstance(automaton, Literals) else regexes
        if isinstance(automaton, LooseWords):
            kind = loose
        elif regexes is ReachOfRegexes and isinstance(automaton, Regexes) and (automaton.check or automaton.overflows):
            kind = ReachOfCheckedRegexes
        scanners += [kind(automaton, window, window.by_key[key]) for key in readings_of(machine, window.medium)]
    return scanners
