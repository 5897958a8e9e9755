"""The readers and writers of each stream format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.formats import (
    CUT,
    READERS,
    REASONS,
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    NativeReader,
    NativeWriter,
    Notice,
    OpenAIReader,
    OpenAIWriter,
    Part,
    Reader,
    Snapshot,
    StreamEnd,
    TextPart,
    TextReader,
)
from streaming.sse import Message, encode


def said(data: Any, event: str = "message") -> Message:
    return Message(json.dumps(data), event)


def parts_of(reader: Reader, *messages: Message) -> list[Part]:
    return [part for message in messages for part in reader.feed(message)]


def chunk(delta: dict[str, Any], finish_reason: str | None = None, index: int = 0) -> Message:
    return said({"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})


class TestNativeReader:
    @pytest.mark.parametrize(
        ("message", "part"),
        [
            (said({"delta": "a\r\n\0b"}), Delta("a\r\n\0b")),
            (said({"delta": "why", "channel": "reasoning", "choice": 1}), Delta("why", "reasoning", 1)),
            (said({"text": "# Hello"}), Snapshot("# Hello")),
            (said({"action": "mask", "category": "contact"}, "moderation"), Notice("mask", "contact")),
            (said({"status": 504, "title": "T", "detail": "d"}, "error"), Failure(504, "T", "d")),
            (said({"reason": "length"}, "done"), StreamEnd("length")),
        ],
    )
    def test_reads_every_native_event(self, message: Message, part: Part) -> None:
        assert NativeReader().feed(message) == [part]

    def test_keeps_every_known_finish_reason(self) -> None:
        assert [NativeReader().feed(said({"reason": reason}, "done")) for reason in REASONS] == [
            [StreamEnd(reason)] for reason in REASONS
        ]

    @pytest.mark.parametrize("reason", ["because", None, 7, ["stop"], {}])
    def test_reads_an_unknown_finish_reason_as_stop(self, reason: object) -> None:
        assert NativeReader().feed(said({"reason": reason}, "done")) == [StreamEnd("stop")]

    @pytest.mark.parametrize("status", [200, 399, 600, "504", None, True, 4.5])
    def test_reads_an_error_without_an_error_status_as_a_502(self, status: object) -> None:
        (failure,) = NativeReader().feed(said({"status": status}, "error"))

        assert failure == Failure(502, "Bad Gateway", "")

    @pytest.mark.parametrize("event", ["connect", "ping", "thought"])
    def test_ignores_connect_and_unknown_events(self, event: str) -> None:
        assert NativeReader().feed(Message("not even JSON", event)) == []

    def test_reports_an_end_without_done_as_a_cut(self) -> None:
        assert NativeReader().finish() == [CUT]

    @pytest.mark.parametrize(
        "data",
        [
            "",
            "hello",
            "[]",
            "3",
            "null",
            "{}",
            '{"delta": 3}',
            '{"delta": null}',
            '{"delta": "a", "choice": "0"}',
            '{"delta": "a", "channel": 1}',
            '{"delta": "a", "channel": "you darn"}',
            "[" * 100000,
            "9" * 5000,
        ],
    )
    def test_refuses_data_in_another_format(self, data: str) -> None:
        with pytest.raises(FormatError):
            NativeReader().feed(Message(data))


class TestOpenAIReader:
    def test_reads_an_answer(self) -> None:
        messages = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})]

        parts = parts_of(OpenAIReader(), *messages, chunk({}, "stop"), Message("[DONE]"))

        assert parts == [Delta("Hel"), Delta("lo"), ChoiceEnd(0), StreamEnd("stop")]

    def test_keeps_channels_and_choices_apart(self) -> None:
        calls = [{"index": 2, "function": {"name": "search", "arguments": '{"q'}}]

        parts = parts_of(
            OpenAIReader(),
            chunk({"reasoning_content": "hm"}),
            chunk({"content": "second"}, index=1),
            chunk({"tool_calls": calls}),
        )

        assert parts == [
            Delta("hm", "reasoning_content"),
            Delta("second", choice=1),
            TextPart("search", "tool_calls.2.function.name"),
            Delta('{"q', "tool_calls.2"),
        ]

    @pytest.mark.parametrize(
        ("finish_reason", "reason"),
        [("stop", "stop"), ("length", "length"), ("content_filter", "blocked"), ("tool_calls", "stop")],
    )
    def test_reads_the_finish_reason(self, finish_reason: str, reason: str) -> None:
        assert parts_of(OpenAIReader(), chunk({}, finish_reason), Message("[DONE]")) == [
            ChoiceEnd(0),
            StreamEnd(reason),
        ]

    def test_needs_no_done_marker_after_a_finish_reason(self) -> None:
        reader = OpenAIReader()
        reader.feed(chunk({}, "length"))

        assert reader.finish() == [StreamEnd("length")]

    def test_reports_an_end_without_a_finish_reason_as_a_cut(self) -> None:
        reader = OpenAIReader()
        reader.feed(chunk({"content": "Hel"}))

        assert reader.finish() == [CUT]

    @pytest.mark.parametrize("error", [{"message": "overloaded", "code": 1}, "overloaded"])
    def test_reads_an_error(self, error: object) -> None:
        (failure,) = OpenAIReader().feed(said({"error": error}))

        assert (failure.status, failure.detail) == (502, "the upstream failed: overloaded")

    @pytest.mark.parametrize("choices", [[], None])
    def test_ignores_a_chunk_with_usage_only(self, choices: object) -> None:
        assert OpenAIReader().feed(said({"choices": choices, "usage": {"total_tokens": 9}})) == []

    @pytest.mark.parametrize(
        "data",
        [
            "[]",
            "[1]",
            "hello",
            '{"choices": 1}',
            '{"choices": [1]}',
            '{"choices": [{"index": "a"}]}',
            '{"choices": [{"delta": [1]}]}',
            '{"choices": [{"index": -1}]}',
            '{"choices": [{"index": 99999999999999999999}]}',
            '{"choices": [{"index": 0.5}]}',
        ],
    )
    def test_refuses_data_in_another_format(self, data: str) -> None:
        with pytest.raises(FormatError):
            OpenAIReader().feed(Message(data))

    @pytest.mark.parametrize("calls", [[{"function": None}, {}], 5, [5], [], None])
    def test_ignores_a_tool_call_without_arguments(self, calls: object) -> None:
        parts = OpenAIReader().feed(chunk({"tool_calls": calls}))

        assert parts == ([TextPart("5", "tool_calls", is_number=True)] if calls == 5 else [])


def test_a_text_upstream_is_read_as_deltas_until_its_end() -> None:
    reader = TextReader()

    assert reader.feed(Message("two\nlines")) == [Delta("two\nlines")]
    assert reader.finish() == [StreamEnd("stop")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["stop", "content"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "text",
                    "content",
                    "index",
                    "finish_reason",
                    "tool_calls",
                    "function",
                    "arguments",
                    "error",
                    "message",
                    "channel",
                    "choice",
                    "status",
                    "reason",
                    "action",
                    "detail",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", READERS)
@given(st.lists(st.tuples(json_values, st.sampled_from(["message", "done", "error", "moderation", "x"])), max_size=4))
def test_any_data_gives_parts_or_a_format_error(name: str, sent: list[tuple[Any, str]]) -> None:
    reader, writer = READERS[name](), NativeWriter()

    try:
        parts = [*parts_of(reader, *(said(data, event) for data, event in sent)), *reader.finish()]
    except FormatError:
        return

    assert all(encode(message) for part in parts for message in writer.write(part))


class TestNativeWriter:
    def test_numbers_its_messages_from_connect_to_done(self) -> None:
        writer = NativeWriter(stream="s")

        messages = [*writer.begin(), *writer.write(Delta("a")), *writer.write(StreamEnd())]

        assert [(message.event, message.id) for message in messages] == [
            ("connect", "s:0"),
            ("message", "s:1"),
            ("done", "s:2"),
        ]
        assert json.loads(messages[0].data)["stream"] == "s"
        assert json.loads(messages[0].data)["time"].endswith("Z")
        assert [message.retry for message in messages] == [2000, None, None]

    def test_gives_each_stream_a_unique_id(self) -> None:
        assert len({NativeWriter().stream for _ in range(100)}) == 100

    @pytest.mark.parametrize(
        ("part", "event", "data"),
        [
            (Delta("# Hello"), "message", '{"delta": "# Hello"}'),
            (Delta("中文"), "message", '{"delta": "中文"}'),
            (Delta("hm", "reasoning"), "message", '{"delta": "hm", "channel": "reasoning", "choice": 0}'),
            (Delta("b", choice=1), "message", '{"delta": "b", "channel": "content", "choice": 1}'),
            (Snapshot("# Hello"), "message", '{"text": "# Hello"}'),
            (Snapshot("hm", "reasoning"), "message", '{"text": "hm", "channel": "reasoning", "choice": 0}'),
            (Notice("mask", "contact"), "moderation", '{"action": "mask", "category": "contact"}'),
            (StreamEnd("blocked"), "done", '{"reason": "blocked"}'),
        ],
    )
    def test_writes_each_part_in_the_wire_format(self, part: Part, event: str, data: str) -> None:
        (message,) = NativeWriter().write(part)

        assert (message.event, message.data) == (event, data)

    def test_writes_nothing_after_an_error(self) -> None:
        error, done = NativeWriter().write(Failure(504, "Gateway Timeout", "silent"))

        assert (error.event, error.data) == (
            "error",
            '{"status": 504, "title": "Gateway Timeout", "detail": "silent"}',
        )
        assert (done.event, done.data) == ("done", '{"reason": "error"}')

    def test_writes_the_reason_of_a_stop(self) -> None:
        (done,) = NativeWriter().final_messages("drained", None)

        assert done.data == '{"reason": "drained"}'

    def test_writes_no_stop_reason_after_the_end(self) -> None:
        writer = NativeWriter()
        writer.write(StreamEnd())

        assert writer.final_messages("drained", None) == []
        assert writer.final_messages("error", CUT) == []

    @given(st.text(st.characters()))
    def test_writes_any_text_so_that_the_reader_gets_it_back(self, text: str) -> None:
        (message,) = NativeWriter().write(Delta(text))

        encode(message)
        assert NativeReader().feed(message) == [Delta(text)]


class TestOpenAIWriter:
    def test_writes_what_its_reader_reads_back(self) -> None:
        writer = OpenAIWriter("tour")

        messages = [
            *writer.begin(),
            *writer.write(Delta("Hel")),
            *writer.write(Delta("lo")),
            *writer.write(StreamEnd()),
        ]

        assert parts_of(OpenAIReader(), *messages) == [Delta("Hel"), Delta("lo"), ChoiceEnd(0), StreamEnd("stop")]
        assert messages[-1].data == "[DONE]"
        heads = [json.loads(message.data) for message in messages[:-1]]
        assert {head["object"] for head in heads} == {"chat.completion.chunk"}
        assert {head["model"] for head in heads} == {"tour"}
        assert len({head["id"] for head in heads}) == 1

    def test_writes_neither_event_names_nor_ids(self) -> None:
        writer = OpenAIWriter("tour")

        messages = [*writer.begin(), *writer.write(Delta("a")), *writer.final_messages("drained", None)]

        assert {(message.event, message.id) for message in messages} == {("message", None)}

    def test_writes_errors_in_openais_format(self) -> None:
        (message,) = OpenAIWriter("tour").final_messages("error", Failure(500, "Internal Server Error", "it failed"))

        assert json.loads(message.data)["error"]["message"] == "it failed"

    @pytest.mark.parametrize("reason", ["drained", "stopped", "error"])
    def test_writes_no_done_after_a_cut(self, reason: str) -> None:
        (message,) = OpenAIWriter("tour").final_messages(reason, None)

        assert reason in json.loads(message.data)["error"]["message"]

    def test_writes_content_filter_for_a_block(self) -> None:
        chunk, done = OpenAIWriter("tour").write(StreamEnd("blocked"))

        assert json.loads(chunk.data)["choices"][0]["finish_reason"] == "content_filter"
        assert done.data == "[DONE]"

    def test_writes_no_stop_reason_after_the_end(self) -> None:
        writer = OpenAIWriter("tour")
        writer.write(StreamEnd())

        assert writer.final_messages("drained", None) == []
