"""The joints between a stream's source and its response: each takes a stream and gives one.

A step passes a batch: what was ready together stays together, so that the cost of an async step is paid per batch.
Each joint closes what it reads, so that when a reader goes away everything behind it goes quiet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import chain, groupby
from typing import Any, NamedTuple

from streaming import formats, sse
from streaming.formats import Delta, End, Failure, Finish, Label, Notice, Part, Whole
from streaming.moderation import Blocked, Finding, Moderator, Outcome, RuleSet, Text
from streaming.requests import BadRequest
from streaming.responses import failure_of
from streaming.sightings import Lookout, Witness
from streaming.sources import Playback, play
from streaming.upstreams import UpstreamError

RUN_OUT_SECONDS = 0.05
"""How long an upstream that has said its last word may take to end its response."""

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
                    try:
                        yield parts
                    finally:
                        if type(parts[-1]) is End:
                            await _run_out(batches)
                    if _is_last(parts):
                        return
        yield reader.finish()
    except (UpstreamError, sse.StreamError) as error:
        yield [failure_of(error)]


async def _run_out(batches: AsyncGenerator[list[sse.Message]]) -> None:
    """Nothing is said after the end, but the body has one of its own: until it was read the connection is of no use."""
    with suppress(UpstreamError, sse.StreamError, TimeoutError):
        async with asyncio.timeout(RUN_OUT_SECONDS):
            async for _ in batches:
                pass


async def moderate(batches: Parts, rule_set: RuleSet, witness: Witness | None = None) -> Parts:
    """Parts whose text the rules have seen. A block is the end: the source is closed at once.

    The witness is told of every match that counted, flags too.
    """
    channels: dict[tuple[type[Part], int, str], _Deltas | _Wholes] = {}
    labels = _Labels(rule_set, witness)
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
                    out += _released(channels, part)
                    out += labels.feed(part) if isinstance(part, Label) else _cleaned(part, rule_set)
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


def _released(channels: dict[tuple[type[Part], int, str], _Deltas | _Wholes], part: Part) -> list[Part]:
    """What is held leaves before the end, or its choice's; it has not become a match."""
    if isinstance(part, Finish):
        ended = [key for key in channels if key[1] == part.choice]
    else:
        ended = list(channels) if type(part) in _ENDS else []
    released: list[Part] = []
    for channel in map(channels.pop, ended):
        released += channel.finish()
        if channel.lookout:
            channel.lookout.finish()
    return released


def _cleaned(part: Part, rule_set: RuleSet) -> list[Part]:
    """A part without text of the answer; but an upstream's errors and notices may quote it."""
    match part:
        case Finish():
            return []
        case Failure(status, title, detail):
            return [Failure(status, clean(title, rule_set), clean(detail, rule_set))]
        case Notice(action, category, notice):
            return [Notice(*(clean(said, rule_set) for said in (action, category, notice)))]
    return [part]


def clean(text: str, rule_set: RuleSet) -> str:
    """What may be shown of a text that is whole."""
    return _sorted_out(_outcomes(text, rule_set))[0]


def _outcomes(text: str, rule_set: RuleSet) -> list[Outcome]:
    """What comes of a text that is whole."""
    moderator = Moderator(rule_set)
    return [*moderator.feed(text), *moderator.finish()]


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


async def played(playback: Playback, *, full: bool = False, choices: int = 1) -> Parts:
    """A document as deltas, the same for each choice, or as the whole text so far each time; and its end."""
    text = ""
    async with aclosing(play(playback)) as pieces:
        async for piece in pieces:
            text += piece
            yield [Whole(text)] if full else [Delta(piece, choice=index) for index in range(choices)]
    yield [End()]


PIECE_CHARS = 10_000
"""How much of a text that is all there is looked at in one go: then it is another's turn."""


class Moderated(NamedTuple):
    """What came of texts that were all there: each by its choice and channel."""

    texts: dict[tuple[int, str], str]
    notices: list[Notice]
    is_blocked: bool


async def moderate_at_once(texts: Iterable[Delta | Label], rule_set: RuleSet, witness: Witness | None) -> Moderated:
    """Texts that are all there, with the pauses that the event loop needs. After a block nothing more is shown."""
    shown = dict[tuple[int, str], str]()
    notices = list[Notice]()
    async for batch in moderate(_in_pieces(texts), rule_set, witness):
        for part in batch:
            if isinstance(part, Delta | Label):
                shown[part.choice, part.channel] = shown.get((part.choice, part.channel), "") + part.text
            elif isinstance(part, Notice):
                notices.append(part)
    return Moderated(shown, notices, is_blocked=batch[-1] == End("blocked"))


async def _in_pieces(texts: Iterable[Delta | Label]) -> Parts:
    for text in texts:
        if isinstance(text, Label):
            yield [text]
            continue
        for at in range(0, len(text.text), PIECE_CHARS):
            yield [text._replace(text=text.text[at : at + PIECE_CHARS])]
            await asyncio.sleep(0)
    yield [End()]


async def moderate_prompt(fields: dict[str, Any], rule_set: RuleSet, witness: Witness | None = None) -> None:
    """A chat completion request whose texts the rules have seen, changed where it stands. BadRequest if one blocks."""
    try:
        texts, places = formats.take_prompt(fields)
    except RecursionError as error:
        raise BadRequest("the body has more objects in objects than can be read") from error
    moderated = await moderate_at_once(texts, rule_set, witness)
    if moderated.is_blocked:
        why = moderated.notices[-1]
        about = f" ({why.category})" if why.category else ""
        said = f": {why.notice}" if why.notice else ""
        raise BadRequest(f"the prompt was blocked by a moderation rule{about}{said}", code="content_filter")
    formats.put_back(places, moderated.texts)


async def moderate_completion(data: str, rule_set: RuleSet, witness: Witness | None = None) -> dict[str, Any]:
    """A chat completion that came whole, each choice as the rules leave it. FormatError if it is none."""
    completion, (texts, places) = formats.read_completion(data)
    notices = list[Notice]()
    for index in sorted({text.choice for text in texts}):
        own = [text for text in texts if text.choice == index]
        moderated = await moderate_at_once(own, rule_set, witness)
        formats.put_back([place for place in places if place.choice == index], moderated.texts)
        if moderated.is_blocked:
            formats.end_choice(completion, index)
        notices += moderated.notices
    return formats.with_notices(completion, notices)


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
            self.lookout.see("".join(texts), chain.from_iterable(groups), self._moderator.held)
        return [part for outcomes in groups for part in self._told(outcomes)]

    def finish(self) -> list[Part]:
        outcomes = self._moderator.finish()
        if self.lookout:
            self.lookout.see("", outcomes, self._moderator.held)
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
        return self._witnessed(new, self._moderator.feed(new))

    def finish(self) -> list[Part]:
        return self._witnessed("", self._moderator.finish())

    def _witnessed(self, text: str, outcomes: list[Outcome]) -> list[Part]:
        if self.lookout:
            self.lookout.see(text, outcomes, self._moderator.held)
        return self._told(outcomes)

    def _told(self, outcomes: list[Outcome]) -> list[Part]:
        text, notices = _sorted_out(outcomes)
        self._shown += text
        changed, self._sent = self._shown != self._sent, self._shown
        return [*([Whole(self._shown, self._channel, self._choice)] if changed else []), *notices]


class _Labels:
    """The moderation of texts that are whole, and shown at once. Of two under one name no match is put together."""

    def __init__(self, rule_set: RuleSet, witness: Witness | None) -> None:
        self._rule_set = rule_set
        self._witness = witness
        self._names: dict[tuple[int, str], tuple[Moderator, str]] = {}

    def feed(self, label: Label) -> list[Part]:
        text, channel, choice = label
        before = self._open_end(label)
        outcomes = [each for each in _outcomes(before + text, self._rule_set) if _crosses(each, len(before))]
        if outcomes:
            self._see(before + text, outcomes, label)
            return _sorted_out(outcomes)[1]
        outcomes = _outcomes(text, self._rule_set)
        self._see(text, outcomes, label)
        shown, notices = _sorted_out(outcomes)
        return [Label(shown, channel, choice), *notices]

    def _open_end(self, label: Label) -> str:
        """The end of what came before under this name, as far as a match may have begun in it."""
        moderator, before = self._names.get((label.choice, label.channel)) or (Moderator(self._rule_set), "")
        moderator.feed(label.text)
        after = (before + label.text)[-moderator.held :] if moderator.held else ""
        self._names[label.choice, label.channel] = moderator, after
        return before

    def _see(self, text: str, outcomes: list[Outcome], label: Label) -> None:
        if self._witness:
            lookout = Lookout(self._witness, label.channel, label.choice)
            lookout.see(text, outcomes, 0)
            lookout.finish()


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
                notices += [Notice("block", rule.category, rule.replacement), End("blocked")]
    return text, notices
