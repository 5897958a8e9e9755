"""What a chat completion chunk costs on its way through: read, moderated with 1,000 words, and written again.

``uv run --group dev python tests/benchmarks/chunks.py`` prints microseconds of processor time a chunk, beside those of
parsing and writing its JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ssesite.settings")

import django

django.setup()

from streaming.answer import AnswerModeration
from streaming.formats import OpenAIReader, OpenAIRelay
from streaming.moderation import Rule, RuleSet
from streaming.relay import EventReader, Relay
from streaming.sources import read_document
from streaming.sse import Message, encode

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "fp"}
TOGETHER = 16
"""Chunks that arrive together."""


def chunks(size: int = 4) -> list[str]:
    text = read_document("tour") * 4
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    choices = [{"index": 0, "delta": {"content": piece}, "logprobs": None, "finish_reason": None} for piece in pieces]
    return [json.dumps({**HEAD, "choices": [choice], "usage": None}, ensure_ascii=False) for choice in choices]


def relayed(data: list[bytes], rules: RuleSet) -> None:
    relay = Relay(EventReader(OpenAIReader(keep_raw=True)), AnswerModeration(rules), OpenAIRelay("m"))
    for at in range(0, len(data), TOGETHER):
        relay.feed(b"".join(data[at : at + TOGETHER]))
        while relay.is_behind:
            relay.resume()


def best(act: Callable[[], object], times: int = 5) -> float:
    """Seconds of processor time, the best of all."""
    took = []
    for _ in range(times):
        before = time.process_time()
        act()
        took.append(time.process_time() - before)
    return min(took)


def main() -> None:
    dice, data = random.Random(1), chunks()
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(5, 12))) for _ in range(1000)]
    rules = RuleSet([Rule(number, word) for number, word in enumerate(words)])
    wire = [encode(Message(each)) for each in data]
    whole = best(lambda: relayed(wire, rules))
    alone = best(lambda: [json.dumps(json.loads(each), ensure_ascii=False) for each in data])
    print(f"{len(data):,} chunks, {TOGETHER} together: {whole / len(data) * 1e6:.1f} µs each")
    print(f"their JSON alone, parsed and written: {alone / len(data) * 1e6:.1f} µs each")


if __name__ == "__main__":
    main()
