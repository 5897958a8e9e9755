"""The SSE codec in every cut (the facts in sse-vectors.json are shared with tests/js)."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.sse import Message, Parser, StreamError, encode

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("sse-vectors.json").read_text("utf-8"))


def spelled_out(chunk: str | dict[str, Any]) -> list[bytes]:
    if isinstance(chunk, str):
        return [chunk.encode()]
    if "hex" in chunk:
        return [bytes.fromhex(chunk["hex"])]
    data = (chunk["text"] * chunk["times"]).encode()
    size = chunk.get("split") or len(data)
    return [data[i : i + size] for i in range(0, len(data), size)]


def as_given(vector: dict[str, Any]) -> list[bytes]:
    return [piece for chunk in vector["chunks"] for piece in spelled_out(chunk)]


def expected(vector: dict[str, Any]) -> list[Message]:
    messages = []
    for item in vector["expect"]:
        data = item["data"]
        if isinstance(data, dict):
            data = data.get("prefix", "") + data.get("join", "").join([data["text"]] * data["times"])
        messages += [Message(data, item["event"], item["id"])] * item.get("times", 1)
    return messages


def check(vector: dict[str, Any], chunks: list[bytes]) -> None:
    parser = Parser(last_event_id=vector.get("seedId", ""), max_message_chars=1 << 26)

    messages = [message for chunk in chunks for message in parser.feed(chunk)]

    assert messages == expected(vector)
    assert parser.last_event_id == vector["lastEventId"]
    if vector.get("retry") == "any":
        assert parser.retry is not None
    else:
        assert parser.retry == vector.get("retry")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
class TestEveryVector:
    def test_in_the_given_chunks(self, vector: dict[str, Any]) -> None:
        check(vector, as_given(vector))

    def test_as_one_chunk(self, vector: dict[str, Any]) -> None:
        check(vector, [b"".join(as_given(vector))])

    def test_byte_by_byte(self, vector: dict[str, Any]) -> None:
        check(vector, [bytes([byte]) for byte in b"".join(as_given(vector))])

    def test_in_random_cuts(self, vector: dict[str, Any]) -> None:
        whole, dice = b"".join(as_given(vector)), random.Random(vector["name"])
        for _ in range(3 if len(whole) > 10_000 else 20):
            cuts = sorted(dice.choices(range(len(whole) + 1), k=dice.randint(1, 20)))
            check(vector, [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)])

    def test_dispatches_as_soon_as_it_is_due(self, vector: dict[str, Any]) -> None:
        parser = Parser(last_event_id=vector.get("seedId", ""), max_message_chars=1 << 26)
        count, counts = 0, []

        for chunk in vector["chunks"]:
            count += sum(len(parser.feed(piece)) for piece in spelled_out(chunk))
            counts.append(count)

        assert counts == vector.get("dispatchedAfter", counts)


text = st.text(st.characters(exclude_categories=["Cs"]))
messages = st.builds(
    Message,
    data=text.map(lambda s: s.replace("\r", "")),
    event=text.map(lambda s: s.replace("\r", "").replace("\n", "") or "message"),
    id=st.none() | text.map(lambda s: "".join(c for c in s if c not in "\r\n\0")),
    retry=st.none() | st.integers(0, 10**18 - 1),
)


@given(st.lists(messages, max_size=5), st.data())
def test_parsing_an_encoded_message_gives_it_back_in_every_cut(sent: list[Message], data: st.DataObject) -> None:
    wire = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    parser = Parser()

    got = [m for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True) for m in parser.feed(wire[a:b])]

    last = ""
    for message, parsed in zip(sent, got, strict=True):
        last = message.id if message.id is not None else last
        assert parsed == Message(message.data, message.event, last)
    assert parser.retry == next((m.retry for m in reversed(sent) if m.retry is not None), None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data": "a\rb"}, "CR"),
        ({"data": "a", "event": ""}, "empty event"),
        ({"data": "a", "event": "x\ny"}, "CR or LF"),
        ({"data": "a", "event": "x\ry"}, "CR or LF"),
        ({"data": "a", "id": "x\ny"}, "id"),
        ({"data": "a", "id": "x\0y"}, "id"),
        ({"data": "a", "id": "x\ry"}, "id"),
        ({"data": "a", "retry": -1}, "retry"),
        ({"data": "\ud800"}, "surrogates"),
        ({"data": "", "id": "\udfff"}, "surrogates"),
    ],
)
def test_a_message_that_would_be_parsed_differently_cannot_be_created(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Message(**fields)


@given(st.text(), st.text(), st.none() | st.text())
def test_a_message_is_either_refused_or_parsed_back(data: str, event: str, identity: str | None) -> None:
    try:
        message = Message(data, event, identity)
    except ValueError:
        assert (
            {"\r", "\n", "\0"} & set(data + event + (identity or ""))
            or not event
            or not encodable(data + event + (identity or ""))
        )
    else:
        assert Parser().feed(encode(message)) == [Message(data, event, identity or "")]


def encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize("line", ["data: ", "id: ", "event: "])
def test_the_buffer_never_exceeds_the_limit(line: str) -> None:
    parser = Parser(max_message_chars=1000)
    parser.feed(line.encode())

    with pytest.raises(StreamError, match=r"1,000 characters"):
        for _ in range(1020):
            parser.feed(b"x")


@pytest.mark.parametrize("line", [": comment ", "unknown: ", "x"])
def test_an_ignored_line_can_have_any_length(line: str) -> None:
    parser = Parser(max_message_chars=1000)

    for piece in [line, *["x" * 100] * 100, "\ndata: a\n", ":\n\n"]:
        messages = parser.feed(piece.encode())

    assert messages == [Message("a", id="")]


def test_messages_before_an_error_are_returned_first() -> None:
    parser = Parser(max_message_chars=10)

    messages = parser.feed(b"data: good\n\ndata: " + b"x" * 20 + b"\n\ndata: late\n\n")

    assert messages == [Message("good", id="")]
    for chunk in (b"", b"data: later\n\n"):
        with pytest.raises(StreamError):
            parser.feed(chunk)


def test_many_short_lines_count_together() -> None:
    parser = Parser(max_message_chars=1000)

    with pytest.raises(StreamError):
        parser.feed(b"data: 0123456789\n" * 100)


def test_a_message_of_exactly_the_limit_is_parsed() -> None:
    assert Parser(max_message_chars=1000).feed(b"data: " + b"x" * 1000 + b"\n\n") == [Message("x" * 1000, id="")]


class TestALineWithTheFieldError:
    def test_is_an_event_if_requested(self) -> None:
        data = b'data: a\n\nerror: {"code": 500}\n\n'

        for size in (1, 3, len(data)):
            parser = Parser(error_lines=True)
            pieces = (data[at : at + size] for at in range(0, len(data), size))
            messages = [message for piece in pieces for message in parser.feed(piece)]

            assert [(message.event, message.data) for message in messages] == [
                ("message", "a"),
                ("error", '{"code": 500}'),
            ]

    def test_is_ignored_otherwise(self) -> None:
        assert Parser().feed(b"error: x\n\ndata: a\n\n") == [Message("a", id="")]

    def test_has_the_same_limit_as_a_message(self) -> None:
        with pytest.raises(StreamError):
            Parser(max_message_chars=10, error_lines=True).feed(b"error: " + b"x" * 20)
