"""Access to the site: logins, API keys, origins and methods. ``/proxy/none`` is a 404 if access is granted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.utils import timezone

from streaming import api_keys, upstreams
from streaming.access import guarded
from streaming.caller import caller_of
from streaming.models import ApiKey, hash_of_secret

LET_IN = 404
INSIDE = "/proxy/none"
ELSEWHERE = ("203.0.113.7", 5000)
TOKEN = "a" * 32


class Reader(AsyncClient):
    """A client with an address that sends the same headers with each request."""

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


@pytest.fixture(autouse=True)
def login(settings: Any) -> None:
    settings.STREAMING_ACCESS = "login"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    api_keys._cache.clear()


class TestBuiltInDocuments:
    """They cost nothing and need no login."""

    @pytest.mark.parametrize("address", ["/ping", "/stream?interval=0", "/stream?step=0"])
    async def test_need_no_login(self, address: str) -> None:
        response = await client(ELSEWHERE, {"X-Forwarded-For": "203.0.113.7"}).get(address)

        assert response.status_code == (400 if "step" in address else 200)
        response.close()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("no_client_outlives_its_loop")
    @pytest.mark.parametrize("address", ["/transfer", "/proxy"])
    async def test_need_no_login_through_the_built_in_upstream(self, address: str) -> None:
        response = await client(ELSEWHERE).post(address)

        assert response.status_code != 401

    @pytest.mark.django_db(transaction=True)
    async def test_need_no_login_as_a_model(self) -> None:
        fields = {"model": "simulated", "messages": [{"role": "user", "content": "hi"}], "interval": 0}

        response = await client(ELSEWHERE).post("/v1/chat/completions", fields, content_type="application/json")

        assert response.status_code == 200
        assert response.json()["model"] == "simulated"

    @pytest.mark.parametrize("address", ["/transfer", "/proxy", "/proxy/default/more"])
    async def test_need_a_login_when_the_default_upstream_is_another_one(self, settings: Any, address: str) -> None:
        settings.STREAMING_UPSTREAMS = {"default": {"URL": "http://127.0.0.1:9"}}

        assert (await client().get(address)).status_code == 401

    @pytest.mark.django_db(transaction=True)
    async def test_need_no_csrf_token_with_a_session(self) -> None:
        reader = await logged_in()

        assert (await reader.post("/stream?step=0", {}, content_type="application/json")).status_code == 400


class TestAConfiguredUpstream:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "203.0.113.7"])
    async def test_needs_a_login_even_from_this_machine(self, address: str) -> None:
        response = await client((address, 5000)).get(INSIDE)

        assert response.status_code == 401
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["login"] == "/login/"
        assert response["WWW-Authenticate"].startswith('Bearer realm="streams", Cookie ')

    async def test_refuses_openai_clients_in_their_error_format(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai", "MODELS": ["m"]}}
        fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

        response = await client().post("/v1/chat/completions", fields, content_type="application/json")

        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"

    @pytest.mark.parametrize("model", ["m", "no-such-model"])
    async def test_does_not_reveal_its_models(self, settings: Any, model: str) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai", "MODELS": ["m"]}}

        listed = await client().get("/v1/models")

        assert [each["id"] for each in listed.json()["data"]] == ["simulated"]
        assert (await client().get(f"/v1/models/{model}")).status_code == 401


async def make_key(**fields: Any) -> tuple[ApiKey, str]:
    owner = await User.objects.acreate(username="owner")
    key = ApiKey(name="a program", owner=owner, **fields)
    secret = key.make_secret()
    await key.asave()
    return key, secret


@pytest.mark.django_db(transaction=True)
class TestAnApiKey:
    @pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
    @pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
    async def test_needs_no_csrf_token(self, header: str, method: str) -> None:
        _, secret = await make_key()
        shown = f"Bearer {secret}" if header == "Authorization" else secret

        response = await getattr(client(ELSEWHERE, {header: shown}), method)(INSIDE)

        assert response.status_code == LET_IN

    async def test_lists_the_models_of_upstreams(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai", "MODELS": ["m"]}}
        _, secret = await make_key()

        listed = await client(headers={"Authorization": f"Bearer {secret}"}).get("/v1/models")

        assert [each["id"] for each in listed.json()["data"]] == ["simulated", "m"]

    @pytest.mark.parametrize(
        "shown", ["Bearer -", "Bearer ", "Bearer streams-", "Basic abc", "Bearer streams-\xff", "Bearer sk-abc"]
    )
    async def test_that_does_not_exist_is_refused(self, shown: str) -> None:
        await make_key()

        response = await client(headers={"Authorization": shown}).get(INSIDE)

        assert response.status_code == 401

    async def test_that_is_mistyped_is_refused_with_an_explanation(self) -> None:
        _, secret = await make_key()
        wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")

        response = await client(headers={"Authorization": f"Bearer {wrong}"}).get(INSIDE)

        assert response.status_code == 401
        assert 'error="invalid_token"' in response["WWW-Authenticate"]
        assert "this API key is unknown" in response.json()["detail"]

    @pytest.mark.parametrize("change", ["disabled", "deleted", "owner inactive"])
    async def test_that_is_revoked_is_refused_within_a_second(
        self, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        now = [1000.0]
        monkeypatch.setattr(api_keys.time, "monotonic", lambda: now[0])
        key, secret = await make_key()
        reader = client(headers={"Authorization": f"Bearer {secret}"})
        assert (await reader.get(INSIDE)).status_code == LET_IN

        if change == "disabled":
            await ApiKey.objects.aupdate(enabled=False)
        elif change == "deleted":
            await key.adelete()
        else:
            await User.objects.aupdate(is_active=False)
        now[0] += 1.0

        assert (await reader.get(INSIDE)).status_code == 401

    async def test_that_expires_is_refused_from_that_moment_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        expires = timezone.now() + timedelta(hours=1)
        _, secret = await make_key(expires=expires)
        reader = client(headers={"Authorization": f"Bearer {secret}"})
        assert (await reader.get(INSIDE)).status_code == LET_IN

        monkeypatch.setattr(api_keys.timezone, "now", lambda: expires)

        assert (await reader.get(INSIDE)).status_code == 401, "though it is still cached"

    async def test_that_is_rotated_is_refused_and_the_new_one_accepted(self) -> None:
        key, secret = await make_key()
        assert (await client(headers={"x-api-key": secret}).get(INSIDE)).status_code == LET_IN

        new = key.make_secret()
        await key.asave()

        assert (await client(headers={"x-api-key": secret}).get(INSIDE)).status_code == 401
        assert (await client(headers={"x-api-key": new}).get(INSIDE)).status_code == LET_IN

    async def test_owns_its_streams_apart_from_other_keys_of_its_owner(self) -> None:
        key, secret = await make_key()
        other = ApiKey(name="another program", owner=key.owner)
        another_secret = other.make_secret()
        await other.asave()
        owner = client(headers={"x-api-key": secret})

        address = (await owner.get("/stream?interval=0&document=poem"))["Content-Location"]

        assert (await owner.head(address)).status_code == 200
        assert (await client(headers={"x-api-key": another_secret}).head(address)).status_code == 404
        assert (await client().head(address)).status_code == 404

    async def test_is_looked_up_at_most_once_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api_keys.time, "monotonic", lambda: 1000.0)
        _, secret = await make_key()
        reader = client(headers={"Authorization": f"Bearer {secret}"})
        await reader.get(INSIDE)

        found = await api_keys.find(secret)
        asked = api_keys._cache[hash_of_secret(secret)][0]
        await reader.get(INSIDE)

        assert found
        assert api_keys._cache[hash_of_secret(secret)][0] == asked

    async def test_is_stored_as_a_hash_only(self) -> None:
        key, secret = await make_key()

        stored = await ApiKey.objects.filter(pk=key.pk).values().aget()

        assert secret not in str(stored)
        assert stored["prefix"] == secret[:14]
        assert stored["last4"] == secret[-4:]
        assert len(secret) > 45

    async def test_is_recorded_in_hits_as_its_owner(self) -> None:
        key, secret = await make_key()
        request = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {secret}"})

        caller = await caller_of(request)

        assert (caller.username, caller.subject) == ("owner", f"key:{key.pk}")

    async def test_is_not_sent_to_the_upstream(self) -> None:
        _, secret = await make_key()
        request = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {secret}", "x-api-key": secret})

        api_keys.hide_from_upstreams(request)

        assert secret not in str(request.scope["headers"])


LIMITED = {
    "llm": {"URL": "http://127.0.0.1:9/v1", "FORMAT": "openai", "MODELS": ["m", "gpt-1", "gpt-2"], "PROXY": True},
    "other": {"URL": "http://127.0.0.1:9/v1", "FORMAT": "openai", "MODELS": ["m", "n"], "PROXY": True},
    "site": {"URL": "http://127.0.0.1:9/stream"},
}
UNREACHABLE = 502
"""The status if access is granted: nothing listens on the upstreams' port."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_client_outlives_its_loop")
class TestAnApiKeyThatIsLimited:
    @pytest.fixture(autouse=True)
    def upstreams(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = LIMITED

    async def limited(self, **fields: Any) -> AsyncClient:
        _, secret = await make_key(**fields)
        return client(ELSEWHERE, {"Authorization": f"Bearer {secret}"})

    async def chat(self, reader: AsyncClient, model: str) -> int:
        fields = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        response = await reader.post("/v1/chat/completions", fields, content_type="application/json")
        return int(response.status_code)

    async def transfer(self, reader: AsyncClient, upstream: str, **fields: str) -> int:
        response = await reader.post(
            f"/transfer/{upstream}", {"prompt": "hi", **fields}, content_type="application/json"
        )
        return int(response.status_code)

    async def test_to_models_lists_and_uses_only_these(self) -> None:
        reader = await self.limited(allowed_models=["gpt-*", "n"])

        listed = (await reader.get("/v1/models")).json()["data"]

        assert [each["id"] for each in listed] == ["simulated", "gpt-1", "gpt-2", "n"]
        assert [await self.chat(reader, model) for model in ("gpt-2", "n")] == [UNREACHABLE] * 2
        assert [await self.chat(reader, model) for model in ("m", "other/m", "llm/m")] == [403] * 3
        assert [(await reader.get(f"/v1/models/{model}")).status_code for model in ("n", "m")] == [200, 403]

    async def test_to_models_cannot_name_another_to_transfer(self) -> None:
        reader = await self.limited(allowed_models=["n"])

        assert await self.transfer(reader, "other", model="n") == UNREACHABLE
        assert [await self.transfer(reader, "other", model=model) for model in ("m", "gpt-1")] == [403] * 2
        assert await self.transfer(reader, "llm") == 403, "its first model is another"
        assert await self.transfer(reader, "llm", model="n") == 403

    async def test_to_models_uses_no_upstream_whose_models_nobody_looks_at(self) -> None:
        reader = await self.limited(allowed_models=["*"])

        assert await self.transfer(reader, "site", model="n") == 403
        assert (await reader.post("/proxy/llm/v1/chat/completions")).status_code == 403

    async def test_to_upstreams_lists_and_uses_only_these(self) -> None:
        reader = await self.limited(allowed_upstreams=["other", "site"])

        listed = (await reader.get("/v1/models")).json()["data"]

        assert [each["id"] for each in listed] == ["simulated", "m", "n"]
        assert [await self.chat(reader, model) for model in ("n", "m", "llm/m")] == [UNREACHABLE, UNREACHABLE, 403]
        assert [await self.transfer(reader, name) for name in ("other", "site", "llm")] == [UNREACHABLE] * 2 + [403]
        assert [(await reader.get(f"/proxy/{name}")).status_code for name in ("other", "llm")] == [UNREACHABLE, 403]
        assert (await reader.get("/transfer/no-such")).status_code == 403, "the same as one that exists"

    async def test_is_refused_in_the_error_format_of_the_address(self) -> None:
        reader = await self.limited(allowed_upstreams=["site"])
        fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

        openais = await reader.post("/v1/chat/completions", fields, content_type="application/json")
        ours = await reader.post("/transfer/llm", {"prompt": "hi"}, content_type="application/json")

        assert openais.json()["error"] == {
            "message": "this API key may not use the model 'm'",
            "type": "permission_error",
            "param": None,
            "code": "model_not_allowed",
        }
        assert (ours["Content-Type"], ours.json()["code"]) == ("application/problem+json", "model_not_allowed")

    async def test_still_uses_what_is_open_to_everyone(self, settings: Any) -> None:
        reader = await self.limited(allowed_upstreams=["llm"], allowed_models=["m"])
        fields = {"model": "simulated", "messages": [{"role": "user", "content": "hi"}], "interval": 0}

        response = await reader.post("/v1/chat/completions", fields, content_type="application/json")

        assert response.status_code == 200

    async def test_is_limited_where_others_need_no_key(self, settings: Any) -> None:
        settings.STREAMING_ACCESS = "public"
        reader = await self.limited(allowed_upstreams=["other"])

        assert [await self.transfer(reader, name) for name in ("other", "llm")] == [UNREACHABLE, 403]


@pytest.mark.django_db(transaction=True)
class TestLoginAccess:
    async def test_refuses_anonymous_users_even_from_this_machine(self) -> None:
        for method in ("get", "post", "delete"):
            assert (await getattr(client(), method)(INSIDE)).status_code == 401

    async def test_refuses_users_that_are_no_longer_active(self) -> None:
        reader = await logged_in(active=False)

        assert (await reader.get(INSIDE)).status_code == 401

    async def test_reading_needs_no_token(self) -> None:
        reader = await logged_in()

        assert (await reader.get(INSIDE)).status_code == LET_IN

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    async def test_unsafe_methods_need_the_csrf_token_in_the_header(self, method: str) -> None:
        reader = await logged_in()
        ask = getattr(reader, method)

        assert (await ask(INSIDE)).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": "b" * 32})).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": "?"})).status_code == 403
        assert (await ask(INSIDE, headers={"X-CSRFToken": TOKEN})).status_code == LET_IN

    async def test_does_not_read_a_csrf_token_from_the_form(self) -> None:
        reader = await logged_in()

        response = await reader.post(INSIDE, {"csrfmiddlewaretoken": TOKEN})

        assert response.status_code == 403
        assert "X-CSRFToken" in response.json()["detail"]

    async def test_the_ping_needs_no_login(self) -> None:
        response = await client(ELSEWHERE).get("/ping")

        assert response.status_code == 200
        response.close()


class TestPublicAccess:
    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    async def test_needs_neither_login_nor_csrf_token(self, settings: Any, method: str) -> None:
        settings.STREAMING_ACCESS = "public"

        response = await getattr(client(ELSEWHERE), method)(INSIDE, headers={"X-Forwarded-For": "x"})

        assert response.status_code == LET_IN


class TestRequestsOfTheBuiltInUpstream:
    async def test_are_admitted_to_the_stream_by_their_signature(self) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign(), "Last-Event-ID": "x"})

        assert (await relay.get("/stream")).status_code == 204

    async def test_are_admitted_whatever_the_origin_header_is(self) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign(), "Origin": "http://this.site:8000"})

        response = await relay.post("/stream?step=0", {}, content_type="application/json")

        assert response.status_code == 400

    @pytest.mark.parametrize("address", [INSIDE, "/transfer/none"])
    async def test_are_admitted_to_no_other_address(self, address: str) -> None:
        relay = client(headers={upstreams.SIGNATURE_HEADER: upstreams.sign()})

        assert (await relay.get(address)).status_code == 401

    async def test_with_a_wrong_signature_are_refused(self) -> None:
        headers = {upstreams.SIGNATURE_HEADER: "stream:x:y", "Origin": "http://this.site:8000"}

        assert (await client(headers=headers).get("/stream")).status_code == 403


OTHER = "https://other.example"


@pytest.mark.parametrize("access", ["login", "public"])
class TestACrossOriginPage:
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
    async def test_is_distinguished_from_a_same_origin_page(
        self, settings: Any, access: str, headers: dict[str, str]
    ) -> None:
        settings.STREAMING_ACCESS = access

        response = await client().post(INSIDE, headers=headers)

        assert response.status_code == (LET_IN if access == "public" else 401)
        assert "Access-Control-Allow-Origin" not in response

    async def test_is_allowed_if_the_settings_name_its_origin(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        response = await client().post(INSIDE, headers={"Origin": OTHER, "Sec-Fetch-Site": "cross-site"})

        assert response.status_code == (LET_IN if access == "public" else 401)
        assert response["Access-Control-Allow-Origin"] == OTHER
        assert response["Access-Control-Expose-Headers"] == "*"
        assert "Origin" in response["Vary"]
        assert "Access-Control-Allow-Credentials" not in response

    async def test_that_is_allowed_gets_an_answer_to_its_preflight(self, settings: Any, access: str) -> None:
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

    async def test_that_is_not_allowed_fails_its_preflight(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        headers = {"Origin": "https://third.example", "Access-Control-Request-Method": "POST"}
        response = await client().options("/stream", headers=headers)

        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response

    async def test_that_is_allowed_can_read_error_responses(self, settings: Any, access: str) -> None:
        settings.STREAMING_ACCESS = access
        settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

        response = await client().get("/stream?step=0", headers={"Origin": OTHER})

        assert (response.status_code, response["Access-Control-Allow-Origin"]) == (400, OTHER)


async def test_an_allowed_origin_still_has_to_log_in(settings: Any) -> None:
    settings.STREAMING_ALLOWED_ORIGINS = [OTHER]

    response = await client().get(INSIDE, headers={"Origin": OTHER})

    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (401, OTHER)


class TestAMethod:
    @pytest.mark.parametrize(
        ("address", "method", "allowed"),
        [
            ("/ping", "post", "GET, HEAD"),
            ("/stream", "put", "GET, HEAD, POST"),
            ("/stream", "delete", "GET, HEAD, POST"),
            ("/stream", "options", "GET, HEAD, POST"),
            ("/transfer", "patch", "GET, HEAD, POST"),
            ("/v1/models", "post", "GET, HEAD"),
            ("/v1/chat/completions", "get", "POST"),
            ("/v1/chat/completions", "head", "POST"),
        ],
    )
    async def test_that_an_address_does_not_support_is_refused_with_allow(
        self, address: str, method: str, allowed: str
    ) -> None:
        response = await getattr(client(), method)(address)

        assert (response.status_code, response["Allow"]) == (405, allowed)

    @pytest.mark.django_db(transaction=True)
    async def test_that_an_upstream_does_not_support_is_refused(self, settings: Any) -> None:
        settings.STREAMING_ACCESS = "public"
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai"}}

        response = await client().get("/transfer/llm")

        assert (response.status_code, response["Allow"]) == (405, "POST")
        assert response["Content-Type"] == "application/problem+json"


def test_a_protected_view_keeps_its_name() -> None:
    @guarded("GET")
    async def somewhere(request: HttpRequest) -> HttpResponse:
        """Somewhere."""
        return HttpResponse()

    assert (somewhere.__name__, somewhere.__doc__) == ("somewhere", "Somewhere.")
    assert somewhere.csrf_exempt  # type: ignore[attr-defined]


class TestErrorsHaveTheFormatOfTheirAddress:
    @pytest.mark.django_db(transaction=True)
    async def test_when_the_settings_are_wrong(self, settings: Any) -> None:
        settings.STREAMING_ACCESS = "public"
        settings.STREAMING_UPSTREAMS = {"a": {"URL": "nowhere"}}

        ours, openais = await client().get("/transfer/a"), await client().get("/v1/models")

        assert (ours.status_code, openais.status_code) == (500, 500)
        assert "manage.py check" in ours.json()["detail"]
        assert "manage.py check" in openais.json()["error"]["message"]
        assert openais.json()["error"]["type"] == "server_error"

    @pytest.mark.django_db(transaction=True)
    async def test_when_a_session_comes_without_its_token(self, settings: Any) -> None:
        settings.STREAMING_UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9", "FORMAT": "openai", "MODELS": ["m"]}}
        reader = await logged_in()
        fields = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

        response = await reader.post("/v1/chat/completions", fields, content_type="application/json")

        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize("path", ["/stream", "/transfer", "/ping", "/v1/models", "/healthz"])
def test_under_wsgi_a_stream_is_refused_with_a_sentence(path: str) -> None:
    answer = Client().get(path)

    assert answer.status_code == 501
    assert "under WSGI, which cannot stream" in answer.content.decode()
