"""OpenAI's format: chat completion chunks and ``[DONE]``, or a whole chat completion."""

from streaming.formats.openai.chunk_fields import with_notices
from streaming.formats.openai.completions import end_choice, read_completion, whole_completion
from streaming.formats.openai.reading import OpenAIReader
from streaming.formats.openai.relaying import OpenAIRelay
from streaming.formats.openai.usage import token_counts
from streaming.formats.openai.writing import OpenAIWriter

__all__ = [
    "OpenAIReader",
    "OpenAIRelay",
    "OpenAIWriter",
    "end_choice",
    "read_completion",
    "token_counts",
    "whole_completion",
    "with_notices",
]
