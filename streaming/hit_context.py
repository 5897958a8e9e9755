"""A match that counted, with the text around it, for moderators. Pure: a moderator's outcomes in, contexts out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streaming.moderation import MAX_SPAN, Hit, Outcome, Rule, Text

CONTEXT = 40
"""Characters on either side of a match that are kept with it."""

MAX_TEXT = 4 * MAX_SPAN
"""Characters of a match that are kept: invisible ones in it do not count for its rule, but may be any number."""


@dataclass(frozen=True, slots=True)
class HitContext:
    """A match that counted: characters ``start`` to ``end`` of one channel's text, and what stands around it."""

    rule: Rule
    start: int
    end: int
    before: str
    text: str
    after: str
    channel: str = "content"
    choice: int = 0


HitHandler = Callable[[HitContext], None]
"""Called with each hit by the stream itself, so it may neither wait nor fail."""


class ContextRecorder:
    """Remembers enough of one channel's text to say what stands around a match; that which follows it may yet come."""

    def __init__(
        self, on_hit: HitHandler, channel: str = "content", choice: int = 0, *, may_rewind: bool = False
    ) -> None:
        self._on_hit = on_hit
        self._channel = channel
        self._choice = choice
        self._may_rewind = may_rewind
        self._pieces: deque[str] = deque()
        self._first = 0  # characters before the first piece
        self._end = 0
        self._waiting: list[Hit] = []
        self._reported_before: set[tuple[int | str, int, int]] = set()  # of the text that began anew
        self._reported: list[tuple[int | str, int, int]] = []

    def record(self, text: str, outcomes: Iterable[Outcome], held: int) -> None:
        """What was fed, what came of it, and how much of it is not decided yet."""
        if text:
            self._pieces.append(text)
            self._end += len(text)
        self._waiting += [each for each in outcomes if not isinstance(each, Text)]
        while self._waiting and self._waiting[0].end + CONTEXT <= self._end:
            self._report(self._waiting.pop(0))
        keep = held + MAX_TEXT + 2 * CONTEXT
        while self._pieces and not self._waiting and self._end - self._first - len(self._pieces[0]) > keep:
            self._first += len(self._pieces.popleft())

    def rewind(self) -> None:
        """The text begins anew; a hit that was handed on is not handed on again."""
        self.finish()
        self._reported_before.update(self._reported)
        self._pieces.clear()
        self._first = self._end = 0

    def finish(self) -> None:
        """No more text comes."""
        while self._waiting:
            self._report(self._waiting.pop(0))

    def _report(self, hit: Hit) -> None:
        key = (hit.rule.id, hit.start, hit.end)
        if key in self._reported_before:
            return
        if self._may_rewind:
            self._reported.append(key)
        known = "".join(self._pieces)
        start, end = max(hit.start - self._first, 0), max(hit.end - self._first, 0)
        before, after = known[max(start - CONTEXT, 0) : start], known[end : end + CONTEXT]
        text = known[start : min(end, start + MAX_TEXT)]
        self._on_hit(HitContext(hit.rule, hit.start, hit.end, before, text, after, self._channel, self._choice))
