"""Readings: raw text in, in pieces; symbols out, each with the raw span that it comes from.

A reading is a pure incremental transducer. Its result does not depend on the cut, and it keeps the end of what came
only while that is undecided. It is made of three, one behind the other: a medium (what the signs of Markdown or JSON
stand for), letters (what is on a letter, and what it folds to), and spaces (a run of white space is one).
"""

from streaming.moderation.readings.keys import MEDIA, Key, Medium, kinds_of
from streaming.moderation.readings.reading import Reading
from streaming.moderation.readings.signs import could_stand_for

__all__ = ["MEDIA", "Key", "Medium", "Reading", "could_stand_for", "kinds_of"]
