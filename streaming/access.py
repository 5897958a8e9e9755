"""Access control for views: logins, API keys, cross-origin requests and CSRF. The guard also answers
the view's errors, with ``problems.py``."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import global_settings, settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve, reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from streaming import api_keys, conf, limits, registry, upstream_settings, upstreams
from streaming.caller import caller_of
from streaming.errors import Denied, PromptBlocked
from streaming.formats import FormatError
from streaming.log_lines import request_id
from streaming.problems import EXPECTED, Problem, Renderer, problem_json, problem_of
from streaming.requests import BODY_IN_SCOPE, body_refusal, collect_body
from streaming.responses import label_of
from streaming.usage_meter import meter_of

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def guarded(
    *methods: str,
    everyone: bool | Callable[..., bool] = False,
    signed: bool = False,
    arriving: bool = False,
    limited: bool = False,
    errors: Renderer = problem_json,
) -> Callable[[View], View]:
    """Decorates a view: only callers who may use upstreams, only these methods (none: any), errors become problems.

    ``everyone``: any caller is allowed; or a function of the view's arguments that decides this. ``signed``: a request
    signed by this site itself is allowed from any origin. ``arriving``: the view reads the body while it arrives;
    otherwise it is read here, after the caller was authorized. ``limited``: it opens a stream, which counts against the
    caller's limits; what only authorized callers may do also counts as a request. ``errors`` renders problems for the
    view's clients. GET includes HEAD.
    """
    if "GET" in methods:
        methods = tuple(dict.fromkeys(("GET", "HEAD", *methods)))

    def decorate(view: View) -> View:
        @csrf_exempt  # require_caller checks it, and only where a session authorizes the request
        @functools.wraps(view)
        async def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            origin = None
            try:
                _require_asgi(request)
                relayed = signed and upstreams.is_signed(request)
                origin = None if relayed else _allowed_origin(request)
                if origin and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                    return _add_cors(HttpResponse(status=HTTPStatus.NO_CONTENT), request, origin)
                _check_method(request, methods)
                api_keys.hide_from_upstreams(request)
                is_open = everyone(**kwargs) if callable(everyone) else everyone
                if is_open:
                    await _limit_anonymous_body(request)
                elif not relayed:
                    await require_caller(request)
                if limited and not relayed:
                    await limits.admit(request, uses_upstream=not is_open)
                if not arriving:
                    await collect_body(request)
                response = await registry.answered(functools.partial(view, request, *args, **kwargs))
                if request.method == "HEAD" and response.streaming and not arriving:
                    response = await _head_response(response)
                _end_usage(request, response)
            except EXPECTED as error:
                response = errors(_problem_of(error, request))
                _end_usage(request, response, error)
            except Exception:
                _end_usage(request, HttpResponse(status=HTTPStatus.INTERNAL_SERVER_ERROR))
                raise
            for name, value in limits.headers_of(request).items():
                response[name] = value
            if identity := request_id.get():
                response.setdefault("X-Request-ID", identity)
            return _add_cors(response, request, origin) if "Origin" in request.headers else response

        guard.reads_its_body = True  # type: ignore[attr-defined]  # see streaming/request_body.py
        guard.errors = errors  # type: ignore[attr-defined]  # see problems.renderer_at
        return guard

    return decorate


def _require_asgi(request: HttpRequest) -> None:
    if not hasattr(request, "scope"):
        detail = "this server runs the site under WSGI, which cannot stream: use an ASGI server, such as daphne"
        raise Denied(HTTPStatus.NOT_IMPLEMENTED, detail)


def _problem_of(error: Exception, request: HttpRequest) -> Problem:
    if isinstance(error, upstreams.UpstreamError | FormatError) and (refusal := body_refusal(request)):
        error = refusal  # passing the body on failed because of what the client sent
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s failed", label_of(request), exc_info=error)
    return problem


def _end_usage(request: HttpRequest, response: HttpResponseBase, error: Exception | None = None) -> None:
    """Ends the measuring of a request that is answered at once; a stream does that at its own end."""
    if (meter := meter_of(request)) and not response.streaming:
        meter.bytes = meter.bytes or len(response.content)  # type: ignore[attr-defined]
        if error:
            meter.failed(error)
        is_error = response.status_code >= HTTPStatus.BAD_REQUEST
        reason = "blocked" if isinstance(error, PromptBlocked) else "error" if is_error else "stop"
        meter.end(reason, response.status_code)


def _check_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if methods and request.method not in methods:
        allowed = ", ".join(methods)
        detail = f"{request.method} is not allowed here; allowed: {allowed}"
        raise Denied(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})


async def _head_response(response: HttpResponseBase) -> HttpResponse:
    """The response to HEAD: the stream's status and headers (RFC 9110, section 9.3.2). The stream never starts."""
    await sync_to_async(response.close)()
    return HttpResponse(status=response.status_code, headers=dict(response.items()))


async def require_caller(request: HttpRequest) -> None:
    """Denied unless a logged-in user or a valid API key made the request, or STREAMING_ACCESS is ``public``."""
    if conf.access() == "public":
        return
    caller = await caller_of(request)
    if not caller.is_known:
        raise _unauthorized(had_key=bool(api_keys.key_in(request)))
    if caller.api_key is None and request.method not in SAFE_METHODS and not has_csrf_token(request):
        raise Denied(HTTPStatus.FORBIDDEN, "the X-CSRFToken header is missing or wrong: reload the page")


async def require_permission(request: HttpRequest, upstream: str, model: str | None = None) -> None:
    """Denied if the request's API key is limited to other upstreams or models.

    ``model`` is the upstream's own name of the model; None where nobody looks at it: a key that is limited to some
    models then may not use the upstream at all.
    """
    key = (await caller_of(request)).api_key
    if key is None or upstreams.is_builtin(upstream):
        return
    names = () if model is None or not key.allowed_models else upstream_settings.public_names(upstream, model)
    if not key.may_use(upstream, names):
        what = f"the upstream {upstream!r}" if model is None else f"the model {model[:100]!r}"
        raise Denied(HTTPStatus.FORBIDDEN, f"this API key may not use {what}", code="model_not_allowed")


async def has_permission(request: HttpRequest, upstream: str, model: str | None = None) -> bool:
    """Whether ``require_permission`` would let this request pass."""
    try:
        await require_permission(request, upstream, model)
    except Denied:
        return False
    return True


async def may_use_upstreams(request: HttpRequest) -> bool:
    """Whether ``require_caller`` would let this request pass."""
    try:
        await require_caller(request)
    except Denied:
        return False
    return True


def _unauthorized(*, had_key: bool) -> Denied:
    login = login_path()
    detail = "this API key is unknown or was revoked" if had_key else f"log in at {login}, or send an API key"
    bearer = 'Bearer realm="streams"' + (', error="invalid_token"' if had_key else "")
    challenge = f'{bearer}, Cookie realm="streams", form-action="{login}"'
    code = "invalid_api_key" if had_key else None
    return Denied(HTTPStatus.UNAUTHORIZED, detail, login=login, code=code, headers={"WWW-Authenticate": challenge})


def login_path() -> str:
    """Where users log in: the project's LOGIN_URL, or this app's own page if the project has set none."""
    if settings.LOGIN_URL != global_settings.LOGIN_URL:
        return resolve_url(settings.LOGIN_URL)
    return settings.LOGIN_URL if _is_served(settings.LOGIN_URL) else reverse("streaming:login")


def _is_served(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


async def _limit_anonymous_body(request: HttpRequest) -> None:
    """Lowers the limit for the body where everyone is allowed and the caller is not authenticated."""
    body = getattr(request, "scope", {}).get(BODY_IN_SCOPE)
    if body is None or (body.declared_length is not None and body.declared_length <= conf.OPEN_BODY_BYTES):
        return
    if not await may_use_upstreams(request):
        body.limit = min(body.limit, conf.OPEN_BODY_BYTES)


RUN_BY_A_PAGE = frozenset(
    {"script", "style", "xslt", "serviceworker", "worker", "sharedworker", "audioworklet", "paintworklet"}
    | {"object", "embed", "frame", "iframe", "fencedframe"}
)
"""What a browser fetches to run it, or to show it in a page: values of Sec-Fetch-Dest (W3C Fetch Metadata, 2.1)."""


def refuse_to_be_run(request: HttpRequest) -> None:
    """Denied if a browser would run the response in a page: what others wrote may not act as this site's own code."""
    destination = request.headers.get("Sec-Fetch-Dest", "")
    # The second is older, and said by browsers that do not know the first (Service Workers, section 6.1).
    if destination in RUN_BY_A_PAGE or "Service-Worker" in request.headers:
        used = destination or "serviceworker"
        raise Denied(HTTPStatus.FORBIDDEN, f"what is relayed may not be used as a page's {used}")


def has_csrf_token(request: HttpRequest) -> bool:
    """Django's own check, of the header only: to find a token in a form it would have to read the body."""
    as_put = copy.copy(request)
    as_put.method = "PUT"  # Django does not look for a form in a PUT request
    check = CsrfViewMiddleware(lambda _: HttpResponse())
    check.process_request(as_put)
    return check.process_view(as_put, _no_view, (), {}) is None


def _no_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _allowed_origin(request: HttpRequest) -> str | None:
    """The origin of a cross-origin request from an allowed site; None for a same-origin one. Denied if not allowed."""
    origin = request.headers.get("Origin")
    if origin in conf.allowed_origins():
        return origin
    # Browsers send Sec-Fetch-Site, but not over plain HTTP: there Origin is compared with Host.
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise Denied(HTTPStatus.FORBIDDEN, "pages of other sites may not use this address")
    if site is None and origin is not None and origin.partition("://")[2].lower() != request.get_host().lower():
        raise Denied(HTTPStatus.FORBIDDEN, f"pages of {origin} may not use this address")
    return None


def _add_cors(response: HttpResponseBase, request: HttpRequest, origin: str | None) -> HttpResponseBase:
    patch_vary_headers(response, ["Origin"])
    if origin:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = "*"
        if "Access-Control-Request-Method" in request.headers:
            response["Access-Control-Allow-Methods"] = request.headers["Access-Control-Request-Method"]
            # Not every browser accepts "*" for all headers. Last-Event-ID has to be listed.
            requested = request.headers.get("Access-Control-Request-Headers", "")
            response["Access-Control-Allow-Headers"] = ", ".join(filter(None, ["Last-Event-ID", requested]))
            response["Access-Control-Max-Age"] = "600"
    return response
