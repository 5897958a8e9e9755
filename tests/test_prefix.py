"""The site below a path: ``--root-path`` and FORCE_SCRIPT_NAME, behind a proxy that removes the path or does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, Site, copy_of

PREFIX = "/live/streams"
DAPHNE = ["-m", "daphne", "-p", "{port}", "ssesite.asgi:application"]
UVICORN = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]

SITES = {
    "daphne --root-path": ([*DAPHNE, f"--root-path={PREFIX}"], {}, ("", PREFIX)),
    "uvicorn --root-path": ([*UVICORN, f"--root-path={PREFIX}"], {}, ("",)),  # it puts the path before each request's
    "FORCE_SCRIPT_NAME": (DAPHNE, {"FORCE_SCRIPT_NAME": PREFIX}, ("", PREFIX)),
}

Get = Callable[..., list[httpx.Response]]


@pytest.fixture(scope="module", params=SITES)
def get(request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Get]:
    """Requests a path, as it arrives behind each kind of proxy: with the prefix, or without."""
    command, env, prefixes = SITES[request.param]
    site = Site(copy_of(migrated, tmp_path_factory.mktemp("below")), command, **env)
    yield lambda path, **headers: [
        httpx.get(f"{site.url}{prefix}{path}", headers=headers, timeout=DEADLINE) for prefix in prefixes
    ]
    site.stop()


@pytest.mark.parametrize("path", ["/", "/login/", "/admin/login/"])
def test_every_address_of_a_page_begins_with_the_prefix_and_its_files_are_there(get: Get, path: str) -> None:
    for page in get(path):
        addresses = re.findall(r'\b(?:src|href|action|data-(?:address|raw|base))="(/[^"]*)"', page.text)

        assert addresses
        assert [address for address in addresses if not address.startswith(f"{PREFIX}/")] == []
        for address in {address.removeprefix(PREFIX) for address in addresses if "/static/" in address}:
            assert [answer.status_code for answer in get(address)] == [200] * len(get("/healthz"))


def test_redirects_begin_with_the_prefix(get: Get) -> None:
    for answer in get("/admin/"):
        assert answer.headers["location"] == f"{PREFIX}/admin/login/?next={PREFIX}/admin/"


def test_a_stream_flows_through_the_built_in_upstream_and_its_own_address_begins_with_the_prefix(get: Get) -> None:
    for answer in get("/transfer?interval=0&document=poem"):
        location = answer.headers["content-location"]

        assert "event: done" in answer.text
        assert location.startswith(f"{PREFIX}/streams/")
        for again in get(location.removeprefix(PREFIX)):
            assert "event: done" in again.text


def test_a_relayed_path_is_found_behind_the_upstreams_name(get: Get) -> None:
    for answer in get("/proxy/default?interval=0&document=poem"):
        assert "event: done" in answer.text


def test_the_health_of_the_site_is_told_under_any_host(get: Get) -> None:
    for answer in get("/healthz", Host="10.0.0.7"):
        assert answer.json() == {"status": "ok"}
