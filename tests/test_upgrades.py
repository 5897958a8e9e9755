"""Upgrades: databases of earlier releases are migrated with what they hold, and rules survive a way back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment, manage
from tests.postgres_server import PostgresServer

FIRST, MORE = "0001_initial", "0010_plain_texts"
"""The first database of this app, and the one when it was first packaged."""

FILL = """
import django; django.setup()
from django.core.management import call_command
for app in ("auth", "admin", "sessions"):
    call_command("migrate", app, verbosity=0)
call_command("migrate", "streaming", {migration!r}, verbosity=0)
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
apps = MigrationExecutor(connection).loader.project_state([("streaming", {migration!r})]).apps
Rule = apps.get_model("streaming", "ModerationRule")
unique = {{"fingerprint"}} & {{field.name for field in Rule._meta.get_fields()}}
def rule(pattern, **fields):
    Rule.objects.create(pattern=pattern, **dict.fromkeys(unique, pattern), **fields)
rule("darn", action="mask", category="profanity", note="kept")
rule("asleep", action="mask", enabled=False)
rule("stop-here", action="block", category="test")
if {migration!r} == {more!r}:
    rule(r"\\d{{4}}", kind="regex", action="replace", replacement="(number)", compare="exact")
    owner = User.objects.create_user("ann")
    ApiKey = apps.get_model("streaming", "ApiKey")
    ApiKey.objects.create(owner_id=owner.pk, name="old", prefix="sk-old", hashed="0" * 64)
"""


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty database is."""
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path}/old.sqlite3"
        return
    server = PostgresServer()
    yield server.url
    server.stop()


def done(folder: Path, *arguments: str, database: str) -> str:
    run = manage(folder, *arguments, DATABASE_URL=database)
    assert run.returncode == 0, run.stderr
    return run.stdout


OLD_COMPARISONS = """
import django; django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
apps = MigrationExecutor(connection).loader.project_state([("streaming", "0008_api_keys")]).apps
for number, (kind, exact, squeeze) in enumerate([
    ("literal", False, False), ("literal", True, False), ("literal", False, True), ("literal", True, True),
    ("regex", False, True), ("regex", True, True),
]):
    apps.get_model("streaming", "ModerationRule").objects.create(
        pattern=f"word{number}", fingerprint=number, kind=kind, exact=exact, squeeze=squeeze
    )
"""
NEW_COMPARISONS = """
import django; django.setup()
from streaming.models import ModerationRule
from streaming.moderation import RuleSet
RuleSet(ModerationRule.objects.in_force())
print(*ModerationRule.objects.order_by("pattern").values_list("compare", flat=True))
"""


def run_python(folder: Path, program: str) -> str:
    env = {**environment(folder), "DJANGO_SETTINGS_MODULE": "ssesite.settings"}
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def test_old_comparisons_become_new_ones_and_all_rules_are_still_valid(tmp_path: Path) -> None:
    for app, name in (("auth", ""), ("admin", ""), ("sessions", ""), ("streaming", "0008")):
        migrated = manage(tmp_path, "migrate", "-v0", *filter(None, (app, name)))
        assert migrated.returncode == 0, migrated.stderr
    run_python(tmp_path, OLD_COMPARISONS)

    assert manage(tmp_path, "migrate", "-v0").returncode == 0

    assert run_python(tmp_path, NEW_COMPARISONS) == "normal exact loose exact normal exact"


@pytest.mark.parametrize(
    ("database", "migration"), [("SQLite", FIRST), ("SQLite", MORE), ("PostgreSQL", MORE)], indirect=["database"]
)
def test_an_old_database_is_migrated_with_its_rules(tmp_path: Path, database: str, migration: str) -> None:
    env = {**environment(tmp_path), "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "ssesite.settings"}
    code = FILL.format(migration=migration, more=MORE)
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=240)

    done(tmp_path, "migrate", "-v0", database=database)

    (tmp_path / "text").write_text("darn it, asleep in 2026, stop-here and on")
    moderated = done(tmp_path, "moderate", str(tmp_path / "text"), database=database)
    assert moderated.startswith("•••• it, asleep in " + ("(number)" if migration == MORE else "2026"))
    assert "stop-here" not in moderated
    assert "and on" not in moderated


@pytest.mark.parametrize("database", ["SQLite"], indirect=True)
def test_rules_that_were_backed_up_are_read_back_the_same(tmp_path: Path, database: str) -> None:
    done(tmp_path, "migrate", "-v0", database=database)
    (tmp_path / "rules.csv").write_text('pattern,action,note\ndarn,mask,"a note, with ""quotes"""\n垃圾广告,block,\n')
    done(tmp_path, "import_rules", str(tmp_path / "rules.csv"), database=database)
    done(tmp_path, "backup_rules", str(tmp_path / "backup.csv"), database=database)
    printed = done(tmp_path, "backup_rules", database=database)
    other = f"sqlite:///{tmp_path}/other.sqlite3"

    done(tmp_path, "migrate", "-v0", database=other)
    done(tmp_path, "import_rules", str(tmp_path / "backup.csv"), database=other)

    assert "垃圾广告" in printed
    assert done(tmp_path, "backup_rules", database=other).splitlines() == printed.splitlines()
    assert (tmp_path / "backup.csv").read_text("utf-8").splitlines() == printed.splitlines()
    assert not (tmp_path / "backup.csv.unfinished").exists()
