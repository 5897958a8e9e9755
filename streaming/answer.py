"""The moderation of one text of a stream, as parts: it comes bit by bit, or whole each time, or is whole in itself."""

from __future__ import annotations

from itertools import chain

from streaming.formats import Delta, Notice, Part, Snapshot, StreamEnd, TextPart
from streaming.moderation import Blocked, Finding, Moderator, Outcome, RuleSet, Text
from streaming.sightings import Lookout, Witness


def clean(text: str, rule_set: RuleSet) -> str:
    """What may be shown of a text that is whole."""
    return _sorted_out(_outcomes(text, rule_set))[0]


def _outcomes(text: str, rule_set: RuleSet) -> list[Outcome]:
    """What comes of a text that is whole."""
    moderator = Moderator(rule_set)
    return [*moderator.feed(text), *moderator.finish()]


class DeltaStream:
    """The moderation of one channel whose text comes bit by bit."""

    def __init__(self, rule_set: RuleSet, witness: Witness | None, choice: int, channel: str) -> None:
        self._moderator = Moderator(rule_set)
        self.lookout = Lookout(witness, channel, choice) if witness else None
        self._channel = channel
        self._choice = choice

    def feed(self, texts: list[str]) -> list[Part]:
        """What was ready together is looked at together, and stays as many parts as it was."""
        groups = self._moderator.feed_all(texts)
        if self.lookout:
            self.lookout.see("".join(texts), chain.from_iterable(groups), self._moderator.held)
        parts: list[Part] = []
        for outcomes in groups:
            if len(outcomes) == 1 and type(outcomes[0]) is Text:  # what nearly every piece comes to
                parts.append(Delta(outcomes[0].text, self._channel, self._choice))
            else:
                parts += self._told(outcomes)
        return parts

    def finish(self) -> list[Part]:
        outcomes = self._moderator.finish()
        if self.lookout:
            self.lookout.see("", outcomes, self._moderator.held)
        return self._told(outcomes)

    def _told(self, outcomes: list[Outcome]) -> list[Part]:
        shown, notices = _sorted_out(outcomes)
        return [*([Delta(shown, self._channel, self._choice)] if shown else []), *notices]


class SnapshotStream:
    """The moderation of a text that comes whole each time. Only what is new is looked at, unless it was rewritten."""

    def __init__(self, rule_set: RuleSet, witness: Witness | None, choice: int, channel: str) -> None:
        self._rule_set = rule_set
        self._moderator = Moderator(rule_set)
        self.lookout = Lookout(witness, channel, choice, may_rewind=True) if witness else None
        self._channel = channel
        self._choice = choice
        self._seen = self._shown = self._sent = ""

    def feed(self, texts: list[str]) -> list[Part]:
        return [part for text in texts for part in self._feed(text)]

    def _feed(self, text: str) -> list[Part]:
        if not text.startswith(self._seen):
            self._moderator, self._seen, self._shown = Moderator(self._rule_set), "", ""
            if self.lookout:
                self.lookout.rewind()
        new, self._seen = text[len(self._seen) :], text
        return self._witnessed(new, self._moderator.feed(new))

    def finish(self) -> list[Part]:
        return self._witnessed("", self._moderator.finish())

    def _witnessed(self, text: str, outcomes: list[Outcome]) -> list[Part]:
        if self.lookout:
            self.lookout.see(text, outcomes, self._moderator.held)
        return self._told(outcomes)

    def _told(self, outcomes: list[Outcome]) -> list[Part]:
        text, notices = _sorted_out(outcomes)
        self._shown += text
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Snapshot(self._shown, self._channel, self._choice)] if changed else []), *notices]


class AtomicTexts:
    """The moderation of texts that are whole, and shown at once. Of two under one name no match is put together."""

    def __init__(self, rule_set: RuleSet, witness: Witness | None) -> None:
        self._rule_set = rule_set
        self._witness = witness
        self._names: dict[tuple[int, str], tuple[Moderator, str]] = {}

    def feed(self, label: TextPart) -> list[Part]:
        text, channel, choice = label
        before = self._open_end(label)
        outcomes = [each for each in _outcomes(before + text, self._rule_set) if _crosses(each, len(before))]
        if outcomes:
            self._see(before + text, outcomes, label)
            return _sorted_out(outcomes)[1]
        outcomes = _outcomes(text, self._rule_set)
        self._see(text, outcomes, label)
        shown, notices = _sorted_out(outcomes)
        return [TextPart(shown, channel, choice), *notices]

    def _open_end(self, label: TextPart) -> str:
        """The end of what came before under this name, as far as a match may have begun in it."""
        moderator, before = self._names.get((label.choice, label.channel)) or (Moderator(self._rule_set), "")
        moderator.feed(label.text)
        after = (before + label.text)[-moderator.held :] if moderator.held else ""
        self._names[label.choice, label.channel] = moderator, after
        return before

    def _see(self, text: str, outcomes: list[Outcome], label: TextPart) -> None:
        if self._witness:
            lookout = Lookout(self._witness, label.channel, label.choice)
            lookout.see(text, outcomes, 0)
            lookout.finish()


def _crosses(outcome: Outcome, at: int) -> bool:
    return not isinstance(outcome, Text) and outcome.rule.action != "flag" and outcome.start < at < outcome.end


def _sorted_out(outcomes: list[Outcome]) -> tuple[str, list[Part]]:
    """The text to show, and what to tell about it."""
    text, notices = "", list[Part]()
    for outcome in outcomes:
        match outcome:
            case Text(shown):
                text += shown
            case Finding(rule) if rule.action != "flag":  # that is for those who watch, not for those who read
                notices.append(Notice(rule.action, rule.category))
            case Blocked(rule):
                notices += [Notice("block", rule.category, rule.replacement), StreamEnd("blocked")]
    return text, notices
