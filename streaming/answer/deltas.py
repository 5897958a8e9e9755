"""The moderation of one channel whose text arrives as fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from streaming.answer.outcomes import PAUSE, SLICE_CHARS, Step, shown_and_notices, slices
from streaming.formats import Delta, Part
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Medium, Moderator, Outcome, RuleSet


class DeltaStream:
    """The moderation of one channel whose text arrives as fragments."""

    def __init__(
        self, rule_set: RuleSet, on_hit: HitHandler | None, choice: int, channel: str, medium: Medium = "markdown"
    ) -> None:
        self._moderator = Moderator(rule_set, medium)
        self.recorder = ContextRecorder(on_hit, channel, choice) if on_hit else None
        self._channel = channel
        self._choice = choice

    def feed(self, texts: list[str]) -> Iterable[Step]:
        """Texts that arrived together are moderated together; unless they are long, each stays a part."""
        if len(texts) == 1 and len(texts[0]) <= SLICE_CHARS:
            return self._feed_one(texts[0])
        if sum(map(len, texts)) <= SLICE_CHARS:
            return self._feed_all(texts)
        return self._feed_in_slices(texts)

    def _feed_one(self, text: str) -> list[Part]:
        shown = self._moderator.skim(text)
        if shown is not None:  # nearly every piece
            if self.recorder:
                self.recorder.record(text, (), self._moderator.undecided)
            return [Delta(shown, self._channel, self._choice)] if shown else []
        outcomes = self._moderator.feed(text)
        self._record(text, outcomes)
        return self._parts(outcomes)

    def _feed_all(self, texts: list[str]) -> list[Part]:
        groups = self._moderator.feed_all(texts)
        self._record("".join(texts), chain.from_iterable(groups))
        return [part for outcomes in groups for part in self._parts(outcomes)]

    def _feed_in_slices(self, texts: list[str]) -> Iterator[Step]:
        for slice_ in slices(texts):
            yield from self._feed_all(slice_)
            yield PAUSE

    def release(self) -> list[Part]:
        """Sends the held text although more may follow: see ``Moderator.release``."""
        return self._finished(self._moderator.release())

    def finish(self) -> list[Part]:
        return self._finished(self._moderator.finish())

    def _finished(self, outcomes: list[Outcome]) -> list[Part]:
        self._record("", outcomes)
        return self._parts(outcomes)

    @property
    def held(self) -> int:
        return self._moderator.held

    @property
    def undecided_text(self) -> str:
        return self._moderator.undecided_text

    def _record(self, text: str, outcomes: Iterable[Outcome]) -> None:
        if self.recorder:
            self.recorder.record(text, [*outcomes], self._moderator.undecided)

    def _parts(self, outcomes: list[Outcome]) -> list[Part]:
        shown, notices = shown_and_notices(outcomes)
        return [*([Delta(shown, self._channel, self._choice)] if shown else []), *notices]
