"""JSON between a message's data and what it says: as fast as can be, and with nothing in it that UTF-8 cannot hold."""

from __future__ import annotations

import json
from typing import Any

from streaming.formats.parts import FormatError

_encoder = json.JSONEncoder(ensure_ascii=False)
_decoder = json.JSONDecoder(parse_constant=lambda _: None)  # NaN and the like are no JSON; some servers send them


def read_object(data: str) -> dict[str, Any]:
    """The JSON object that a message is. FormatError if it is none."""
    try:
        value, end = _decoder.raw_decode(data)
        if end != len(data):
            value = read_json(data)
    except ValueError:
        value = read_json(data)
    except RecursionError as error:
        raise FormatError("an upstream's message is not JSON") from error
    if not isinstance(value, dict):
        raise FormatError("an upstream's message is not a JSON object")
    return value


def read_json(data: str) -> Any:
    """Any JSON, with white space around it or not. FormatError if it is none."""
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("an upstream's message is not JSON") from error


def dumps(data: dict[str, Any]) -> str:
    text = _encoder.encode(data)
    # A lone surrogate (JSON may hold one, UTF-8 may not) is written as JSON writes it.
    return text if is_encodable(text) else json.dumps(data)


def is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
