"""Who may come in, and from where. ``/proxy/none`` is a 404 to whoever gets past the door."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory

from streaming import upstreams
from streaming.access import guarded, is_local

LET_IN = 404
INSIDE = "/proxy/none"
ELSEWHERE = ("203.0.113.7", 5000)
TOKEN = "a" * 32


class Reader(AsyncClient):
    """Comes from an address, and sends the same headers each time."""

    def __init__(self, come_from: tuple[str, int], headers: dict[str, str]) -> None:
        super().__init__(enforce_csrf_checks=True)
        self._come_from, self._own = come_from, headers

    def _base_scope(self, **request: Any) -> Any:
        return {**super()._base_scope(**request), "client": self._come_from}

    def generic(self, *args: Any, headers: dict[str, str] | None = None, **more: Any) -> Any:
        return super().generic(*args, headers={**self._own, **(headers or {})}, **more)


def client(come_from: tuple[str, int] = ("127.0.0.1", 5000), headers: dict[str, str] | None = None) -> AsyncClient:
    return Reader(come_from, headers or {})


async def logged_in(*, active: bool = True) -> AsyncClient:
    reader = client(ELSEWHERE)
    user = await User.objects.acreate(username="reader")
    await reader.aforce_login(user)
    if not active:
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    reader.cookies["csrftoken"] = TOKEN
    return reader


@pytest.fixture
def local(settings: Any) -> None:
    settings.STREAMING_ACCESS = "local"


@pytest.fixture
def login(settings: Any) -> None:
    settings.STREAMING_ACCESS = "login"


@pytest.mark.usefixtures("local")
class TestLocally:
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
    async def test_whoever_sits_at_the_machine_comes_in(self, address: str) -> None:
        response = await client((address, 5000)).get(INSIDE)

        assert response.status_code == LET_IN

    @pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
    async def test_by_any_method_and_without_a_token(self, method: str) -> None:
        response = await getattr(client(), method)(INSIDE)

        assert response.status_code == LET_IN

    @pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "not an address"])
    async def test_all_others_are_asked_to_log_in(self, address: str) -> None:
        response = await client((address, 5000)).get(INSIDE)

        assert response.status_code == 401
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["login"] == "/login/"
        assert response["WWW-Authenticate"].startswith("Cookie ")

    @pytest.mark.parametrize(
        "header",
        [
            "Forwarded",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Server",
            "X-Forwarded-Prefix",
            "x-forwarded-anything",
        ],
    )
    async def test_so_is_whoever_comes_through_a_proxy(self, header: str) -> None:
        response = await client(headers={header: "x"}).get(INSIDE)

        assert response.status_code == 401

    async def test_an_authorization_header_says_nothing(self) -> None:
        assert (await client(headers={"Authorization": "Bearer x"}).get(INSIDE)).status_code == LET_IN
        assert (await client(ELSEWHERE, headers={"Authorization": "Bearer x"}).get(INSIDE)).status_code == 401

    @pytest.mark.django_db(transaction=True)
    async def test_who_has_logged_in_may_come_from_elsewhere(self) -> None:
        reader = await logged_in()

        assert (await reader.get(INSIDE)).status_code == LET_IN


def test_a_request_without_an_address_is_not_local() -> None:
    request = AsyncRequestFactory().get("/")
    request.META.pop("REMOTE_ADDR", None)

    assert not is_local(request)


@pytest.mark.usefixtures("login")
@pytest.mark.django_db(transaction=True)
class TestWithALogin:
    async def test_nobody_else_comes_in_not_even_from_this_machine(self) -> None:
        for method in ("get", "post", "delete"):
            assert (await getattr(client(), method)(INSIDE)).status_code == 401

    async def test_who_is_no_longer_active_does_not(self) -> None:
        reader = await logged_in(active=False)

        assert (await reader.get(INSIDE)).status_code == 401

    async def test_reading_needs_no_token(self) -> None:
        reader = await logged_in()

        assert (await reader.get(INSIDE)).status_code == LET_IN

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    async def test_all_else_needs_the_token_in_the_header(self, method: str) -> None:
        reader = await logged_in()
        ask = getattr(reader, method)

        assert (await ask(INSIDE)).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": "b" * 32})).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": "?"})).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": TOKEN})).status_code == LET_IN

    async def test_a_token_in_a_form_is_not_looked_for(self) -> None:
        reader = await logged_in()

        response = await reader.post(INSIDE, {"csrfmiddlewaretoken": TOKEN})

        assert response.status_code == 403
        assert "X-CSRFToken" in response.json()["detail"]

    async def test_the_ping_is_for_everyone(self) -> None:
        response = await client(ELSEWHERE).get("/ping")

        assert response.status_code == 200
        response.close()


class TestInPublic:
    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    async def test_everyone_comes_in_without_a_token(self, settings: Any, method: str) -> None:
        settings.STREAMING_ACCESS = "public"

        response = await getattr(client(ELSEWHERE), method)(INSIDE, headers={"X-Forwarded-For": "x"})

        assert response.status_code == LET_IN


class TestThisSitesOwnRelay:
    async def test_comes_in_to_the_stream_by_its_signature(self, login: None) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign(), "Last-Event-ID": "x"})

        assert (await relay.get("/stream")).status_code == 204

    async def test_comes_in_whatever_page_it_relays_for(self, login: None) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign(), "Origin": "http://this.site:8000"})

        response = await relay.post("/stream?step=0", {}, content_type="application/json")

        assert response.status_code == 400

    @pytest.mark.parametrize("address", [INSIDE, "/transfer", "/transfer/none"])
    async def test_comes_in_nowhere_else(self, login: None, address: str) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign()})

        assert (await relay.get(address)).status_code == 401

    async def test_does_not_come_in_by_another_signature(self, login: None) -> None:
        assert (await client(headers={upstreams.SIGNATURE_HEADER: "stream:x:y"}).get("/stream")).status_code == 401


OTHER = "https://other.example"


@pytest.mark.parametrize("access", ["local", "public"])
class TestAnotherSitesPage:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": OTHER},
            {"Origin": OTHER},
            {"Origin": "null"},
            {"Origin": "http://testserver.evil.example"},
            {"Origin": "http://testserver:81"},
            {"Origin": "http://["},
            {"Origin": ""},
        ],
    )
    @pytest.mark.parametrize("method", ["get", "options"])
    async def test_is_refused(self, settings: Any, access: str, headers: dict[str, str], method: str) -> None:
        settings.STREAMING_ACCESS = access

        response = await getattr(client(), method)(INSIDE, headers=headers)

        assert response.status_code == 403
        assert response["Content-Type"] == "application/problem+json"
        assert "Access-Control-Allow-Origin" not in response

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://testserver"},
            {"Origin": "https://TestServer"},
        ],
    )
    async def test_is_told_from_our_own(self, settings: Any, access: str, headers: dict[str, str]) -> None:
        settings.STREAMING_ACCESS = access

        response = await client().post(INSIDE, headers=headers)

        assert response.status_code == LET_IN
        assert "Access-Control-Allow-Origin" not in response

    async def test_may_come_if_the_settings_name_it(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        response = await client().post(INSIDE, headers={"Origin": OTHER, "Sec-Fetch-Site": "cross-site"})

        assert response.status_code == LET_IN
        assert response["Access-Control-Allow-Origin"] == OTHER
        assert response["Access-Control-Expose-Headers"] == "*"
        assert "Origin" in response["Vary"]
        assert "Access-Control-Allow-Credentials" not in response

    async def test_that_is_named_may_ask_before(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        response = await client().options(
            "/stream",
            headers={
                "Origin": OTHER,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        )

        assert response.status_code == 204
        assert response["Access-Control-Allow-Origin"] == OTHER
        assert response["Access-Control-Allow-Methods"] == "POST"
        assert response["Access-Control-Allow-Headers"] == "Last-Event-ID, content-type"

    async def test_that_is_not_named_may_not_ask(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        headers = {"Origin": "https://third.example", "Access-Control-Request-Method": "POST"}
        response = await client().options("/stream", headers=headers)

        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response

    async def test_is_told_of_an_error_too_if_it_is_named(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        response = await client().get("/stream?step=0", headers={"Origin": OTHER})

        assert (response.status_code, response["Access-Control-Allow-Origin"]) == (400, OTHER)


async def test_a_page_that_is_named_still_has_to_log_in(settings: Any, login: None) -> None:
    settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

    response = await client().get(INSIDE, headers={"Origin": OTHER})

    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (401, OTHER)


@pytest.mark.usefixtures("local")
class TestAMethod:
    @pytest.mark.parametrize(
        ("address", "method", "allowed"),
        [
            ("/ping", "post", "GET"),
            ("/ping", "head", "GET"),
            ("/stream", "put", "GET, POST"),
            ("/stream", "delete", "GET, POST"),
            ("/stream", "options", "GET, POST"),
            ("/transfer", "patch", "GET, POST"),
            ("/transfer/none", "head", "GET, POST"),
        ],
    )
    async def test_that_an_address_does_not_know_is_refused(self, address: str, method: str, allowed: str) -> None:
        response = await getattr(client(), method)(address)

        assert (response.status_code, response["Allow"]) == (405, allowed)

    @pytest.mark.django_db(transaction=True)
    async def test_that_an_upstream_does_not_know_is_refused(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai"}}

        response = await client().get("/transfer/llm")

        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert response["Content-Type"] == "application/problem+json"


def test_a_view_behind_the_door_keeps_its_name() -> None:
    @guarded("GET")
    async def somewhere(request: HttpRequest) -> HttpResponse:
        """Somewhere."""
        return HttpResponse()

    assert (somewhere.__name__, somewhere.__doc__) == ("somewhere", "Somewhere.")
    assert somewhere.csrf_exempt  # type: ignore[attr-defined]


@pytest.mark.usefixtures("local")
class TestErrorsAreSaidAsTheAddressSaysThem:
    @pytest.mark.django_db(transaction=True)
    async def test_when_the_settings_are_wrong(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"a": {"URL": "nowhere"}}

        ours, openais = await client().get("/transfer/a"), await client().get("/v1/models")

        assert (ours.status_code, openais.status_code) == (500, 500)
        assert "manage.py check" in ours.json()["detail"]
        assert "manage.py check" in openais.json()["error"]["message"]
        assert openais.json()["error"]["type"] == "server_error"

    @pytest.mark.django_db(transaction=True)
    async def test_when_a_session_comes_without_its_token(self, settings: Any) -> None:
        settings.STREAMING_ACCESS = "login"
        reader = await logged_in()

        response = await reader.post("/v1/chat/completions", {}, content_type="application/json")

        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
