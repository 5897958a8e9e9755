"""Which strings of OpenAI-style JSON are text, by the name of their field and by how they look.

The default fails closed: a string is text that the rules see, unless this table names its field **and** its value
looks like what that field holds. So a signature or an image passes byte for byte (masking it would break it, and a
match in it is chance), while words in a field meant for a signature are moderated like any other words.

Sources: OpenAI's and Anthropic's API references (``encrypted_content``, ``signature``, ``redacted_thinking``,
``b64_json``, ``file_data``), Google's (``thought_signature``), OpenRouter's (``reasoning_details``, ``images``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

NAMES = frozenset(
    {"id", "object", "model", "type", "format", "provider", "native_finish_reason", "stop_reason", "matched_stop"}
    | {"system_fingerprint", "service_tier", "created", "created_at"}
)
"""Fields of an answer, its choices and their deltas that hold names given by the server, not words of a model."""

DEEP_NAMES = frozenset({"id", "type", "format"})
"""The same for fields nested deeper."""

OPAQUE = frozenset(
    {"signature", "thought_signature", "thoughtSignature", "encrypted_content", "encrypted", "encrypted_reasoning"}
    | {"reasoning_encrypted", "reasoning_opaque", "redacted_content", "obfuscation", "b64_json", "partial_image_b64"}
    | {"file_data", "image_data"}
)
"""Opaque values: encoded binary data, or data that only the server can read and has to get back unchanged."""

LOCATORS = frozenset(
    {"url", "uri", "src", "image", "images", "image_url", "image_urls", "file", "file_data", "file_url", "thumbnail"}
    | {"video_url", "audio_url", "data", "b64_json", "image_data", "icon", "favicon"}
)
"""Fields that may hold a file as a data URL (RFC 2397). Any other URL is text: it could contain words."""

TELLTALES = frozenset({"logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids", "tokens", "bytes"})
"""Fields that would reveal masked text, as tokens or token ids. They are removed."""

GROWING = frozenset(
    {"text", "content", "arguments", "transcript", "summary", "thinking", "reasoning", "reasoning_content"}
    | {"refusal", "input"}
)
"""Nested below the fields of a choice or delta, these arrive as fragments; any other text there is complete."""

TEXTS_OF_PROMPTS = GROWING | {"prompt", "system", "message", "query", "question", "output", "parts"}
"""Fields of a request in which a number is read as a text."""

_NUMERIC_OBJECTS = frozenset(
    {"usage", "timings", "x_groq", "time_info", "metrics", "content_filter_results", "prompt_filter_results"}
)
_NUMERIC = re.compile(
    r"(?:.*_)?(?:index|created|created_at|tokens?|count|total|time|ms|seconds?|second|cost|score|n|logprob|probability)"
)

MADE_BY_MODELS = frozenset({"arguments", "input", "output", "parsed", "parsed_arguments"})
"""Fields with JSON written by a model."""

JSON_IN_PROMPTS = MADE_BY_MODELS | {"args", "response", "result"}
"""Fields of a message with JSON written by a model or a tool, as an object or a list: its numbers are read as texts."""

ROLES = frozenset({"assistant", "developer", "function", "model", "system", "tool", "user"})

_PROMPT_NAMES = frozenset({"type", "role", "id", "format", "detail", "$ref", "$schema", "$id"})

LONGEST_NAME = 256
LONGEST_FIELD = 64


def is_field(key: str) -> bool:
    """Whether this looks like the name of a field, not like text."""
    return len(key) <= LONGEST_FIELD and _looks_like_a_field(key)


@lru_cache(1024)
def _looks_like_a_field(key: str) -> bool:
    return re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_.$-]*", key) is not None


def is_name(text: str) -> bool:
    """Whether this looks like an identifier of a server or program: ASCII without spaces."""
    return len(text) <= LONGEST_NAME and _looks_like_a_name(text)


@lru_cache(1024)
def _looks_like_a_name(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


_TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.:~|"
_DATA_URL = re.compile(r"data:([a-z]+)/[a-z0-9.+-]+(?:;[a-z0-9_.+-]+=[a-z0-9_.+-]+)*;base64,", re.IGNORECASE)
_LONGEST_DATA_URL_HEAD = 200


def is_token(text: str) -> bool:
    """Whether this consists of characters of base64, base64url and ids. A megabyte takes a millisecond."""
    return text.isascii() and not text.encode("ascii").translate(None, _TOKEN_BYTES)


def data_url_kind(text: str) -> str:
    """The top-level media type of a base64 data URL, such as ``image``; empty for anything else."""
    head = _DATA_URL.match(text, 0, _LONGEST_DATA_URL_HEAD)
    return head[1].lower() if head and is_token(text[head.end() :]) else ""


def is_id(key: str) -> bool:
    return key == "id" or key.endswith(("_id", "Id"))


def is_numeric(key: str, path: str) -> bool:
    """Whether a number belongs here: an index, a time, a count. Any other number is moderated as it is written."""
    return _is_numeric(key) or not _NUMERIC_OBJECTS.isdisjoint(path.split("."))


@lru_cache(1024)
def _is_numeric(key: str) -> bool:
    return key in _NUMERIC_OBJECTS or (len(key) <= LONGEST_FIELD and _NUMERIC.fullmatch(key) is not None)


def is_sound(key: str, text: str, path: str) -> bool:
    """Whether an answer's string is, or may be, audio, which cannot be moderated."""
    if key in LOCATORS and data_url_kind(text) in ("audio", "video"):
        return True
    return key == "data" and ("audio" in path or is_token(text))


def passes_in_answer(key: str, text: str, holder: Mapping[str, Any], depth: int) -> bool:
    """Whether a string of an answer passes unmoderated. ``depth`` 0 is a field of the answer, a choice or a delta."""
    if key in (NAMES if depth == 0 else DEEP_NAMES) or is_id(key):
        return is_name(text) or (is_id(key) and is_token(text))
    if key in OPAQUE:
        return is_token(text) or data_url_kind(text) in ("image", "application")
    if key == "data" and _holds_bytes(holder) and "audio" not in str(holder.get("type", "")):
        return is_token(text)
    if key in LOCATORS:
        return data_url_kind(text) in ("image", "application")
    return key == "role" and depth == 0 and text in ROLES


def passes_in_prompt(key: str, text: str, holder: Mapping[str, Any], *, goes_by_name: bool) -> bool:
    """Whether a string of a request passes unmoderated. ``goes_by_name``: it is an instruction or a tool's name."""
    if key in _PROMPT_NAMES or is_id(key) or goes_by_name:
        return is_name(text) or is_token(text)
    if key in OPAQUE or (key == "data" and (_holds_bytes(holder) or "format" in holder)):
        return is_token(text) or bool(data_url_kind(text))
    return key in LOCATORS and bool(data_url_kind(text))


_BYTES = re.compile("image|file|document|encrypted|redacted|base64")
_BYTES_FIELDS = ("media_type", "mime_type", "mimeType")


def _holds_bytes(holder: Mapping[str, Any]) -> bool:
    """Whether an object's type declares its data as binary: an image, a file, encrypted reasoning."""
    if isinstance(kind := holder.get("type"), str) and _BYTES.search(kind):
        return True
    kinds = [str(holder[field]) for field in _BYTES_FIELDS if field in holder]
    return any(not kind.startswith(("text/", "audio/", "video/")) for kind in kinds)
