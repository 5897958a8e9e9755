"""The LLM APIs that this site offers to clients, in the format of OpenAI's."""

from streaming.api.chat import chat_completions
from streaming.api.models import list_models, retrieve_model
from streaming.api.not_found import not_found

__all__ = ["chat_completions", "list_models", "not_found", "retrieve_model"]
