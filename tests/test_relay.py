"""The relay, with each stream whole and in every cut of its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest

from streaming import answer
from streaming.answer import AnswerModeration
from streaming.formats import CUT, READERS, Delta, Failure, NativeWriter, Notice, Part, Snapshot, StreamEnd
from streaming.hit_context import HitContext
from streaming.moderation import Rule, RuleSet
from streaming.problems import problem_of
from streaming.relay import MAX_MESSAGE_CHARS, EncodedRelay, EventReader, Relay, TextChunks
from streaming.sse import Message, Parser, encode
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


class Recorder:
    """A writer that records the parts it gets and writes each as a message of one character."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def begin(self) -> list[Message]:
        return []

    def write(self, part: Part) -> list[Message]:
        self.parts.append(part)
        return [Message(".")]

    def final_messages(self, reason: str, failure: Failure | None) -> list[Message]:
        self.parts.append(failure or StreamEnd(reason))
        return [Message(".")]


def wire(*messages: Any, event: str = "message") -> bytes:
    """Objects encoded as messages; a pair is (event, object); a string is the data of a message."""
    out = b""
    for message in messages:
        name, data = message if isinstance(message, tuple) else (event, message)
        out += encode(Message(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False), name))
    return out


def deltas(*texts: str) -> list[dict[str, str]]:
    return [{"delta": text} for text in texts]


DONE = ("done", {"reason": "stop"})


Batches = list[list[Part]]


def drive(relay: Relay, items: Iterable[Any], parts: list[Part]) -> Batches:
    """Feed the items until the stream is over; yields the output of each. An exception is a failure of the source."""
    batches: Batches = []

    def note() -> None:
        if parts:
            batches.append(list(parts))
            parts.clear()

    with closing(relay):
        for item in items:
            relay.fail(problem_of(item).failure) if isinstance(item, Exception) else relay.feed(item)
            while relay.is_behind:
                relay.resume()
            note()
            if relay.is_over:
                return batches
        relay.finish()
        note()
    assert relay.is_over
    return batches


def moderated(items: Iterable[Any], form: str = "native", rules: RuleSet = RULES) -> Batches:
    writer = Recorder()
    return drive(Relay(EventReader(READERS[form]()), AnswerModeration(rules), writer), items, writer.parts)


def merged(batches: list[list[Part]]) -> list[Part]:
    """The parts of a stream with the deltas of each channel merged."""
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


def text_of(batches: list[list[Part]]) -> str:
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
class TestAModeratedStream:
    def test_whole(self, stream: tuple[bytes, str, str, list[Part]]) -> None:
        data, form, text, parts = stream

        batches = moderated([data] if data else [], form)

        assert (text_of(batches), rest(batches)) == (text, parts)

    def test_in_every_cut(self, stream: tuple[bytes, str, str, list[Part]]) -> None:
        data, form, text, parts = stream

        for at in range(len(data)):
            batches = moderated([data[:at], data[at:]], form)
            assert (text_of(batches), rest(batches)) == (text, parts), at

    @pytest.mark.parametrize("size", range(1, 12))
    def test_in_small_pieces(self, stream: tuple[bytes, str, str, list[Part]], size: int) -> None:
        data, form, text, parts = stream

        batches = moderated([data[at : at + size] for at in range(0, len(data), size)], form)

        assert (text_of(batches), rest(batches)) == (text, parts)


def test_sends_nothing_while_all_text_is_held() -> None:
    batches = moderated([wire(*deltas("dar")), wire(*deltas("k")), wire(DONE)])

    assert batches == [[Delta("dark")], [StreamEnd()]]


def test_text_that_is_ready_together_is_sent_together() -> None:
    batches = moderated([wire(*deltas("a", "b")), wire(*deltas("c"), DONE)])

    assert batches == [[Delta("a"), Delta("b")], [Delta("c"), StreamEnd()]]


def test_moderates_each_channel_and_choice_separately() -> None:
    messages = [
        {"delta": "da"},
        {"delta": "rk", "channel": "reasoning"},
        {"delta": "da", "choice": 1},
        {"delta": "rn!"},
        {"delta": "rn!", "choice": 1},
    ]

    batches = moderated([wire(message) for message in [*messages, DONE]])

    assert merged(batches) == [
        Delta("da"),
        Delta("rk", "reasoning"),
        Delta("••!"),
        Notice("mask", "profanity"),
        Delta("••••!", choice=1),
        Notice("mask", "profanity"),
        StreamEnd(),
    ]


class TestABlock:
    def test_ends_the_stream_before_its_source_ends(self) -> None:
        relay = Relay(EventReader(READERS["native"]()), AnswerModeration(RULES), NativeWriter())

        sent = relay.feed(wire(*deltas("a stop here")))
        sent += relay.feed(wire(*deltas(" or there"), DONE))

        assert relay.is_over
        assert not relay.is_complete
        assert [message.event for message in Parser().feed(sent)] == ["message", "moderation", "done"]

    def test_in_one_channel_ends_all_channels(self) -> None:
        messages = [{"delta": "dar", "channel": "reasoning"}, {"delta": "stop here!"}, {"delta": "x"}, DONE]

        batches = moderated([wire(*messages)])

        assert merged(batches)[-2:] == [Notice("block", "test"), StreamEnd("blocked")]

    def test_at_the_end_of_the_text_ends_the_stream(self) -> None:
        batches = moderated([wire(*deltas("a stop here"), DONE)])

        assert merged(batches) == [Delta("a "), Notice("block", "test"), StreamEnd("blocked")]

    def test_sends_its_notice(self) -> None:
        rules = RuleSet([Rule(1, "bomb", action="block", category="danger", replacement="Let us stop here.")])

        batches = moderated([wire(*deltas("a bomb"), DONE)], rules=rules)

        assert rest(batches) == [Notice("block", "danger", "Let us stop here."), StreamEnd("blocked")]


def test_flags_are_not_sent_to_the_client() -> None:
    rules = RuleSet([Rule(1, "darn", action="flag", category="watched")])

    batches = moderated([wire(*deltas("oh darn"), DONE)], rules=rules)

    assert merged(batches) == [Delta("oh darn"), StreamEnd()]


def snapshots(*texts: str) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


class TestASnapshotStream:
    def snapshots_after(self, *texts: str) -> list[Part]:
        batches = moderated([wire(message) for message in [*snapshots(*texts), DONE]])
        return [part for batch in batches for part in batch]

    def test_sends_the_whole_text_so_far_each_time(self) -> None:
        assert self.snapshots_after("a", "a b", "a b") == [Snapshot("a"), Snapshot("a b"), StreamEnd()]

    @pytest.mark.parametrize("cut", range(1, 18))
    def test_sends_the_same_text_however_it_grows(self, cut: int) -> None:
        text = "oh darn it, 坏话!"

        parts = self.snapshots_after(*(text[:end] for end in range(cut, len(text), cut)), text)

        assert [part for part in parts if isinstance(part, Snapshot)][-1] == Snapshot("oh •••••••, ••!")
        assert [part for part in parts if isinstance(part, Notice)] == [
            Notice("mask", "phrase"),
            Notice("mask", "脏话"),
        ]

    def test_never_sends_text_that_can_become_a_match(self) -> None:
        parts = self.snapshots_after("oh d", "oh darn", "oh darn!")

        assert parts == [Snapshot("oh "), Snapshot("oh ••••!"), Notice("mask", "profanity"), StreamEnd()]

    def test_that_is_rewritten_is_moderated_again_and_replaces_the_text(self) -> None:
        parts = self.snapshots_after("one two", "one darn", "one darn.", "1")

        texts = [part.text for part in parts if isinstance(part, Snapshot)]
        assert texts == ["one two", "one ", "one ••••.", "1"]

    def test_that_shrinks_sends_less(self) -> None:
        assert self.snapshots_after("one two", "one", "") == [
            Snapshot("one two"),
            Snapshot("one"),
            Snapshot(""),
            StreamEnd(),
        ]

    def test_sends_held_text_before_the_end(self) -> None:
        assert self.snapshots_after("oh dar") == [Snapshot("oh "), Snapshot("oh dar"), StreamEnd()]

    def test_ends_at_a_block(self) -> None:
        parts = self.snapshots_after("a stop here", "a stop here.", "a stop here. b")

        assert parts == [Snapshot("a "), Notice("block", "test"), StreamEnd("blocked")]

    def test_keeps_its_channels_and_choices_apart(self) -> None:
        messages = [{"text": "a"}, {"text": "hm", "channel": "reasoning"}, {"text": "ab"}, DONE]

        parts = [part for batch in moderated([wire(*messages)]) for part in batch]

        assert parts == [Snapshot("a"), Snapshot("hm", "reasoning"), Snapshot("ab"), StreamEnd()]


@pytest.mark.parametrize(
    "error", [Silent("default", "was silent for 60 s"), Broken("default", "broke off in the middle of its answer")]
)
def test_a_failure_of_the_upstream_is_the_last_part_after_held_text(
    error: Exception,
) -> None:
    batches = moderated([wire(*deltas("oh dar")), error])

    assert merged(batches) == [Delta("oh dar"), problem_of(error).failure]


def test_a_message_can_have_at_most_8_megabytes() -> None:
    text = "x" * (8_000_000 - 100)
    assert len(text_of(moderated([wire(*deltas(text)), wire(DONE)], rules=RuleSet([])))) == len(text)

    batches = moderated([wire(*deltas("a")), b"data: ", *[b"x" * 1_000_000] * 9, wire(*deltas("never"))])

    assert text_of(batches) == "a"
    (failure,) = rest(batches)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.detail) == (502, f"a message is longer than {MAX_MESSAGE_CHARS:,} characters")


class TestTheBytesThatAreSent:
    def relay(self) -> Relay:
        return Relay(EventReader(READERS["native"]()), AnswerModeration(RULES), NativeWriter(stream="s"))

    def test_begin_with_connect_and_end_with_the_end(self) -> None:
        relay = self.relay()

        sent = relay.begin() + relay.feed(wire(*deltas("a"))) + relay.feed(wire(*deltas("b"), DONE))

        messages = Parser().feed(sent)
        assert [message.event for message in messages] == ["connect", "message", "message", "done"]
        assert [message.id for message in messages] == ["s:0", "s:1", "s:2", "s:3"]
        assert relay.messages == 4
        assert relay.is_over
        assert relay.is_complete

    @pytest.mark.parametrize("end", [wire(DONE), wire(*deltas("stop here")), wire(("error", {}))])
    def test_never_follow_the_end(self, end: bytes) -> None:
        relay = self.relay()
        relay.feed(end)
        assert relay.is_over
        messages = relay.messages

        after = [relay.feed(wire(*deltas("a"), DONE)), relay.finish(), relay.fail(CUT), relay.stop("drained")]

        assert after == [b""] * 4
        assert relay.messages == messages

    def test_are_empty_while_all_text_is_held(self) -> None:
        assert self.relay().feed(wire(*deltas("dar"))) == b""

    def test_end_with_the_reason_of_a_stop_without_the_held_text(self) -> None:
        relay = self.relay()
        relay.feed(wire(*deltas("oh dar")))

        (done,) = Parser().feed(relay.stop("drained"))

        assert (done.event, json.loads(done.data)) == ("done", {"reason": "drained"})
        assert relay.is_over
        assert not relay.is_complete


@pytest.mark.parametrize("choices", [1, 3])
def test_a_document_is_written_as_the_same_deltas_for_each_choice(choices: int) -> None:
    writer = Recorder()

    drive(Relay(TextChunks(choices=choices), None, writer), [b"a ", "中".encode()], [])

    texts = ["".join(p.text for p in writer.parts if isinstance(p, Delta) and p.choice == n) for n in range(choices)]
    assert texts == ["a 中"] * choices
    assert writer.parts[-1] == StreamEnd()


def test_a_document_can_be_written_as_snapshots() -> None:
    writer = Recorder()

    drive(Relay(TextChunks(full=True), None, writer), [b"a", b"b"], [])

    assert writer.parts == [Snapshot("a"), Snapshot("ab"), StreamEnd()]


def test_encoded_messages_pass_and_a_stop_sends_the_retry_time() -> None:
    relay = EncodedRelay()

    assert relay.begin() + relay.feed(b"data: a\n\n") == b"data: a\n\n"
    assert relay.stop("drained") == b"retry: 1000\n\n"
    assert relay.is_over


class TestALongText:
    """Megabytes in one message are moderated in slices, so that other streams can run in between."""

    WORDS = "oh darn it, " * 20_000

    def slices(self, relay: Relay, chunk: bytes) -> tuple[int, bytes]:
        sent, count = relay.feed(chunk), 1
        while relay.is_behind:
            sent += relay.resume()
            count += 1
        return count, sent

    @pytest.mark.parametrize(
        "message",
        [
            {"delta": WORDS},
            {"text": WORDS},
        ],
        ids=["delta", "snapshot"],
    )
    def test_gives_the_same_output_as_in_short_pieces(self, message: Any) -> None:
        writer = Recorder()
        relay = Relay(EventReader(READERS["native"]()), AnswerModeration(RULES), writer)

        count, _ = self.slices(relay, wire(message))

        assert count > len(self.WORDS) / answer.SLICE_CHARS / 2
        text = "".join(part.text for part in writer.parts if isinstance(part, Delta | Snapshot))
        assert text == answer.clean(self.WORDS, RULES)[: len(text)]
        assert len(self.WORDS) - len(text) < 10

    def test_in_many_short_messages_is_sliced_too(self) -> None:
        relay = Relay(EventReader(READERS["native"]()), AnswerModeration(RULES), NativeWriter())

        count, sent = self.slices(relay, wire(*deltas(*["oh darn it, "] * 5_000)))

        assert count >= 10
        assert sum(message.event == "moderation" for message in Parser().feed(sent)) == 5_000

    def test_that_is_stopped_midway_sends_no_more(self) -> None:
        relay = Relay(EventReader(READERS["native"]()), AnswerModeration(RULES), NativeWriter())
        relay.feed(wire(*deltas(self.WORDS)))
        assert relay.is_behind

        sent = relay.stop("stopped")

        assert [message.event for message in Parser().feed(sent)] == ["done"]
        assert not relay.is_behind


class TestTheHandlerOfHits:
    def hits_of(self, items: Iterable[Any]) -> list[HitContext]:
        hits: list[HitContext] = []
        rules = RuleSet([*RULES.rules, Rule(6, "heck", action="flag")])
        drive(Relay(EventReader(READERS["native"]()), AnswerModeration(rules, hits.append), Recorder()), items, [])
        return hits

    def test_gets_every_hit_with_its_context_including_flags(self) -> None:
        hits = self.hits_of([wire(*deltas("oh he", "ck, da", "rn!", " end"), DONE)])

        assert [(each.rule.id, each.start, each.before, each.text, each.after) for each in hits] == [
            (6, 3, "oh ", "heck", ", darn! end"),
            (1, 9, "oh heck, ", "darn", "! end"),
        ]

    def test_gets_channel_and_choice(self) -> None:
        hits = self.hits_of(
            [wire({"delta": "a heck", "channel": "reasoning", "choice": 2}, {"delta": "b darn!"}, DONE)]
        )

        assert {(each.rule.id, each.channel, each.choice) for each in hits} == {(6, "reasoning", 2), (1, "content", 0)}

    def test_gets_a_block(self) -> None:
        hits = self.hits_of([wire(*deltas("please ", "stop here", " x"))])

        assert [(each.rule.id, each.before, each.text) for each in hits] == [(4, "please ", "stop here")]

    def test_gets_a_hit_in_snapshots_once(self) -> None:
        messages = [{"text": text} for text in ("oh", "oh darn", "oh darn, ", "oh, darn, ", "oh, darn, more")]

        hits = self.hits_of([wire(*messages, DONE)])

        assert [(each.start, each.after) for each in hits] == [(3, ", "), (4, ", more")]

    def test_gets_waiting_hits_even_if_the_client_disconnects(self) -> None:
        hits: list[HitContext] = []
        rules = RuleSet([Rule(6, "heck", action="flag")])
        relay = Relay(EventReader(READERS["native"]()), AnswerModeration(rules, hits.append), NativeWriter())
        relay.feed(wire(*deltas("oh heck")))
        relay.feed(wire(*deltas(" and")))
        assert hits == []

        relay.close()

        assert [(each.text, each.after) for each in hits] == [("heck", " and")]
