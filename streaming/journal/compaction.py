"""Catch-up in few messages: consecutive deltas of one channel, in the native format, as one."""

from __future__ import annotations

import json
from typing import Any

from streaming.sse import Message, Parser, encode

MAX_DELTA_CHARS = 32 * 1024
"""A joined delta is not made longer: its reader has a limit too."""


def compact(data: bytes) -> bytes:
    """Encoded native events, with as few messages as say the same. Each has the id of the last that it stands for.

    Deltas of one channel are joined; of snapshots (``mode=full``) that follow each other the last is left.
    """
    parser = Parser(max_message_chars=len(data))
    messages: list[tuple[Message, dict[str, Any] | None]] = []
    for message in parser.feed(data):
        fact = json.loads(message.data) if message.event == "message" else None
        if messages and fact and (joined := _joined(messages[-1][1], fact)):
            messages[-1] = message, joined
        else:
            messages.append((message, fact))
    first, retry = messages[0][0], parser.retry
    if retry is not None:  # it stands in the stream's first message
        messages[0] = first._replace(retry=retry), messages[0][1]
    return b"".join(encode(_with_data(message, fact)) for message, fact in messages)


def _joined(before: dict[str, Any] | None, fact: dict[str, Any]) -> dict[str, Any] | None:
    """What says the same as these two, if there is such a thing."""
    if before is None or _place(before) != _place(fact):
        return None
    if "text" in before and "text" in fact:
        return fact
    if "delta" not in before or "delta" not in fact or len(before["delta"]) > MAX_DELTA_CHARS:
        return None
    return {**fact, "delta": before["delta"] + fact["delta"]}


def _place(fact: dict[str, Any]) -> dict[str, Any]:
    """Everything but the text."""
    return {key: value for key, value in fact.items() if key not in ("delta", "text")}


def _with_data(message: Message, fact: dict[str, Any] | None) -> Message:
    if fact is None:
        return message
    data = json.dumps(fact, ensure_ascii=False)
    try:
        data.encode()
    except UnicodeEncodeError:  # a lone surrogate is written as JSON writes it
        data = json.dumps(fact)
    return Message.unchecked(data, message.event, message.id, message.retry)
