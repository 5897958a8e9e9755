"""Bodies of responses that are awaited still, have begun, or are complete."""

from __future__ import annotations

import asyncio
from functools import partial

from streaming import request_cleanup
from streaming.upstreams.response import Body, UpstreamResponse


class PendingBody:
    """The body of a response whose head has not arrived yet."""

    def __init__(self, opening: asyncio.Task[UpstreamResponse]) -> None:
        self._opening = opening
        request_cleanup.close_at_end(self.close)

    async def read(self) -> bytes:
        # Shielded: a read that is cancelled for a heartbeat must not cancel the request.
        answer = self._opening.result() if self._opening.done() else await asyncio.shield(self._opening)
        return await answer.read()

    def close(self, *, linger: bool = False) -> None:
        self.detach()
        self._opening.cancel()
        self._opening.add_done_callback(partial(_close_response, linger=linger))

    def detach(self) -> None:
        request_cleanup.release(self.close)


def _close_response(opening: asyncio.Task[UpstreamResponse], linger: bool) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close(linger=linger)


class BegunBody:
    """A body whose first bytes have been read already."""

    def __init__(self, body: Body, first: bytes) -> None:
        self._body = body
        self._first: bytes | None = first

    async def read(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._body.read()

    def close(self, *, linger: bool = False) -> None:
        self._body.close(linger=linger)

    def detach(self) -> None:
        self._body.detach()


class CompleteBody:
    """A body that was read completely."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def close(self, *, linger: bool = False) -> None:
        """Nothing to close."""

    def detach(self) -> None:
        """Nothing to detach."""
