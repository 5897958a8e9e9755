"""Management commands report errors in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import ROOT, environment, manage

NEEDING_A_DATABASE = {
    "import": ["import_rules", "{words}"],
    "undo": ["import_rules", "--undo", "words"],
    "prune": ["prune_hits"],
    "moderate": ["moderate", "{words}"],
}


def failed(folder: Path, *arguments: str, **env: str) -> str:
    """The sentence with which a command fails."""
    (folder / "words").write_text("darn\n")
    run = manage(folder, *(word.format(words=folder / "words", folder=folder) for word in arguments), **env)
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.parametrize("arguments", NEEDING_A_DATABASE.values(), ids=NEEDING_A_DATABASE)
def test_a_database_without_tables_is_reported_in_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    assert "Run 'migrate'?" in failed(tmp_path, *arguments)


@pytest.mark.parametrize(
    "arguments", [["prune_hits"], ["import_rules", "{words}"], ["demo", "--port", "1024"], ["migrate"]]
)
def test_a_file_that_is_not_a_database_is_reported_in_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "db.sqlite3").write_bytes(b"This is no database. " * 1000)

    assert "file is not a database" in failed(tmp_path, *arguments)


def test_a_database_that_cannot_be_opened_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").mkdir()

    assert "unable to open database file" in failed(tmp_path, "prune_hits")


def test_an_invalid_setting_is_reported_in_one_sentence(tmp_path: Path) -> None:
    assert "DATABASE_URL" in failed(tmp_path, "prune_hits", DATABASE_URL="nonsense")
    assert "STREAMING_UPSTREAMS" in failed(tmp_path, "prune_hits", STREAMING_UPSTREAMS="nonsense")


@pytest.mark.django_db
@pytest.mark.parametrize("command", [["import_rules"], ["moderate"], ["moderate", "words", "--rules"]])
@pytest.mark.parametrize(
    ("file", "says"),
    [("nowhere", "No such file"), (".", "Is a directory"), ("words/x", "Not a directory"), ("binary", "line 1")],
)
def test_a_file_that_does_not_exist_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], file: str, says: str
) -> None:
    (tmp_path / "words").write_text("darn\n")
    (tmp_path / "binary").write_bytes(bytes([0xEC, 0, 1, 0xFF]) * 1000)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CommandError, match=says):
        call_command(*command, file)


@pytest.mark.django_db
@pytest.mark.parametrize(("target", "says"), [("nowhere/rules.csv", "No such file"), ("folder", "Is a directory")])
def test_a_backup_that_cannot_be_written_names_the_file_and_leaves_nothing(
    tmp_path: Path, target: str, says: str
) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(CommandError, match=f"{tmp_path / target}.*: {says}"):
        call_command("backup_rules", tmp_path / target)

    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_reported_in_one_sentence(migrated: Path, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes((migrated / "db.sqlite3").read_bytes())
    command = [sys.executable, str(ROOT / "manage.py"), "moderate", str(ROOT / "README.md")]

    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            command, env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (run.returncode, run.stderr) == (1, "CommandError: The command failed: No space left on device.\n")
