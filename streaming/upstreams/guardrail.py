"""The interface through which upstreams have prompts and texts of errors moderated: ``guardrails.py`` implements it."""

from __future__ import annotations

from typing import Any, Protocol

Fields = dict[str, Any]
"""The JSON of a request."""


class Guardrail(Protocol):
    """Moderates prompts for upstreams, and the texts of their errors."""

    async def moderate_prompt(self, fields: Fields) -> None:
        """Moderates a request's fields in place, or raises an error if it may not be sent."""

    def clean(self, words: str) -> str:
        """An error's text, moderated."""
