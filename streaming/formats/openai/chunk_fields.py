"""What readers and writers of chunks share: how a stream and its choices end, and the notices of moderation."""

from __future__ import annotations

from typing import Any

from streaming.formats.parts import Notice

DONE = "[DONE]"

FINISH_REASONS = {"stop": "stop", "length": "length", "blocked": "content_filter"}


def with_notices(chunk: dict[str, Any], notices: list[Notice]) -> dict[str, Any]:
    """The chunk with the notices of its moderation in an additional field, which other clients ignore."""
    return {**chunk, "moderated": list(map(_notice_fields, notices))} if notices else chunk


def _notice_fields(notice: Notice) -> dict[str, str]:
    fields = {"action": notice.action, "category": notice.category, "notice": notice.notice}
    return {key: value for key, value in fields.items() if value or key != "notice"}
