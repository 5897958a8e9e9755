"""A TCP proxy on loopback that resets each connection after a planned number of response bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.conftest import DEADLINE

Plan = Callable[[bytes], int | None]
"""After how many bytes of its answer a connection is cut that began with these bytes; None: not at all."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a RST, as after a network failure."""


class CuttingProxy:
    def __init__(self, port: int, plan: Plan = lambda _: None) -> None:
        self.plan = plan
        self.cuts = 0
        self._target = port
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """All that is open."""
        self._run(self._cut_all())

    def stop(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: object) -> asyncio.Server:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)  # type: ignore[arg-type]

    async def _cut_all(self) -> None:
        for writer in list(self._open):
            self.cuts += 1
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            upstream, onward = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(writer)
            onward.write(head)
            forward = asyncio.create_task(_pass(reader, onward))
            try:
                if not await self._answer(upstream, writer, self.plan(head)):
                    self.cuts += 1
                    _reset(writer)
            finally:
                self._open.discard(writer)
                forward.cancel()
                _reset(onward)
                writer.close()

    async def _answer(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> bool:
        """Whether the answer was passed on to its end."""
        while data := await upstream.read(65536 if left is None else max(1, min(left, 65536))):
            if left is not None:
                if left <= 0:
                    return False
                left -= len(data)
            writer.write(data)
            await writer.drain()
        return True


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
