"""What rules make of a text, step by step, for eyes to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from streaming.moderation import Explanation, Hit, Medium, Moderator, Outcome, Rule, RuleSet, Text, explain

MAX_STEPS = 300
"""Of a trial that are shown one by one; the text is moderated to its end all the same."""


@dataclass(frozen=True, slots=True)
class NumberedHit:
    number: int
    rule: Rule
    start: int
    end: int
    text: str
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Segment:
    """Text, and the numbers of the hits that it belongs to."""

    text: str
    hits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One piece: what came, what could be shown then, and what had to be held."""

    number: int
    fed: str
    shown: str
    held: str


@dataclass(slots=True)
class Trial:
    hits: list[NumberedHit] = field(default_factory=list)
    written: list[Segment] = field(default_factory=list)
    """The text as it was, cut where hits begin and end."""
    shown: list[Segment] = field(default_factory=list)
    """The text as its reader sees it."""
    steps: list[Step] = field(default_factory=list)
    pieces: int = 0
    most_held: int = 0
    blocked: NumberedHit | None = None

    @property
    def omitted(self) -> int:
        return self.pieces - len(self.steps)


def run(rule_set: RuleSet, text: str, cut: int, medium: Medium = "markdown") -> Trial:
    """The text, fed so many characters at a time."""
    trial, moderator = Trial(), Moderator(rule_set, medium)
    outcomes: list[Outcome] = []
    for at in range(0, len(text), cut):
        piece = text[at : at + cut]
        came = moderator.feed(piece)
        if at + cut >= len(text):
            came += moderator.finish()
        outcomes += came
        _note(trial, piece, came, text[at + len(piece) - moderator.held : at + len(piece)])
        if any(_blocks(outcome) for outcome in came):
            break
    _tell(trial, text, outcomes, medium)
    return trial


def _blocks(outcome: Outcome) -> bool:
    return isinstance(outcome, Hit) and outcome.rule.action == "block"


def _note(trial: Trial, piece: str, came: list[Outcome], held: str) -> None:
    trial.pieces += 1
    trial.most_held = max(trial.most_held, len(held))
    if trial.pieces <= MAX_STEPS:
        shown = "".join(outcome.text for outcome in came if isinstance(outcome, Text))
        trial.steps.append(Step(trial.pieces, piece, shown, held))


def _tell(trial: Trial, text: str, outcomes: list[Outcome], medium: Medium) -> None:
    found = [outcome for outcome in outcomes if isinstance(outcome, Hit)]
    order = sorted(found, key=lambda hit: (hit.start, hit.end))
    numbers = {id(hit): number for number, hit in enumerate(order, 1)}
    trial.hits = [_numbered(numbers[id(hit)], hit, text, medium) for hit in order]
    trial.blocked = next((trial.hits[numbers[id(hit)] - 1] for hit in order if _blocks(hit)), None)
    trial.written = list(_segments(text, trial.hits))
    last: int | None = None
    for outcome in outcomes:
        if isinstance(outcome, Text):
            trial.shown.append(Segment(outcome.text, (last,) if last else ()))
            last = None
        else:
            # What stands in for a match comes right after it.
            last = numbers[id(outcome)] if outcome.rule.action in ("mask", "replace") else None


def _numbered(number: int, hit: Hit, text: str, medium: Medium) -> NumberedHit:
    matched = text[hit.start : hit.end]
    return NumberedHit(number, hit.rule, hit.start, hit.end, matched, explain(hit.rule, matched, medium))


def _segments(text: str, hits: list[NumberedHit]) -> Iterable[Segment]:
    cuts = sorted({0, len(text), *(at for hit in hits for at in (hit.start, hit.end))})
    for start, end in pairwise(cuts):
        yield Segment(text[start:end], tuple(hit.number for hit in hits if hit.start <= start and end <= hit.end))


@dataclass(slots=True)
class Matches:
    """What one rule would meet in some texts: how often, and the first few with what stands around them."""

    name: str
    count: int = 0
    texts: int = 0
    examples: list[tuple[str, str, str]] = field(default_factory=list)


def matches(rule: Rule, name: str, texts: Iterable[str], most: int = 3, context: int = 30) -> Matches:
    """RuleError if the rule cannot be carried out."""
    # As a flag it changes nothing, so that each match is met, whatever the action does.
    rule_set, found = RuleSet([replace(rule, action="flag")]), Matches(name)
    for text in texts:
        found.texts += 1
        moderator = Moderator(rule_set, "markdown")
        for outcome in (*moderator.feed(text), *moderator.finish()):
            if isinstance(outcome, Hit):
                found.count += 1
                if len(found.examples) < most:
                    start, end = outcome.start, outcome.end
                    around = text[max(start - context, 0) : start], text[start:end], text[end : end + context]
                    found.examples.append(around)
    return found
