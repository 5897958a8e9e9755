"""Where text stands in JSON of the OpenAI kind: it is taken out, and what came of it is put back.

Fail closed: whatever could hold words of the model is a text here, in fields that nobody knows yet too; and what
could tell a text otherwise than as text (log probabilities, token numbers, sound) does not pass at all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from streaming.formats.parts import Delta, PathStep, TextPart, TextRef

OF_NO_CHOICE = -1
"""The choice of a text that stands beside the choices."""

# These hold names that servers give, not words of a model. They pass if they look like a name, else not at all.
_NAMES = frozenset(
    {"id", "object", "model", "type", "finish_reason", "native_finish_reason", "format", "provider"}
    | {"system_fingerprint", "service_tier", "obfuscation", "created", "created_at"}
)
_NAMES_DEEP_DOWN = frozenset({"id", "type", "format"})
_ROLES = frozenset({"assistant", "developer", "function", "model", "system", "tool", "user"})
_LONGEST_NAME = 256
_LONGEST_FIELD = 64

# They would tell what was masked: as tokens beside the text, as numbers, or as sound.
_TELLTALES = frozenset({"logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids", "tokens", "bytes", "data"})

# Below the fields of a choice or delta these come bit by bit; any other text there comes whole.
_GROWING = frozenset(
    {"text", "content", "arguments", "transcript", "summary", "thinking", "reasoning", "reasoning_content"}
    | {"refusal", "input"}
)

# JSON that a model writes.
_MADE_BY_MODELS = frozenset({"arguments", "input", "output", "parsed", "parsed_arguments"})

_DEEPEST = 16
_NESTED = (dict, list)
_INNER = (dict, list, float)

# Of a request: what is no text that a model reads as such, wherever it stands ...
_NO_PROMPT = frozenset(
    {"role", "type", "id", "tool_call_id", "format", "url", "data", "file_data", "file_id", "filename", "detail"}
)

# ... and what tells the server what to do. Any other field is a prompt: servers have templates, documents and more.
_INSTRUCTIONS = frozenset(
    {"model", "models", "stream", "stream_options", "stop", "tool_choice", "function_call", "user", "metadata"}
    | {"service_tier", "reasoning_effort", "reasoning", "thinking", "verbosity", "safety_identifier", "provider"}
    | {"prompt_cache_key", "prompt_cache_retention", "modalities", "include", "logit_bias", "transforms", "route"}
)


class Extracted(NamedTuple):
    """The texts of a JSON object, and the place of each; an empty text stands there now."""

    texts: list[Delta | TextPart]
    refs: list[TextRef]


class _Cursor(NamedTuple):
    """How far a search has come. ``depth`` counts from the fields of a choice, in which every text may grow."""

    prefix: str
    choice: int
    path: tuple[PathStep, ...]
    depth: int = 0
    is_whole: bool = False
    """Whether nothing grows here, because it comes all at once."""

    def into(self, key: str) -> _Cursor:
        return _Cursor(f"{self.prefix}{key}.", self.choice, (*self.path, key), self.depth + 1, self.is_whole)

    def at(self, item: dict[str, Any], position: int) -> _Cursor:
        index = item.get("index")
        named: dict[str, Any] = {"index": index} if isinstance(index, int) else {}
        if isinstance(kind := item.get("type"), str) and _is_name(kind):
            named["type"] = kind
        # A tool call without a number is a whole one. The parts of a content have none, and go on.
        is_whole = self.is_whole or (self.prefix.endswith("tool_calls.") and not isinstance(index, int))
        number = index if isinstance(index, int) else position
        return _Cursor(f"{self.prefix}{number}.", self.choice, (*self.path, named), self.depth + 1, is_whole)


def extract_answer(chunk: dict[str, Any], main: str = "delta") -> Extracted:
    """The texts of an answer whose choices are objects. ``main`` is the field of a choice that has its own text."""
    extracted = Extracted([], [])
    for choice in chunk.get("choices") or ():
        index = choice.get("index") or 0
        cursor = _Cursor("choice.", index, ("choices", {"index": index}))
        own = {key: choice[key] for key in ("delta", "message") if isinstance(choice.get(key), dict)}
        for key, fields in own.items():
            prefix = "" if key == main else f"{key}."
            _extract_fields(fields, _Cursor(prefix, index, (*cursor.path, key)), extracted)
        _extract_fields(choice, cursor, extracted, but=own)
    _extract_fields(chunk, _Cursor("", OF_NO_CHOICE, ()), extracted, but=("choices",))
    return extracted


def _extract_fields(fields: dict[str, Any], cursor: _Cursor, extracted: Extracted, but: Container[str] = ()) -> None:
    for key, value in list(fields.items()):
        if not _is_field(key):
            del fields[key]  # it is text itself, as where tokens are counted
        elif value is None or key in but:
            continue
        elif isinstance(value, str):
            _extract_text(value, fields, key, cursor, extracted)
        elif isinstance(value, _NESTED) and key in _MADE_BY_MODELS:
            # A text by right; some servers read it as JSON, whose very names are the model's then.
            _extract_text(json.dumps(value, ensure_ascii=False), fields, key, cursor._replace(is_whole=True), extracted)
        elif isinstance(value, _INNER):
            fields[key] = None if key in _TELLTALES else _extract_inner(value, cursor.into(key), extracted)


def _extract_text(text: str, fields: dict[str, Any], key: str, cursor: _Cursor, extracted: Extracted) -> None:
    if key in (_NAMES if cursor.depth == 0 else _NAMES_DEEP_DOWN) or key.endswith("_id"):
        if not _is_name(text):
            del fields[key]
    elif key == "role" and cursor.depth == 0:
        if text not in _ROLES:
            del fields[key]
    elif key in _TELLTALES:
        fields[key] = None
    elif text:
        grows = not cursor.is_whole and (cursor.depth == 0 or key in _GROWING)
        _put_aside(Delta if grows else TextPart, text, fields, key, cursor, extracted)


def _extract_inner(value: dict[str, Any] | list[Any] | float, cursor: _Cursor, extracted: Extracted) -> Any:
    """What may stay of it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if cursor.depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        _extract_fields(value, cursor, extracted)
        return value
    if any(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
        return None  # numbers in a row may be the numbers of tokens
    for position, item in enumerate(value):
        if isinstance(item, dict):
            _extract_fields(item, cursor.at(item, position), extracted)
        elif isinstance(item, list):
            value[position] = _extract_inner(item, cursor.at({}, position)._replace(is_whole=True), extracted)
        elif isinstance(item, str) and item:
            _put_aside(TextPart, item, value, position, cursor, extracted)
    return value


def _put_aside(
    kind: type[Delta | TextPart], text: str, holder: Any, key: str | int, cursor: _Cursor, extracted: Extracted
) -> None:
    channel = _channel(f"{cursor.prefix}{key}")
    extracted.texts.append(kind(text, channel, cursor.choice))
    extracted.refs.append(TextRef(channel, cursor.choice, holder, key, (*cursor.path, str(key))))
    holder[key] = ""


_TOOL_ARGUMENTS = re.compile(r"(tool_calls\.\d+)\.function\.arguments")


def _channel(path: str) -> str:
    """A channel's name; that of a tool call's arguments is the call's."""
    return call[1] if "." in path and (call := _TOOL_ARGUMENTS.fullmatch(path)) else path


def put_back(refs: Iterable[TextRef], texts: Mapping[tuple[int, str], str]) -> None:
    """Texts by choice and channel, to where they stood."""
    for ref in refs:
        ref.holder[ref.key] = texts.get((ref.choice, ref.channel), "")


def extract_prompt(fields: dict[str, Any]) -> Extracted:
    """The texts of a chat completion request that a model may read: what its messages say, and all around them."""
    extracted = Extracted([], [])
    for key in fields:
        if key not in _INSTRUCTIONS:
            # A tool goes by its name: were that masked, nobody could call it.
            passed_over = _NO_PROMPT | {"name"} if key in ("tools", "functions") else _NO_PROMPT
            _extract_prompts(fields, key, key, passed_over, extracted)
    return extracted


def _extract_prompts(holder: Any, key: Any, path: str, passed_over: Container[str], extracted: Extracted) -> None:
    value = holder[key]
    if isinstance(value, str):
        if value and key not in passed_over:
            _put_aside(Delta, value, holder, key, _Cursor(path[: -len(str(key))], 0, ()), extracted)
    elif isinstance(value, _NESTED):
        for inner in list(value) if isinstance(value, dict) else range(len(value)):
            _extract_prompts(value, inner, f"{path}.{inner}", passed_over, extracted)


def _is_field(key: str) -> bool:
    return len(key) <= _LONGEST_FIELD and _looks_like_a_field(key)


@lru_cache(1024)
def _looks_like_a_field(key: str) -> bool:
    return re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_.$-]*", key) is not None


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _looks_like_a_name(text)


@lru_cache(1024)
def _looks_like_a_name(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
