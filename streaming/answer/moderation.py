"""Moderates an answer: see ``AnswerModeration``.

The text of a channel arrives as fragments (``DeltaStream``), as the whole text so far (``SnapshotStream``), or as
complete texts (``AtomicTexts``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby

from streaming.answer.complete_texts import AtomicTexts
from streaming.answer.deltas import DeltaStream
from streaming.answer.joined_parts import JoinedParts, run_of_answer, run_of_prompt
from streaming.answer.media import medium_of
from streaming.answer.outcomes import PAUSE, SLICE_CHARS, Step, clean
from streaming.answer.snapshots import SnapshotStream
from streaming.formats import (
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    Notice,
    Part,
    RawChunk,
    Snapshot,
    StreamEnd,
    TextPart,
)
from streaming.hit_context import HitHandler
from streaming.moderation import RuleSet

CHARS_OF_A_START = 100
"""The fixed cost of starting a text, expressed in characters."""

MAX_TEXTS = 4096
"""The limit for the texts of one answer, by choice and channel: each takes about 10 KB until the answer ends."""

ENDS = (StreamEnd, Failure)
"""The parts after which nothing follows."""


class AnswerModeration:
    """The moderation of all texts of one answer, with separate state for each choice and channel.

    ``feed`` yields the parts that are now certain, and a PAUSE after each slice of a long text. The caller must stop
    iterating after a StreamEnd or a Failure. FormatError if the answer has more than MAX_TEXTS texts.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        on_hit: HitHandler | None = None,
        *,
        is_json: bool = False,
        is_prompt: bool = False,
        secrets: Iterable[str] = (),
    ) -> None:
        self._rule_set = rule_set
        self._on_hit = on_hit
        self._is_json = is_json
        self._is_prompt = is_prompt
        self._secrets = tuple(secrets)  # the operator's credentials, which an upstream's errors may quote
        self._channels: dict[_ChannelKey, DeltaStream | SnapshotStream] = {}
        self._names = set[tuple[int, str]]()  # of all texts so far
        self._texts = AtomicTexts(rule_set, on_hit)
        run_of = run_of_prompt if is_prompt else run_of_answer
        self._joined = JoinedParts(rule_set, on_hit, self._undecided_text, run_of)
        self._active: dict[int, frozenset[_ChannelKey]] = {}
        self._message_end = 0  # index in the parts being fed
        self._message_ends: list[int] | None = None

    def feed(self, parts: Iterable[Part]) -> Iterator[Step]:
        parts = list(parts)
        # nearly every event
        if len(parts) == 1 and not self._joined.has_seams and (stream := self._only_active(parts[0])):
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
        parts = yield from self._joined.feed(parts)
        self._message_end, self._message_ends = 0, None
        at = chars = 0  # parts that are finished, and characters since the last pause
        last: _ChannelKey | None = None
        for key, run in groupby(parts, _channel_of):
            if chars > SLICE_CHARS:
                chars = 0
                yield PAUSE
            if key is not None:
                if not self._is_only_active(key):
                    yield from self._released_for(key, parts, at)
                    yield from self._released_part(last, key)
                last = key
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
                    self._count(part.choice, part.channel)
                    yield from self._released_for((TextPart, part.choice, part.channel), parts, at)
                    yield from self._texts.feed(part)
                    chars += len(part.text) + CHARS_OF_A_START
                    if chars > SLICE_CHARS:
                        chars = 0
                        yield PAUSE
                at += 1

    def _undecided_text(self, choice: int, channel: str) -> str:
        stream = self._channels.get((Delta, choice, channel))
        if isinstance(stream, DeltaStream):
            return stream.undecided_text
        return self._texts.open_end(choice, channel)

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
            self._count(choice, channel)
            made = DeltaStream if kind is Delta else SnapshotStream
            medium = medium_of(channel, is_json=self._is_json)
            stream = self._channels[key] = made(self._rule_set, self._on_hit, choice, channel, medium)
        return stream

    def _count(self, choice: int, channel: str) -> None:
        self._names.add((choice, channel))
        if len(self._names) > MAX_TEXTS and not self._is_prompt:
            raise FormatError(f"an upstream's answer has more than {MAX_TEXTS:,} texts")

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

    def _released_part(self, last: _ChannelKey | None, key: _ChannelKey) -> list[Part]:
        """Held text of a part of a content is sent before the next part, although both are in one message."""
        stream = self._channels.get(last) if last and last != key and last[1] == key[1] else None
        if not last or not isinstance(stream, DeltaStream) or not self._joined.are_joined(last[2], key[2]):
            return []
        return stream.release()

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
