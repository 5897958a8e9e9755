"""Which medium the texts of a channel are read in."""

from __future__ import annotations

import re

from streaming.moderation import Medium

_ARGUMENTS = re.compile(r"(?:.*\.)?(?:tool_calls\.\d+|arguments|input)")
_NAMES = re.compile(r"(?:.*\.)?\w*(?:name|title|label|type|role|id)(?:\.\d+)*")


def medium_of(channel: str, *, is_json: bool = False) -> Medium:
    """The medium of a channel's texts. ``is_json``: whether the request asked for an answer in JSON.

    A field that nobody knows is read as Markdown, in which the rules see most.
    """
    if _ARGUMENTS.fullmatch(channel) or (is_json and channel == "content"):
        return "json"
    return "plain" if _NAMES.fullmatch(channel) else "markdown"
