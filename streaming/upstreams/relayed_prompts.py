"""Moderates prompts in requests that are relayed to ``native`` and ``text`` upstreams: the query and the body.

No one format is known here, so a request is read in every way that an upstream may read it: JSON, a form, a text. What
the rules leave alone stays as it came, byte for byte. What cannot be read for sure is refused: an upstream might read
more in it than the rules have seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus, urlencode

from streaming.upstreams.errors import BadPrompt, UnreadablePrompt

Moderate = Callable[[dict[str, Any]], Awaitable[None]]
"""Changes the texts of a request's fields in place, or raises what keeps it from being sent."""

MAX_FORM_FIELDS = 10_000
"""Of a query or a form: each costs some tens of microseconds to moderate."""

_TEXTS = frozenset({"", "text/plain", "text/markdown"})
"""Media types in which a body is read as it stands. Any other (XML, YAML, multipart) has escapes of its own."""

# Of a body in ASCII all of these are the same; any other body has to be UTF-8.
_LIKE_ASCII = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"})
_LIKE_UTF_8 = frozenset({"utf-8", "utf8"})


async def moderated_query(name: str, query: str, moderate: Moderate) -> str:
    """A raw query for the upstream of this name, as the rules leave its names and values."""
    pairs = _pairs(name, query)
    texts = await _moderated_texts([text for pair in pairs for text in pair], moderate)
    after = list(zip(texts[::2], texts[1::2], strict=True))
    sent = query if after == pairs else urlencode(after)
    # Some upstreams read a plus as what it is, and a value as JSON.
    pieces = [unquote(piece) for pair in sent.split("&") for piece in pair.split("=", 1)]
    await _refuse_hidden_words(name, [*texts, *pieces], set(texts), moderate)
    return sent


def _pairs(name: str, query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise BadPrompt(name, f"takes a query or form in UTF-8, of {MAX_FORM_FIELDS:,} fields at most") from error


async def moderated_body(name: str, content_type: str, content_encoding: str, body: bytes, moderate: Moderate) -> bytes:
    """A body for the upstream of this name, as the rules leave its texts.

    UnreadablePrompt (415) if it is in no format that can be read for sure; BadPrompt if it is not what it says it is.
    """
    if not body:
        return body
    kind = content_type.partition(";")[0].strip().lower()
    text = _decoded(name, content_type, content_encoding, body)
    is_form = "form-urlencoded" in kind
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if "json" in kind:
            raise BadPrompt(name, "takes JSON where the Content-Type says so, which the body is not") from error
    else:
        sent = await _moderated_json(value, text, moderate)
        # curl labels JSON as a form unless a type is given: then either reading may be the upstream's.
        if is_form and await moderated_query(name, sent, moderate) != sent:
            raise BadPrompt(name, "takes JSON or a form; the body is both, and a rule changes one of them")
        return body if sent == text else sent.encode()
    if is_form:
        sent = await moderated_query(name, text, moderate)
    elif kind in _TEXTS:
        sent = await _moderated_text(name, text, moderate)
    else:
        raise UnreadablePrompt(name, f"takes JSON, a form or a text, not {kind}")
    return body if sent == text else sent.encode("utf-8", "replace")


def _decoded(name: str, content_type: str, content_encoding: str, body: bytes) -> str:
    """The body as a text. Whatever its type says it is UTF-8, so that there is one way to read it."""
    if content_encoding.strip().lower() not in ("", "identity"):
        raise UnreadablePrompt(name, "takes a body without Content-Encoding")
    charsets = re.findall(r";\s*charset[^=;]*=[\s\"']*([^\s;\"']*)", content_type.lower())
    if not set(charsets) <= (_LIKE_ASCII if body.isascii() else _LIKE_UTF_8):
        raise UnreadablePrompt(name, "takes a body in UTF-8, and its Content-Type names another charset")
    try:
        # A byte order mark is no part of JSON (RFC 8259, section 8.1), but many parsers pass over it.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadablePrompt(name, "takes a body in UTF-8, which this is not") from error
    if "\0" in text:
        raise UnreadablePrompt(name, "takes a body in UTF-8, and this looks like UTF-16")
    return text


async def _moderated_json(value: Any, text: str, moderate: Moderate) -> str:
    before = json.dumps(value)
    fields = value if isinstance(value, dict) else {"prompt": value}
    await moderate(fields)
    after = json.dumps(value if isinstance(value, dict) else fields["prompt"])
    # Of a field that comes twice the rules have seen the last one; an upstream might read the first.
    return text if after == before and not _has_duplicate_keys(text) else after


def _has_duplicate_keys(text: str) -> bool:
    """Whether an object in this JSON names a field twice."""
    doubles = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubles
        fields = dict(pairs)
        doubles = doubles or len(fields) < len(pairs)
        return fields

    json.loads(text, object_pairs_hook=look)
    return doubles


async def _moderated_text(name: str, text: str, moderate: Moderate) -> str:
    """A text as the rules leave it, in which none of an upstream's parsers would find what they did not."""
    (sent,) = await _moderated_texts([text], moderate)
    await _refuse_hidden_words(name, [sent, unquote(sent), unquote_plus(sent)], {sent}, moderate)
    return sent


_JSON_ESCAPES = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))+')


def _unescaped(text: str) -> str:
    return _JSON_ESCAPES.sub(lambda found: str(json.loads(f'"{found[0]}"')), text) if "\\" in text else text


async def _refuse_hidden_words(name: str, readings: list[str], seen: set[str], moderate: Moderate) -> None:
    """BadPrompt if the rules would change a reading of what is to be sent, which they have not seen yet."""
    unseen = [text for text in dict.fromkeys([*readings, *map(_unescaped, readings)]) if text and text not in seen]
    if unseen and await _moderated_texts(unseen, moderate) != unseen:
        raise BadPrompt(name, "is not asked with words in escapes that a moderation rule changes")


async def _moderated_texts(texts: list[str], moderate: Moderate) -> list[str]:
    # In a list below "prompt" nothing counts as a name or as bytes: everything is text.
    fields: dict[str, Any] = {"prompt": list(texts)}
    await moderate(fields)
    moderated: list[str] = fields["prompt"]
    return moderated
