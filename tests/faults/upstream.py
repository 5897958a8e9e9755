"""An upstream that cuts or resets its response after a given number of bytes, or never ends it.

The request names the fault in its path, its query or its body: ``fault=<kind>-<how>-<bytes>.``
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
from contextlib import suppress

from tests.conftest import DEADLINE

WORDS = ["The ", "quick ", "brown ", "狐狸 ", "jumps."]
TEXT = "".join(WORDS)


def _events(*data: object, done: bytes = b"") -> bytes:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in data]
    return b"".join(f"data: {line}\n\n".encode() for line in lines) + done


BODIES = {
    "native": _events(*({"delta": word} for word in WORDS), done=b'event: done\ndata: {"reason": "stop"}\n\n'),
    "text": _events(*WORDS),
    "openai": _events(
        *({"id": "c", "choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS),
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        "[DONE]",
    ),
}
ENDLESS = {
    "native": _events({"delta": "again "}),
    "text": _events("again "),
    "openai": _events({"id": "c", "choices": [{"index": 0, "delta": {"content": "again "}}]}),
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def answer(kind: str) -> bytes:
    body = BODIES[kind]
    half = len(body) // 2
    return HEAD + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))


class FaultyUpstream:
    """Serves in a thread of its own, and knows how many of its connections are open."""

    def __init__(self) -> None:
        self.open = self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(DEADLINE)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.accepted += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"(?i)content-length: (\d+)", request):
            request += await reader.readexactly(int(length[1]))
        found = re.search(rb"fault=(\w+)-(\w+)-(\d+)\.", request)
        assert found, request
        kind, how, at = found[1].decode(), found[2], int(found[3])
        if how == b"endless":
            await self._speak_until_left(kind, at / 1000, reader, writer)
            return
        if how == b"silent":
            writer.write(HEAD)
            await reader.read()
            return
        writer.write(answer(kind)[:at])
        await writer.drain()
        if how == b"reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _speak_until_left(
        self, kind: str, interval: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(HEAD)
        left = asyncio.ensure_future(reader.read())
        left.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not left.done():
            writer.write(b"%x\r\n%s\r\n" % (len(ENDLESS[kind]), ENDLESS[kind]))
            await writer.drain()
            await asyncio.wait({left}, timeout=interval)

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()
