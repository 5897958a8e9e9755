"""Compacts events for clients that start reading late: consecutive deltas of one channel become one message."""

from __future__ import annotations

import json
from typing import Any

from streaming.sse import Message, Parser, encode

MAX_DELTA_CHARS = 32 * 1024
"""The limit for a joined delta, because clients limit the size of a message."""


def compact(data: bytes) -> bytes:
    """Compacts encoded native events. A joined message has the id of the last one that it replaces.

    Consecutive deltas of one channel are joined; of consecutive snapshots (``mode=full``) only the last one remains.
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
    if retry is not None:  # it is part of the stream's first message
        messages[0] = first._replace(retry=retry), messages[0][1]
    return b"".join(encode(_with_data(message, fact)) for message, fact in messages)


def _joined(before: dict[str, Any] | None, fact: dict[str, Any]) -> dict[str, Any] | None:
    """The data of one message that can replace these two; None if there is none."""
    if before is None or _without_text(before) != _without_text(fact):
        return None
    if "text" in before and "text" in fact:
        return fact
    if "delta" not in before or "delta" not in fact or len(before["delta"]) > MAX_DELTA_CHARS:
        return None
    return {**fact, "delta": before["delta"] + fact["delta"]}


def _without_text(fact: dict[str, Any]) -> dict[str, Any]:
    """All fields except the text."""
    return {key: value for key, value in fact.items() if key not in ("delta", "text")}


def _with_data(message: Message, fact: dict[str, Any] | None) -> Message:
    if fact is None:
        return message
    data = json.dumps(fact, ensure_ascii=False)
    try:
        data.encode()
    except UnicodeEncodeError:  # a lone surrogate has to be written as an escape
        data = json.dumps(fact)
    return Message.unchecked(data, message.event, message.id, message.retry)
