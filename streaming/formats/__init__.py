"""Where the text stands in a message: what an upstream says, and how we say it.

A reader takes messages and gives parts; a writer takes parts and gives messages. Between the two nothing knows a
format, so that whatever is done to text is done once.
"""

from collections.abc import Callable, Mapping

from streaming.formats.native import NativeReader, NativeWriter
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
    Delta,
    End,
    Failure,
    Finish,
    FormatError,
    Label,
    Notice,
    Part,
    Place,
    Reader,
    Rest,
    Whole,
    Writer,
)
from streaming.formats.places import OF_NO_CHOICE, Taken, put_back, take_answer, take_prompt
from streaming.formats.text import TextReader

READERS: Mapping[str, Callable[[], Reader]] = {"native": NativeReader, "openai": OpenAIReader, "text": TextReader}

__all__ = [
    "CUT",
    "OF_NO_CHOICE",
    "READERS",
    "REASONS",
    "Delta",
    "End",
    "Failure",
    "Finish",
    "FormatError",
    "Label",
    "NativeReader",
    "NativeWriter",
    "Notice",
    "OpenAIReader",
    "OpenAIRelay",
    "OpenAIWriter",
    "Part",
    "Place",
    "Reader",
    "Rest",
    "Taken",
    "TextReader",
    "Whole",
    "Writer",
    "end_choice",
    "put_back",
    "read_completion",
    "take_answer",
    "take_prompt",
    "whole_completion",
    "with_notices",
]
