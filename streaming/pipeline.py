"""The joints between a stream's source and its response: each takes a stream and gives one.

A step passes a batch: what was ready together stays together, so that the cost of an async step is paid per batch.
Each joint closes what it reads, so that when a reader goes away everything behind it goes quiet.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import chain, groupby
from typing import Any

from streaming import formats, sse
from streaming.formats import Delta, End, Failure, Notice, Part, Whole
from streaming.moderation import Blocked, Finding, Moderator, Outcome, RuleSet, Text
from streaming.responses import failure_of
from streaming.sightings import Lookout, Witness
from streaming.sources import Playback, play
from streaming.upstreams import UpstreamError

Parts = AsyncGenerator[list[Part]]


async def parse(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[list[sse.Message]]:
    """Bytes to messages."""
    parser = sse.Parser()
    async with aclosing(chunks):
        async for chunk in chunks:
            while messages := parser.feed(chunk):
                yield messages
                chunk = b""  # should an error have come after them, it is raised now


async def read(batches: AsyncGenerator[list[sse.Message]], reader: formats.Reader) -> Parts:
    """Messages to parts. What fails on the way is the last part; so is the end."""
    try:
        async with aclosing(batches):
            async for batch in batches:
                parts: list[Part] = []
                try:
                    for message in batch:
                        parts += reader.feed(message)
                except formats.FormatError as error:
                    parts.append(failure_of(error))
                if parts := _until_the_end(parts):
                    yield parts
                    if _is_last(parts):
                        return
        yield reader.finish()
    except (UpstreamError, sse.StreamError) as error:
        yield [failure_of(error)]


async def moderate(batches: Parts, rule_set: RuleSet, witness: Witness | None = None) -> Parts:
    """Parts whose text the rules have seen. A block is the end: the source is closed at once.

    The witness is told of every match that counted, flags too.
    """
    channels: dict[tuple[type[Part], int, str], _Deltas | _Wholes] = {}
    async with aclosing(batches), _all_told(channels):
        async for batch in batches:
            out: list[Part] = []
            for key, parts in groupby(batch, _channel):
                if key is not None:
                    if key not in channels:
                        kind = _Deltas if key[0] is Delta else _Wholes
                        channels[key] = kind(rule_set, witness, *key[1:])
                    out += channels[key].feed([part.text for part in parts])  # type: ignore[union-attr]
                    continue
                for part in parts:
                    if not isinstance(part, Notice):
                        # What is held leaves before the end; it has not become a match.
                        out += [held for channel in channels.values() for held in channel.finish()]
                    out.append(part)
            if out:
                out = _until_the_end(out)
                yield out
                if _is_last(out):
                    return


@asynccontextmanager
async def _all_told(channels: Mapping[Any, _Deltas | _Wholes]) -> AsyncGenerator[None]:
    """Whatever ends the stream, the witness is told of what was waiting for the text that follows it."""
    try:
        yield
    finally:
        for channel in channels.values():
            if channel.lookout:
                channel.lookout.finish()


def _channel(part: Part) -> tuple[type[Part], int, str] | None:
    """Which of an answer's texts a part belongs to."""
    return (type(part), part.choice, part.channel) if isinstance(part, Delta | Whole) else None


async def write(batches: Parts, writer: formats.Writer) -> AsyncGenerator[list[sse.Message]]:
    """Parts to messages, from the first to the one that ends the stream."""
    async with aclosing(batches):
        yield writer.begin()
        async for batch in batches:
            yield [message for part in batch for message in writer.write(part)]
            if _is_last(batch):
                return


async def played(playback: Playback, *, full: bool = False) -> Parts:
    """A document as deltas, or as the whole text so far each time; and its end."""
    text = ""
    async with aclosing(play(playback)) as pieces:
        async for piece in pieces:
            text += piece
            yield [Whole(text) if full else Delta(piece)]
    yield [End()]


_ENDS = frozenset({End, Failure})


def _is_last(parts: list[Part]) -> bool:
    return type(parts[-1]) in _ENDS


def _until_the_end(parts: list[Part]) -> list[Part]:
    """Nothing follows an end, whatever an upstream sends after it."""
    if _ENDS.isdisjoint(map(type, parts)):
        return parts
    return parts[: next(index for index, part in enumerate(parts, 1) if type(part) in _ENDS)]


class _Deltas:
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
            self.lookout.see(texts, chain.from_iterable(groups), self._moderator.held)
        return [part for outcomes in groups for part in self._told(outcomes)]

    def finish(self) -> list[Part]:
        outcomes = self._moderator.finish()
        if self.lookout:
            self.lookout.see([], outcomes, self._moderator.held)
        return self._told(outcomes)

    def _told(self, outcomes: list[Outcome]) -> list[Part]:
        if len(outcomes) == 1 and isinstance(text := outcomes[0], Text):
            return [Delta(text.text, self._channel, self._choice)]
        shown, notices = _sorted_out(outcomes)
        return [*([Delta(shown, self._channel, self._choice)] if shown else []), *notices]


class _Wholes:
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
        return self._witnessed([new], self._moderator.feed(new))

    def finish(self) -> list[Part]:
        return self._witnessed([], self._moderator.finish())

    def _witnessed(self, texts: list[str], outcomes: list[Outcome]) -> list[Part]:
        if self.lookout:
            self.lookout.see(texts, outcomes, self._moderator.held)
        return self._told(outcomes)

    def _told(self, outcomes: list[Outcome]) -> list[Part]:
        text, notices = _sorted_out(outcomes)
        self._shown += text
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Whole(self._shown, self._channel, self._choice)] if changed else []), *notices]


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
                notices += [Notice("block", rule.category, rule.replacement), End("blocked")]
    return text, notices
