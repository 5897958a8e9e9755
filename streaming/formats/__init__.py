"""The formats of streams: finds the text in an upstream's messages, and puts moderated text into messages for clients.

A reader turns messages into parts (``parts.py``), a writer turns parts into messages. What is between the two knows
only parts, so text is moderated in one way whatever the format. ``native``, ``openai`` and ``text`` are the formats.
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
    token_counts,
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
    TokenCounts,
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
    "TokenCounts",
    "Writer",
    "end_choice",
    "extract_answer",
    "extract_prompt",
    "new_stream_id",
    "put_back",
    "read_completion",
    "token_counts",
    "whole_completion",
    "with_notices",
]
