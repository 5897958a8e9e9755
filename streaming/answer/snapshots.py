"""The moderation of one channel whose text is sent whole each time."""

from __future__ import annotations

from collections.abc import Iterator

from streaming.answer.outcomes import Step, fed, shown_and_notices
from streaming.formats import Part, Snapshot
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Medium, Moderator, Outcome, RuleSet


class SnapshotStream:
    """The moderation of a text that is sent whole each time. Only its new end is moderated, unless it was rewritten."""

    def __init__(
        self, rule_set: RuleSet, on_hit: HitHandler | None, choice: int, channel: str, medium: Medium = "markdown"
    ) -> None:
        self._rule_set = rule_set
        self._medium = medium
        self._moderator = Moderator(rule_set, medium)
        self.recorder = ContextRecorder(on_hit, channel, choice, may_rewind=True) if on_hit else None
        self._channel = channel
        self._choice = choice
        self._seen = self._shown = self._sent = ""

    @property
    def held(self) -> int:
        return self._moderator.held

    def feed(self, texts: list[str]) -> Iterator[Step]:
        for text in texts:
            yield from self._feed(text)

    def _feed(self, text: str) -> Iterator[Step]:
        if not text.startswith(self._seen):
            self._moderator, self._seen, self._shown = Moderator(self._rule_set, self._medium), "", ""
            if self.recorder:
                self.recorder.rewind()
        new, self._seen = text[len(self._seen) :], text
        outcomes = yield from fed(self._moderator, new)
        yield from self._parts(new, outcomes)

    def finish(self) -> list[Part]:
        return self._parts("", self._moderator.finish())

    def _parts(self, text: str, outcomes: list[Outcome]) -> list[Part]:
        if self.recorder:
            self.recorder.record(text, outcomes, self._moderator.held)
        shown, notices = shown_and_notices(outcomes)
        self._shown += shown
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Snapshot(self._shown, self._channel, self._choice)] if changed else []), *notices]
