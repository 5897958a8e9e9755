"""Who may come in, and from where: ``STREAMING_ACCESS``, other sites' pages, CSRF; and how errors are answered."""

from __future__ import annotations

import copy
import functools
import ipaddress
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from streaming import upstreams
from streaming.formats import FormatError
from streaming.moderation import RuleError
from streaming.requests import BadRequest, collect_body, refusal_of_body
from streaming.responses import errors_at, failure_of

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
FORWARDED = ("forwarded", "via", "x-forwarded-")
"""How the headers begin by which a proxy says that it speaks for somebody else."""

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


class Denied(Exception):
    """This request may not come in."""

    def __init__(self, status: HTTPStatus, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.more = more


def guarded(
    *methods: str, everyone: bool = False, signed: bool = False, arriving: bool = False
) -> Callable[[View], View]:
    """A view for those who may stream, by these methods only (none named: any). Its errors become problems.

    ``everyone``: who they are does not matter. ``signed``: this site's own relay comes in too. ``arriving``: the view
    takes the body as it comes; else it is read here, once it is clear that its sender may come in.
    """

    def decorate(view: View) -> View:
        @csrf_exempt  # it is checked below, and only when a session is what lets a request in
        @functools.wraps(view)
        async def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            origin, refuse = None, errors_at(request)
            try:
                relayed = signed and upstreams.is_signed(request)
                origin = None if relayed else _allowed_origin(request)
                if origin and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                    return _with_cors(HttpResponse(status=HTTPStatus.NO_CONTENT), request, origin)
                _check_method(request, methods)
                if not (everyone or relayed):
                    await _check_access(request)
                if not arriving:
                    await collect_body(request)
                response = await view(request, *args, **kwargs)
            except Denied as denied:
                response = refuse(denied.status, str(denied), **denied.more)
            except BadRequest as bad:
                response = refuse(bad.status, str(bad), **{key: value for key, value in bad.more.items() if value})
            except RuleError:
                # Unmoderated text never goes out.
                response = refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the moderation rules cannot be carried out")
            except ImproperlyConfigured:
                logger.exception("an upstream's settings are wrong")
                detail = "the site's settings are wrong: 'manage.py check' says which"
                response = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, detail)
            except (upstreams.UpstreamError, FormatError) as error:
                if refusal := refusal_of_body(request):
                    response = refuse(refusal.status, str(refusal))
                else:
                    failure = failure_of(error)
                    response = refuse(failure.status, failure.detail, headers=_headers_of(error), facts=failure.facts)
            return _with_cors(response, request, origin) if "Origin" in request.headers else response

        guard.reads_its_body = True  # type: ignore[attr-defined]  # see streaming/request_body.py
        return guard

    return decorate


def _headers_of(error: Exception) -> dict[str, str]:
    match error:
        case upstreams.PostOnly():
            return {"Allow": "POST"}
        case upstreams.Busy():
            return {"Retry-After": "1"}
        case upstreams.Refused(retry_after=when) if when:
            return {"Retry-After": when}
    return {}


def _check_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if methods and request.method not in methods:
        allowed = ", ".join(methods)
        detail = f"{request.method} is not possible here, but {allowed}"
        raise Denied(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})


async def _check_access(request: HttpRequest) -> None:
    if settings.STREAMING_ACCESS == "public":
        return
    if settings.STREAMING_ACCESS == "local" and is_local(request):
        return
    user = await request.auser()
    if not user.is_active:  # the anonymous user is not
        login = reverse(settings.LOGIN_URL)
        raise Denied(
            HTTPStatus.UNAUTHORIZED,
            f"log in at {login} first",
            login=login,
            headers={"WWW-Authenticate": f'Cookie realm="streams", form-action="{login}"'},
        )
    if request.method not in SAFE_METHODS and not has_csrf_token(request):
        raise Denied(HTTPStatus.FORBIDDEN, "the X-CSRFToken header is missing or wrong: reload the page")


def is_local(request: HttpRequest) -> bool:
    """Whether who connects sits at this machine: a loopback address, and no proxy that speaks for somebody else."""
    if any(header.lower().startswith(FORWARDED) for header in request.headers):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def has_csrf_token(request: HttpRequest) -> bool:
    """Django's own check, by the header alone: for the token in a form it would have to consume the body."""
    shadow = copy.copy(request)
    shadow.method = "PUT"  # of which Django knows that it has no form
    check = CsrfViewMiddleware(lambda _: HttpResponse())
    check.process_request(shadow)
    return check.process_view(shadow, _no_view, (), {}) is None


def _no_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _allowed_origin(request: HttpRequest) -> str | None:
    """The other site that a request comes from and may come from. Denied if it may not; None if it is this one."""
    origin = request.headers.get("Origin")
    if origin in settings.STREAMING_ALLOWED_ORIGINS:
        return origin
    # The browser says itself whose page made the request. Where it does not (plain HTTP), Origin has to do.
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise Denied(HTTPStatus.FORBIDDEN, "another site's page may not use this address")
    if site is None and origin is not None and origin.partition("://")[2].lower() != request.get_host().lower():
        raise Denied(HTTPStatus.FORBIDDEN, f"pages of {origin} may not use this address")
    return None


def _with_cors(response: HttpResponseBase, request: HttpRequest, origin: str | None) -> HttpResponseBase:
    patch_vary_headers(response, ["Origin"])
    if origin:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = "*"
        if "Access-Control-Request-Method" in request.headers:
            response["Access-Control-Allow-Methods"] = request.headers["Access-Control-Request-Method"]
            # "*" does not cover all of them in every browser; Last-Event-ID has to be among them.
            asked = request.headers.get("Access-Control-Request-Headers", "")
            response["Access-Control-Allow-Headers"] = ", ".join(filter(None, ["Last-Event-ID", asked]))
            response["Access-Control-Max-Age"] = "600"
    return response
