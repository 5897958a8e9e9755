"""``/healthz``, request targets and log messages under every server."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, PASSWORD, Site, eventually, read_until

MakeSite = Callable[..., Site]
UVICORN = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]
SERVERS = {
    "daphne": None,
    "runserver": ["manage.py", "runserver", "--noreload", "127.0.0.1:{port}"],
    "uvicorn with h11": [*UVICORN, "--http", "h11"],
    "uvicorn with httptools": [*UVICORN, "--http", "httptools"],
}


class TestHealth:
    def test_shows_only_ok_to_anonymous_users(self, site: Site) -> None:
        assert httpx.get(f"{site.url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{site.url}/healthz", cookies={"sessionid": "x" * 32}).json() == {"status": "ok"}
        assert httpx.get(f"{site.url}/healthz", headers={"x-api-key": "streams-none"}).json() == {"status": "ok"}

    def test_shows_details_to_staff_with_a_key_or_a_login(self, site: Site) -> None:
        with httpx.Client(base_url=site.url) as browser:
            browser.get("/login/")
            token = browser.cookies["csrftoken"]
            browser.post("/login/", data={"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token})
            by_login = browser.get("/healthz").json()
        by_key = httpx.get(f"{site.url}/healthz", headers=site.as_staff).json()

        assert by_key.keys() == by_login.keys() == {"status", "pid", "rules", "streams", "journal", "hits", "usage"}

    @pytest.mark.parametrize("host", ["10.1.2.3", "other.example:81", "", "[::1]", "not a host"])
    def test_answers_for_any_host(self, site: Site, host: str) -> None:
        with site.connect("GET /healthz\nConnection: close") as reader:
            assert b"200 OK" in read_until(reader, b"never")
        answer = httpx.get(f"{site.url}/healthz", headers={"Host": host})

        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_answers_head_and_lists_the_allowed_methods(self, site: Site) -> None:
        head, post = httpx.head(f"{site.url}/healthz"), httpx.post(f"{site.url}/healthz")

        assert (head.status_code, head.content) == (200, b"")
        assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")

    def test_is_degraded_while_the_database_is_unavailable(self, make_site: MakeSite) -> None:
        site = make_site()
        assert httpx.get(f"{site.url}/transfer?interval=0").status_code == 200, "the rules are known"
        database, aside = site.folder / "db.sqlite3", site.folder / "aside"
        for path in site.folder.glob("db.sqlite3-*"):
            path.unlink()

        database.rename(aside)
        database.mkdir()
        eventually(lambda: httpx.get(f"{site.url}/healthz").status_code == 503, "it is noticed")
        away = httpx.get(f"{site.url}/healthz", headers=site.as_staff)
        streamed = httpx.get(f"{site.url}/transfer?interval=0")
        database.rmdir()
        aside.rename(database)

        assert (away.status_code, away.json()["status"]) == (503, "degraded")
        assert streamed.status_code == 200, "the rules that were known last hold"
        eventually(lambda: httpx.get(f"{site.url}/healthz").status_code == 200, "it is back")

    def test_never_waits_long_for_a_lock(self, make_site: MakeSite) -> None:
        site = make_site()
        lock = sqlite3.connect(site.folder / "db.sqlite3", isolation_level=None)
        lock.execute("PRAGMA locking_mode=EXCLUSIVE")
        lock.execute("PRAGMA journal_mode=DELETE")
        lock.execute("BEGIN EXCLUSIVE")

        began = time.monotonic()
        answers = [httpx.get(f"{site.url}/healthz", timeout=DEADLINE) for _ in range(3)]
        seconds = time.monotonic() - began
        lock.execute("ROLLBACK")
        lock.close()

        assert {answer.status_code for answer in answers} == {503}
        assert seconds < 3 * 10, "the database itself waits 10 s for its lock, each time"


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("served"), request.param, DEBUG="0")
    yield site
    site.stop()


def raw_answer(site: Site, *lines: str) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE) as client:
        client.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return read_until(client, b"never")


class TestEveryServer:
    @pytest.mark.parametrize("scheme", ["http", "HTTP", "https"])
    def test_accepts_an_absolute_request_target(self, served: Site, scheme: str) -> None:
        target = f"{scheme}://LocalHost:{served.port}/stream?interval=0&document=poem"

        answer = raw_answer(served, f"GET {target} HTTP/1.1", f"Host: localhost:{served.port}")

        assert answer.startswith(b"HTTP/1.1 200")
        assert b"event: done" in answer

    def test_takes_the_host_from_an_absolute_request_target(self, served: Site, request: pytest.FixtureRequest) -> None:
        if "httptools" in request.node.name:
            pytest.skip("uvicorn gives the path of the URL only, and keeps the host to itself")
        assert b" 400 " in raw_answer(served, "GET http://evil.example/login/ HTTP/1.1", "Host: evil.example")

    @pytest.mark.parametrize("host", ["Host: localhost", "Host: 127.0.0.1:80", "Host: localhost:443", "Host:"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_refuses_a_target_and_a_host_header_that_name_different_hosts(
        self, served: Site, request: pytest.FixtureRequest, host: str, method: str
    ) -> None:
        if "httptools" in request.node.name:
            pytest.skip("uvicorn gives the path of the URL only, and keeps the host to itself")
        answer = raw_answer(served, f"{method} http://127.0.0.1:8000/stream HTTP/1.1", host, "Content-Length: 0")

        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert b"different hosts" in answer

    def test_does_not_log_query_strings(self, served: Site) -> None:
        for path in ("/healthz?a=first-secret", "/nowhere?a=second-secret", "/stream?interval=0&b=third-secret"):
            httpx.get(f"{served.url}{path}")
        httpx.get(f"{served.url}/stream?step=0&c=last-secret")
        httpx.get(f"{served.url}/nowhere/at/all")

        eventually(lambda: "/nowhere/at/all" in served.log, "what was asked is logged")
        assert "secret" not in served.log

    def test_logs_djangos_own_errors(self, served: Site) -> None:
        answer = httpx.get(f"{served.url}/login/", headers={"Host": "wicked.example"})

        eventually(lambda: "Invalid HTTP_HOST header: 'wicked.example'" in served.log, "the error is logged")
        assert "add the name to ALLOWED_HOSTS" in answer.text
        assert "your input" not in answer.text, "a GET has none"
        assert served.log.count("DisallowedHost: Invalid HTTP_HOST header: 'wicked.example'. You") == 1
        assert "Traceback" not in served.log
        sent = httpx.post(f"{served.url}/login/", headers={"Host": "wicked.example"})
        assert "your input is still there" in sent.text

    def test_trusts_no_forwarded_header_by_default(self, served: Site) -> None:
        answer = httpx.get(f"{served.url}/admin/", headers={"Daphne-Root-Path": "/evil"})

        assert answer.headers["location"].startswith("/admin/login/")


@pytest.mark.parametrize("address", ["/stream", "/transfer", "/proxy"])
def test_no_middleware_compresses_a_stream(compressing: Site, address: str) -> None:
    answer = httpx.get(f"{compressing.url}{address}?interval=0", headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in answer.headers
    assert answer.headers["x-accel-buffering"] == "no"
    assert "event: done" in answer.text
    assert httpx.get(f"{compressing.url}/").headers["content-encoding"] == "gzip", "the page is compressed"


@pytest.fixture(scope="module")
def compressing(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with Django's GZipMiddleware before all other middleware."""
    folder = tmp_path_factory.mktemp("compressing")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    code = (
        "from ssesite import settings; settings.MIDDLEWARE.insert(0, 'django.middleware.gzip.GZipMiddleware');"
        "from daphne.cli import CommandLineInterface; CommandLineInterface.entrypoint()"
    )
    site = Site(folder, ["-c", code, "-p", "{port}", "ssesite.asgi:application"])
    yield site
    site.stop()


def test_a_long_form_of_an_anonymous_user_is_not_parsed(make_site: MakeSite) -> None:
    site = make_site()
    form = b"a=b&" * 250_000
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    for address in ("/admin/login/", "/admin/streaming/moderationrule/import/"):
        answer = httpx.post(site.url + address, content=form, headers=headers)
        assert answer.status_code == 413, address
