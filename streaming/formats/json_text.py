"""Fast parsing and writing of JSON. Nothing that it writes contains characters that UTF-8 cannot encode."""

from __future__ import annotations

import json
from typing import Any

from streaming.formats.parts import FormatError

_encoder = json.JSONEncoder(ensure_ascii=False)
_decoder = json.JSONDecoder(parse_constant=lambda _: None)  # NaN and Infinity are not JSON, but some servers send them


def read_object(data: str) -> dict[str, Any]:
    """Parses a message's data as a JSON object. Raises FormatError if it is not one."""
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
    """Parses any JSON, with or without white space around it. Raises FormatError if it is not JSON."""
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("an upstream's message is not JSON") from error


def dumps(data: dict[str, Any]) -> str:
    text = _encoder.encode(data)
    # A lone surrogate is allowed in JSON, but not in UTF-8, so it is written as an escape.
    return text if is_encodable(text) else json.dumps(data)


def is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
