"""The body of a response that should be an event stream but may be a complete JSON completion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from streaming.formats.assembly import is_undecided, looks_like_events, looks_like_json
from streaming.upstreams.response import Body

MAX_BLANK_BYTES = 64 * 1024
"""The limit for white space before the first character that tells what a body is."""


class EventBody:
    """A Body that passes on an event stream, and collects and converts JSON.

    ``check`` raises an error if the JSON is too long.
    """

    def __init__(
        self, body: Body, convert: Callable[[bytes], bytes], check: Callable[[bytes | bytearray], None]
    ) -> None:
        self._body = body
        self._convert = convert
        self._check = check
        self._beginning = bytearray()
        self._is_passed = self._has_ended = False

    @property
    def is_json(self) -> bool:
        return looks_like_json(self._beginning)

    @property
    def is_events(self) -> bool:
        return looks_like_events(self._beginning)

    async def read_beginning(self) -> None:
        """Reads until it is clear what the body is."""
        while not self._has_ended and is_undecided(self._beginning) and len(self._beginning) < MAX_BLANK_BYTES:
            await self._read_more()

    def read(self) -> Awaitable[bytes]:
        return self._body.read() if self._is_passed and not self._has_ended else self._read_first()

    async def _read_first(self) -> bytes:
        if self._is_passed:
            return b""
        await self.read_beginning()
        if self.is_json:
            return self._convert(await self._read_all())
        self._is_passed = True
        return bytes(self._beginning)

    def close(self, *, linger: bool = False) -> None:
        self._body.close(linger=linger)

    def detach(self) -> None:
        self._body.detach()

    async def _read_more(self) -> None:
        chunk = await self._body.read()
        self._has_ended = not chunk
        self._beginning += chunk

    async def _read_all(self) -> bytes:
        while not self._has_ended:
            await self._read_more()
            self._check(self._beginning)
        self._is_passed = True
        return bytes(self._beginning)
