"""Changes of rules reach every worker, and each reports its version."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import DEADLINE, PASSWORD, Site, eventually

RULES = "/admin/streaming/moderationrule/"


class Workers:
    """Two servers with one database, and a moderator logged in at the first."""

    def __init__(self, folder: Path, migrated: Path, **env: str) -> None:
        shutil.copytree(migrated, folder / "one")
        (folder / "two").mkdir()
        self.one = Site(folder / "one", **env)
        self.two = Site(folder / "two", DATABASE_URL=f"sqlite:///{folder / 'one' / 'db.sqlite3'}", **env)
        self.moderator = httpx.Client(base_url=self.one.url, follow_redirects=True, timeout=DEADLINE)
        self.post("/admin/login/", {"username": "admin", "password": PASSWORD})

    def post(self, address: str, data: dict[str, str]) -> httpx.Response:
        page = self.moderator.get(address)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        return self.moderator.post(address, data={**data, "csrfmiddlewaretoken": token[1]})

    def stop(self) -> None:
        self.one.stop()
        self.two.stop()


@pytest.fixture
def workers(migrated: Path, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path, migrated)
    yield workers
    workers.stop()


def streamed(site: Site) -> str:
    """The assembled text of a stream."""
    answer = httpx.get(f"{site.url}/transfer?interval=0", timeout=DEADLINE).text
    messages = [json.loads(data) for data in re.findall(r"^data: (.*)$", answer, re.MULTILINE)]
    return "".join(message.get("delta", "") for message in messages)


def health(site: Site) -> Any:
    return httpx.get(f"{site.url}/healthz", headers=site.as_staff, timeout=DEADLINE).json()


def test_an_edit_an_import_and_a_deletion_reach_every_worker(workers: Workers) -> None:
    assert "darn" in streamed(workers.one)
    assert "darn" in streamed(workers.two)

    workers.post(f"{RULES}add/", {"pattern": "darn", "action": "drop", "enabled": "on"})
    assert "darn" not in streamed(workers.one), "in the worker that changed it, at once"
    eventually(lambda: "darn" not in streamed(workers.two), "in the other, soon")
    assert health(workers.one)["rules"] == health(workers.two)["rules"] == {"version": 1, "error": None}

    preview = workers.post(f"{RULES}import/", {"text": "engineer\nreport", "action": "drop"})
    workers.post(preview.url.path, {})
    eventually(lambda: "engineer" not in streamed(workers.two), "what was imported")

    workers.post(f"{RULES}1/delete/", {"post": "yes"})
    eventually(lambda: "darn" in streamed(workers.two), "and what was deleted")
    versions = [health(site)["rules"]["version"] for site in (workers.one, workers.two)]
    assert versions[0] == versions[1] > 2


def test_health_reports_the_version_of_the_rules_in_each_worker(site: Site) -> None:
    eventually(lambda: health(site)["streams"] == 0, "nobody reads")
    eventually(lambda: not health(site)["usage"]["waiting"], "what was read before is recorded")
    state = health(site)
    assert state.pop("journal")["store"] == "memory"
    assert state.pop("pid") > 0
    assert state == {
        "status": "ok",
        "rules": {"version": 0, "error": None},
        "streams": 0,
        "hits": {"waiting": 0, "lost": 0},
        "usage": {"waiting": 0, "lost": 0},
    }
    with site.connect("GET /transfer?interval=1"):
        eventually(lambda: health(site)["streams"] == 2, "the relay, and what it relays")


def test_health_is_a_503_while_tables_are_missing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        answer = httpx.get(f"{site.url}/healthz")
    finally:
        site.stop()

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


def test_without_valid_rules_nothing_is_relayed_and_health_says_why(workers: Workers) -> None:
    with sqlite3.connect(workers.one.folder / "db.sqlite3") as database:
        fields = 'pattern, kind, action, replacement, whole_word, category, priority, compare, "group", match_check,'
        fields += " overflow, upstreams,"
        fields += " applies_to, enabled, note, changed, fingerprint"
        row = ("(a", "regex", "mask", "", 0, "", 0, "normal", 0, "", "pass", "[]", "both", 1, "", "2026-01-01", "x")
        places = ",".join("?" * len(row))
        database.execute(f"INSERT INTO streaming_moderationrule ({fields}) VALUES ({places})", row)

    for address in ("/transfer?interval=0", "/healthz"):
        answer = httpx.get(workers.two.url + address, headers=workers.one.as_staff)
        assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert "the ( is not closed" in answer.json()["problem"]
    assert "darn" not in httpx.get(f"{workers.two.url}/transfer?interval=0").text
