"""Detects what a body contains, whatever its Content-Type; and assembles a chat completion from a stream's chunks."""

from __future__ import annotations

from typing import Any

from streaming.formats.dialects import ToolCallNumbers, choices_of, make_delta
from streaming.formats.json_text import read_json
from streaming.formats.parts import FormatError
from streaming.formats.text_fields import GROWING
from streaming.sse import Parser, StreamError

_BLANK = b" \t\r\n\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"retry:", b"error:", b"id:", b":")


def looks_like_json(beginning: bytes | bytearray) -> bool:
    return beginning.lstrip(_BLANK)[:1] in (b"{", b"[")


def looks_like_events(beginning: bytes | bytearray) -> bool:
    """Whether these first bytes are, or may become, the beginning of an event stream."""
    start = beginning.lstrip(_BLANK)
    return start.startswith(_FIELDS) or any(field.startswith(start) for field in _FIELDS)


def is_undecided(beginning: bytes | bytearray) -> bool:
    """Whether more bytes are needed to detect what a body contains."""
    start = beginning.lstrip(_BLANK)
    return not start.startswith(_FIELDS) and looks_like_events(start)


def completion_from_events(body: bytes) -> dict[str, Any]:
    """Assembles a chat completion from an event stream of chunks. If the stream has an error, it is the only field of
    the result. Raises FormatError if there are no chunks."""
    completion: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for data in _data_of(body):
        if not data.startswith("{") or not isinstance(chunk := read_json(data), dict):
            continue
        if chunk.get("error"):
            return {"error": chunk["error"]}
        for choice in choices_of(chunk):
            _add_choice(choices.setdefault(choice["index"], {"index": choice["index"], "message": {}}), choice)
        head = {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        completion.update(head)
    if not choices:
        raise FormatError("an upstream's event stream has no chat completion in it")
    for choice in choices.values():
        choice.pop(_NUMBERS, None)
    return {**completion, "object": "chat.completion", "choices": [choices[index] for index in sorted(choices)]}


def _data_of(body: bytes) -> list[str]:
    try:
        parser = Parser(max_message_chars=max(len(body), 1))
        return [message.data.strip() for message in parser.feed(body + b"\n\n")]
    except StreamError as error:
        raise FormatError(str(error)) from error


_NUMBERS = "\0numbers"  # no JSON field that is passed on has this name


def _add_choice(whole: dict[str, Any], choice: dict[str, Any]) -> None:
    make_delta(choice, has_spoken=bool(whole["message"]))
    delta = choice.pop("delta", None) or {}
    whole.setdefault(_NUMBERS, ToolCallNumbers()).number(delta)
    _merge(whole["message"], delta)
    whole.update({key: value for key, value in choice.items() if value is not None})


def _merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Merges a fragment: texts are appended, lists are merged item by item, and any other value replaces the earlier
    one. A text after a list of parts is one more part of it."""
    for key, value in part.items():
        before = whole.get(key)
        if isinstance(value, list):
            whole[key] = before if isinstance(before, list) else _as_parts(before)
            _merge_items(whole[key], value)
        elif isinstance(value, dict):
            whole[key] = before if isinstance(before, dict) else {}
            _merge(whole[key], value)
        elif isinstance(value, str) and isinstance(before, list):
            _merge_items(before, _as_parts(value))
        elif isinstance(value, str) and isinstance(before, str) and key not in ("role", "id", "type", "index"):
            whole[key] = before + value
        elif value is not None or key not in whole:
            whole[key] = value


def _as_parts(text: Any) -> list[Any]:
    return [{"type": "text", "text": text}] if isinstance(text, str) and text else []


def _merge_items(items: list[Any], more: list[Any]) -> None:
    """An item continues the one with its ``index``; without one, the last with its type if both are fragments of text.

    That is how the parts of a content arrive. Any other item is complete, for example a source.
    """
    begun = len(items)
    for position, item in enumerate(more):
        known = _continued(items, begun, item, is_first=position == 0)
        if known is None:
            items.append({} if isinstance(item, dict) else item)
            known = items[-1]
        if isinstance(item, dict):
            _merge(known, item)


def _continued(items: list[Any], begun: int, item: Any, *, is_first: bool) -> dict[str, Any] | None:
    if not isinstance(item, dict):
        return None
    if (number := item.get("index")) is not None:
        return next((old for old in items if isinstance(old, dict) and old.get("index") == number), None)
    last = items[begun - 1] if is_first and begun else None
    return last if isinstance(last, dict) and _is_fragment(last) and _is_fragment(item, last.get("type")) else None


def _is_fragment(item: dict[str, Any], kind: Any = None) -> bool:
    grows = any(isinstance(item.get(key), (str, list)) for key in GROWING)
    return grows and item.get("index") is None and kind in (None, item.get("type"))
