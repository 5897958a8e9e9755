"""An upstream that is cut at any byte: a truncated answer is never reported as complete."""

from __future__ import annotations

import asyncio
import json

import pytest

from streaming.sse import Parser
from tests.conftest import DEADLINE
from tests.faults.conftest import FaultySite, ask, request_for
from tests.faults.upstream import BODIES, TEXT, answer

TOGETHER = 16
"""Requests at once."""

EVERY = 37
"""Bytes between the cuts of the short run; the long one cuts after each."""


async def ask_all(site: FaultySite, address: str, kind: str, how: str, places: range) -> dict[int, object]:
    limit = asyncio.Semaphore(TOGETHER)

    async def one(at: int) -> object:
        async with limit:
            return await ask(site, request_for(address, kind, f"{how}-{at}"))

    return dict(zip(places, await asyncio.gather(*map(one, places)), strict=True))


def places(kind: str, step: int) -> range:
    return range(0, len(answer(kind)), step)


def check_native(kind: str, at: int, got: object) -> None:
    """A problem, or a stream that ends with an error; its text is the beginning of the whole."""
    body = got.body  # type: ignore[attr-defined]
    if got.status != 200:  # type: ignore[attr-defined]
        assert got.status == 502, (at, got)  # type: ignore[attr-defined]
        assert json.loads(body)["status"] == 502
        return
    messages = Parser().feed(body)
    text = "".join(json.loads(message.data).get("delta", "") for message in messages if message.event == "message")
    assert TEXT.startswith(text), (at, got)
    last = [(message.event, json.loads(message.data)) for message in messages][-2:]
    if last[-1] == ("done", {"reason": "stop"}):
        # It has said its last word; only the end of its body is missing.
        assert text == TEXT, (at, got)
    else:
        assert last[-1] == ("done", {"reason": "error"}), (at, got)
        assert last[0][0] == "error", (at, got)
        assert last[0][1]["status"] == 502, (at, got)
    assert got.is_whole, (at, got)  # type: ignore[attr-defined]


def check_openai(kind: str, at: int, got: object) -> None:
    """An error in OpenAI's shape, or a stream with one, or the whole of it to ``[DONE]``."""
    body = got.body  # type: ignore[attr-defined]
    if got.status != 200:  # type: ignore[attr-defined]
        assert got.status == 502, (at, got)  # type: ignore[attr-defined]
        assert "message" in json.loads(body)["error"]
        return
    data = [message.data for message in Parser().feed(body)]
    chunks = [json.loads(each) for each in data if each != "[DONE]"]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert TEXT.startswith(text), (at, got)
    if data[-1] == "[DONE]":
        assert text == TEXT, (at, got)
    else:
        assert "error" in chunks[-1], (at, got)


def check_proxy(kind: str, at: int, got: object) -> None:
    """The bytes as far as they came, in a body that is seen to be broken."""
    if got.status == 502:  # type: ignore[attr-defined]
        return
    assert got.status == 200, (at, got)  # type: ignore[attr-defined]
    assert not got.is_whole, (at, got)  # type: ignore[attr-defined]
    assert BODIES[kind].startswith(got.body.rstrip(b"\r\n") if got.body else b""), (at, got)  # type: ignore[attr-defined]


CHECKS = {"/transfer": check_native, "/proxy": check_proxy, "/v1/chat/completions": check_openai}
CASES = [
    *(("/transfer", kind) for kind in BODIES),
    ("/proxy", "native"),
    ("/v1/chat/completions", "openai"),
]


@pytest.mark.parametrize("how", ["cut", "reset"])
@pytest.mark.parametrize(("address", "kind"), CASES)
@pytest.mark.parametrize("step", [EVERY, pytest.param(1, marks=pytest.mark.long)])
async def test_a_truncated_answer_is_never_reported_as_complete(
    faulty_site: FaultySite, address: str, kind: str, how: str, step: int
) -> None:
    before = faulty_site.counts()

    answers = await ask_all(faulty_site, address, kind, how, places(kind, step))

    for at, got in answers.items():
        CHECKS[address](kind, at, got)
    await asyncio.to_thread(faulty_site.comes_back_to, before)


@pytest.mark.parametrize(("address", "kind"), CASES)
async def test_a_complete_answer_is_reported_as_complete(faulty_site: FaultySite, address: str, kind: str) -> None:
    got = await ask(faulty_site, request_for(address, kind, f"cut-{len(answer(kind))}"))

    assert (got.status, got.is_whole) == (200, True)
    if address == "/proxy":
        assert got.body == BODIES[kind]
    else:
        CHECKS[address](kind, 0, got)


@pytest.mark.parametrize(("address", "kind"), CASES)
async def test_the_head_is_sent_before_the_upstream_sends_data(
    faulty_site: FaultySite, address: str, kind: str
) -> None:
    """Some clients give up on an answer without a head long before a model that thinks says its first word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", faulty_site.port)
    writer.write(request_for(address, kind, "silent-0"))

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE / 2)

    assert head.split()[1] == b"200"
    if address == "/v1/chat/completions":
        with pytest.raises(TimeoutError):  # no comment either: a heartbeat is for a stream that has been silent
            await asyncio.wait_for(reader.read(1), 0.3)
    writer.close()
