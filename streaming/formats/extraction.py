"""Extracts the texts from OpenAI-style JSON, and puts the moderated texts back.

It fails closed: everything that could hold words of the model is extracted as text, in unknown fields too; and what
could reveal a text in another form (log probabilities, token ids, audio) is removed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from streaming.formats.parts import Delta, FormatError, PathStep, TextPart, TextRef
from streaming.formats.text_fields import (
    GROWING,
    JSON_IN_PROMPTS,
    MADE_BY_MODELS,
    NAMES,
    TELLTALES,
    TEXTS_OF_PROMPTS,
    is_field,
    is_name,
    is_numeric,
    is_sound,
    passes_in_answer,
    passes_in_prompt,
)

OF_NO_CHOICE = -1
"""The choice number of a text that is outside the choices."""

PIECE_CHARS = 8192
"""A longer text is split into pieces, so that other streams can run between the moderation of two pieces."""

MAX_TEXTS = 2048
"""The limit for one message of an upstream: each costs tens of microseconds to extract, without a pause."""

_DEEPEST = 16
_NESTED = (dict, list)
_INNER = (dict, list, float)
_NUMBERS = (int, float)

# Fields of an answer or a choice whose texts are always complete, whether or not they look like names.
_WHOLE = frozenset({*NAMES, "role"})

_LARGEST_INDEX = 1 << 20

# Fields of a request that instruct the server. Values that look like names pass there; everything else is moderated as
# a prompt, as in any other field: servers accept templates, documents and more.
_INSTRUCTIONS = frozenset(
    {"model", "models", "stream", "stream_options", "stop", "tool_choice", "function_call", "user", "metadata"}
    | {"service_tier", "reasoning_effort", "reasoning", "thinking", "verbosity", "safety_identifier", "provider"}
    | {"prompt_cache_key", "prompt_cache_retention", "modalities", "include", "logit_bias", "transforms", "route"}
)

# Tools and their parameters are identified by name: a tool with a masked name could not be called.
_TOOLS = frozenset({"tools", "functions"})
_NAMES_OF_TOOLS = frozenset({"name", "required"})


class Extracted(NamedTuple):
    """The texts of a JSON object, and references to their positions, which now hold empty strings."""

    texts: list[Delta | TextPart]
    refs: list[TextRef]


class _Cursor(NamedTuple):
    """The position of a search. ``depth`` counts from the fields of a choice, where every text may be a fragment."""

    prefix: str
    choice: int
    path: tuple[PathStep, ...]
    depth: int = 0
    is_whole: bool = False
    """Whether the texts here are complete, not fragments."""

    @property
    def field(self) -> str:
        """The name of the field that contains this position."""
        return self.prefix.rstrip(".").rpartition(".")[2]

    def into(self, key: str) -> _Cursor:
        return _Cursor(f"{self.prefix}{key}.", self.choice, (*self.path, key), self.depth + 1, self.is_whole)

    def at(self, item: dict[str, Any], position: int) -> _Cursor:
        index = item.get("index")
        index = index if type(index) is int and 0 <= index < _LARGEST_INDEX else None
        named: dict[str, Any] = {"index": index} if isinstance(index, int) else {}
        if isinstance(kind := item.get("type"), str) and is_name(kind):
            named["type"] = kind
        # A tool call without an index is complete. The parts of a content have no index, and may continue.
        is_whole = self.is_whole or (self.prefix.endswith("tool_calls.") and not isinstance(index, int))
        number = index if isinstance(index, int) else position
        return _Cursor(f"{self.prefix}{number}.", self.choice, (*self.path, named), self.depth + 1, is_whole)


def extract_answer(chunk: dict[str, Any], main: str = "delta") -> Extracted:
    """The texts of an answer whose choices are objects. ``main``: the field of a choice that holds its message."""
    extracted = Extracted([], [])
    for choice in chunk.get("choices") or ():
        index = choice.get("index") or 0
        cursor = _Cursor("choice.", index, ("choices", {"index": index}))
        own = {key: choice[key] for key in ("delta", "message") if isinstance(choice.get(key), dict)}
        for key, fields in own.items():
            prefix = "" if key == main else f"{key}."
            _extract_fields(fields, _Cursor(prefix, index, (*cursor.path, key)), extracted)
        _extract_fields(choice, cursor, extracted, but=(*own, "finish_reason"))
    _extract_fields(chunk, _Cursor("", OF_NO_CHOICE, ()), extracted, but=("choices",))
    return extracted


def _extract_fields(fields: dict[str, Any], cursor: _Cursor, extracted: Extracted, but: Container[str] = ()) -> None:
    for key, value in list(fields.items()):
        if not is_field(key):
            del fields[key]  # it contains text, for example where tokens are listed
        elif value is None or key in but:
            continue
        elif key in TELLTALES:
            fields[key] = None if isinstance(value, (str, *_NESTED)) else value
        elif isinstance(value, str):
            _extract_text(value, fields, key, cursor, extracted)
        elif isinstance(value, _NESTED) and key in MADE_BY_MODELS:
            # It should be a string; some servers parse it into an object, whose keys are then written by the model.
            _extract_text(json.dumps(value, ensure_ascii=False), fields, key, cursor._replace(is_whole=True), extracted)
        elif type(value) in _NUMBERS:
            _extract_number(value, fields, key, cursor, extracted)
        elif isinstance(value, _INNER):
            fields[key] = _extract_inner(value, cursor.into(key), extracted)


def _extract_text(text: str, fields: dict[str, Any], key: str, cursor: _Cursor, extracted: Extracted) -> None:
    if not text or passes_in_answer(key, text, fields, cursor.depth):
        return
    if is_sound(key, text, cursor.prefix):
        fields[key] = None
        return
    _refuse_too_many(extracted)
    grows = not cursor.is_whole and (key in GROWING or (cursor.depth == 0 and key not in _WHOLE))
    _extract_at(Delta if grows else TextPart, text, fields, key, cursor, extracted)


def _is_finite(number: float) -> bool:
    """Whether JSON can write the number. An integer may be too great for a float, which isfinite would make of it."""
    return isinstance(number, int) or math.isfinite(number)


def _extract_number(number: float, fields: dict[str, Any], key: str, cursor: _Cursor, extracted: Extracted) -> None:
    """A number where a text belongs, or where nobody knows what belongs, is moderated as it is written."""
    if not _is_finite(number):
        fields[key] = None
    elif not (cursor.depth == 0 and key in NAMES) and not is_numeric(key, cursor.prefix):
        _refuse_too_many(extracted)
        kind = Delta if key in GROWING and not cursor.is_whole else TextPart
        _extract_at(kind, json.dumps(number), fields, key, cursor, extracted, number)


def _extract_inner(value: dict[str, Any] | list[Any] | float, cursor: _Cursor, extracted: Extracted) -> Any:
    """The value without its texts, and without what could reveal a text in another form."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if cursor.depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        _extract_fields(value, cursor, extracted)
        return value
    if any(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
        return None  # a list of numbers may be token ids
    for position, item in enumerate(value):
        if isinstance(item, dict):
            _extract_fields(item, cursor.at(item, position), extracted)
        elif isinstance(item, list):
            value[position] = _extract_inner(item, cursor.at({}, position)._replace(is_whole=True), extracted)
        elif isinstance(item, str) and item and not passes_in_answer(cursor.field, item, {}, cursor.depth):
            _refuse_too_many(extracted)
            _extract_at(TextPart, item, value, position, cursor, extracted)
    return value


def _refuse_too_many(extracted: Extracted) -> None:
    if len(extracted.refs) >= MAX_TEXTS:
        raise FormatError(f"an upstream's message has more than {MAX_TEXTS:,} texts")


def _extract_at(
    kind: type[Delta | TextPart],
    text: str,
    holder: Any,
    key: str | int,
    cursor: _Cursor,
    extracted: Extracted,
    number: float | None = None,
) -> None:
    channel = _channel(f"{cursor.prefix}{key}")
    if len(text) > PIECE_CHARS:
        pieces = (text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS))
        extracted.texts.extend(Delta(piece, channel, cursor.choice) for piece in pieces)
    elif kind is TextPart:
        extracted.texts.append(TextPart(text, channel, cursor.choice, is_number=number is not None))
    else:
        extracted.texts.append(kind(text, channel, cursor.choice))
    extracted.refs.append(TextRef(channel, cursor.choice, holder, key, (*cursor.path, str(key)), number))
    holder[key] = ""


_TOOL_ARGUMENTS = re.compile(r"(tool_calls\.\d+)\.function\.arguments")


def _channel(path: str) -> str:
    """A channel's name. The channel of a tool call's arguments is named like the call."""
    return call[1] if "." in path and (call := _TOOL_ARGUMENTS.fullmatch(path)) else path


def put_back(refs: Iterable[TextRef], texts: Mapping[tuple[int, str], str]) -> None:
    """Puts texts, by choice and channel, back to their positions."""
    for ref in refs:
        ref.put(texts.get((ref.choice, ref.channel), ""))


def extract_prompt(fields: dict[str, Any]) -> Extracted:
    """The texts of a chat completion request that may reach a model or its provider: all but names and binary data."""
    extracted, renamed, channels = Extracted([], []), Extracted([], []), set[str]()
    for key in list(fields):
        _Prompt(extracted, renamed, channels, key).extract(fields, key, "")
    # Renamed fields come last: until all texts are put back, a field has to be found under its old name.
    return Extracted(extracted.texts + renamed.texts, extracted.refs + renamed.refs)


class _Prompt(NamedTuple):
    """Extracts the texts of one field of a request."""

    extracted: Extracted
    renamed: Extracted
    channels: set[str]
    field: str

    def extract(self, holder: Any, key: Any, prefix: str) -> None:
        value, path = holder[key], f"{prefix}{key}"
        if isinstance(value, str):
            if value and not self._passes(holder, key, path, value):
                self._extract_at(holder, key, prefix)
        elif type(value) in _NUMBERS:
            if self._is_text(key, path) and _is_finite(value):
                self._extract_at(holder, key, prefix)
        elif isinstance(value, dict):
            for inner in list(value):
                self.extract(value, inner, f"{path}.")
        elif isinstance(value, list):
            for position in range(len(value)):
                self.extract(value, position, f"{path}.")
        if isinstance(key, str) and not is_field(key):
            self._rename(holder, key, prefix)

    def _is_text(self, key: Any, path: str) -> bool:
        """Whether a text belongs here, so that a number is read as it is written."""
        if self.field in _TOOLS:
            return False
        names = path.split(".")
        name = names[-2] if isinstance(key, int) else key
        return name in TEXTS_OF_PROMPTS or not JSON_IN_PROMPTS.isdisjoint(names[1:-1])

    def _passes(self, holder: Any, key: Any, path: str, text: str) -> bool:
        if isinstance(key, int):
            holder, key = {}, path.split(".")[-2]
        goes_by_name = self.field in _INSTRUCTIONS or (self.field in _TOOLS and key in _NAMES_OF_TOOLS)
        return passes_in_prompt(key, text, holder, goes_by_name=goes_by_name)

    def _extract_at(self, holder: Any, key: str | int, prefix: str) -> None:
        while f"{prefix}{key}" in self.channels:  # a field name with a dot, next to an object of that name
            prefix = f"{prefix}$."
        self.channels.add(f"{prefix}{key}")
        value, cursor = holder[key], _Cursor(prefix, 0, ())
        if isinstance(value, str):
            _extract_at(Delta, value, holder, key, cursor, self.extracted)
        else:
            _extract_at(Delta, json.dumps(value), holder, key, cursor, self.extracted, value)

    def _rename(self, fields: dict[str, Any], key: str, prefix: str) -> None:
        channel = f"{prefix}{key}.$name"
        self.renamed.texts.append(TextPart(key, channel, 0))
        self.renamed.refs.append(TextRef(channel, 0, _FieldNames(fields), key, ()))


class _FieldNames:
    """The field names of an object. Assigning to one renames the field and keeps its position."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __setitem__(self, name: str, new: str) -> None:
        if new != name:
            items = [(new if key == name else key, value) for key, value in self._fields.items()]
            self._fields.clear()
            self._fields.update(items)
