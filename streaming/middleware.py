"""What every view would have to say otherwise."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from asgiref.sync import markcoroutinefunction
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware

from streaming.responses import errors_at

logger = logging.getLogger(__name__)


class PageLocaleMiddleware(LocaleMiddleware):
    """Django's, for what this site says itself: of a stream's language it knows nothing."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)


class UnmigratedMiddleware:
    """Says which command is missing, when a view fails because the database has not been migrated."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return await self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not isinstance(exception, DatabaseError):
            return None
        try:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError:
            logger.exception("the database does not answer")
            return errors_at(request)(
                HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer; the server's log tells more"
            )
        if not missing:
            return None
        detail = "the database has not been migrated: run 'uv run manage.py migrate' (or 'python manage.py migrate')"
        return self._refuse(request, detail)

    def _refuse(self, request: HttpRequest, detail: str) -> HttpResponseBase:
        return errors_at(request)(HTTPStatus.SERVICE_UNAVAILABLE, detail)
