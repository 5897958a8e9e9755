"""The moderation of one channel whose text arrives as fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from streaming.answer.outcomes import PAUSE, SLICE_CHARS, Step, shown_and_notices, slices
from streaming.formats import Delta, Part
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Hit, Medium, Moderator, Outcome, RuleSet, Text


class CrossingMatches:
    """Matches that begin in ``before``, which has already been sent, and end in the text after it.

    ``after`` is the text since then, ``cut`` how many of its characters belong to such a match, and ``rest`` what is
    shown in their place.
    """

    def __init__(self, rule_set: RuleSet, before: str, medium: Medium) -> None:
        self._mask = rule_set.mask
        self._moderator = Moderator(rule_set, medium)
        self._moderator.feed(before)
        self.before = before
        self.after = self.rest = ""
        self.hits: list[Hit] = []
        self.cut = 0
        self.is_decided = False

    @property
    def held(self) -> str:
        """The end of the text so far, in which a match may still begin."""
        return (self.before + self.after)[-self._moderator.held :] if self._moderator.held else ""

    def feed(self, text: str) -> None:
        self.after += text
        self._take(self._moderator.feed(text))
        self.is_decided = self.is_decided or self._moderator.held <= len(self.after)

    def finish(self) -> None:
        self._take(self._moderator.finish())
        self.is_decided = True

    def _take(self, outcomes: list[Outcome]) -> None:
        for hit in outcomes:
            if not isinstance(hit, Text) and hit.start < len(self.before) < hit.end:
                self.hits.append(hit)
                if not hit.changes_nothing:
                    self.cut = max(self.cut, hit.end - len(self.before))
                    self.rest = {"mask": self._mask * self.cut, "replace": hit.rule.replacement}.get(
                        hit.rule.action, ""
                    )
                self.is_decided = self.is_decided or hit.ends_text


class DeltaStream:
    """The moderation of one channel whose text arrives as fragments."""

    def __init__(
        self, rule_set: RuleSet, on_hit: HitHandler | None, choice: int, channel: str, medium: Medium = "markdown"
    ) -> None:
        self._rule_set = rule_set
        self._medium = medium
        self._moderator = Moderator(rule_set, medium)
        self.recorder = ContextRecorder(on_hit, channel, choice) if on_hit else None
        self._channel = channel
        self._choice = choice
        self._held = ""
        self._fed = self._offset = 0  # characters in total, and those before this moderator began
        self._crossing: CrossingMatches | None = None

    def feed(self, texts: list[str]) -> Iterable[Step]:
        """Texts that arrived together are moderated together; unless they are long, each stays a part."""
        if self._crossing:
            return self._feed_crossing(self._crossing, "".join(texts))
        if len(texts) == 1 and len(texts[0]) <= SLICE_CHARS:
            return self._feed_one(texts[0])
        if sum(map(len, texts)) <= SLICE_CHARS:
            return self._feed_all(texts)
        return self._feed_inslices(texts)

    def _feed_one(self, text: str) -> list[Part]:
        shown = self._moderator.skim(text)
        if shown is not None:  # nearly every piece
            undecided = self._held + text
            self._held = undecided[len(shown) :]
            self._fed += len(text)
            if self.recorder:
                self.recorder.record(text, (), len(self._held))
            return [Delta(shown, self._channel, self._choice)] if shown else []
        outcomes = self._moderator.feed(text)
        self._keep_held(text)
        self._record(text, outcomes)
        return self._parts(outcomes)

    def _feed_all(self, texts: list[str]) -> list[Part]:
        groups = self._moderator.feed_all(texts)
        text = "".join(texts)
        self._keep_held(text)
        self._record(text, chain.from_iterable(groups))
        return [part for outcomes in groups for part in self._parts(outcomes)]

    def _feed_inslices(self, texts: list[str]) -> Iterator[Step]:
        for slice_ in slices(texts):
            yield from self._feed_all(slice_)
            yield PAUSE

    def release(self) -> list[Part]:
        """Sends the held text although more may follow. If it turns out to be the beginning of a match, the rule's
        action applies to the rest of the match, so that the match is never shown whole."""
        held = self._crossing.held if self._crossing else self._held
        if not held:
            return []
        parts = self.finish()
        self._moderator, self._offset, self._held = Moderator(self._rule_set, self._medium), self._fed, ""
        self._crossing = CrossingMatches(self._rule_set, held, self._medium)
        return parts

    def finish(self) -> list[Part]:
        parts: list[Part] = []
        if self._crossing:
            self._crossing.finish()
            parts = self._after_crossing(self._crossing)
        outcomes = self._moderator.finish()
        self._record("", outcomes)
        return parts + self._parts(outcomes)

    def _feed_crossing(self, crossing: CrossingMatches, text: str) -> Iterator[Step]:
        for slice_ in slices([text]):
            piece = "".join(slice_)
            if self._crossing:
                crossing.feed(piece)
                self._fed += len(piece)
                self._record(piece, ())
                yield from self._after_crossing(crossing) if crossing.is_decided else ()
            else:
                yield from self._feed_one(piece)
            if len(text) > SLICE_CHARS:
                yield PAUSE

    def _after_crossing(self, crossing: CrossingMatches) -> list[Part]:
        """Parts of the text after a release, once no match that began before the release is possible."""
        self._crossing = None
        shift = len(crossing.before)
        self._record("", [hit._replace(start=hit.start - shift, end=hit.end - shift) for hit in crossing.hits])
        parts = self._parts([Text(crossing.rest), *crossing.hits])
        self._offset += crossing.cut
        outcomes = self._moderator.feed(crossing.after[crossing.cut :])
        self._held = crossing.after[-self._moderator.held :] if self._moderator.held else ""
        self._record("", outcomes)
        return parts + self._parts(outcomes)

    @property
    def held(self) -> int:
        return len(self._crossing.held) if self._crossing else self._moderator.held

    def _keep_held(self, text: str) -> None:
        held = self._moderator.held
        self._held = (self._held + text)[-held:] if held else ""
        self._fed += len(text)

    def _record(self, text: str, outcomes: Iterable[Outcome]) -> None:
        if self.recorder:
            hits = [outcome for outcome in outcomes if not isinstance(outcome, Text)]
            if offset := self._offset:
                hits = [hit._replace(start=hit.start + offset, end=hit.end + offset) for hit in hits]
            self.recorder.record(text, hits, len(self._crossing.held) if self._crossing else len(self._held))

    def _parts(self, outcomes: list[Outcome]) -> list[Part]:
        shown, notices = shown_and_notices(outcomes)
        return [*([Delta(shown, self._channel, self._choice)] if shown else []), *notices]
