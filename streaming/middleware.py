"""Middleware: Django's own without thread hops, the page's language, limits for forms, helpful database errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.base import BaseHandler
from django.db import DatabaseError, DataError, IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponsePermanentRedirect, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import NoReverseMatch
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext as _

from streaming import conf
from streaming.problems import Problem, renderer_at
from streaming.requests import BODY_IN_SCOPE
from streaming.upstreams import allowed_host, is_signed, path_on_server

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class InlineMiddleware(MiddlewareMixin):
    """Calls its hooks on the event loop. Django calls each in a thread, because it cannot know which ones block.

    A thread hop costs 0.1 ms of CPU; Django's default middleware makes 15 of them per request.
    """

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        process_request: Any = getattr(self, "process_request", None)
        process_response: Any = getattr(self, "process_response", None)
        get_response: Any = self.get_response
        response: HttpResponseBase = (process_request and process_request(request)) or await get_response(request)
        if process_response and self.response_may_block(request):
            response = await sync_to_async(process_response, thread_sensitive=True)(request, response)
        elif process_response:
            response = process_response(request, response)
        return response

    def response_may_block(self, request: HttpRequest) -> bool:
        return False


class InlineSecurityMiddleware(InlineMiddleware, SecurityMiddleware):
    """Without the redirect to HTTPS for requests of this site to itself, which stay on the machine."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if is_signed(request) else super().process_request(request)


class InlineCommonMiddleware(InlineMiddleware, CommonMiddleware):
    pass


class InlineXFrameOptionsMiddleware(InlineMiddleware, XFrameOptionsMiddleware):
    pass


class InlineAuthenticationMiddleware(InlineMiddleware, AuthenticationMiddleware):
    """Looks up the user lazily: ``request.auser`` hops to a thread when it is called."""


class InlineSessionMiddleware(InlineMiddleware, SessionMiddleware):
    """Only saving a session blocks."""

    def response_may_block(self, request: HttpRequest) -> bool:
        session = getattr(request, "session", None)
        return session is not None and (session.modified or settings.SESSION_SAVE_EVERY_REQUEST)


class InlineMessageMiddleware(InlineMiddleware, MessageMiddleware):
    """Blocks only if messages were read or added: storing them may need the session."""

    def response_may_block(self, request: HttpRequest) -> bool:
        messages = getattr(request, "_messages", None)
        return messages is not None and (messages.used or messages.added_new)


class InlineCsrfViewMiddleware(InlineMiddleware, CsrfViewMiddleware):
    """Looks for a token in a form in a thread: parsing 25 MB of form fields takes long."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self.process_view: Any = self._process_view

    async def _process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        check = super().process_view
        if request.method in SAFE_METHODS or getattr(view, "csrf_exempt", False):
            return check(request, view, args, kwargs)
        return await sync_to_async(check, thread_sensitive=True)(request, view, args, kwargs)


_INLINE = {
    f"{django.__module__}.{django.__name__}": f"{__name__}.{inline.__name__}"
    for inline, django in [
        (InlineSecurityMiddleware, SecurityMiddleware),
        (InlineSessionMiddleware, SessionMiddleware),
        (InlineCommonMiddleware, CommonMiddleware),
        (InlineCsrfViewMiddleware, CsrfViewMiddleware),
        (InlineAuthenticationMiddleware, AuthenticationMiddleware),
        (InlineMessageMiddleware, MessageMiddleware),
        (InlineXFrameOptionsMiddleware, XFrameOptionsMiddleware),
    ]
}


def load_inline(handler: BaseHandler) -> None:
    """Reloads an ASGI handler's middleware with the inline version of each of Django's classes that has one.

    ``settings.MIDDLEWARE`` keeps Django's names, since Django's system checks look for them.
    """
    listed = settings.MIDDLEWARE
    # With CSRF_USE_SESSIONS every CSRF check reads the session from the database.
    kept = {f"{CsrfViewMiddleware.__module__}.CsrfViewMiddleware"} if settings.CSRF_USE_SESSIONS else set()
    settings.MIDDLEWARE = [path if path in kept else _INLINE.get(path, path) for path in listed]
    try:
        handler.load_middleware(is_async=True)
    finally:
        settings.MIDDLEWARE = listed


class PageLocaleMiddleware(InlineMiddleware, LocaleMiddleware):
    """Django's LocaleMiddleware, except that it adds no headers to streams, whose language is unknown."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)


class HealthHostMiddleware(InlineMiddleware):
    """Accepts any Host header, such as an IP address, on ``/healthz`` and ``/metrics``.

    Load balancers and Prometheus send what they like.
    Everything else is served under ALLOWED_HOSTS only.
    """

    def process_request(self, request: HttpRequest) -> None:
        if request.path_info in (_path_of("healthz"), _path_of("metrics")):
            request.META["HTTP_HOST"] = allowed_host()


def _path_of(view: str) -> str | None:
    """Without the script prefix; None if the project does not serve this view."""
    try:
        return path_on_server(f"streaming:{view}", urlconf=settings.ROOT_URLCONF)
    except NoReverseMatch:
        return None


class FormSizeMiddleware:
    """Refuses a form that is too long before anything parses it. The limit is lower before login."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        body = getattr(request, "scope", {}).get(BODY_IN_SCOPE)
        # ``size`` is 0 where the view reads the body itself.
        if body is not None and body.size > conf.FORM_BYTES and not (await request.auser()).is_active:
            body.limit = conf.FORM_BYTES
            raise RequestDataTooBig
        if body is not None and body.refusal:
            raise RequestDataTooBig
        return await self._get_response(request)


class _ExceptionMiddleware:
    """Base of middleware that only handles exceptions."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return await self._get_response(request)


class IncorrectLookupMiddleware(_ExceptionMiddleware):
    """Redirects an admin page with an unusable value in its query to a page without it.

    A list (``?when__year=99999999999``) gets ``?e=1``, as Django does for the invalid values that it detects itself;
    so does the list of an export. A form to be filled in (``add/?owner=99999999999``) is shown empty.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        page = _without_query(_kind_of_admin_page(request), request)
        if not page or request.method != "GET" or not _is_invalid_value(exception):
            return None
        logger.warning("cannot show an admin page with this query: %r", exception)
        return HttpResponseRedirect(page)


def _kind_of_admin_page(request: HttpRequest) -> str:
    """``changelist``, ``add``, ``change`` and so on; empty for other pages."""
    match = request.resolver_match
    return (match.url_name or "").rpartition("_")[2] if match is not None and match.app_name == "admin" else ""


def _without_query(kind: str, request: HttpRequest) -> str:
    """Where the values of the query do not count; empty if nowhere."""
    match kind:
        case "changelist" if "e" not in request.GET:
            return f"{request.path}?e=1"
        case "export" | "csv":
            return f"{request.path.removesuffix(f'{kind}/')}?e=1"
        case "add" if request.GET:
            return request.path
    return ""


def _is_invalid_value(exception: Exception) -> bool:
    """Errors of Python and databases for unusable values. SQLite reports a bad regular expression by message only."""
    values = (OverflowError, ValueError, TypeError, DataError)
    return isinstance(exception, values) or "user-defined function raised exception" in str(exception)


class AddedTwiceMiddleware(_ExceptionMiddleware):
    """Leads to the list when a form of the admin adds what another request has added at the same moment.

    Django's own forms, of users and groups, look first and then save; in PostgreSQL two requests can do so at once, as
    after a double click. The forms of rules and lists wait for each other.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        is_added = request.method == "POST" and _kind_of_admin_page(request) == "add"
        if not (is_added and _is_there_already(exception)):
            return None
        messages.warning(
            request, _("The same was added at the same moment, perhaps by a second click: it is here once.")
        )
        return HttpResponseRedirect(request.path.removesuffix("add/"))


UNIQUE_VIOLATION = "23505"
"""PostgreSQL's code (https://www.postgresql.org/docs/current/errcodes-appendix.html); its words are translated."""


def _is_there_already(exception: Exception) -> bool:
    """Whether a row was refused because of one with the same values, and not because of a row that it refers to."""
    is_duplicate = getattr(exception.__cause__, "sqlstate", "") == UNIQUE_VIOLATION
    return isinstance(exception, IntegrityError) and (is_duplicate or "UNIQUE constraint failed" in str(exception))


class UnmigratedMiddleware(_ExceptionMiddleware):
    """Names the command to run when a view fails because the database has not been migrated."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not isinstance(exception, DatabaseError):
            return None
        try:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError:
            logger.exception("the database does not answer")
            return self._refuse(request, "the database does not answer; see the server's log")
        if not missing:
            return None
        detail = "the database has not been migrated: run 'uv run manage.py migrate' (or 'python manage.py migrate')"
        return self._refuse(request, detail)

    def _refuse(self, request: HttpRequest, detail: str) -> HttpResponseBase:
        return renderer_at(request.path_info)(Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail))
