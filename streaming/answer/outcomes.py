"""What moderating a text gave, as parts; long texts in slices, so that other streams get their turns."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from streaming.formats import Notice, Part, StreamEnd
from streaming.moderation import Hit, Medium, Moderator, Outcome, RuleSet, Text

SLICE_CHARS = 1024
"""The most text that is moderated without a pause: usually 0.3 ms. The worst text and rules that are known, 125 to 400
microseconds a character, take 0.1 to 0.4 s."""

PAUSE = None
"""Yielded between two slices of a long text: the caller should let other streams run."""

Step = Part | None


def clean(text: str, rule_set: RuleSet) -> str:
    """The text that may be shown of a complete, short text."""
    moderator = Moderator(rule_set, "markdown")
    return shown_and_notices([*moderator.feed(text), *moderator.finish()])[0]


def outcomes_of(text: str, rule_set: RuleSet, medium: Medium) -> Generator[None, None, list[Outcome]]:
    """The outcomes of a complete text, with a PAUSE after each slice of a long one."""
    moderator = Moderator(rule_set, medium)
    outcomes = yield from fed(moderator, text)
    return [*outcomes, *moderator.finish()]


def fed(moderator: Moderator, text: str) -> Generator[None, None, list[Outcome]]:
    if len(text) <= SLICE_CHARS:
        return moderator.feed(text)
    outcomes: list[Outcome] = []
    for at in range(0, len(text), SLICE_CHARS):
        outcomes += moderator.feed(text[at : at + SLICE_CHARS])
        yield PAUSE
    return outcomes


def slices(texts: list[str]) -> Iterator[list[str]]:
    """The same texts in groups of at most SLICE_CHARS characters; a longer text is cut."""
    group, chars = list[str](), 0
    for text in texts:
        for at in range(0, len(text), SLICE_CHARS):
            piece = text[at : at + SLICE_CHARS]
            if group and chars + len(piece) > SLICE_CHARS:
                yield group
                group, chars = [], 0
            group.append(piece)
            chars += len(piece)
    if group:
        yield group


def shown_and_notices(outcomes: list[Outcome]) -> tuple[str, list[Part]]:
    """The text to show, and the notices about it."""
    text, notices = "", list[Part]()
    for outcome in outcomes:
        match outcome:
            case Text(shown):
                text += shown
            case Hit(changes_nothing=True):  # it is recorded, and the client does not learn of it
                pass
            case Hit(rule, ends_text=True):
                notices += [Notice("block", rule.category, rule.replacement), StreamEnd("blocked")]
            case Hit(rule):
                notices.append(Notice(rule.action, rule.category))
    return text, notices
