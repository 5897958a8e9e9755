"""Hits with the text before and after them, for moderators. Pure: takes a moderator's outcomes, gives contexts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streaming.moderation import MAX_SPAN, Hit, Outcome, Rule, Text

CONTEXT = 40
"""How many characters before and after a match are kept with it."""

MAX_TEXT = 4 * MAX_SPAN
"""How many characters of a match are kept: it can exceed MAX_SPAN, which does not count ignorable characters."""


@dataclass(frozen=True, slots=True)
class HitContext:
    """A match on which a rule acted: characters ``start`` to ``end`` of one channel's text, and the text around it."""

    rule: Rule
    start: int
    end: int
    before: str
    text: str
    after: str
    channel: str = "content"
    choice: int = 0


HitHandler = Callable[[HitContext], None]
"""Called by the stream with each hit, on the event loop, so it must neither block nor raise."""


class ContextRecorder:
    """Keeps enough of one channel's text to report each hit with its context, once the text after it has arrived."""

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
        self._reported_before: set[tuple[int | str, int, int]] = set()  # before the text was restarted
        self._reported: list[tuple[int | str, int, int]] = []

    def record(self, text: str, outcomes: Iterable[Outcome], held: int) -> None:
        """The text that was fed to the moderator, its outcomes, and how many characters it still holds."""
        if text:
            self._pieces.append(text)
            self._end += len(text)
        if outcomes:
            self._waiting += [outcome for outcome in outcomes if not isinstance(outcome, Text)]
        while self._waiting and self._waiting[0].end + CONTEXT <= self._end:
            self._report(self._waiting.pop(0))
        keep = held + MAX_TEXT + 2 * CONTEXT
        while self._pieces and not self._waiting and self._end - self._first - len(self._pieces[0]) > keep:
            self._first += len(self._pieces.popleft())

    def rewind(self) -> None:
        """The text starts again from its beginning; hits that were reported are not reported twice."""
        self.finish()
        self._reported_before.update(self._reported)
        self._pieces.clear()
        self._first = self._end = 0

    def finish(self) -> None:
        """Report what is waiting: no more text will arrive."""
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
