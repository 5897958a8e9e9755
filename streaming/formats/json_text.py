"""Fast parsing and writing of JSON. Nothing that it writes contains characters that UTF-8 cannot encode."""

from __future__ import annotations

import json
import math
from typing import Any

from streaming.errors import PromptTooDeep
from streaming.formats.parts import FormatError

MAX_DEPTH = 700
"""How deeply a request may be nested. Python reads up to 1,000 levels, but what was read near that limit can neither be
written again nor moderated."""


def _finite(number: str) -> float | None:
    """None for a number that is too great to be written again: Python would write Infinity, which is not JSON."""
    value = float(number)
    return value if math.isfinite(value) else None


_encoder = json.JSONEncoder(ensure_ascii=False)
# NaN and Infinity are not JSON, but some servers send them.
_decoder = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)


def finite(number: str) -> float:
    """For ``parse_constant`` and ``parse_float`` of json: raises ValueError for what would not be JSON again."""
    if (value := _finite(number)) is None:  # float reads NaN and Infinity, too
        raise ValueError(f"{number[:20]} is not JSON, or too great")
    return value


def read_request_json(body: bytes) -> Any:
    """The JSON that a client sent. Raises ValueError, or PromptTooDeep if it is nested deeper than MAX_DEPTH.

    NaN and Infinity, which Python accepts and other programs do not, are refused, and numbers that would become them.
    """
    try:
        data = json.loads(body, parse_constant=finite, parse_float=finite)
    except RecursionError as error:
        raise PromptTooDeep from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(data, MAX_DEPTH):
        raise PromptTooDeep
    return data


def _is_deeper(data: Any, levels: int) -> bool:
    level = [data]
    for _ in range(levels + 1):
        nested = [each for each in level if isinstance(each, dict | list)]
        level = [child for each in nested for child in (each.values() if isinstance(each, dict) else each)]
    return bool(nested)


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
