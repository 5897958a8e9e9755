"""How long a body is: RFC 9112, section 6.3. What is sent says it, never what somebody else announced.

A neighbour that counts a body otherwise than we do takes the rest of it for the next request on the connection, or the
next client's request for the rest of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable


class WrongLengthError(ConnectionError):
    """A body is longer or shorter than its Content-Length."""


def announced_length(headers: Iterable[tuple[str, str]]) -> int | None:
    """The bytes of body that a message's headers announce. None if they announce none, chunks, or several lengths.

    One length that is repeated counts once, as section 6.3 allows.
    """
    headers = [(key.lower(), value) for key, value in headers]
    if any(key == "transfer-encoding" for key, _ in headers):
        return None  # "Transfer-Encoding overrides the Content-Length"
    lengths = {part.strip() for key, value in headers if key == "content-length" for part in value.split(",")}
    length = lengths.pop() if len(lengths) == 1 else ""
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


async def exactly(length: int, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body as it comes. WrongLengthError as soon as it is known to have another length."""
    left = length
    async for piece in body:
        left -= len(piece)
        if left < 0:
            raise WrongLengthError(f"the body is longer than the {length:,} bytes that were announced")
        yield piece
    if left:
        raise WrongLengthError(f"the body is {left:,} bytes shorter than the {length:,} that were announced")


def framed(
    headers: Iterable[tuple[str, str]], body: AsyncIterable[bytes] | bytes
) -> tuple[list[tuple[str, str]], AsyncIterable[bytes] | bytes]:
    """A request's headers and body as they may be sent: with a Content-Length only if exactly so many bytes follow.

    Of ``bytes`` the HTTP client counts the length itself, and without one it sends a body in chunks.
    """
    headers = list(headers)
    length = announced_length(headers)
    headers = [(key, value) for key, value in headers if key.lower() not in ("content-length", "transfer-encoding")]
    if isinstance(body, bytes) or length is None:
        return headers, body
    return [*headers, ("Content-Length", str(length))], exactly(length, body)
