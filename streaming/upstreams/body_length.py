"""Lengths of message bodies (RFC 9112, section 6.3). A length is only sent if the body has exactly that length.

If two servers disagree about a body's length, one takes the rest of it for the next request (request smuggling).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable


class WrongLengthError(ConnectionError):
    """A body is longer or shorter than its Content-Length."""


def announced_length(headers: Iterable[tuple[str, str]]) -> int | None:
    """The Content-Length of a message. None without one, with chunks, or with contradictory lengths.

    A repeated length counts once, as section 6.3 allows.
    """
    headers = [(key.lower(), value) for key, value in headers]
    if any(key == "transfer-encoding" for key, _ in headers):
        return None  # "Transfer-Encoding overrides the Content-Length"
    lengths = {part.strip() for key, value in headers if key == "content-length" for part in value.split(",")}
    length = lengths.pop() if len(lengths) == 1 else ""
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


async def exactly(length: int, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body. WrongLengthError as soon as its length turns out to be different."""
    left = length
    async for piece in body:
        left -= len(piece)
        if left < 0:
            raise WrongLengthError(f"the body is longer than the {length:,} bytes of its Content-Length")
        yield piece
    if left:
        raise WrongLengthError(f"the body is {left:,} bytes shorter than the {length:,} of its Content-Length")


def framed(
    headers: Iterable[tuple[str, str]], body: AsyncIterable[bytes] | bytes
) -> tuple[list[tuple[str, str]], AsyncIterable[bytes] | bytes]:
    """A request's headers and body with consistent framing: a Content-Length only if it is enforced.

    The HTTP client adds the length of ``bytes`` itself, and sends other bodies in chunks without a length.
    """
    headers = list(headers)
    length = announced_length(headers)
    headers = [(key, value) for key, value in headers if key.lower() not in ("content-length", "transfer-encoding")]
    if isinstance(body, bytes) or length is None:
        return headers, body
    return [*headers, ("Content-Length", str(length))], exactly(length, body)
