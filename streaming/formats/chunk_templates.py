"""Templates of chunks: a chunk that differs from an earlier one only in its text is read and written without parsing.

A chunk that was parsed once is kept as the JSON before its text and the JSON after it. A chunk with the same prefix and
suffix needs no parser and no extraction: the rest of it was already checked, and is written unchanged around the text.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NamedTuple

from streaming.formats.extraction import PIECE_CHARS
from streaming.formats.json_text import finite, is_encodable, read_object
from streaming.formats.parts import Delta, FormatError, Frame, Part, RawChunk, TextRef
from streaming.formats.text_fields import is_token

HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "provider", "obfuscation")
"""The fields that all chunks of a stream share."""

MAX_FRAME_CHARS = 4096
MAX_TEMPLATES = 16
"""The limit for one stream: enough for a few choices, each with reasoning, an answer and a tool call."""

MAX_PADDING_CHARS = 256


class ChunkTemplate(NamedTuple):
    """``prefix`` ends with the text's opening quotation mark, ``suffix`` begins with its closing one.

    ``padding``: a second string follows the suffix, with which OpenAI obscures the length of a text; then ``tail``.
    """

    event: str
    prefix: str
    suffix: str
    tail: str | None
    channel: str
    choice: int
    raw: RawChunk

    def read(self, data: str) -> list[Part] | None:
        """The text of a chunk that fits this template, and the chunk; None if it does not fit."""
        prefix, suffix, tail = self.prefix, self.suffix, self.tail
        if not data.startswith(prefix):
            return None
        try:
            text, end = scanstring(data, len(prefix), True)
        except ValueError:
            return None
        if not text or len(text) > PIECE_CHARS:
            return None
        rest, raw = data[end - 1 :], self.raw
        if rest != suffix:
            if tail is None or not _is_padded(rest, suffix, tail):
                return None
            raw = RawChunk(raw.message, raw.refs, Frame(prefix[:-1], rest[1:], says_nothing=False))
        return [Delta(text, self.channel, self.choice), raw]


def _is_padded(rest: str, suffix: str, tail: str) -> bool:
    if not rest.startswith(suffix) or not rest.endswith(tail):
        return False
    padding = rest[len(suffix) : len(rest) - len(tail)]
    return len(rest) >= len(suffix) + len(tail) and len(padding) <= MAX_PADDING_CHARS and is_token(padding)


class ChunkTemplateCache:
    """The templates of one stream, the most recently used first."""

    def __init__(self) -> None:
        self._templates: list[ChunkTemplate] = []
        self._searched = 0  # chunks since the last one that fitted a template

    def read(self, data: str, event: str) -> list[Part] | None:
        """The text of a chunk that fits a template, and the chunk; None if it has to be parsed."""
        for position, template in enumerate(self._templates):
            if template.event == event and (parts := template.read(data)):
                self._searched = 0
                if position:
                    self._templates.insert(0, self._templates.pop(position))
                return parts
        return None

    def learn(self, data: str, event: str, chunk: dict[str, Any], text: str, ref: TextRef) -> None:
        """Adds a template from a chunk as received, the chunk after extraction, and its only text."""
        self._searched += 1
        if self._searched > MAX_TEMPLATES and self._searched % MAX_TEMPLATES:
            self._templates = []
            return  # the chunks of this stream fit no templates: making them costs more than it saves
        if isinstance(ref.key, str) and (template := _template_of(data, event, chunk, text, ref)):
            self._templates = [template, *self._templates[: MAX_TEMPLATES - 1]]

    def forget(self, choice: int) -> None:
        """Drops the templates of a choice that has ended, or whose tool calls were renumbered."""
        self._templates = [template for template in self._templates if template.choice != choice]


def _template_of(data: str, event: str, chunk: dict[str, Any], text: str, ref: TextRef) -> ChunkTemplate | None:
    if len(data) - len(text) > MAX_FRAME_CHARS:
        return None
    fields = list(re.finditer(rf'"{re.escape(str(ref.key))}"\s*:\s*"', data))
    if len(fields) != 1:
        return None
    start = fields[0].end()
    found, end = scanstring(data, start, True)
    prefix, suffix = data[:start], data[end - 1 :]
    # Escapes can spell a duplicate of a key, and duplicate keys are ambiguous.
    if found != text or "\\" in prefix or "\\" in suffix or not _passes_as_it_is(prefix + suffix, chunk):
        return None
    suffix, tail = _without_padding(suffix, chunk)
    frame = Frame(prefix[:-1], data[end:], says_nothing(chunk))
    raw = RawChunk(chunk, [ref], frame)
    return ChunkTemplate(event, prefix, suffix, tail, ref.channel, ref.choice, raw)


def _passes_as_it_is(data: str, chunk: dict[str, Any]) -> bool:
    """Whether extraction changed nothing but the text, which is empty in both."""
    try:
        json.loads(data, object_pairs_hook=_without_doubles, parse_constant=finite, parse_float=finite)
        return repr(read_object(data)) == repr(chunk)  # compared as JSON, because 1 == 1.0 == True in Python
    except (ValueError, RecursionError, FormatError):
        return False


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands there twice")
    return fields


def _without_padding(suffix: str, chunk: dict[str, Any]) -> tuple[str, str | None]:
    """The suffix up to the string in ``obfuscation``, and the JSON after that string."""
    padding = chunk.get("obfuscation")
    if not isinstance(padding, str) or suffix.count('"obfuscation"') != 1:
        return suffix, None
    start = suffix.index('"', suffix.index('"obfuscation"') + len('"obfuscation"')) + 1
    if not suffix.startswith(padding, start):
        return suffix, None
    return suffix[:start], suffix[start + len(padding) :]


def says_nothing(chunk: dict[str, Any]) -> bool:
    """Whether all its texts are empty and it contains nothing else."""
    return _is_bare({key: value for key, value in chunk.items() if key not in HEAD})


def _is_bare(value: Any) -> bool:
    if isinstance(value, dict):
        return all(key in ("index", "type") or _is_bare(inner) for key, inner in value.items())
    return all(map(_is_bare, value)) if isinstance(value, list) else value is None or value == ""


def framed(frame: Frame, text: str) -> str:
    """A chunk's JSON with this text in it."""
    encode = encode_basestring if is_encodable(text) else encode_basestring_ascii
    return f"{frame.before}{encode(text)}{frame.after}"
