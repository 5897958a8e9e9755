"""Idempotency keys: a request that is sent again with its key gets the answer to the first one.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/, with 409 for a key of another request.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus

from django.http import HttpRequest

from streaming.caller import caller_of
from streaming.errors import BadRequest
from streaming.journal import AlreadyClaimed, StreamInfo
from streaming.requests import read_body

MIN_SECRET_CHARS = 32
"""Of a key by which a stream can be found: a UUID has 36 characters, 128 bits in hexadecimal digits are 32."""

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


async def info_of(request: HttpRequest, stream: str, dialect: str, last_words: bytes = b"") -> StreamInfo:
    """A new stream of this request's caller, claimed by the request's idempotency key."""
    key = _key_of(request) if request.method == "POST" else ""
    owner = (await caller_of(request)).subject  # empty for nobody: then the id alone grants access
    claim = {"claim": _digest(owner, key), "fingerprint": _fingerprint(request)} if key else {}
    return StreamInfo(stream, owner, dialect, last_words, **claim)


async def claim_of(request: HttpRequest) -> str:
    """The claim of this caller's earlier request with the same idempotency key. Raises BadRequest without such a key.

    The key alone grants access to what nobody in particular asked for, so that it has to be as hard to guess as an id.
    """
    key = _key_of(request)
    if len(key) < MIN_SECRET_CHARS:
        raise BadRequest(f"send the Idempotency-Key that began the stream, of at least {MIN_SECRET_CHARS} characters")
    return _digest((await caller_of(request)).subject, key)


def refuse_other_request(info: StreamInfo, claimed: AlreadyClaimed) -> None:
    """Raises BadRequest unless the request that claimed the key is the same."""
    if claimed.fingerprint != info.fingerprint:
        detail = "this Idempotency-Key was used with another request"
        raise BadRequest(detail, HTTPStatus.CONFLICT, code="idempotency_error") from claimed


def _key_of(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if key and not _KEY.fullmatch(key):
        raise BadRequest("an Idempotency-Key has to be 1 to 255 printable ASCII characters")
    return key


def _fingerprint(request: HttpRequest) -> str:
    return _digest(request.path, request.META.get("QUERY_STRING", ""), request.content_type or "", read_body(request))


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()
