"""Moderates an answer: parts (``formats/parts.py``) in, parts out. Pure: its caller decides when others get a turn."""

from streaming.answer.media import medium_of
from streaming.answer.moderation import ENDS, AnswerModeration
from streaming.answer.outcomes import PAUSE, SLICE_CHARS, Step, clean

__all__ = ["ENDS", "PAUSE", "SLICE_CHARS", "AnswerModeration", "Step", "clean", "medium_of"]
