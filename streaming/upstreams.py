"""Streams that begin elsewhere. The only door to the network, and the only file that knows httpx.

Upstreams are named in ``settings.STREAMING_UPSTREAMS``: no request can choose a host. Without a "default" there it is
this site's own ``/stream``, reached over a real socket like any other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from multidict import CIMultiDict
from yarl import URL

from streaming.upstream_settings import Settings, read_settings
from streaming.upstream_settings import names as names  # who knows an upstream by its name need not look there

logger = logging.getLogger(__name__)

SIGNATURE_HEADER = "X-Streaming-Signature"
"""By it ``/stream`` knows this site's own relay: see ``sign`` and ``is_signed``."""

SIGNATURE_SECONDS = 60
MAX_ERROR_BYTES = 64 * 1024

MAX_WHOLE_BYTES = 10_000_000
"""Of an answer that comes whole."""

WHOLE_SECONDS = 600.0
"""How long an answer that comes whole is waited for, unless its upstream's TIMEOUTS have a total: it is the clients'
own limit."""

# RFC 9110 section 7.6.1: they speak of one connection, not of the message.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)

# What of a reader's request never reaches an upstream, unless its settings FORWARD it.
PRIVATE = frozenset({"authorization", "cookie"})

# Set here, or of use to this site alone.
OURS = frozenset(
    {"host", "content-length", "expect", "forwarded", "x-csrftoken", SIGNATURE_HEADER.lower()}
    | {f"x-forwarded-{name}" for name in ("for", "host", "proto", "port", "server", "prefix")}
)


class UpstreamError(Exception):
    """An upstream could not be used. ``name`` is its name in the settings."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(f"the upstream {name!r} {sentence}")
        self.name = name


class Unknown(UpstreamError):
    """No upstream has this name."""


class Outside(UpstreamError):
    """The path asked for does not lie below the upstream's URL."""


class BadPrompt(UpstreamError):
    """What the reader sent cannot be asked of it. ``sentence`` says why."""


class PostOnly(UpstreamError):
    """It takes prompts, and those come by POST."""


class Unreachable(UpstreamError):
    """No connection, or none that speaks HTTP."""


class Silent(UpstreamError):
    """It took the request, and was silent for too long."""


class Busy(UpstreamError):
    """More streams are open to it than its settings allow."""


class Broken(UpstreamError):
    """The connection ended in the middle of the response."""


class Refused(UpstreamError):
    """It answered, but not with what it was asked for. ``status`` and ``retry_after`` are its own."""

    def __init__(self, name: str, status: int, sentence: str, retry_after: str = "") -> None:
        super().__init__(name, sentence)
        self.status = status
        self.retry_after = retry_after


def settings_of(name: str, request: HttpRequest) -> Settings:
    """The upstream of this name. Unknown if there is none."""
    if entry := settings.STREAMING_UPSTREAMS.get(name):
        return read_settings(name, entry)
    if name == "default":
        return _built_in(request)
    raise Unknown(name, "does not exist")


def _built_in(request: HttpRequest) -> Settings:
    """This site's own ``/stream``, at the address that this request came in by."""
    server = getattr(request, "scope", {}).get("server")
    if not server or not server[1]:
        raise Unreachable("default", "is this site's own /stream, which needs a server that listens on a TCP port")
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    # A proxy in front may have set the scheme, and speaks plain HTTP to us: then it says so in this header.
    scheme = "http" if "X-Forwarded-Proto" in request.headers else request.scheme
    return Settings(
        "default",
        f"{scheme}://{host}:{server[1]}/stream",
        headers={"Host": _allowed_host(), SIGNATURE_HEADER: sign()},
        verify=False,  # the certificate names the site, not the loopback address
    )


def _allowed_host() -> str:
    host = (settings.ALLOWED_HOSTS or ["localhost"])[0]
    return "localhost" if host == "*" else host.removeprefix(".")


def sign() -> str:
    """A header's value that only this site can make, good for a minute, and for ``/stream`` alone."""
    return signing.TimestampSigner(salt=__name__).sign("stream")


def is_signed(request: HttpRequest) -> bool:
    try:
        value = request.headers.get(SIGNATURE_HEADER, "")
        return signing.TimestampSigner(salt=__name__).unsign(value, SIGNATURE_SECONDS) == "stream"
    except signing.BadSignature:
        return False


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream that was asked: the head of its response, and the body as it comes.

    Of one that is slow to answer the head is what it should be, and the body begins with the wait for it.
    """

    name: str
    format: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    chunks: AsyncGenerator[bytes]
    aclose: Callable[[], Awaitable[None]]
    """Closes the connection; more than once does no harm. A cancellation does not keep it open."""

    @property
    def kind(self) -> str:
        """The media type of its body, without parameters."""
        kind = next((value for key, value in self.headers if key.lower() == "content-type"), "")
        return kind.partition(";")[0].strip().lower()


Header = tuple[str, str]
Fields = dict[str, Any]


class Censor(Protocol):
    """What is done to words that go to an upstream, and to those of its errors."""

    async def see_prompt(self, fields: Fields) -> None:
        """Changes the texts of a request's fields, or raises what keeps it from being sent."""

    def clean(self, words: str) -> str: ...


async def connect(name: str, request: HttpRequest, body: bytes, censor: Censor) -> Upstream:
    """Asks an upstream for a stream of text, in its own format, as ``/transfer`` does.

    Refused if it answers with anything but an event stream.
    """
    upstream = settings_of(name, request)
    if upstream.format == "openai":
        if request.method != "POST":
            raise PostOnly(upstream.name, "takes a prompt, by POST")
        return await complete(upstream, request, _chat_completion_fields(upstream, body), censor)
    target = _target(upstream, "", request.META.get("QUERY_STRING", ""))
    passed = _passed_headers(request)
    if body and "Content-Type" in request.headers:
        passed.append(("Content-Type", request.headers["Content-Type"]))
    body = await _seen(body, censor)
    return await _stream(upstream, str(request.method), target, [*passed, *_FOR_A_STREAM], body, censor)


async def _seen(body: bytes, censor: Censor) -> bytes:
    """A body whose texts the rules have seen, if it is a JSON object. What they leave alone stays as it came."""
    try:
        fields = json.loads(body)
        before = json.dumps(fields)
    except (ValueError, RecursionError):
        return body
    if not isinstance(fields, dict):
        return body
    await censor.see_prompt(fields)
    after = json.dumps(fields)
    return body if after == before else after.encode()


async def complete(upstream: Settings, request: HttpRequest, fields: Fields, censor: Censor) -> Upstream:
    """Asks an upstream for a chat completion as a stream. What comes whole all the same is made into one.

    Refused if it answers with neither.
    """
    await censor.see_prompt(fields)
    body, target = _asked(upstream, {**fields, "stream": True})
    headers = [*_passed_headers(request), ("Content-Type", "application/json"), *_FOR_A_STREAM]
    return await _stream(upstream, "POST", target, headers, body, censor)


async def complete_at_once(upstream: Settings, request: HttpRequest, fields: Fields, censor: Censor) -> str:
    """Asks an upstream for a chat completion that comes whole: its JSON. Refused if it answers with anything else."""
    await censor.see_prompt(fields)
    body, target = _asked(upstream, {**fields, "stream": False})
    headers = [*_passed_headers(request), ("Content-Type", "application/json"), ("Accept", "application/json")]
    seconds = upstream.timeouts.total or WHOLE_SECONDS
    patient = replace(upstream, timeouts=replace(upstream.timeouts, idle=seconds, total=seconds))
    answer = await _send(patient, "POST", target, [*headers, ("Accept-Encoding", "identity")], body, seconds)
    try:
        await _refuse_an_error(upstream, answer, censor)
        if "json" not in answer.kind:
            raise Refused(upstream.name, 502, f"answered with {answer.kind or 'no type'}, not with JSON")
        return (await _whole(upstream, answer)).decode("utf-8", "replace")
    finally:
        await answer.aclose()


# "identity": a compressed stream would have to be unpacked before its text can be read.
_FOR_A_STREAM = [("Accept", "text/event-stream"), ("Accept-Encoding", "identity"), ("Cache-Control", "no-store")]


def _passed_headers(request: HttpRequest) -> list[Header]:
    return [(key, request.headers[key]) for key in ("Accept-Language", "X-Request-ID") if key in request.headers]


def _asked(upstream: Settings, fields: Fields) -> tuple[bytes, URL]:
    path = "" if upstream.url.endswith("/chat/completions") else "chat/completions"
    return json.dumps(fields).encode(), _target(upstream, path, "")


async def _stream(
    upstream: Settings, method: str, target: URL, headers: list[Header], body: bytes, censor: Censor
) -> Upstream:
    """The stream, once its head has come; or after ``head`` seconds without one, so that its reader can be answered."""
    head, idle, total = upstream.timeouts.head, upstream.timeouts.idle, upstream.timeouts.total
    limit = min((seconds for seconds in (idle and max(head, idle), total) if seconds is not None), default=None)
    opening = asyncio.create_task(_opened(upstream, method, target, headers, body, limit, censor))
    try:
        await asyncio.wait({opening}, timeout=None if limit == head else head)
    except asyncio.CancelledError:
        await _given_up(opening)
        raise
    if opening.done():
        return opening.result()
    return Upstream(upstream.name, upstream.format, 200, "OK", [], _late(opening), partial(_given_up, opening))


async def _opened(
    upstream: Settings,
    method: str,
    target: URL,
    headers: list[Header],
    body: bytes,
    limit: float | None,
    censor: Censor,
) -> Upstream:
    answer = await _send(upstream, method, target, headers, body, limit)
    try:
        await _refuse_an_error(upstream, answer, censor)
        if answer.kind == "text/event-stream":
            return answer
        if upstream.format == "openai" and "json" in answer.kind:
            return replace(answer, chunks=_once(_as_stream(upstream, await _whole(upstream, answer), censor)))
        raise Refused(upstream.name, 502, f"answered with {answer.kind or 'no type'}, not with an event stream")  # noqa: TRY301
    except BaseException:
        await answer.aclose()
        raise


async def _late(opening: asyncio.Task[Upstream]) -> AsyncGenerator[bytes]:
    answer = await opening
    async with aclosing(answer.chunks):
        async for chunk in answer.chunks:
            yield chunk


async def _given_up(opening: asyncio.Task[Upstream]) -> None:
    """Whether it has been answered or not."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and not opening.exception():
        await opening.result().aclose()


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def _whole(upstream: Settings, answer: Upstream) -> bytes:
    body = b""
    async with aclosing(answer.chunks):
        async for chunk in answer.chunks:
            body += chunk
            if len(body) > MAX_WHOLE_BYTES:
                raise Refused(upstream.name, 502, f"answered with more than {MAX_WHOLE_BYTES:,} bytes at once")
    return body


def _as_stream(upstream: Settings, body: bytes, censor: Censor) -> bytes:
    """A chat completion that came whole, as the stream of that one message."""
    try:
        fields = json.loads(body)
        is_completion = isinstance(fields["choices"], list)
    except (ValueError, RecursionError, LookupError, TypeError):
        is_completion = False
    if not is_completion:
        said = _words_of(body, censor)
        raise Refused(
            upstream.name, 502, "answered with JSON that is no chat completion" + (f": {said}" if said else "")
        )
    line = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"data: " + line + b"\n\ndata: [DONE]\n\n"


async def relay(name: str, path: str, request: HttpRequest, body: AsyncIterable[bytes] | bytes) -> Upstream:
    """Passes a request on byte for byte, as ``/proxy`` does: its method, path, query, headers and body."""
    upstream = settings_of(name, request)
    target = _target(upstream, path, request.META.get("QUERY_STRING", ""))
    return await _send(
        upstream, str(request.method), target, _relayed_headers(upstream, request), body, upstream.timeouts.head
    )


def _chat_completion_fields(upstream: Settings, body: bytes) -> Fields:
    """A chat completion request made from ``{"prompt": ...}`` or ``{"messages": [...]}``, other fields kept."""
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadPrompt(upstream.name, "takes JSON, which the body is not") from error
    if not isinstance(fields, dict):
        raise BadPrompt(upstream.name, "takes a JSON object, which the body is not")
    prompt = fields.pop("prompt", None)
    if "messages" not in fields and isinstance(prompt, str) and prompt:
        fields["messages"] = [{"role": "user", "content": prompt}]
    if not isinstance(fields.get("messages"), list):
        raise BadPrompt(upstream.name, "takes a text as prompt, or a list as messages; there is neither")
    model = {"model": upstream.models[0]} if upstream.models else {}
    return {**model, **fields}


def _target(upstream: Settings, path: str, query: str) -> URL:
    """The upstream's URL with a raw path below it and a raw query, nothing quoted anew."""
    if leaves_its_base(path):
        raise Outside(upstream.name, "is not asked for a path outside its URL")
    url = upstream.url.rstrip("/") + f"/{path}" if path else upstream.url
    return URL(f"{url}?{query}" if query else url, encoded=True)


def leaves_its_base(path: str) -> bool:
    """Whether a raw path has a ``..`` in it, however often it was quoted and whatever slash is used."""
    raw, before = path.encode(), b""
    while raw != before:
        raw, before = unquote_to_bytes(raw), raw
    return b".." in re.split(rb"[/\\]", raw) or any(byte < 0x20 for byte in raw)


def _relayed_headers(upstream: Settings, request: HttpRequest) -> list[Header]:
    """The reader's end-to-end headers, in their order and as often as they came."""
    scope = getattr(request, "scope", {})
    came = [(key.decode("latin-1"), _text(value)) for key, value in scope.get("headers", ())]
    dropped = HOP_BY_HOP | OURS | _named_by_connection(came) | (PRIVATE - upstream.forward)
    headers = [(key, value) for key, value in came if key.lower() not in dropped]
    headers = [(key, _without_own_cookies(value) if key.lower() == "cookie" else value) for key, value in headers]
    # The length is the message's, not the connection's; without it the body goes out in chunks.
    headers += [(key, value) for key, value in came if key.lower() == "content-length"]
    client = (scope.get("client") or [""])[0]
    before = ", ".join(value for key, value in came if key.lower() == "x-forwarded-for")
    headers += [
        ("X-Forwarded-For", f"{before}, {client}" if before else client),
        ("X-Forwarded-Proto", request.scheme or "http"),
        ("X-Forwarded-Host", request.get_host()),
    ]
    return [(key, value) for key, value in headers if value or key.lower() != "cookie"]


def _without_own_cookies(cookies: str) -> str:
    own = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}
    return "; ".join(pair for part in cookies.split(";") if (pair := part.strip()).partition("=")[0] not in own)


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """A response's headers without those of the connection, nor the upstream's cookies."""
    headers = list(headers)
    dropped = HOP_BY_HOP | _named_by_connection(headers) | {"set-cookie", "set-cookie2"}
    return [(key, value) for key, value in headers if key.lower() not in dropped]


def _named_by_connection(headers: Iterable[Header]) -> set[str]:
    return {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}


def _text(value: bytes) -> str:
    """A header's value: UTF-8 goes out as it came in, and what is not is taken for ISO 8859-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _send(
    upstream: Settings,
    method: str,
    target: URL,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> Upstream:
    """The response's head, ``limit`` seconds after the request at the latest."""
    place = _Place(upstream)
    try:
        response = await _sent(upstream, method, target, headers, body, limit)
    except BaseException:
        place.leave()
        raise

    async def close() -> None:
        place.leave()
        await asyncio.shield(response.aclose())

    # ISO 8859-1 gives each byte back when Django writes them.
    raw = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in response.headers.raw]
    chunks = _chunks(upstream, response, close)
    return Upstream(upstream.name, upstream.format, response.status_code, response.reason_phrase, raw, chunks, close)


_open = Counter[str]()  # the requests to each upstream that are not closed


class _Place:
    """One of those that an upstream has. Busy if there is none."""

    def __init__(self, upstream: Settings) -> None:
        if upstream.concurrency is not None and _open[upstream.name] >= upstream.concurrency:
            raise Busy(upstream.name, f"has {upstream.concurrency} open streams already, and takes no more")
        self._name: str | None = upstream.name
        _open[upstream.name] += 1

    def leave(self) -> None:
        """More than once does no harm."""
        if self._name is not None:
            _open[self._name] -= 1
            self._name = None


async def _sent(
    upstream: Settings,
    method: str,
    target: URL,
    headers: list[Header],
    body: AsyncIterable[bytes] | bytes,
    limit: float | None,
) -> httpx.Response:
    own = {key.lower() for key in upstream.headers}
    headers = [(key, value) for key, value in headers if key.lower() not in own] + list(upstream.headers.items())
    timeouts = upstream.timeouts
    patience = asyncio.timeout(limit)
    if not isinstance(body, bytes) and limit is not None:
        body = _restarting(patience, limit, body)
    # httpx sees the upstream's URL alone: the target goes past its checks, as it was written.
    request = httpx.Request(method, upstream.url, content=body, extensions={"target": target, "headers": headers})
    # The idle limit is ours to keep, see _chunks; httpx's own default of 5 s would end a silent LLM.
    request.extensions["timeout"] = {"connect": timeouts.connect, "read": None, "write": 10.0, "pool": None}
    try:
        async with patience:
            return await _client(upstream.verify).send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
        if patience.expired():
            raise Silent(upstream.name, f"did not answer within {limit:g} s") from error
        raise _translated(upstream, error) from error


async def _restarting(patience: asyncio.Timeout, seconds: float, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The body, each piece of which gives the upstream its time anew: it need not answer what has not arrived."""
    async for piece in body:
        with suppress(RuntimeError):  # it has answered already
            patience.reschedule(asyncio.get_running_loop().time() + seconds)
        yield piece


def _translated(upstream: Settings, error: Exception) -> UpstreamError:
    """The situation behind an exception, most of them aiohttp's own; its kinds overlap, so the order counts."""
    if isinstance(error, TimeoutError):
        return Silent(upstream.name, f"could not be connected to within {upstream.timeouts.connect:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(upstream.name, "cannot be reached")
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return Unreachable(upstream.name, "closed the connection without an answer")
    if isinstance(error, aiohttp.ClientResponseError):
        return Unreachable(upstream.name, "answered, but not in HTTP")
    logger.warning("the upstream %r failed: %r", upstream.name, error)
    return Unreachable(upstream.name, "cannot be used")


async def _chunks(
    upstream: Settings, response: httpx.Response, close: Callable[[], Awaitable[None]]
) -> AsyncGenerator[bytes]:
    """The body's pieces as they come, and the connection closed at the end, at a failure, and when given up."""
    clock, timeouts = asyncio.get_running_loop().time, upstream.timeouts
    idle = timeouts.idle if timeouts.idle is not None else float("inf")
    end = clock() + timeouts.total if timeouts.total is not None else float("inf")
    pieces = response.aiter_raw()
    try:
        while True:
            try:
                async with asyncio.timeout(min(idle, end - clock())):
                    piece = await anext(pieces)
            except TimeoutError as error:
                if clock() >= end:
                    raise Silent(upstream.name, f"was not done within {timeouts.total:g} s") from error
                raise Silent(upstream.name, f"was silent for {idle:g} s") from error
            except StopAsyncIteration:
                return
            yield piece
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        raise Broken(upstream.name, "broke off in the middle of its answer") from error
    finally:
        await close()


async def _refuse_an_error(upstream: Settings, answer: Upstream, censor: Censor) -> None:
    if answer.status == 200:
        return
    said = _words_of(await _beginning(answer), censor) if "json" in answer.kind else ""
    sentence = f"answered {answer.status} {answer.reason}".rstrip() + (f": {said}" if said else "")
    retry_after = next((value for key, value in answer.headers if key.lower() == "retry-after"), "")
    raise Refused(upstream.name, answer.status, sentence, retry_after)


async def _beginning(answer: Upstream) -> bytes:
    """An error's body; none if it is longer than an error is."""
    body = b""
    async with aclosing(answer.chunks):
        async for chunk in answer.chunks:
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                return b""
    return body


def _words_of(body: bytes, censor: Censor) -> str:
    """What the body of an error says, of RFC 9457's detail or of OpenAI's message; 500 characters at most."""
    try:
        fields = json.loads(body)
        said = fields.get("detail") or fields["error"]["message"]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""
    return censor.clean(str(said)[:500])


class _ExactTransport(AiohttpTransport):
    """httpx-aiohttp's, but a request goes out as it was written: path unquoted by nobody, repeated headers apart."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        headers: CIMultiDict[str] = CIMultiDict(request.extensions["headers"])
        timeout = request.extensions["timeout"]
        response = await self.client.request(
            request.method,
            request.extensions["target"],
            headers=headers,
            data=_body(request),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout["connect"], sock_read=timeout["read"]),
        )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_WholeStream(response),
            request=request,
            extensions={"reason_phrase": (response.reason or "").encode()},
        )

    def get_client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.ssl_context, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Nothing of its own in a request that is somebody else's.
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )


class _WholeStream(AiohttpResponseStream):
    """httpx-aiohttp's, but what came before a connection broke off is given out before its error is raised."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._aiohttp_response.content
        try:
            async for piece in content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError):
            content.set_exception(None)  # type: ignore[arg-type]  # which else would be raised in place of the rest
            if rest := content.read_nowait():
                yield rest
            raise


def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes] | None:
    if isinstance(request.stream, httpx.ByteStream):
        return request.content or None
    return aiter(request.stream)  # type: ignore[arg-type]


# One client for each event loop: making one costs 100 ms, and its connections are kept alive in it.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, httpx.AsyncClient]] = WeakKeyDictionary()


def _client(verify: bool) -> httpx.AsyncClient:
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if verify not in clients:
        # No cookie of one reader's stream may travel with another's.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        transport = _ExactTransport(verify=verify)
        clients[verify] = httpx.AsyncClient(transport=transport, cookies=no_cookies, follow_redirects=False)
    return clients[verify]


async def close() -> None:
    """Closes the connections that this event loop keeps alive. What is asked for afterwards makes new ones."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()
