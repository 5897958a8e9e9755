"""The fields of a chat completion request, from what a reader sent."""

from __future__ import annotations

from streaming.formats.json_text import read_request_json
from streaming.upstream_settings import UpstreamConfig
from streaming.upstreams.errors import BadPrompt
from streaming.upstreams.guardrail import Fields


def chat_completion_fields(upstream: UpstreamConfig, body: bytes) -> Fields:
    """A chat completion request from ``{"prompt": ...}`` or ``{"messages": [...]}``. Other fields are kept."""
    try:
        fields = read_request_json(body or b"{}")
    except ValueError as error:
        raise BadPrompt(upstream.name, "takes JSON, which the body is not") from error
    if not isinstance(fields, dict):
        raise BadPrompt(upstream.name, "takes a JSON object, which the body is not")
    prompt = fields.pop("prompt", None)
    if "messages" not in fields and isinstance(prompt, str) and prompt:
        fields["messages"] = [{"role": "user", "content": prompt}]
    if not isinstance(fields.get("messages"), list):
        raise BadPrompt(upstream.name, "takes a prompt (text) or messages (a list); the body has neither")
    model = fields.get("model") or (upstream.models[0] if upstream.models else None)
    return {**fields, "model": upstream.own_name(model)} if isinstance(model, str) else fields
