"""Text read as written: labels, names and titles, and Markdown for rules whose patterns contain its signs."""

from __future__ import annotations

from streaming.moderation.readings.medium_reader import MediumReader


class PlainReader(MediumReader):
    """Decodes no signs: every character stands for itself."""
