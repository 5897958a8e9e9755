"""The demo's real model, from its tokens to OpenAI's client.

Run it with ``uv run --group dev --group model pytest -m model``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.conftest import Site, eventually, manage

pytestmark = pytest.mark.model

# No answer does without all of these.
WORDS = ("paris", "a", "e", "o")
ADD_RULES = f"""
from streaming.models import ModerationRule
for word in {WORDS!r}:
    ModerationRule.objects.create(pattern=word)
"""
QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France, and what is it known for?"}]
MODEL = "gemma3-270m"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("model")
    site = Site(folder, ["manage.py", "demo", "--model", "--port", "{port}"])
    assert manage(folder, "shell", "-c", ADD_RULES).returncode == 0
    yield site
    site.stop()


@pytest.fixture
def client(demo: Site) -> Iterator[OpenAI]:
    with closing(OpenAI(base_url=f"{demo.url}/v1", api_key="-", max_retries=0, timeout=240)) as client:
        yield client


def test_a_masked_word_never_appears_in_an_answer_of_a_real_model(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, max_tokens=60, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "•" in text
    assert not any(word in text.lower() for word in WORDS)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 1


def test_a_non_streaming_answer_is_moderated_too(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=30)

    text = answer.choices[0].message.content or ""
    assert "•" in text
    assert not any(word in text.lower() for word in WORDS)


def test_a_client_that_disconnects_stops_the_model(demo: Site, client: OpenAI) -> None:
    (port,) = {each.laddr.port for each in demo.ps.net_connections() if each.status == "LISTEN"} - {demo.port}

    def is_open(end: str) -> bool:
        """Whether our end of a connection to the model (raddr), or the model's (laddr), is open."""
        found = [each for each in demo.ps.net_connections() if each.status == "ESTABLISHED"]
        return any((address := getattr(each, end)) and address.port == port for each in found)

    eventually(lambda: not is_open("laddr"), "the model is at rest")
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, max_tokens=2000, extra_body={"ignore_eos": True, "stop": []}
    )
    next(iter(stream))
    assert is_open("laddr")
    left = time.perf_counter()
    stream.close()
    eventually(lambda: not is_open("raddr"), "the model is left")
    hung_up = time.perf_counter()
    eventually(lambda: not is_open("laddr"), "the model is at rest")

    figures = f"{(hung_up - left) * 1000:.0f} ms, and at rest after {(time.perf_counter() - left) * 1000:.0f} ms"
    print(f"the model was left within {figures}")  # noqa: T201 (a figure)


def test_the_model_ends_with_the_demo(tmp_path: Path) -> None:
    site = Site(tmp_path, ["manage.py", "demo", "--model", "--port", "{port}"])
    body = '{"model": "gemma3-270m", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
    with site.connect("POST /v1/chat/completions\nContent-Type: application/json", body.encode()) as reader:
        reader.recv(100)  # it answers
        site.process.send_signal(signal.SIGINT)
        site.process.wait(60)

    assert site.process.returncode == 0
    assert "Traceback" not in site.log
