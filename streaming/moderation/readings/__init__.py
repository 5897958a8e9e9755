"""Readings convert raw text, which arrives in pieces, to symbols with the raw spans that they come from.

A reading is a pure incremental transducer. Its result does not depend on how the text is cut, and it keeps the end of
the text only while that is undecided. It has three stages: a medium (decodes the signs of Markdown or JSON), letters
(joins characters with their marks and folds them), and spaces (merges runs of white space).
"""

from streaming.moderation.readings.escapes import could_stand_for
from streaming.moderation.readings.kinds import MEDIA, Key, Medium, kinds_of
from streaming.moderation.readings.reading import Reading

__all__ = ["MEDIA", "Key", "Medium", "Reading", "could_stand_for", "kinds_of"]
