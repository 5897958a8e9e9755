"""A site without migrations says so where it needs the database and works elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Site, manage, read_until

COMMAND = "manage.py migrate"


@pytest.fixture(scope="module")
def unmigrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("unmigrated"))
    yield site
    site.stop()


@pytest.mark.parametrize(
    ("method", "address", "cookies"),
    [
        ("GET", "/transfer", {}),
        ("POST", "/transfer", {}),
        ("GET", "/admin/", {"sessionid": "a" * 32}),
        ("GET", "/admin/streaming/moderationrule/", {"sessionid": "a" * 32}),
    ],
)
def test_a_page_that_needs_missing_tables_names_the_command(
    unmigrated: Site, method: str, address: str, cookies: dict[str, str]
) -> None:
    answer = httpx.request(method, unmigrated.url + address, cookies=cookies)

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert COMMAND in answer.json()["detail"]


def test_the_admin_login_names_the_command_too(unmigrated: Site) -> None:
    with httpx.Client(base_url=unmigrated.url, follow_redirects=True) as browser:
        page = browser.get("/admin/")
        token = browser.cookies.get("csrftoken", "")
        if page.status_code == 200:
            page = browser.post(page.url, data={"username": "a", "password": "b", "csrfmiddlewaretoken": token})

    assert page.status_code == 503
    assert COMMAND in page.text


@pytest.mark.parametrize(
    "address", ["/", "/login/", "/stream?interval=0", "/proxy?interval=0", "/static/streaming/sse.js"]
)
def test_pages_without_database_work(unmigrated: Site, address: str) -> None:
    assert httpx.get(unmigrated.url + address).status_code == 200


def test_the_ping_works(unmigrated: Site) -> None:
    with unmigrated.connect("GET /ping") as reader:
        assert b"event: connect" in read_until(reader, b"connect")


def test_the_ping_works_with_a_session_cookie(unmigrated: Site) -> None:
    with unmigrated.connect(f"GET /ping\nCookie: sessionid={'a' * 32}\nX-Forwarded-For: 1.2.3.4") as reader:
        assert b"event: connect" in read_until(reader, b"connect")


def test_everything_works_after_the_command(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        assert httpx.get(f"{site.url}/transfer").status_code == 503
        assert manage(tmp_path, "migrate", "-v0").returncode == 0

        answer = httpx.get(f"{site.url}/transfer?interval=0&document=poem")

        assert answer.text.endswith('event: done\ndata: {"reason": "stop"}\n\n')
    finally:
        site.stop()
