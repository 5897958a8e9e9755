"""The moderation of an answer: parts in, parts out. Pure: whoever drives it decides when the event loop has its turn.

The text of a channel comes bit by bit (``DeltaStream``), or whole each time (``SnapshotStream``), or is complete in
itself (``AtomicTexts``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import chain, groupby

from streaming.formats import ChoiceEnd, Delta, Failure, Notice, Part, Snapshot, StreamEnd, TextPart
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Blocked, Finding, Moderator, Outcome, RuleSet, Text

SLICE_CHARS = 4096
"""How much text is moderated in one go. At the worst rate that was measured, 11 microseconds a character, that takes
45 ms; usually 1 ms."""

CHARS_OF_A_START = 100
"""What it costs to begin with a text, in characters."""

ENDS = (StreamEnd, Failure)
"""Nothing follows them."""

PAUSE = None
"""Stands between two slices of a long text: this is the moment to let other streams have their turn."""

Step = Part | None


class AnswerModeration:
    """The moderation of all texts of one answer, each choice and channel in a state of its own.

    ``feed`` gives what is now certain, with a PAUSE wherever a long text has been worked on for a while. Whoever
    takes a StreamEnd or a Failure takes nothing after it.
    """

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None = None) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._channels: dict[_ChannelKey, DeltaStream | SnapshotStream] = {}
        self._texts = AtomicTexts(rule_set, on_hit)

    def feed(self, parts: Iterable[Part]) -> Iterator[Step]:
        chars = 0  # since the last pause
        for key, run in groupby(parts, _channel_of):
            if chars > SLICE_CHARS:
                chars = 0
                yield PAUSE
            if key is not None:
                texts: list[str] = [part.text for part in run]  # type: ignore[union-attr]
                chars += sum(map(len, texts)) + (0 if key in self._channels else CHARS_OF_A_START)
                yield from self._stream_of(key).feed(texts)
                continue
            for part in run:
                yield from self._released_before(part)
                if not isinstance(part, TextPart):
                    yield from self._cleaned(part)
                    continue
                yield from self._texts.feed(part)
                chars += len(part.text) + CHARS_OF_A_START
                if chars > SLICE_CHARS:
                    chars = 0
                    yield PAUSE

    def close(self) -> None:
        """Whatever ended the stream, the hits are handed on that were waiting for the text after them."""
        for stream in self._channels.values():
            if stream.recorder:
                stream.recorder.finish()

    def _stream_of(self, key: _ChannelKey) -> DeltaStream | SnapshotStream:
        stream = self._channels.get(key)
        if stream is None:
            kind, choice, channel = key
            made = DeltaStream if kind is Delta else SnapshotStream
            stream = self._channels[key] = made(self._rule_set, self._on_hit, choice, channel)
        return stream

    def _released_before(self, part: Part) -> list[Part]:
        """What is held leaves before the end, or its choice's; it has not become a match."""
        if isinstance(part, ChoiceEnd):
            ended = [key for key in self._channels if key[1] == part.choice]
        else:
            ended = list(self._channels) if isinstance(part, ENDS) else []
        released: list[Part] = []
        for stream in map(self._channels.pop, ended):
            released += stream.finish()
            if stream.recorder:
                stream.recorder.finish()
        return released

    def _cleaned(self, part: Part) -> list[Part]:
        """A part without text of the answer; but an upstream's errors and notices may quote it."""
        match part:
            case ChoiceEnd():
                return []
            case Failure():
                return [part.moderated(self._clean_words)]
            case Notice(action, category, notice):
                return [Notice(*map(self._clean_words, (action, category, notice)))]
        return [part]

    def _clean_words(self, words: str) -> str:
        return clean(words[:SLICE_CHARS], self._rule_set)


_ChannelKey = tuple[type[Part], int, str]


def _channel_of(part: Part) -> _ChannelKey | None:
    """Which of an answer's texts a part belongs to."""
    return (type(part), part.choice, part.channel) if isinstance(part, Delta | Snapshot) else None


def clean(text: str, rule_set: RuleSet) -> str:
    """What may be shown of a text that is complete, and not long."""
    moderator = Moderator(rule_set)
    return _sorted_out([*moderator.feed(text), *moderator.finish()])[0]


def _outcomes(text: str, rule_set: RuleSet) -> Generator[None, None, list[Outcome]]:
    """What comes of a text that is complete, with a PAUSE after each slice of a long one."""
    moderator = Moderator(rule_set)
    outcomes = yield from _fed(moderator, text)
    return [*outcomes, *moderator.finish()]


def _fed(moderator: Moderator, text: str) -> Generator[None, None, list[Outcome]]:
    if len(text) <= SLICE_CHARS:
        return moderator.feed(text)
    outcomes: list[Outcome] = []
    for at in range(0, len(text), SLICE_CHARS):
        outcomes += moderator.feed(text[at : at + SLICE_CHARS])
        yield PAUSE
    return outcomes


class DeltaStream:
    """The moderation of one channel whose text comes bit by bit."""

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None, choice: int, channel: str) -> None:
        self._moderator = Moderator(rule_set)
        self.recorder = ContextRecorder(on_hit, channel, choice) if on_hit else None
        self._channel = channel
        self._choice = choice

    def feed(self, texts: list[str]) -> Iterable[Step]:
        """What was ready together is looked at together, and stays as many parts as it was, if it is not long."""
        if len(texts) == 1 and len(texts[0]) <= SLICE_CHARS:
            return self._feed_one(texts[0])
        if sum(map(len, texts)) <= SLICE_CHARS:
            return self._feed_all(texts)
        return self._feed_in_slices(texts)

    def _feed_one(self, text: str) -> list[Part]:
        outcomes = self._moderator.feed(text)
        if len(outcomes) == 1 and type(outcomes[0]) is Text:  # what nearly every piece comes to
            if self.recorder:
                self.recorder.record(text, (), self._moderator.held)
            return [Delta(outcomes[0].text, self._channel, self._choice)]
        if self.recorder:
            self.recorder.record(text, outcomes, self._moderator.held)
        return self._parts(outcomes)

    def _feed_all(self, texts: list[str]) -> list[Part]:
        groups = self._moderator.feed_all(texts)
        if self.recorder:
            self.recorder.record("".join(texts), chain.from_iterable(groups), self._moderator.held)
        return [part for outcomes in groups for part in self._parts(outcomes)]

    def _feed_in_slices(self, texts: list[str]) -> Iterator[Step]:
        for slice_ in _slices(texts):
            yield from self._feed_all(slice_)
            yield PAUSE

    def finish(self) -> list[Part]:
        outcomes = self._moderator.finish()
        if self.recorder:
            self.recorder.record("", outcomes, self._moderator.held)
        return self._parts(outcomes)

    def _parts(self, outcomes: list[Outcome]) -> list[Part]:
        shown, notices = _sorted_out(outcomes)
        return [*([Delta(shown, self._channel, self._choice)] if shown else []), *notices]


def _slices(texts: list[str]) -> Iterator[list[str]]:
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


class SnapshotStream:
    """The moderation of a text that comes whole each time. Only what is new is looked at, unless it was rewritten."""

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None, choice: int, channel: str) -> None:
        self._rule_set = rule_set
        self._moderator = Moderator(rule_set)
        self.recorder = ContextRecorder(on_hit, channel, choice, may_rewind=True) if on_hit else None
        self._channel = channel
        self._choice = choice
        self._seen = self._shown = self._sent = ""

    def feed(self, texts: list[str]) -> Iterator[Step]:
        for text in texts:
            yield from self._feed(text)

    def _feed(self, text: str) -> Iterator[Step]:
        if not text.startswith(self._seen):
            self._moderator, self._seen, self._shown = Moderator(self._rule_set), "", ""
            if self.recorder:
                self.recorder.rewind()
        new, self._seen = text[len(self._seen) :], text
        outcomes = yield from _fed(self._moderator, new)
        yield from self._parts(new, outcomes)

    def finish(self) -> list[Part]:
        return self._parts("", self._moderator.finish())

    def _parts(self, text: str, outcomes: list[Outcome]) -> list[Part]:
        if self.recorder:
            self.recorder.record(text, outcomes, self._moderator.held)
        shown, notices = _sorted_out(outcomes)
        self._shown += shown
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Snapshot(self._shown, self._channel, self._choice)] if changed else []), *notices]


class AtomicTexts:
    """The moderation of texts that are complete, and shown at once. Of two under one name no match is put together."""

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._names: dict[tuple[int, str], tuple[Moderator, str]] = {}

    def feed(self, part: TextPart) -> Iterator[Step]:
        text, channel, choice = part
        before = yield from self._open_end(part)
        outcomes = yield from _outcomes(before + text, self._rule_set)
        if crossing := [each for each in outcomes if _crosses(each, len(before))]:
            self._see(before + text, crossing, part)
            yield from _sorted_out(crossing)[1]
            return
        if before:
            outcomes = yield from _outcomes(text, self._rule_set)
        self._see(text, outcomes, part)
        shown, notices = _sorted_out(outcomes)
        yield TextPart(shown, channel, choice)
        yield from notices

    def _open_end(self, part: TextPart) -> Generator[None, None, str]:
        """The end of what came before under this name, as far as a match may have begun in it."""
        moderator, before = self._names.get((part.choice, part.channel)) or (Moderator(self._rule_set), "")
        yield from _fed(moderator, part.text)
        after = (before + part.text)[-moderator.held :] if moderator.held else ""
        self._names[part.choice, part.channel] = moderator, after
        return before

    def _see(self, text: str, outcomes: list[Outcome], part: TextPart) -> None:
        if self._on_hit:
            recorder = ContextRecorder(self._on_hit, part.channel, part.choice)
            recorder.record(text, outcomes, 0)
            recorder.finish()


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
