"""The moderation of complete texts: names, titles, what is sent at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from streaming.answer.media import medium_of
from streaming.answer.outcomes import SLICE_CHARS, Step, fed, outcomes_of, shown_and_notices
from streaming.formats import TextPart
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Moderator, Outcome, RuleSet, Text


class AtomicTexts:
    """The moderation of complete texts, which are shown at once. No match can be split over two texts of one name."""

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._names: dict[tuple[int, str], tuple[Moderator, str]] = {}
        self._untouched: dict[tuple[int, str], str] = {}  # the last text of a name, if no rule matched it

    def feed(self, part: TextPart) -> Iterator[Step]:
        text, channel, choice, is_number = part
        if self._untouched.get((choice, channel)) == text:
            yield part  # for example a provider's name in every chunk
            return
        before = "" if is_number else (yield from self._open_end(part))
        medium = medium_of(channel)
        outcomes = yield from outcomes_of(before + text, self._rule_set, medium)
        if crossing := [outcome for outcome in outcomes if _crosses(outcome, len(before))]:
            self._report_hits(before + text, crossing, part)
            yield from shown_and_notices(crossing)[1]
            return
        if before:
            outcomes = yield from outcomes_of(text, self._rule_set, medium)
        self._report_hits(text, outcomes, part)
        shown, notices = shown_and_notices(outcomes)
        self._remember(part, before, is_untouched=all(isinstance(outcome, Text) for outcome in outcomes))
        yield TextPart(shown, channel, choice, is_number)
        yield from notices

    def open_end(self, choice: int, channel: str) -> str:
        """The end of the last texts of a name in which a match may have begun."""
        known = self._names.get((choice, channel))
        return known[1] if known else ""

    def _open_end(self, part: TextPart) -> Generator[None, None, str]:
        """The end of the earlier texts of this name in which a match may have begun."""
        known = self._names.get((part.choice, part.channel))
        moderator, before = known or (Moderator(self._rule_set, medium_of(part.channel)), "")
        yield from fed(moderator, part.text)
        after = (before + part.text)[-moderator.held :] if moderator.held else ""
        self._names[part.choice, part.channel] = moderator, after
        return before

    def _remember(self, part: TextPart, before: str, *, is_untouched: bool) -> None:
        """If a text leaves the state as it was, the same text can pass again without being moderated."""
        name = part.choice, part.channel
        is_same = part.is_number or self._names[name][1] == before
        if is_untouched and is_same and len(part.text) <= SLICE_CHARS:
            self._untouched[name] = part.text
        else:
            self._untouched.pop(name, None)

    def _report_hits(self, text: str, outcomes: list[Outcome], part: TextPart) -> None:
        if self._on_hit:
            recorder = ContextRecorder(self._on_hit, part.channel, part.choice)
            recorder.record(text, outcomes, 0)
            recorder.finish()


def _crosses(outcome: Outcome, at: int) -> bool:
    return not isinstance(outcome, Text) and not outcome.changes_nothing and outcome.start < at < outcome.end
