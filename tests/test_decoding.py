"""Decompression of bodies: every coding in every cut, invalid data and decompression bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import brotli
import pytest

from streaming.upstreams import Broken, Refused, UpstreamError, UpstreamResponse
from streaming.upstreams.decoding import DECODED_BYTES, MAX_EXPANSION, decoded, zstd

TEXT = "".join(f'data: {{"delta": "{number} 中文"}}\n\n' for number in range(300)).encode()


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])),
    "gzip with padding": ("gzip", lambda data: gzip.compress(data) + bytes(20)),
    "deflate": ("deflate", zlib.compress),
    "deflate without its header": ("deflate", bare_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:])),
    "one over another": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    "identity": ("identity", bytes),
    "no coding": ("", bytes),
}


class Body:
    """A body that returns these chunks, one with each read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.is_closed = False

    async def read(self) -> bytes:
        return next(self._chunks, b"")

    def close(self, *, linger: bool = False) -> None:
        self.is_closed = True

    def detach(self) -> None:
        raise NotImplementedError


def response(coding: str, chunks: Iterable[bytes]) -> UpstreamResponse:
    headers = [("Content-Encoding", coding)] if coding else []
    return decoded(UpstreamResponse("x", "native", 200, "OK", headers, Body(chunks)))


async def read_all(answer: UpstreamResponse) -> bytes:
    data = b""
    while chunk := await answer.read():
        data += chunk
    assert await answer.read() == b""
    return data


@pytest.mark.parametrize(("coding", "encode"), CODINGS.values(), ids=CODINGS)
class TestABody:
    async def test_is_decoded(self, coding: str, encode: Callable[[bytes], bytes]) -> None:
        assert await read_all(response(coding, [encode(TEXT)])) == TEXT

    async def test_is_the_same_in_every_cut(self, coding: str, encode: Callable[[bytes], bytes]) -> None:
        data = encode(TEXT)

        for at in range(1, min(len(data), 800)):
            assert await read_all(response(coding, [data[:at], data[at:]])) == TEXT, at

    async def test_is_the_same_byte_by_byte(self, coding: str, encode: Callable[[bytes], bytes]) -> None:
        data = encode(TEXT)

        assert await read_all(response(coding, [data[at : at + 1] for at in range(len(data))])) == TEXT

    async def test_can_be_empty(self, coding: str, encode: Callable[[bytes], bytes]) -> None:
        assert await read_all(response(coding, [])) == b""
        assert await read_all(response(coding, [encode(b"")])) == b""


ENCODED = {name: pair for name, pair in CODINGS.items() if pair[0] not in ("identity", "")}


@pytest.mark.parametrize(("coding", "encode"), ENCODED.values(), ids=ENCODED)
class TestAnInvalidBody:
    async def test_that_ends_too_early_is_an_error(self, coding: str, encode: Callable[[bytes], bytes]) -> None:
        data = encode(TEXT).rstrip(b"\0")

        for end in (1, 2, 12, len(data) // 2, len(data) - 1):
            if "two" in coding or (end == len(data) - 1 and data != encode(TEXT)):
                continue
            with pytest.raises(UpstreamError):
                await read_all(response(coding, [data[:end]]))

    async def test_in_another_encoding_than_announced_is_an_error(
        self, coding: str, encode: Callable[[bytes], bytes]
    ) -> None:
        with pytest.raises(Broken, match=r"is not the .* it is said to be|in the middle of its"):
            await read_all(response(coding, [b"data: hello\n\n" * 20]))


EMPTY_MEMBERS = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("coding", EMPTY_MEMBERS)
async def test_empty_members_before_the_text_are_passed_over(coding: str) -> None:
    encode = EMPTY_MEMBERS[coding]

    assert await read_all(response(coding, [encode(b"") * 50 + encode(b"Hello")])) == b"Hello"


@pytest.mark.parametrize("coding", EMPTY_MEMBERS)
@pytest.mark.parametrize("pieces", [1, 4000])
async def test_empty_members_without_end_are_refused_and_take_no_time(coding: str, pieces: int) -> None:
    empty = EMPTY_MEMBERS[coding](b"")

    with pytest.raises(Broken):
        await read_all(response(coding, [empty * (4000 // pieces)] * pieces))


BOMBS = {
    "gzip": lambda: gzip.compress(bytes(300_000_000)),
    "deflate": lambda: zlib.compress(bytes(300_000_000)),
    "br": lambda: brotli.compress(bytes(300_000_000), quality=4),
    "zstd": lambda: zstd.compress(bytes(300_000_000)),
}


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_decompression_bomb_is_refused_and_uses_little_memory(coding: str) -> None:
    answer = response(coding, [BOMBS[coding]()])
    refused = pytest.raises(Refused, match=f"a {coding} body that is more than {MAX_EXPANSION} times as long")

    tracemalloc.start()
    try:
        with refused:
            while chunk := await answer.read():
                assert len(chunk) <= 2 * DECODED_BYTES
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    body: Any = answer.body
    assert body._body.is_closed
    assert peak < 20_000_000


@pytest.mark.parametrize("coding", ["compress", "snappy", "gzip, foo", "br, br, br"])
async def test_an_unknown_content_coding_is_named(coding: str) -> None:
    with pytest.raises(Refused, match=f"in the content coding '{coding}'") as refused:
        await read_all(response(coding, [b"x"]))

    assert refused.value.status == 502


async def test_complete_data_is_returned_before_the_rest_arrives() -> None:
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first = compressor.compress(b"data: a\n\n") + compressor.flush(zlib.Z_SYNC_FLUSH)
    rest = compressor.compress(b"data: b\n\n") + compressor.flush()
    answer = response("gzip", [first, rest])

    assert await answer.read() == b"data: a\n\n"
    assert await answer.read() == b"data: b\n\n"
