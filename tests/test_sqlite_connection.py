"""An SQLite database that cannot be opened leaves no file open."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from tests.conftest import Site, eventually


def open_files(process: int | str, name: str = "db.sqlite3") -> list[str]:
    return [target for link in Path(f"/proc/{process}/fd").iterdir() if name in (target := _target(link))]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn the garbage collector off."""
    gc.disable()
    yield
    gc.enable()


def make_garbage(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)


def make_locked(path: Path) -> sqlite3.Connection:
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("CREATE TABLE t (n)")
    lock.execute("BEGIN EXCLUSIVE")
    return lock


def make_cut(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i+1 FROM n LIMIT 9999) SELECT i FROM n"
    )
    database.commit()
    database.close()
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:5000])


@pytest.mark.usefixtures("no_collector", "db")
@pytest.mark.parametrize("damage", [make_garbage, make_locked, make_cut, Path.mkdir])
def test_a_connection_that_fails_to_initialize_leaves_no_file_open(tmp_path: Path, damage: Any) -> None:
    held = damage(tmp_path / "db.sqlite3")
    before = len(open_files("self"))
    entry = {**connections["default"].settings_dict, "NAME": str(tmp_path / "db.sqlite3")}
    entry["OPTIONS"] = {**settings.DATABASES["default"]["OPTIONS"], "timeout": 0}

    for _ in range(20):
        database = DatabaseWrapper(entry)
        with pytest.raises(DatabaseError):
            database.ensure_connection()
        database.close()

    # SQLite keeps one for later while this very process holds a lock on the file, and uses it again.
    assert len(open_files("self")) <= before + 1
    if held:
        held.close()


def test_a_site_with_a_damaged_database_leaves_no_file_open(make_site: Any) -> None:
    site: Site = make_site(STREAMING_ACCESS="public")
    path = site.folder / "db.sqlite3"
    httpx.get(f"{site.url}/transfer?interval=0")
    eventually(lambda: not open_files(site.process.pid), "its connections are closed")
    good = path.read_bytes()
    make_garbage(path)

    for _ in range(20):
        statuses = [
            httpx.get(f"{site.url}{address}", cookies={"sessionid": "a" * 32}).status_code
            for address in ("/admin/streaming/moderationrule/", "/transfer?interval=0", "/healthz")
        ]

    assert statuses[0] in (500, 503)
    eventually(lambda: len(open_files(site.process.pid)) <= 3, "no more are open than are in use at this moment")
    path.write_bytes(good)
    assert httpx.get(f"{site.url}/admin/", cookies={"sessionid": "a" * 32}).status_code == 302
