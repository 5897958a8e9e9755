"""Where the text stands in a message: what an upstream says, and how we say it.

A reader takes messages and gives parts; a writer takes parts and gives messages. Between the two nothing knows a
format, so that whatever is done to text is done once.
"""

from collections.abc import Callable, Mapping

from streaming.formats.native import NativeReader, NativeWriter
from streaming.formats.openai import OpenAIReader, OpenAIWriter
from streaming.formats.parts import CUT, REASONS, Delta, End, Failure, FormatError, Notice, Part, Reader, Whole, Writer
from streaming.formats.text import TextReader

READERS: Mapping[str, Callable[[], Reader]] = {"native": NativeReader, "openai": OpenAIReader, "text": TextReader}

__all__ = [
    "CUT",
    "READERS",
    "REASONS",
    "Delta",
    "End",
    "Failure",
    "FormatError",
    "NativeReader",
    "NativeWriter",
    "Notice",
    "OpenAIReader",
    "OpenAIWriter",
    "Part",
    "Reader",
    "TextReader",
    "Whole",
    "Writer",
]
