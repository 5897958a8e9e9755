"""Moderates an answer: parts (``formats/parts.py``) in, parts out. Pure: its caller decides when others get a turn.

The text of a channel arrives as fragments (``DeltaStream``), as the whole text so far (``SnapshotStream``), or as
complete texts (``AtomicTexts``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, groupby

from streaming.formats import ChoiceEnd, Delta, Failure, Notice, Part, RawChunk, Snapshot, StreamEnd, TextPart
from streaming.hit_context import ContextRecorder, HitHandler
from streaming.moderation import Hit, Medium, Moderator, Outcome, RuleSet, Text

SLICE_CHARS = 4096
"""The most text that is moderated without a pause. At the slowest measured rate, 11 microseconds per character, it
takes 45 ms; usually 1 ms."""

CHARS_OF_A_START = 100
"""The fixed cost of starting a text, expressed in characters."""

ENDS = (StreamEnd, Failure)
"""The parts after which nothing follows."""

PAUSE = None
"""Yielded between two slices of a long text: the caller should let other streams run."""

Step = Part | None


_ARGUMENTS = re.compile(r"(?:.*\.)?(?:tool_calls\.\d+|arguments|input)")
_NAMES = re.compile(r"(?:.*\.)?\w*(?:name|title|label|type|role|id)(?:\.\d+)*")


def medium_of(channel: str, *, is_json: bool = False) -> Medium:
    """The medium of a channel's texts. ``is_json``: whether the request asked for an answer in JSON.

    A field that nobody knows is read as Markdown, in which the rules see most.
    """
    if _ARGUMENTS.fullmatch(channel) or (is_json and channel == "content"):
        return "json"
    return "plain" if _NAMES.fullmatch(channel) else "markdown"


class AnswerModeration:
    """The moderation of all texts of one answer, with separate state for each choice and channel.

    ``feed`` yields the parts that are now certain, and a PAUSE after each slice of a long text. The caller must stop
    iterating after a StreamEnd or a Failure.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        on_hit: HitHandler | None = None,
        *,
        is_json: bool = False,
        secrets: Iterable[str] = (),
    ) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._is_json = is_json
        self._secrets = tuple(secrets)  # the operator's credentials, which an upstream's errors may quote
        self._channels: dict[_ChannelKey, DeltaStream | SnapshotStream] = {}
        self._texts = AtomicTexts(rule_set, on_hit)
        self._active: dict[int, frozenset[_ChannelKey]] = {}
        self._message_end = 0  # index in the parts being fed
        self._message_ends: list[int] | None = None

    def feed(self, parts: Iterable[Part]) -> Iterator[Step]:
        parts = list(parts)
        if len(parts) == 1 and (stream := self._only_active(parts[0])):  # nearly every event
            return iter(stream.feed([parts[0].text]))  # type: ignore[union-attr]
        return self._feed(parts)

    def _only_active(self, part: Part) -> DeltaStream | SnapshotStream | None:
        """The stream that this part continues, if it is the only active one of its choice."""
        if type(part) is not Delta:
            return None
        _, channel, choice = part
        active = self._active.get(choice)
        key = Delta, choice, channel
        return self._channels.get(key) if active and len(active) == 1 and key in active else None

    def _feed(self, parts: list[Part]) -> Iterator[Step]:
        self._message_end, self._message_ends = 0, None
        at = chars = 0  # parts that are finished, and characters since the last pause
        for key, run in groupby(parts, _channel_of):
            if chars > SLICE_CHARS:
                chars = 0
                yield PAUSE
            if key is not None:
                if not self._is_only_active(key):
                    yield from self._released_for(key, parts, at)
                texts: list[str] = [part.text for part in run]  # type: ignore[union-attr]
                at += len(texts)
                chars += sum(map(len, texts)) + (0 if key in self._channels else CHARS_OF_A_START)
                yield from self._stream_of(key).feed(texts)
                continue
            for part in run:
                yield from self._released_before(part)
                if not isinstance(part, TextPart):
                    yield from self._cleaned(part)
                else:
                    yield from self._released_for((TextPart, part.choice, part.channel), parts, at)
                    yield from self._texts.feed(part)
                    chars += len(part.text) + CHARS_OF_A_START
                    if chars > SLICE_CHARS:
                        chars = 0
                        yield PAUSE
                at += 1

    @property
    def held(self) -> int:
        """Characters of all channels that are not decided yet."""
        return sum(stream.held for stream in self._channels.values())

    def close(self) -> None:
        """Reports the hits that were still waiting for the text after them. To be called however the stream ended."""
        for stream in self._channels.values():
            if stream.recorder:
                stream.recorder.finish()

    def _stream_of(self, key: _ChannelKey) -> DeltaStream | SnapshotStream:
        stream = self._channels.get(key)
        if stream is None:
            kind, choice, channel = key
            made = DeltaStream if kind is Delta else SnapshotStream
            medium = medium_of(channel, is_json=self._is_json)
            stream = self._channels[key] = made(self._rule_set, self._on_hit, choice, channel, medium)
        return stream

    def _is_only_active(self, key: _ChannelKey) -> bool:
        """Whether this was the only channel of its choice with text in the last message: nearly always true."""
        before = self._active.get(key[1])
        return before is not None and len(before) == 1 and key in before

    def _released_for(self, key: _ChannelKey, parts: list[Part], at: int) -> list[Part]:
        """Held text is sent before text of another channel of the same choice, because their order has a meaning.

        Channels with text in the same message count as simultaneous.
        """
        before = self._active.get(key[1], frozenset())
        if key in before and (len(before) == 1 or at < self._message_end):
            return []
        if self._message_ends is None:
            self._message_ends = [number for number, part in enumerate(parts) if type(part) is RawChunk]
        start, self._message_end = _message_around(self._message_ends, at, len(parts))
        together = frozenset({key, *filter(None, map(_text_channel_of, parts[start : self._message_end]))})
        self._active[key[1]] = together
        silent = [self._channels[other] for other in before - together if other in self._channels]
        return [part for stream in silent if isinstance(stream, DeltaStream) for part in stream.release()]

    def _released_before(self, part: Part) -> list[Part]:
        """Held text is sent before the end of the stream or of its choice, since it can no longer become a match."""
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
        """A part that is not text of the answer. An upstream's errors and notices may quote the answer."""
        match part:
            case ChoiceEnd():
                return []
            case Failure():
                return [part.without(self._secrets).moderated(self._clean_words)]
            case Notice(action, category, notice):
                return [Notice(*map(self._clean_words, (action, category, notice)))]
        return [part]

    def _clean_words(self, words: str) -> str:
        return clean(words[:SLICE_CHARS], self._rule_set)


_ChannelKey = tuple[type[Part], int, str]


def _channel_of(part: Part) -> _ChannelKey | None:
    """The text that a part belongs to, for parts that continue one."""
    return (type(part), part.choice, part.channel) if isinstance(part, Delta | Snapshot) else None


def _text_channel_of(part: Part) -> _ChannelKey | None:
    return (type(part), part.choice, part.channel) if isinstance(part, Delta | Snapshot | TextPart) else None


def _message_around(ends: list[int], at: int, count: int) -> tuple[int, int]:
    """The start and end of the upstream message that contains the part ``at``. A message ends with its RawChunk.

    Without RawChunks every part counts as a separate message.
    """
    if not ends:
        return at, at + 1
    position = bisect_left(ends, at)
    return ends[position - 1] + 1 if position else 0, ends[position] if position < len(ends) else count


def clean(text: str, rule_set: RuleSet) -> str:
    """The text that may be shown of a complete, short text."""
    moderator = Moderator(rule_set, "markdown")
    return _shown_and_notices([*moderator.feed(text), *moderator.finish()])[0]


def _outcomes(text: str, rule_set: RuleSet, medium: Medium) -> Generator[None, None, list[Outcome]]:
    """The outcomes of a complete text, with a PAUSE after each slice of a long one."""
    moderator = Moderator(rule_set, medium)
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
        return self._feed_in_slices(texts)

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

    def _feed_in_slices(self, texts: list[str]) -> Iterator[Step]:
        for slice_ in _slices(texts):
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
        for slice_ in _slices([text]):
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
        shown, notices = _shown_and_notices(outcomes)
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
        outcomes = yield from _fed(self._moderator, new)
        yield from self._parts(new, outcomes)

    def finish(self) -> list[Part]:
        return self._parts("", self._moderator.finish())

    def _parts(self, text: str, outcomes: list[Outcome]) -> list[Part]:
        if self.recorder:
            self.recorder.record(text, outcomes, self._moderator.held)
        shown, notices = _shown_and_notices(outcomes)
        self._shown += shown
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Snapshot(self._shown, self._channel, self._choice)] if changed else []), *notices]


class AtomicTexts:
    """The moderation of complete texts, which are shown at once. No match can be split over two texts of one name."""

    def __init__(self, rule_set: RuleSet, on_hit: HitHandler | None) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._names: dict[tuple[int, str], tuple[Moderator, str]] = {}
        self._untouched: dict[tuple[int, str], str] = {}  # the last text of a name, if no rule matched it

    def feed(self, part: TextPart) -> Iterator[Step]:
        text, channel, choice = part
        if self._untouched.get((choice, channel)) == text:
            yield part  # for example a provider's name in every chunk
            return
        before = yield from self._open_end(part)
        medium = medium_of(channel)
        outcomes = yield from _outcomes(before + text, self._rule_set, medium)
        if crossing := [outcome for outcome in outcomes if _crosses(outcome, len(before))]:
            self._report_hits(before + text, crossing, part)
            yield from _shown_and_notices(crossing)[1]
            return
        if before:
            outcomes = yield from _outcomes(text, self._rule_set, medium)
        self._report_hits(text, outcomes, part)
        shown, notices = _shown_and_notices(outcomes)
        self._remember(part, before, is_untouched=all(isinstance(outcome, Text) for outcome in outcomes))
        yield TextPart(shown, channel, choice)
        yield from notices

    def _open_end(self, part: TextPart) -> Generator[None, None, str]:
        """The end of the earlier texts of this name in which a match may have begun."""
        known = self._names.get((part.choice, part.channel))
        moderator, before = known or (Moderator(self._rule_set, medium_of(part.channel)), "")
        yield from _fed(moderator, part.text)
        after = (before + part.text)[-moderator.held :] if moderator.held else ""
        self._names[part.choice, part.channel] = moderator, after
        return before

    def _remember(self, part: TextPart, before: str, *, is_untouched: bool) -> None:
        """If a text leaves the state as it was, the same text can pass again without being moderated."""
        name = part.choice, part.channel
        if is_untouched and self._names[name][1] == before and len(part.text) <= SLICE_CHARS:
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


def _shown_and_notices(outcomes: list[Outcome]) -> tuple[str, list[Part]]:
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
