"""OpenAI's usage object: https://platform.openai.com/docs/api-reference/chat/object"""

from __future__ import annotations

from typing import Any

from streaming.formats.parts import (
    TokenCounts,
)

MAX_TOKENS = 1 << 40
"""A greater count is no count."""


def token_counts(answer: dict[str, Any]) -> TokenCounts | None:
    """The usage in a chunk or in a whole completion; None without one. Groq reports that of a stream in ``x_groq``."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        usage = groq.get("usage") if isinstance(groq := answer.get("x_groq"), dict) else None
    if not isinstance(usage, dict):
        return None
    counts = TokenCounts(*(_token_count(usage.get(key)) for key in ("prompt_tokens", "completion_tokens")))
    return None if counts == TokenCounts(None, None) else counts


def _token_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def usage_of(prompt_chars: int, answer_chars: int) -> dict[str, int]:
    """OpenAI's usage object. The number of tokens is estimated: one for every four characters."""
    prompt, answer = -(-prompt_chars // 4), -(-answer_chars // 4)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
