"""Logins: failed attempts are limited, and login links work once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends import locmem
from django.test import Client
from redis import Redis

from streaming import login
from tests.conftest import PASSWORD
from tests.redis_server import RedisServer

pytestmark = pytest.mark.django_db

PAGES = ["/login/", "/admin/login/"]


@pytest.fixture(autouse=True)
def nothing_counted(settings: Any) -> Iterator[None]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ann() -> User:
    return User.objects.create_superuser("ann", password=PASSWORD)


def attempt(page: str, name: str = "ann", password: str = "wrong", address: str = "203.0.113.7") -> str:
    answer = Client(REMOTE_ADDR=address).post(page, {"username": name, "password": password})
    if answer.status_code == 302:
        return "in"
    return "throttled" if "Too many failed attempts. Try again in 5 minutes." in answer.content.decode() else "wrong"


@pytest.mark.parametrize("page", PAGES)
class TestAPassword:
    def test_is_refused_after_too_many_attempts_even_if_correct(self, page: str, ann: User) -> None:
        assert [attempt(page) for _ in range(login.ATTEMPTS)] == ["wrong"] * login.ATTEMPTS

        assert attempt(page, password=PASSWORD) == "throttled"
        assert attempt(page, "ANN", PASSWORD) == "throttled", "nor is it by another spelling of the name"

    def test_is_accepted_from_another_address_meanwhile(self, page: str, ann: User) -> None:
        for _ in range(login.ATTEMPTS + 1):
            attempt(page)

        assert attempt(page, password=PASSWORD, address="198.51.100.9") == "in"

    def test_that_is_correct_resets_the_counter(self, page: str, ann: User) -> None:
        for _ in range(3):
            for _ in range(login.ATTEMPTS - 1):
                assert attempt(page) == "wrong"
            assert attempt(page, password=PASSWORD) == "in"

    def test_attempts_with_many_names_from_one_address_count_together(self, page: str, ann: User) -> None:
        outcomes = [attempt(page, f"name-{number}") for number in range(login.ATTEMPTS_OF_ADDRESS + 1)]

        assert outcomes == ["wrong"] * login.ATTEMPTS_OF_ADDRESS + ["throttled"]

    def test_can_be_tried_again_after_the_time_window(
        self, page: str, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(login.ATTEMPTS + 1):
            attempt(page)
        real = locmem.time.time
        monkeypatch.setattr(locmem.time, "time", lambda: real() + login.WINDOW_SECONDS + 1)

        assert attempt(page, password=PASSWORD) == "in"


class TestWithRedis:
    """Its counts are shared by all workers."""

    @pytest.fixture
    def redis_server(self, tmp_path: Path, settings: Any) -> Iterator[RedisServer]:
        server = RedisServer(tmp_path)
        backend = "django.core.cache.backends.redis.RedisCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": server.url, "KEY_PREFIX": "streams:cache"}}
        login._own_cache.clear()
        yield server
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        server.stop()
        login._own_cache.clear()

    def test_attempts_are_counted_there_and_expire(self, redis_server: RedisServer, ann: User) -> None:
        for _ in range(login.ATTEMPTS):
            attempt(PAGES[0])

        assert attempt(PAGES[0], password=PASSWORD) == "throttled"
        with Redis.from_url(redis_server.url) as redis:
            ends = [redis.ttl(key) for key in redis.keys("*")]
            assert len(ends) == 3
            assert all(0 < seconds <= login.WINDOW_SECONDS for seconds in ends)
            redis.flushall()
        assert attempt(PAGES[0], password=PASSWORD) == "in"

    def test_each_process_counts_while_it_is_away(self, redis_server: RedisServer, ann: User) -> None:
        redis_server.stop()

        outcomes = [attempt(PAGES[0]) for _ in range(login.ATTEMPTS + 1)]

        assert outcomes == ["wrong"] * login.ATTEMPTS + ["throttled"]
        assert attempt(PAGES[0], password=PASSWORD, address="198.51.100.9") == "in"


def test_attempts_on_both_login_pages_count_together(ann: User) -> None:
    for number in range(login.ATTEMPTS):
        attempt(PAGES[number % 2])

    assert [attempt(page, password=PASSWORD) for page in PAGES] == ["throttled"] * 2


class TestALinkThatLogsIn:
    def test_works_once(self, ann: User) -> None:
        path = login.one_time_path(ann)
        first, second = Client(), Client()

        assert first.get(path).headers["location"] == "/"
        assert "_auth_user_id" in first.session
        assert "This link was used before" in second.get(path).content.decode()
        assert "_auth_user_id" not in second.session

    def test_works_once_for_two_requests_at_the_same_moment_too(
        self, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, other, answers = login.one_time_path(ann), Client(), list[Any]()
        check = login._tokens.check_token

        def checked(user: User, token: str) -> bool:
            is_valid: bool = check(user, token)
            if not answers:
                answers.append(None)
                answers[0] = other.get(path)  # after this check, and before this request has logged in
            return is_valid

        monkeypatch.setattr(login._tokens, "check_token", checked)
        page = Client().get(path)

        assert answers[0].status_code == 302
        assert "This link was used before" in page.content.decode()

    def test_does_not_work_after_its_user_has_logged_in_otherwise(self, ann: User) -> None:
        path = login.one_time_path(ann)
        Client().post("/login/", {"username": "ann", "password": PASSWORD})

        assert "This link was used before" in Client().get(path).content.decode()

    @pytest.mark.parametrize(
        "broken",
        [
            "/login/once/x/y",
            "/login/once/MQ/abc-def",
            "/login/once/_w/z",
            "/login/once/OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5/z",
        ],
    )
    def test_that_is_invalid_redirects_to_the_login(self, ann: User, broken: str) -> None:
        answer = Client().get(broken)

        assert answer.status_code == 200
        assert 'action="/login/"' in answer.content.decode()

    def test_of_an_inactive_user_does_not_work(self, ann: User) -> None:
        User.objects.update(is_active=False)

        assert Client().get(login.one_time_path(ann)).status_code == 200

    def test_works_with_get_only(self, ann: User) -> None:
        path = login.one_time_path(ann)

        assert Client().head(path).status_code == 405
        assert Client().get(path).status_code == 302


class TestThePage:
    UPSTREAMS = {"llm": {"URL": "http://127.0.0.1:9"}}

    def test_links_to_the_login_and_back_if_one_is_needed(self, settings: Any) -> None:
        settings.STREAMING_ACCESS, settings.STREAMING_UPSTREAMS = "login", self.UPSTREAMS

        page = Client().get("/").content.decode()
        chinese = Client(headers={"Accept-Language": "zh-hans"}).get("/").content.decode()

        assert re.search(r'<option value="default"[^>]*>default</option>', page)
        assert re.search(r'<option value="llm"[^>]*>llm \(needs a login\)</option>', page)
        assert re.search(r'<option value="llm"[^>]*>llm \(需登录\)</option>', chinese)
        assert 'href="/login/?next=/"' in page

    @pytest.mark.parametrize(
        ("login_url", "path"),
        [
            ("/accounts/login/", "/login/"),  # Django's default, which nothing serves here
            ("admin:login", "/admin/login/"),
            ("/sign-in", "/sign-in"),
            ("https://sso.example/", "https://sso.example/"),
        ],
    )
    def test_links_to_the_login_of_the_project_if_it_has_one(self, settings: Any, login_url: str, path: str) -> None:
        settings.STREAMING_ACCESS, settings.STREAMING_UPSTREAMS = "login", self.UPSTREAMS
        settings.LOGIN_URL = login_url

        assert f'href="{path}?next=/"' in Client().get("/").content.decode()

    def test_has_no_such_link_for_a_user_who_is_logged_in(self, settings: Any, moderator: Client) -> None:
        settings.STREAMING_ACCESS, settings.STREAMING_UPSTREAMS = "login", self.UPSTREAMS

        page = moderator.get("/").content.decode()

        assert "needs a login" not in page
        assert "Log out" in page

    def test_submits_no_form_before_its_script_runs(self) -> None:
        page = Client().get("/").content.decode()

        assert page.count("disabled autocomplete") == 2
