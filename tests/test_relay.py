"""The joints: each stream is tried whole and in every cut of its bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import pytest

from streaming.formats import CUT, READERS, Delta, Failure, NativeWriter, Notice, Part, Snapshot, StreamEnd
from streaming.moderation import Rule, RuleSet
from streaming.relay import moderate, parse, played, read, write
from streaming.responses import failure_of
from streaming.sightings import Sighting
from streaming.sources import Playback, read_document
from streaming.sse import Message, encode
from streaming.upstreams import Broken, Silent

RULES = RuleSet(
    [
        Rule(1, "darn", category="profanity"),
        Rule(2, "darn it", category="phrase"),
        Rule(3, "坏话", category="脏话"),
        Rule(4, "stop here", action="block", category="test"),
        Rule(5, "stop here and now", category="longer"),
    ]
)


class Source:
    """Gives these out one by one, and knows whether it was closed. An exception is raised in its turn."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = list(items)
        self.given = 0
        self.closed = False

    async def __call__(self) -> AsyncGenerator[Any]:
        try:
            for item in self._items:
                if isinstance(item, Exception):
                    raise item
                self.given += 1
                yield item
        finally:
            self.closed = True


def wire(*messages: Any, event: str = "message") -> bytes:
    """Objects as messages; a pair is (event, object); text is a message of just that."""
    out = b""
    for message in messages:
        name, data = message if isinstance(message, tuple) else (event, message)
        out += encode(Message(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False), name))
    return out


def deltas(*texts: str) -> list[dict[str, str]]:
    return [{"delta": text} for text in texts]


DONE = ("done", {"reason": "stop"})


async def moderated(source: Source, form: str = "native", rules: RuleSet = RULES) -> list[list[Part]]:
    parts = read(parse(source()), READERS[form]())
    return [batch async for batch in moderate(parts, rules)]


def told(batches: list[list[Part]]) -> list[Part]:
    """The parts of a stream with the text of a channel run together, as its reader sees them in the end."""
    out: list[Part] = []
    for part in (part for batch in batches for part in batch):
        match part, out[-1:]:
            case Delta(text, channel, choice), [Delta(before, same, equal)] if (channel, choice) == (same, equal):
                out[-1] = Delta(before + text, channel, choice)
            case Snapshot(_), [Snapshot(_)]:
                out[-1] = part
            case _:
                out.append(part)
    return out


def shown(batches: list[list[Part]]) -> str:
    return "".join(part.text for batch in batches for part in batch if isinstance(part, Delta))


def rest(batches: list[list[Part]]) -> list[Part]:
    return [part for batch in batches for part in batch if not isinstance(part, Delta | Snapshot)]


STREAMS = {
    "clean": (wire(("connect", {}), *deltas("Hel", "lo"), DONE), "native", "Hello", [StreamEnd()]),
    "masked": (
        wire(*deltas("oh da", "rn", " you, 坏", "话。"), DONE),
        "native",
        "oh •••• you, ••。",
        [Notice("mask", "profanity"), Notice("mask", "脏话"), StreamEnd()],
    ),
    "the longest match": (
        wire(*deltas("darn", " i", "t"), DONE),
        "native",
        "•••••••",
        [Notice("mask", "phrase"), StreamEnd()],
    ),
    "held at done": (wire(*deltas("oh dar"), DONE), "native", "oh dar", [StreamEnd()]),
    "a whole match held at done": (
        wire(*deltas("oh darn i"), DONE),
        "native",
        "oh •••• i",
        [Notice("mask", "profanity"), StreamEnd()],
    ),
    "held at an error": (
        wire(*deltas("oh dar"), ("error", {"status": 503, "title": "T", "detail": "d"})),
        "native",
        "oh dar",
        [Failure(503, "T", "d")],
    ),
    "held at a cut": (wire(*deltas("oh dar")), "native", "oh dar", [CUT]),
    "a cut in the middle of a message": (wire(*deltas("oh dar")) + b'data: {"delta', "native", "oh dar", [CUT]),
    "nothing at all": (b"", "native", "", [CUT]),
    "blocked": (
        wire(*deltas("before stop", " here", " after"), DONE),
        "native",
        "before ",
        [Notice("block", "test"), StreamEnd("blocked")],
    ),
    "words after the end": (wire(*deltas("a"), DONE, *deltas("b"), DONE), "native", "a", [StreamEnd()]),
    "unknown events and comments": (
        b": hello\n\n" + wire(("thought", "hm"), *deltas("a"), DONE),
        "native",
        "a",
        [StreamEnd()],
    ),
    "garbage after text": (
        wire(*deltas("oh dar"), "not JSON", *deltas("more"), DONE),
        "native",
        "oh dar",
        [Failure(502, "Bad Gateway", "an upstream's message is not JSON")],
    ),
    "openai": (
        wire(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "oh da"}}]},
            {"choices": [{"index": 0, "delta": {"content": "rn!"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
            "[DONE]",
        ),
        "openai",
        "oh ••••!",
        [Notice("mask", "profanity"), StreamEnd("length")],
    ),
    "openai, cut": (
        wire({"choices": [{"index": 0, "delta": {"content": "oh da"}}]}),
        "openai",
        "oh da",
        [CUT],
    ),
    "text": (wire("oh da", "rn!"), "text", "oh ••••!", [Notice("mask", "profanity"), StreamEnd()]),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
class TestAStreamThroughModeration:
    async def test_whole(self, stream: tuple[bytes, str, str, list[Part]]) -> None:
        data, form, text, parts = stream

        batches = await moderated(Source([data] if data else []), form)

        assert (shown(batches), rest(batches)) == (text, parts)

    async def test_in_every_cut(self, stream: tuple[bytes, str, str, list[Part]]) -> None:
        data, form, text, parts = stream

        for at in range(len(data)):
            batches = await moderated(Source([data[:at], data[at:]]), form)
            assert (shown(batches), rest(batches)) == (text, parts), at

    @pytest.mark.parametrize("size", range(1, 12))
    async def test_in_small_pieces(self, stream: tuple[bytes, str, str, list[Part]], size: int) -> None:
        data, form, text, parts = stream

        source = Source(data[at : at + size] for at in range(0, len(data), size))
        batches = await moderated(source, form)

        assert (shown(batches), rest(batches)) == (text, parts)
        assert source.closed


async def test_sends_nothing_for_text_that_is_wholly_held() -> None:
    batches = await moderated(Source([wire(*deltas("dar")), wire(*deltas("k")), wire(DONE)]))

    assert batches == [[Delta("dark")], [StreamEnd()]]


async def test_what_was_ready_together_stays_together() -> None:
    batches = await moderated(Source([wire(*deltas("a", "b")), wire(*deltas("c"), DONE)]))

    assert batches == [[Delta("a"), Delta("b")], [Delta("c"), StreamEnd()]]


async def test_each_channel_and_each_choice_has_a_state_of_its_own() -> None:
    messages = [
        {"delta": "da"},
        {"delta": "rk", "channel": "reasoning"},
        {"delta": "da", "choice": 1},
        {"delta": "rn!"},
        {"delta": "rn!", "choice": 1},
    ]

    batches = await moderated(Source([wire(message) for message in [*messages, DONE]]))

    assert told(batches) == [
        Delta("rk", "reasoning"),
        Delta("••••!"),
        Notice("mask", "profanity"),
        Delta("••••!", choice=1),
        Notice("mask", "profanity"),
        StreamEnd(),
    ]


class TestABlock:
    async def test_closes_the_source_at_once(self) -> None:
        source = Source([wire(*deltas("stop here")), wire(*deltas(" or there")), wire(*deltas("never")), wire(DONE)])

        batches = await moderated(source)

        assert rest(batches) == [Notice("block", "test"), StreamEnd("blocked")]
        assert source.closed
        assert source.given <= 2

    async def test_in_one_channel_ends_them_all(self) -> None:
        messages = [{"delta": "dar", "channel": "reasoning"}, {"delta": "stop here!"}, {"delta": "x"}, DONE]

        batches = await moderated(Source([wire(*messages)]))

        assert told(batches)[-2:] == [Notice("block", "test"), StreamEnd("blocked")]

    async def test_that_is_found_at_the_end_is_the_end(self) -> None:
        batches = await moderated(Source([wire(*deltas("a stop here"), DONE)]))

        assert told(batches) == [Delta("a "), Notice("block", "test"), StreamEnd("blocked")]

    async def test_brings_its_notice(self) -> None:
        rules = RuleSet([Rule(1, "bomb", action="block", category="danger", replacement="Let us stop here.")])

        batches = await moderated(Source([wire(*deltas("a bomb"), DONE)]), rules=rules)

        assert rest(batches) == [Notice("block", "danger", "Let us stop here."), StreamEnd("blocked")]


async def test_readers_are_not_told_of_flags() -> None:
    rules = RuleSet([Rule(1, "darn", action="flag", category="watched")])

    batches = await moderated(Source([wire(*deltas("oh darn"), DONE)]), rules=rules)

    assert told(batches) == [Delta("oh darn"), StreamEnd()]


def wholes(*texts: str) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


class TestAStreamOfWholeTexts:
    async def seen(self, *texts: str) -> list[Part]:
        source = Source([wire(message) for message in [*wholes(*texts), DONE]])
        return [part for batch in await moderated(source) for part in batch]

    async def test_shows_the_whole_text_so_far_each_time(self) -> None:
        assert await self.seen("a", "a b", "a b") == [Snapshot("a"), Snapshot("a b"), StreamEnd()]

    @pytest.mark.parametrize("cut", range(1, 18))
    async def test_shows_the_same_however_it_grows(self, cut: int) -> None:
        text = "oh darn it, 坏话!"

        parts = await self.seen(*(text[:end] for end in range(cut, len(text), cut)), text)

        assert [part for part in parts if isinstance(part, Snapshot)][-1] == Snapshot("oh •••••••, ••!")
        assert [part for part in parts if isinstance(part, Notice)] == [
            Notice("mask", "phrase"),
            Notice("mask", "脏话"),
        ]

    async def test_never_shows_what_may_become_a_match(self) -> None:
        parts = await self.seen("oh d", "oh darn", "oh darn!")

        assert parts == [Snapshot("oh "), Snapshot("oh ••••!"), Notice("mask", "profanity"), StreamEnd()]

    async def test_that_is_rewritten_is_moderated_anew_and_replaces_what_was_there(self) -> None:
        parts = await self.seen("one two", "one darn", "one darn!", "1")

        texts = [part.text for part in parts if isinstance(part, Snapshot)]
        assert texts == ["one two", "one ", "one ••••!", "1"]

    async def test_that_shrinks_shows_less(self) -> None:
        assert await self.seen("one two", "one", "") == [
            Snapshot("one two"),
            Snapshot("one"),
            Snapshot(""),
            StreamEnd(),
        ]

    async def test_lets_go_of_what_it_holds_before_the_end(self) -> None:
        assert await self.seen("oh dar") == [Snapshot("oh "), Snapshot("oh dar"), StreamEnd()]

    async def test_ends_at_a_block(self) -> None:
        parts = await self.seen("a stop here", "a stop here.", "a stop here. b")

        assert parts == [Snapshot("a "), Notice("block", "test"), StreamEnd("blocked")]

    async def test_keeps_its_channels_and_choices_apart(self) -> None:
        messages = [{"text": "a"}, {"text": "hm", "channel": "reasoning"}, {"text": "ab"}, DONE]

        parts = [part for batch in await moderated(Source([wire(*messages)])) for part in batch]

        assert parts == [Snapshot("a"), Snapshot("hm", "reasoning"), Snapshot("ab"), StreamEnd()]


@pytest.mark.parametrize(
    "error", [Silent("default", "was silent for 60 s"), Broken("default", "broke off in the middle of its answer")]
)
async def test_what_goes_wrong_with_the_upstream_is_the_last_part_and_what_was_held_comes_before(
    error: Exception,
) -> None:
    source = Source([wire(*deltas("oh dar")), error])

    batches = await moderated(source)

    assert told(batches) == [Delta("oh dar"), failure_of(error)]
    assert source.closed


async def test_a_message_without_end_is_refused() -> None:
    source = Source([wire(*deltas("a")), b"data: ", *[b"x" * 100_000] * 20])

    batches = await moderated(source)

    assert shown(batches) == "a"
    (failure,) = rest(batches)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.detail) == (502, "a message is longer than 1,048,576 characters")
    assert source.closed
    assert source.given < 20


async def test_read_itself_stops_at_the_end() -> None:
    source = Source([wire(*deltas("a"), DONE, *deltas("b")), wire(*deltas("c"))])

    batches = [batch async for batch in read(parse(source()), READERS["native"]())]

    assert batches == [[Delta("a"), StreamEnd()]]
    assert source.closed


@pytest.mark.parametrize("joint", ["parse", "read", "moderate", "write"])
async def test_every_joint_closes_what_it_reads_when_it_is_left(joint: str) -> None:
    source = Source([wire(*deltas(str(number))) for number in range(9)])
    stream: AsyncGenerator[Any] = parse(source())
    if joint != "parse":
        stream = read(stream, READERS["native"]())
    if joint in ("moderate", "write"):
        stream = moderate(stream, RULES)
    if joint == "write":
        stream = write(stream, NativeWriter())

    await anext(stream)
    await anext(stream)
    await stream.aclose()

    assert source.closed
    assert source.given < 9


class TestWriting:
    async def test_begins_with_connect_and_ends_with_the_end(self) -> None:
        source = Source([[Delta("a")], [Delta("b"), StreamEnd("length")], [Delta("never")]])

        batches = [batch async for batch in write(source(), NativeWriter(stream="s"))]

        assert [[message.event for message in batch] for batch in batches] == [
            ["connect"],
            ["message"],
            ["message", "done"],
        ]
        assert [message.id for batch in batches for message in batch] == ["s:0", "s:1", "s:2", "s:3"]
        assert source.closed

    async def test_says_connect_before_its_source_says_anything(self) -> None:
        source = Source([[StreamEnd()]])
        stream = write(source(), NativeWriter())

        (connect,) = await anext(stream)

        assert connect.event == "connect"
        assert source.given == 0
        await stream.aclose()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("step", [1, 30, 10_000])
async def test_a_document_is_played_through_the_wire_and_back(full: bool, step: int) -> None:
    document = "poem"
    playback = Playback(document, interval=0, step=step)

    async def chunks() -> AsyncGenerator[bytes]:
        async for batch in write(played(playback, full=full), NativeWriter()):
            yield b"".join(map(encode, batch))

    parts = [part async for batch in read(parse(chunks()), READERS["native"]()) for part in batch]

    texts = [part.text for part in parts if isinstance(part, Delta | Snapshot)]
    assert (texts[-1] if full else "".join(texts)) == read_document(document)
    assert parts[-1] == StreamEnd()


async def enumerate_async(items: AsyncIterator[Any]) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for item in items:
        yield number, item
        number += 1


class TestAWitness:
    async def told(self, source: Source, form: str = "native", until: int | None = None) -> list[Sighting]:
        told: list[Sighting] = []
        rules = RuleSet([*RULES.rules, Rule(6, "heck", action="flag")])
        async with aclosing(moderate(read(parse(source()), READERS[form]()), rules, told.append)) as batches:
            async for number, _ in enumerate_async(batches):
                if number == until:
                    break
        return told

    async def test_is_told_of_every_match_with_its_context_flags_too(self) -> None:
        told = await self.told(Source([wire(*deltas("oh he", "ck, da", "rn!", " end"), DONE)]))

        assert [(each.rule.id, each.start, each.before, each.text, each.after) for each in told] == [
            (6, 3, "oh ", "heck", ", darn! end"),
            (1, 9, "oh heck, ", "darn", "! end"),
        ]

    async def test_is_told_which_channel_and_choice(self) -> None:
        told = await self.told(
            Source([wire({"delta": "a heck", "channel": "reasoning", "choice": 2}, {"delta": "b darn!"}, DONE)])
        )

        assert {(each.rule.id, each.channel, each.choice) for each in told} == {(6, "reasoning", 2), (1, "content", 0)}

    async def test_is_told_of_a_block(self) -> None:
        told = await self.told(Source([wire(*deltas("please ", "stop here", " x"))]))

        assert [(each.rule.id, each.before, each.text) for each in told] == [(4, "please ", "stop here")]

    async def test_is_told_once_of_a_text_that_comes_whole_each_time(self) -> None:
        wholes = [{"text": text} for text in ("oh", "oh darn", "oh darn, ", "oh, darn, ", "oh, darn, more")]

        told = await self.told(Source([wire(*wholes, DONE)]))

        assert [(each.start, each.after) for each in told] == [(3, ", "), (4, ", more")]

    async def test_is_told_even_if_the_reader_leaves_in_the_middle(self) -> None:
        told = await self.told(Source([wire(*deltas("oh heck")), wire(*deltas(" and")), wire(*deltas(" on"))]), until=1)

        assert [(each.text, each.after) for each in told] == [("heck", " and")]
