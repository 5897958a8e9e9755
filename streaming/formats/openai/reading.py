"""Chunks in the dialects of many servers, as parts."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from streaming.formats.chunk_templates import ChunkTemplateCache, says_nothing
from streaming.formats.dialects import ToolCallNumbers, choices_of, make_delta
from streaming.formats.errors import NO_CREDENTIALS, ErrorFacts, client_status, read_error
from streaming.formats.extraction import extract_answer
from streaming.formats.json_text import read_json, read_object
from streaming.formats.openai.chunk_fields import DONE
from streaming.formats.openai.usage import token_counts
from streaming.formats.parts import (
    CUT,
    ChoiceEnd,
    Delta,
    Failure,
    FormatError,
    Part,
    RawChunk,
    StreamEnd,
    TextRef,
    TokenCounts,
)
from streaming.sse import Message

_KEEP_ALIVES = frozenset({"ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"})
"""What servers send, as data or as an event's name, to keep the connection alive."""


class OpenAIReader:
    """Reads chunks in the dialects of many servers. Some omit ``[DONE]`` after the last finish reason.

    The parts of a chunk are its texts, then its ends of choices, and with ``keep_raw`` the rest of the chunk, for a
    writer of the same format. Without ``keep_usage`` that is not the chunk with the usage after the last choice: the
    client did not ask for it.
    """

    _REASONS: Mapping[str, str] = {"length": "length", "content_filter": "blocked"}

    def __init__(self, *, keep_raw: bool = False, keep_usage: bool = True) -> None:
        self.tokens: TokenCounts | None = None
        self._keep_raw = keep_raw
        self._keep_usage = keep_usage
        self._begun = set[int]()
        self._finished = set[int]()
        self._reason = "stop"
        self._templates = ChunkTemplateCache()
        self._calls: dict[int, ToolCallNumbers] = {}

    def feed(self, message: Message) -> list[Part]:
        data, event, _, _ = message
        if parts := self._templates.read(data, event):
            return parts if self._keep_raw else parts[:1]
        if not data.startswith("{"):
            return self._feed_other(data.strip(), event)
        return self._feed_chunk(read_object(data), event, data)

    def _feed_other(self, data: str, event: str) -> list[Part]:
        """Reads what is not a chunk: the end, a keep-alive, an error in a list or as plain text."""
        if data.strip('"') == DONE:
            return [StreamEnd(self._reason)]
        if not data or data.startswith(":") or data.lower() in _KEEP_ALIVES or event in _KEEP_ALIVES:
            return []
        if event == "error" and not data.startswith(("[", "{")):
            return [failure_from(ErrorFacts(data.strip('"')))]
        value = read_json(data)
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, dict) for item in items):
            raise FormatError("an upstream's message is not a JSON object")
        return [part for item in items for part in self._feed_chunk(item, event)]

    def _feed_chunk(self, chunk: dict[str, Any], event: str, data: str = "") -> list[Part]:
        kind = str(chunk.get("type")) if "choices" not in chunk else ""
        if not chunk or event in _KEEP_ALIVES or kind in _KEEP_ALIVES:
            return []
        if facts := _error_in(chunk, event):
            return [failure_from(facts)]
        choices = choices_of(chunk)
        if counts := token_counts(chunk):
            self.tokens = counts
            if not self._keep_usage and not choices and says_nothing({**chunk, "usage": None}):
                return []
        for choice in choices:
            self._normalize(choice)
        if str(chunk.get("object", "")).startswith("chat.completion"):
            chunk["object"] = "chat.completion.chunk"
        texts, refs = extract_answer(chunk)
        parts: list[Part] = list(texts)
        if not self._finished.isdisjoint(choice["index"] for choice in choices):
            parts = [part for part in texts if part.choice not in self._finished]  # nothing follows a choice's end
        elif len(texts) == len(refs) == len(choices) == 1 and type(texts[0]) is Delta:
            self._learn(data, event, chunk, texts[0].text, refs[0])
        return parts + self._finishes(choices) + ([RawChunk(chunk, refs)] if self._keep_raw else [])

    def _learn(self, data: str, event: str, chunk: dict[str, Any], text: str, ref: TextRef) -> None:
        if data and event not in ("error", *_KEEP_ALIVES) and not chunk["choices"][0].get("finish_reason"):
            self._templates.learn(data, event, chunk, text, ref)

    def _normalize(self, choice: dict[str, Any]) -> None:
        make_delta(choice, has_spoken=choice["index"] in self._begun)
        if isinstance(delta := choice.get("delta"), dict) and delta.get("tool_calls"):
            self._calls.setdefault(choice["index"], ToolCallNumbers()).number(delta)
            self._templates.forget(choice["index"])

    def _finishes(self, choices: list[dict[str, Any]]) -> list[Part]:
        finishes: list[Part] = []
        for choice in choices:
            self._begun.add(index := choice["index"])
            if reason := choice.get("finish_reason"):
                self._finished.add(index)
                self._templates.forget(index)
                self._reason = self._REASONS.get(reason, "stop")
                finishes.append(ChoiceEnd(index))
        return finishes

    def finish(self) -> list[Part]:
        return [StreamEnd(self._reason) if self._finished and self._finished >= self._begun else CUT]


def _error_in(chunk: dict[str, Any], event: str) -> ErrorFacts | None:
    """The error in a chunk, of the whole answer or of one choice; None if it has none."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) and not chunk.get("error") else ():
        if isinstance(choice, dict) and choice.get("error"):
            return read_error({"error": choice["error"]})
    if choices is not None and not chunk.get("error"):
        return None
    return read_error(chunk) or (read_error({"error": chunk}) if event == "error" else None)


def failure_from(facts: ErrorFacts) -> Failure:
    """The failure that a client receives for an upstream's error in the middle of a stream."""
    if facts.is_authentication:
        return Failure(502, "Bad Gateway", "the upstream did not take this site's credentials", NO_CREDENTIALS)
    status = HTTPStatus(client_status(facts.status or 502, facts))
    detail = f"the upstream failed: {facts.message}" if facts.message else "the upstream failed"
    return Failure(status.value, status.phrase, detail, facts)
