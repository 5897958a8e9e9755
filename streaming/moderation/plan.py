"""Compiles rules, once for all texts, into the automata that an engine runs."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping

from streaming.moderation.edges import Edges
from streaming.moderation.folding import OPEN_LETTERS, fold, fold_letter, forms_of, is_word_char
from streaming.moderation.found import Automaton
from streaming.moderation.loose_words import LooseWords
from streaming.moderation.readings import Key, Medium, could_stand_for, kinds_of
from streaming.moderation.readings.kinds import KINDS
from streaming.moderation.regex_automaton import Regexes
from streaming.moderation.rules import Compiled, Rule
from streaming.moderation.scanning import Machine
from streaming.moderation.shared import Shared
from streaming.moderation.validators import check_named
from streaming.moderation.word_automaton import Literals

_MAX_KNOWN = 1 << 12


class Plan(Shared):
    """Rules with their ranks, compiled to machines. Immutable, except for the caches of the automata."""

    def __init__(
        self,
        rules: Iterable[tuple[int, Compiled]],
        max_span: int,
        base: Plan | None = None,
        removed: frozenset[int] = frozenset(),
    ) -> None:
        """``base`` is a plan to which these rules are added. Its rules with ``removed`` ranks are ignored."""
        rules = list(rules)
        self.max_span = max_span
        self.removed = removed
        own: dict[int, Rule] = {rank: compiled.rule for rank, compiled in rules}
        self.rules: Mapping[int, Rule] = ChainMap(own, base.rules) if base else own  # type: ignore[arg-type]
        self.replacing = _machines([r for r in rules if r[1].rule.action != "allow" and not _ends_text(r)], max_span)
        self.blocking = _machines([r for r in rules if _ends_text(r)], max_span)
        self.exempting = _machines([r for r in rules if r[1].rule.action == "allow"], max_span)
        self.base = base  # keeps a reference, since this plan uses its automata
        if base:
            self.replacing = (*base.replacing, *self.replacing)
            self.blocking = (*base.blocking, *self.blocking)
            self.exempting = (*base.exempting, *self.exempting)
        self.regexes: dict[int, Regexes] = {}  # by the rank of each replacing rule
        for machine in self.replacing:
            if isinstance(machine.automaton, Regexes):
                self.regexes |= dict.fromkeys(machine.automaton.ranks, machine.automaton)
        self._begins_in: dict[tuple[str, bool], int] = {}
        self._begins: dict[str, bool] = {}

    @property
    def machines(self) -> tuple[Machine, ...]:
        return (*self.replacing, *self.blocking, *self.exempting)

    @property
    def automata(self) -> list[Automaton]:
        return [machine.automaton for machine in self.machines]

    def keys(self, medium: Medium) -> list[Key]:
        """The readings with which its rules are compared, the fullest first."""
        keys = {key for machine in self.machines for key in readings_of(machine, medium)}
        return sorted(keys, key=lambda key: (KINDS.index(key.kind), key))

    def begins_in(self, begun: str, before: str) -> int:
        """The offset in an incomplete sign from which on a pattern could begin; its length if none could.

        ``begun`` is the sign so far, and ``before`` the symbol before it.
        """
        key = begun, before != "" and is_word_char(before)
        found = self._begins_in.get(key)
        if found is None:
            if len(self._begins_in) >= _MAX_KNOWN:
                self._begins_in.clear()
            found = self._begins_in[key] = self._first_beginning(begun, before)
        return found

    def _first_beginning(self, begun: str, before: str) -> int:
        if begun[0] not in "]<":
            return 0 if any(_could_begin(each, begun, before) for each in self.machines) else len(begun)
        return next((at for at, char in enumerate(begun) if self._begins_at(begun, at, char)), len(begun))

    def _begins_at(self, begun: str, at: int, char: str) -> bool:
        """Whether a pattern could begin with this character of an incomplete sign that pages may hide."""
        if char in "\\&%" or self._could_begin_with(char):
            return True
        # It may also be a tag that stands for a line break.
        return char == "<" and "<br".startswith(begun[at : at + 3].lower()) and self._could_begin_with("\n")

    def _could_begin_with(self, char: str) -> bool:
        """Whether a pattern could begin with a character, whatever stands beside it."""
        found = self._begins.get(char)
        if found is None:
            if len(self._begins) >= _MAX_KNOWN:
                self._begins.clear()
            found = self._begins[char] = any(
                machine.automaton.begins_with(form) or (machine.accents and machine.automaton.leading_mark)
                for machine in self.machines
                if not machine.exact
                for symbol in fold(char, accents=machine.accents)
                for form in _forms(symbol, accents=machine.accents)
            )
        return found


def _ends_text(ranked: tuple[int, Compiled]) -> bool:
    rule = ranked[1].rule
    return rule.action == "block" and not rule.on_trial


def _machines(rules: list[tuple[int, Compiled]], max_span: int) -> tuple[Machine, ...]:
    """Builds one automaton for all rules that are compared in the same way."""
    alike: dict[tuple[str, bool, bool, bool, tuple[str, int], str], list[tuple[int, Compiled]]] = {}
    for rank, compiled in rules:
        rule, accents, group = compiled.rule, compiled.accents, compiled.rule.group
        checked = (rule.check, group if rule.check else 0)
        key = (rule.compare, rule.whole_word, accents, compiled.has_spaces, checked, rule.overflow)
        alike.setdefault(key, []).append((rank, compiled))
    machines = []
    for (compare, whole_word, accents, spaces, (check, group), overflow), same in alike.items():
        edges = Edges(whole_word=whole_word, accents=None if compare == "exact" else accents)
        words = [(word, rank) for rank, compiled in same for word in compiled.words]
        nodes = [(compiled.node, rank) for rank, compiled in same if compiled.node is not None]
        automata: list[Automaton] = []
        if words and compare == "loose":
            automata.append(LooseWords(words, max_span, edges))
        elif words:
            automata.append(Literals(words, edges))
        if nodes:
            choices = {"acts_on_group": group > 0, "overflows": overflow == "match"}
            automata.append(Regexes(nodes, max_span, edges, check_named(check), **choices))
        machines += [Machine(each, compare == "exact", accents, spaces) for each in automata]
    return tuple(machines)


def readings_of(machine: Machine, medium: Medium) -> list[Key]:
    """The readings with which a machine's rules are compared."""
    if machine.exact:
        return [Key("raw")]
    return [Key(kind, machine.accents, machine.spaces) for kind in kinds_of(medium)]


def _could_begin(machine: Machine, begun: str, before: str) -> bool:
    if machine.exact:
        return False
    automaton, edges = machine.automaton, machine.automaton.edges
    if automaton.leading_mark and (machine.accents or (before and OPEN_LETTERS[machine.accents][before])):
        return True  # with a mark, in the middle of a letter
    decoded = could_stand_for(begun)
    if decoded is None:
        return not (edges.whole_word and before and is_word_char(before)) or _begins_apart(automaton)
    for first, previous in _first_symbols(begun, before, decoded, accents=machine.accents):
        if automaton.begins_with(first) and edges.may_begin(previous, first):
            return True
    return False


def _begins_apart(automaton: Automaton) -> bool:
    """Whether a match may begin with a symbol that is not part of a word."""
    if isinstance(automaton, Literals):
        return any(not is_word_char(symbol) for symbol in automaton.first_symbols)
    return True


def _first_symbols(begun: str, before: str, decoded: frozenset[str], *, accents: bool) -> Iterator[tuple[str, str]]:
    """The symbols with which a match could begin in the sign, each with the symbol before it."""
    for char in decoded:
        for symbol in _forms(char, accents=accents):
            yield symbol, before
    for symbol in fold(begun, accents=accents):
        for form in _forms(symbol, accents=accents):
            yield form, before
        before = symbol


def _forms(char: str, *, accents: bool) -> tuple[str, ...]:
    """The first symbols that a character may get, alone or with marks."""
    symbols = fold_letter(char, accents=accents)
    if len(symbols) == 1 and OPEN_LETTERS[accents][char]:
        return forms_of(char, accents=accents)
    return tuple(symbols[:1])
