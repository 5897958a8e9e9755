"""An upstream for benchmarks: paced event streams, each event with the moment it was sent.

    python tests/benchmarks/paced_upstream.py SECONDS EVENTS_A_SECOND

prints its port. ``GET /native`` and ``POST /v1/chat/completions`` answer with a stream in that format;
``/native/burst/N`` with N events at once, ``/native/idle`` with one event and then silence. It only writes:
it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
ENDS = {True: b"data: [DONE]\n\n", False: b'event: done\ndata: {"reason": "stop"}\n\n'}
WORDS = ["one", "moment", "please", "while", "the", "answer", "is", "being", "written", "in", "small", "pieces"]


def event(number: int, *, is_openai: bool) -> bytes:
    """One event of about 20 characters of text. ``@`` and nanoseconds say when it was sent."""
    text = f"{WORDS[number % len(WORDS)]} @{time.monotonic_ns()} "
    if not is_openai:
        return f"data: {json.dumps({'delta': text})}\n\n".encode()
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


LAST_CHUNK = (
    b'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",'
    b' "choices": [{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}]}\n\n'
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float, rate: float) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"(?i)content-length: (\d+)", head):
        await reader.readexactly(int(length[1]))
    target = head.split(b" ", 2)[1]
    is_openai = b"chat/completions" in target
    writer.write(HEAD)
    if burst := re.search(rb"burst/(\d+)", target):
        for number in range(int(burst[1])):
            writer.write(event(number, is_openai=is_openai))
            if number % 100 == 0:
                await writer.drain()
    elif b"/idle" in target:
        writer.write(event(0, is_openai=is_openai))
        await reader.read()
    else:
        began, total = time.monotonic(), int(seconds * rate)
        for number in range(total):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            writer.write(event(number, is_openai=is_openai))
    writer.write((LAST_CHUNK if is_openai else b"") + ENDS[is_openai])
    await writer.drain()
    writer.close()


async def main(seconds: float, rate: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer, seconds, rate)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), float(sys.argv[2])))
