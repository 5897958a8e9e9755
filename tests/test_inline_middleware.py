"""Django's middleware runs on the event loop if it cannot block, and otherwise in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.messages import add_message, constants
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie

from streaming import middleware
from streaming.middleware import load_inline

threads: list[str] = []


def _note_thread(name: str) -> None:
    threads.append(f"{name} in {'the loop' if threading.current_thread() is threading.main_thread() else 'a thread'}")


@csrf_exempt
async def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


@ensure_csrf_cookie
async def with_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse("token")


async def protected(request: HttpRequest) -> HttpResponse:
    return HttpResponse("protected")


async def with_message(request: HttpRequest) -> HttpResponse:
    add_message(request, constants.INFO, "saved")
    return HttpResponse("message")


async def with_session(request: HttpRequest) -> HttpResponse:
    await request.session.aset("seen", 1)
    return HttpResponse("session")


urlpatterns = [
    path("plain", plain),
    path("token", with_token),
    path("protected", protected),
    path("message", with_message),
    path("session", with_session),
]


@pytest.fixture
def handler(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ASGIHandler]:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
    threads.clear()
    for name in dir(middleware):
        if name.startswith("Inline") and isinstance(kind := getattr(middleware, name), type):
            for hook in ("process_request", "process_response"):
                if original := getattr(kind, hook, None):
                    monkeypatch.setattr(kind, hook, _watched(f"{name}.{hook}", original))
    handler = ASGIHandler()
    load_inline(handler)
    yield handler


def _watched(name: str, original: Any) -> Any:
    def hook(self: Any, *args: Any) -> Any:
        _note_thread(name)
        return original(self, *args)

    return hook


async def answer(handler: ASGIHandler, method: str, address: str) -> HttpResponse:
    request = getattr(AsyncRequestFactory(), method)(address)
    response = await handler.get_response_async(request)
    assert isinstance(response, HttpResponse)
    return response


async def test_a_request_that_never_blocks_uses_no_thread(handler: ASGIHandler) -> None:
    response = await answer(handler, "get", "/plain")

    assert response.content == b"plain"
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert threads
    assert [each for each in threads if "a thread" in each] == []


async def test_the_csrf_cookie_is_set_when_a_page_uses_the_token(handler: ASGIHandler) -> None:
    response = await answer(handler, "get", "/token")

    assert settings.CSRF_COOKIE_NAME in response.cookies


async def test_a_post_without_a_token_is_refused(handler: ASGIHandler) -> None:
    assert (await answer(handler, "post", "/protected")).status_code == 403
    assert (await answer(handler, "post", "/plain")).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_a_changed_session_is_saved_in_a_thread(handler: ASGIHandler) -> None:
    response = await answer(handler, "get", "/session")

    assert response.cookies[settings.SESSION_COOKIE_NAME].value
    assert "InlineSessionMiddleware.process_response in a thread" in threads


@pytest.mark.django_db(transaction=True)
async def test_a_message_is_stored_in_a_thread(handler: ASGIHandler) -> None:
    response = await answer(handler, "get", "/message")

    assert response.cookies[settings.SESSION_COOKIE_NAME].value
    assert "InlineMessageMiddleware.process_response in a thread" in threads


def test_the_middleware_setting_keeps_djangos_names(handler: ASGIHandler) -> None:
    assert "django.middleware.security.SecurityMiddleware" in settings.MIDDLEWARE


async def test_a_csrf_secret_in_the_session_is_handled_by_djangos_middleware(
    handler: ASGIHandler, settings: Any
) -> None:
    settings.CSRF_USE_SESSIONS = True
    load_inline(handler)

    await answer(handler, "get", "/plain")

    assert [each for each in threads if each.startswith("InlineCsrf")] == []
