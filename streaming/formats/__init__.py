"""Where the text stands in a message: what an upstream says, and how we say it.

A reader takes messages and gives parts; a writer takes parts and gives messages. Between the two nothing knows a
format, so that whatever is done to text is done once.
"""

from collections.abc import Callable, Mapping

from streaming.formats.extraction import OF_NO_CHOICE, Extracted, extract_answer, extract_prompt, put_back
from streaming.formats.native import NativeReader, NativeWriter, new_stream_id
from streaming.formats.openai import (
    OpenAIReader,
    OpenAIRelay,
    OpenAIWriter,
    end_choice,
    read_completion,
    whole_completion,
    with_notices,
)
from streaming.formats.parts import (
    CUT,
    REASONS,
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    Notice,
    Part,
    RawChunk,
    Reader,
    Snapshot,
    StreamEnd,
    TextPart,
    TextRef,
    Writer,
)
from streaming.formats.text import TextReader

READERS: Mapping[str, Callable[[], Reader]] = {"native": NativeReader, "openai": OpenAIReader, "text": TextReader}

__all__ = [
    "CUT",
    "OF_NO_CHOICE",
    "READERS",
    "REASONS",
    "ChoiceEnd",
    "Delta",
    "Extracted",
    "Failure",
    "FormatError",
    "NativeReader",
    "NativeWriter",
    "Notice",
    "OpenAIReader",
    "OpenAIRelay",
    "OpenAIWriter",
    "Part",
    "RawChunk",
    "Reader",
    "Snapshot",
    "StreamEnd",
    "TextPart",
    "TextReader",
    "TextRef",
    "Writer",
    "end_choice",
    "extract_answer",
    "extract_prompt",
    "new_stream_id",
    "put_back",
    "read_completion",
    "whole_completion",
    "with_notices",
]
