"""Moderates a text step by step and records what happens, for the page "Try it"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from streaming.moderation import Explainer, Explanation, Hit, Medium, Moderator, Outcome, Rule, RuleSet, Text

MAX_STEPS = 300
"""How many steps of a trial are listed. The whole text is moderated in any case."""

MAX_HITS = 300
"""How many hits of a trial are listed and explained. The others are only marked in the text."""


@dataclass(frozen=True, slots=True)
class NumberedHit:
    number: int
    rule: Rule
    start: int
    end: int
    text: str
    explanation: Explanation | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and the numbers of the hits that it is part of."""

    text: str
    hits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of the stream: what was fed, what was sent on, and what is still held back."""

    number: int
    fed: str
    sent: str
    held: str


@dataclass(slots=True)
class Trial:
    hits: list[NumberedHit] = field(default_factory=list)
    original: list[Segment] = field(default_factory=list)
    """The original text, cut where hits begin and end."""
    moderated: list[Segment] = field(default_factory=list)
    """The text as the client receives it."""
    steps: list[Step] = field(default_factory=list)
    pieces: int = 0
    max_held: int = 0
    blocked: NumberedHit | None = None

    @property
    def omitted(self) -> int:
        return self.pieces - len(self.steps)

    @property
    def listed_hits(self) -> list[NumberedHit]:
        return self.hits[:MAX_HITS]

    @property
    def omitted_hits(self) -> int:
        return len(self.hits) - len(self.listed_hits)


def run(rule_set: RuleSet, text: str, cut: int, medium: Medium = "markdown") -> Trial:
    """Moderate the text, fed ``cut`` characters at a time."""
    trial, moderator = Trial(), Moderator(rule_set, medium)
    outcomes: list[Outcome] = []
    for at in range(0, len(text), cut):
        piece = text[at : at + cut]
        outcomes_of_piece = moderator.feed(piece)
        if at + cut >= len(text):
            outcomes_of_piece += moderator.finish()
        outcomes += outcomes_of_piece
        _add_step(trial, piece, outcomes_of_piece, text[at + len(piece) - moderator.held : at + len(piece)])
        if any(_blocks(outcome) for outcome in outcomes_of_piece):
            break
    _summarize(trial, text, outcomes, medium)
    return trial


def _blocks(outcome: Outcome) -> bool:
    return isinstance(outcome, Hit) and outcome.ends_text


def _add_step(trial: Trial, piece: str, outcomes_of_piece: list[Outcome], held: str) -> None:
    trial.pieces += 1
    trial.max_held = max(trial.max_held, len(held))
    if trial.pieces <= MAX_STEPS:
        sent = "".join(outcome.text for outcome in outcomes_of_piece if isinstance(outcome, Text))
        trial.steps.append(Step(trial.pieces, piece, sent, held))


def _summarize(trial: Trial, text: str, outcomes: list[Outcome], medium: Medium) -> None:
    found = [outcome for outcome in outcomes if isinstance(outcome, Hit)]
    order = sorted(found, key=lambda hit: (hit.start, hit.end))
    numbers = {id(hit): number for number, hit in enumerate(order, 1)}
    explainer = Explainer(medium, keep=len(text))
    explainer.feed(text, final=True)
    trial.hits = [_numbered(numbers[id(hit)], hit, text, explainer) for hit in order]
    trial.blocked = next((trial.hits[numbers[id(hit)] - 1] for hit in order if _blocks(hit)), None)
    trial.original = list(_segments(text, trial.hits))
    last: int | None = None
    for outcome in outcomes:
        if isinstance(outcome, Text):
            trial.moderated.append(Segment(outcome.text, (last,) if last else ()))
            last = None
        else:
            # The replacement of a match is the outcome right after it.
            replaces = outcome.rule.action in ("mask", "replace") and not outcome.changes_nothing
            last = numbers[id(outcome)] if replaces else None


def _numbered(number: int, hit: Hit, text: str, explainer: Explainer) -> NumberedHit:
    explanation = explainer.explain(hit) if number <= MAX_HITS else None
    return NumberedHit(number, hit.rule, hit.start, hit.end, text[hit.start : hit.end], explanation)


def _segments(text: str, hits: list[NumberedHit]) -> Iterable[Segment]:
    """The text, cut where hits begin and end. The hits are in the order in which they begin."""
    cuts = sorted({0, len(text), *(at for hit in hits for at in (hit.start, hit.end))})
    waiting, inside = iter([*hits, None]), list[NumberedHit]()
    following = next(waiting)
    for start, end in pairwise(cuts):
        inside = [hit for hit in inside if hit.end > start]
        while following and following.start <= start:
            inside.append(following)
            following = next(waiting)
        yield Segment(text[start:end], tuple(hit.number for hit in inside))


@dataclass(slots=True)
class Matches:
    """The matches of one rule in some texts: their number, and the first few with the text around them."""

    name: str
    count: int = 0
    texts: int = 0
    examples: list[tuple[str, str, str]] = field(default_factory=list)


def matches(rule: Rule, name: str, texts: Iterable[str], most: int = 3, context: int = 30) -> Matches:
    """RuleError if the rule cannot be compiled."""
    # As a flag rule it changes nothing, so every match is found whatever its action is.
    rule_set, found = RuleSet([replace(rule, action="flag", on_trial=False)]), Matches(name)
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
