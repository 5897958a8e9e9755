"""The joints between a stream's source and its response: each takes a stream and gives one.

A step passes a batch: what was ready together stays together, so that the cost of an async step is paid per batch.
Each joint closes what it reads, so that when a reader goes away everything behind it goes quiet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import groupby
from typing import Any, NamedTuple

from streaming import formats, sse
from streaming.answer import AtomicTexts, DeltaStream, SnapshotStream, clean
from streaming.formats import ChoiceEnd, Delta, Failure, Notice, Part, Snapshot, StreamEnd, TextPart
from streaming.moderation import RuleSet
from streaming.requests import BadRequest
from streaming.responses import failure_of
from streaming.sightings import Witness
from streaming.sources import Playback, play
from streaming.upstreams import UpstreamError

RUN_OUT_SECONDS = 0.05
"""How long an upstream that has said its last word may take to end its response."""

Parts = AsyncGenerator[list[Part]]


async def parse(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[list[sse.Message]]:
    """Bytes to messages."""
    parser = sse.Parser(error_lines=True)
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
                        if type(parts[-1]) is StreamEnd:
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
    channels: dict[tuple[type[Part], int, str], DeltaStream | SnapshotStream] = {}
    labels = AtomicTexts(rule_set, witness)
    async with aclosing(batches), _all_told(channels):
        async for batch in batches:
            out: list[Part] = []
            for key, parts in groupby(batch, _channel):
                if key is not None:
                    if key not in channels:
                        kind = DeltaStream if key[0] is Delta else SnapshotStream
                        channels[key] = kind(rule_set, witness, *key[1:])
                    out += channels[key].feed([part.text for part in parts])  # type: ignore[union-attr]
                    continue
                for part in parts:
                    out += _released(channels, part)
                    out += labels.feed(part) if isinstance(part, TextPart) else _cleaned(part, rule_set)
            if out:
                out = _until_the_end(out)
                yield out
                if _is_last(out):
                    return


@asynccontextmanager
async def _all_told(channels: Mapping[Any, DeltaStream | SnapshotStream]) -> AsyncGenerator[None]:
    """Whatever ends the stream, the witness is told of what was waiting for the text that follows it."""
    try:
        yield
    finally:
        for channel in channels.values():
            if channel.lookout:
                channel.lookout.finish()


def _released(channels: dict[tuple[type[Part], int, str], DeltaStream | SnapshotStream], part: Part) -> list[Part]:
    """What is held leaves before the end, or its choice's; it has not become a match."""
    if isinstance(part, ChoiceEnd):
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
        case ChoiceEnd():
            return []
        case Failure():
            return [part.moderated(lambda said: clean(said, rule_set))]
        case Notice(action, category, notice):
            return [Notice(*(clean(said, rule_set) for said in (action, category, notice)))]
    return [part]


def _channel(part: Part) -> tuple[type[Part], int, str] | None:
    """Which of an answer's texts a part belongs to."""
    return (type(part), part.choice, part.channel) if isinstance(part, Delta | Snapshot) else None


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
            yield [Snapshot(text)] if full else [Delta(piece, choice=index) for index in range(choices)]
    yield [StreamEnd()]


PIECE_CHARS = 10_000
"""How much of a text that is all there is looked at in one go: then it is another's turn."""


class Moderated(NamedTuple):
    """What came of texts that were all there: each by its choice and channel."""

    texts: dict[tuple[int, str], str]
    notices: list[Notice]
    is_blocked: bool


async def moderate_at_once(texts: Iterable[Delta | TextPart], rule_set: RuleSet, witness: Witness | None) -> Moderated:
    """Texts that are all there, with the pauses that the event loop needs. After a block nothing more is shown."""
    shown = dict[tuple[int, str], str]()
    notices = list[Notice]()
    async for batch in moderate(_in_pieces(texts), rule_set, witness):
        for part in batch:
            if isinstance(part, Delta | TextPart):
                shown[part.choice, part.channel] = shown.get((part.choice, part.channel), "") + part.text
            elif isinstance(part, Notice):
                notices.append(part)
    return Moderated(shown, notices, is_blocked=batch[-1] == StreamEnd("blocked"))


async def _in_pieces(texts: Iterable[Delta | TextPart]) -> Parts:
    for text in texts:
        if isinstance(text, TextPart):
            yield [text]
            continue
        for at in range(0, len(text.text), PIECE_CHARS):
            yield [text._replace(text=text.text[at : at + PIECE_CHARS])]
            await asyncio.sleep(0)
    yield [StreamEnd()]


async def moderate_prompt(fields: dict[str, Any], rule_set: RuleSet, witness: Witness | None = None) -> None:
    """A chat completion request whose texts the rules have seen, changed where it stands. BadRequest if one blocks."""
    try:
        texts, refs = formats.extract_prompt(fields)
    except RecursionError as error:
        raise BadRequest("the body has more objects in objects than can be read") from error
    moderated = await moderate_at_once(texts, rule_set, witness)
    if moderated.is_blocked:
        why = moderated.notices[-1]
        about = f" ({why.category})" if why.category else ""
        said = f": {why.notice}" if why.notice else ""
        raise BadRequest(f"the prompt was blocked by a moderation rule{about}{said}", code="content_filter")
    formats.put_back(refs, moderated.texts)


async def moderate_completion(data: str, rule_set: RuleSet, witness: Witness | None = None) -> dict[str, Any]:
    """A chat completion that came whole, each choice as the rules leave it. FormatError if it is none."""
    completion, (texts, refs) = formats.read_completion(data)
    notices = list[Notice]()
    for index in sorted({text.choice for text in texts}):
        own = [text for text in texts if text.choice == index]
        moderated = await moderate_at_once(own, rule_set, witness)
        formats.put_back([ref for ref in refs if ref.choice == index], moderated.texts)
        if moderated.is_blocked:
            formats.end_choice(completion, index)
        notices += moderated.notices
    return formats.with_notices(completion, notices)


_ENDS = frozenset({StreamEnd, Failure})


def _is_last(parts: list[Part]) -> bool:
    return type(parts[-1]) in _ENDS


def _until_the_end(parts: list[Part]) -> list[Part]:
    """Nothing follows an end, whatever an upstream sends after it."""
    if _ENDS.isdisjoint(map(type, parts)):
        return parts
    return parts[: next(index for index, part in enumerate(parts, 1) if type(part) in _ENDS)]
