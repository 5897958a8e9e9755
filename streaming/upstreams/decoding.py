"""Decompresses bodies. CDNs compress responses even if the request does not accept it.

A body is decoded while it arrives, at most DECODED_BYTES at a time, so that a decompression bomb takes no memory, and
only up to MAX_EXPANSION. RFC 9110, section 8.4.1; zstd: RFC 9659.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import brotli

from streaming.upstreams.errors import Broken, Refused
from streaming.upstreams.response import Body, UpstreamResponse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODED_BYTES = 64 * 1024
"""About how much is decoded at a time; brotli may return half as much again."""

MAX_EXPANSION = 200
"""The largest ratio of decoded to received bytes, after FREE_BYTES. Text has a ratio of 3 to 30."""

FREE_BYTES = 1 << 20

MAX_EMPTY_MEMBERS = 100
"""In a row. Each takes about 30 microseconds and decodes to nothing, so MAX_EXPANSION does not limit them."""

MAX_CODINGS = 2
"""How many codings may be applied to one body. No real server applies more."""


class TooManyEmptyMembersError(Exception):
    """A body with too many empty gzip members or zstd frames."""


class Decoder(Protocol):
    """Decodes one content coding. ``is_complete``: the input so far is a complete body."""

    @property
    def is_complete(self) -> bool: ...

    def feed(self, data: bytes) -> None: ...

    def take(self) -> bytes:
        """About DECODED_BYTES; b"" if it needs more input. Invalid input raises an exception of the library."""


class ZlibDecoder:
    """gzip (RFC 1952), also with several members; deflate as in RFC 9110, or raw, as some servers send it."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding != "deflate"
        self._decoder: Any = zlib.decompressobj(16 + zlib.MAX_WBITS) if self._is_gzip else None
        self._data = b""
        self._was_full = self._is_complete = False
        self._empty_members = 0

    @property
    def is_complete(self) -> bool:
        return self._is_complete

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        if self._decoder is None and not self._found_decoder():
            return b""
        decoded = b""
        while not decoded and (not self._is_complete or self._next_member()) and (self._data or self._was_full):
            decoded = self._decoder.decompress(self._data, DECODED_BYTES)
            self._was_full = len(decoded) == DECODED_BYTES
            self._data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
            self._is_complete = self._decoder.eof
            self._empty_members = _count_empty(self._empty_members, decoded, self._is_complete)
        return decoded

    def _found_decoder(self) -> bool:
        if len(self._data) < 2:
            return False
        has_header = self._data[0] & 0x0F == 8 and int.from_bytes(self._data[:2]) % 31 == 0
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        return True

    def _next_member(self) -> bool:
        """Whether another member follows. Anything else is padding, which the gzip program ignores, too."""
        if self._data == b"\x1f":
            return False  # too short to tell
        if not self._is_gzip or not self._data.startswith(b"\x1f\x8b"):
            self._data = b""
            return False
        self._decoder, self._is_complete = zlib.decompressobj(16 + zlib.MAX_WBITS), False
        return True


class BrotliDecoder:
    """br (RFC 7932)."""

    def __init__(self, coding: str) -> None:
        self._decoder: Any = brotli.Decompressor()
        self._data = b""

    @property
    def is_complete(self) -> bool:
        return bool(self._decoder.is_finished())

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        if self.is_complete:
            return b""
        # While it has output left it accepts no input, not even empty input.
        data = b""
        if self._decoder.can_accept_more_data():
            data, self._data = self._data, b""
        return bytes(self._decoder.process(data, output_buffer_limit=DECODED_BYTES))


class ZstdDecoder:
    """zstd (RFC 8878), any number of frames, with windows of at most 8 MB, as RFC 9659 requires for HTTP."""

    _OPTIONS = {int(zstd.DecompressionParameter.window_log_max): 23}

    def __init__(self, coding: str) -> None:
        self._decoder = zstd.ZstdDecompressor(options=self._OPTIONS)
        self._data = b""
        self._empty_frames = 0

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof and not self._data

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes:
        decoded = b""
        while not decoded and self._may_go_on():
            data, self._data = self._data, b""
            decoded = self._decoder.decompress(data, DECODED_BYTES)
            if self._decoder.eof:
                self._data = self._decoder.unused_data
            self._empty_frames = _count_empty(self._empty_frames, decoded, self._decoder.eof)
        return decoded

    def _may_go_on(self) -> bool:
        if self._decoder.eof and self._data:
            self._decoder = zstd.ZstdDecompressor(options=self._OPTIONS)
        return not self._decoder.eof and bool(self._data or not self._decoder.needs_input)


def _count_empty(before: int, decoded: bytes, has_ended: bool) -> int:
    """The number of empty members in a row."""
    count = 0 if decoded else before + has_ended
    if count > MAX_EMPTY_MEMBERS:
        raise TooManyEmptyMembersError
    return count


_DECODERS: dict[str, Callable[[str], Decoder]] = {
    "gzip": ZlibDecoder,
    "x-gzip": ZlibDecoder,  # "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"."
    "deflate": ZlibDecoder,
    "br": BrotliDecoder,
    "zstd": ZstdDecoder,
}


def decoded(response: UpstreamResponse) -> UpstreamResponse:
    """The response with its body decoded. Reading a body that cannot be decoded raises Refused."""
    listed = ",".join(value for key, value in response.headers if key.lower() == "content-encoding")
    codings = [coding.strip().lower() for coding in listed.split(",")]
    body = response.body
    # "in the order in which they were applied"
    for number, coding in enumerate(reversed([coding for coding in codings if coding not in ("", "identity")])):
        is_known = coding in _DECODERS and number < MAX_CODINGS
        body = DecodedBody(response.name, coding, body) if is_known else UnreadableBody(response.name, listed, body)
    return response if body is response.body else replace(response, body=body)


class DecodedBody:
    """A body in one content coding, decoded while it arrives."""

    def __init__(self, name: str, coding: str, body: Body) -> None:
        self._name = name
        self._coding = coding
        self._body = body
        self._decoder = _DECODERS[coding](coding)
        self._has_ended = False
        self._came = self._given = 0

    async def read(self) -> bytes:
        while True:
            if chunk := self._take():
                return chunk
            if self._has_ended:
                return b""
            data = await self._body.read()
            if data:
                self._came += len(data)
                self._decoder.feed(data)
            else:
                self._has_ended = True
                if self._came and not self._decoder.is_complete:
                    raise Broken(self._name, f"ended in the middle of its {self._coding} body")

    def _take(self) -> bytes:
        try:
            chunk = self._decoder.take()
        except (zlib.error, brotli.error, zstd.ZstdError, TooManyEmptyMembersError) as error:
            self.close()
            raise Broken(self._name, f"sent a body that is not the {self._coding} it is said to be") from error
        self._given += len(chunk)
        if self._given > FREE_BYTES and self._given > MAX_EXPANSION * self._came:
            self.close()
            raise Refused(
                self._name, 502, f"sent a {self._coding} body that is more than {MAX_EXPANSION} times as long"
            )
        return chunk

    def close(self, *, linger: bool = False) -> None:
        self._body.close(linger=linger)

    def detach(self) -> None:
        self._body.detach()


class UnreadableBody:
    """A body in an unknown content coding. Its text cannot be moderated, so it is not relayed."""

    def __init__(self, name: str, codings: str, body: Body) -> None:
        self._name = name
        self._codings = codings
        self._body = body

    async def read(self) -> bytes:
        self.close()
        raise Refused(self._name, 502, f"answered in the content coding {self._codings!r}, which cannot be read here")

    def close(self, *, linger: bool = False) -> None:
        self._body.close(linger=linger)

    def detach(self) -> None:
        self._body.detach()
