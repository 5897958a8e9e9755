"""Text as it is written: labels, names and titles; in Markdown, for rules that are written with its signs."""

from __future__ import annotations

from streaming.moderation.readings.media import MediumReader


class PlainReader(MediumReader):
    """No sign stands for anything but itself."""
