"""The settings from the environment, read by a separate process."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder that contains only the settings."""
    shutil.copytree(ROOT / "ssesite", tmp_path / "ssesite", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


def begin(machine: Path, *names: str, **env: str) -> subprocess.Popen[str]:
    code = f"import json; from ssesite import settings; print(json.dumps([getattr(settings, n) for n in {names}]))"
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=machine,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(machine: Path, *names: str, **env: str) -> Any:
    out, err = begin(machine, *names, **env).communicate(timeout=240)
    assert out, err
    return json.loads(out)


def refused(machine: Path, **env: str) -> str:
    process = begin(machine, "DEBUG", **env)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (1, "")
    return err.strip().splitlines()[-1]


class TestTheSecretKey:
    def test_is_generated_once_and_readable_only_by_its_owner(self, machine: Path) -> None:
        (first,), (second,) = read(machine, "SECRET_KEY"), read(machine, "SECRET_KEY")

        assert first == second
        assert len(first) >= 50
        assert stat.S_IMODE((machine / ".secret-key").stat().st_mode) == 0o600
        assert [path.name for path in machine.glob(".secret-key*")] == [".secret-key"]

    def test_is_the_same_for_processes_that_start_together(self, machine: Path) -> None:
        started = [begin(machine, "SECRET_KEY") for _ in range(8)]
        keys = {process.communicate(timeout=240)[0] for process in started}

        assert len(keys) == 1
        assert keys != {""}
        assert [path.name for path in machine.glob(".secret-key*")] == [".secret-key"]

    def test_differs_between_machines(self, machine: Path) -> None:
        (first,) = read(machine, "SECRET_KEY")
        (machine / ".secret-key").unlink()

        assert read(machine, "SECRET_KEY") != [first]

    def test_can_be_set_and_then_no_file_is_created(self, machine: Path) -> None:
        assert read(machine, "SECRET_KEY", SECRET_KEY="mine") == ["mine"]
        assert not (machine / ".secret-key").exists()

    def test_that_cannot_be_stored_is_requested_with_an_error(self, machine: Path) -> None:
        (machine / ".secret-key").mkdir()

        said = refused(machine)

        assert "SECRET_KEY is not set, and none can be kept in" in said
        assert said.endswith("Set SECRET_KEY.")


INTERNAL = {"STREAMING_ENVIRONMENT", "ASGI_APPLICATION"}
"""Set by a project rather than by its operator."""


class TestDefaults:
    def test_are_for_one_machine(self, machine: Path) -> None:
        debug, hosts, access, upstreams, origins = read(
            machine,
            "DEBUG",
            "ALLOWED_HOSTS",
            "STREAMING_ACCESS",
            "STREAMING_UPSTREAMS",
            "STREAMING_ALLOWED_ORIGINS",
            SECRET_KEY="x",
        )

        assert debug is False
        assert hosts == ["localhost", "127.0.0.1", "[::1]"]
        assert access == "login"
        assert (upstreams, origins) == ({}, [])

    def test_do_not_change_for_hosts_that_are_empty(self, machine: Path) -> None:
        assert read(machine, "ALLOWED_HOSTS", SECRET_KEY="x", ALLOWED_HOSTS="") == [["localhost", "127.0.0.1", "[::1]"]]


@pytest.mark.parametrize("access", ["login", "public"])
def test_the_access_mode_can_be_set(machine: Path, access: str) -> None:
    assert read(machine, "STREAMING_ACCESS", SECRET_KEY="x", STREAMING_ACCESS=access) == [access]


@pytest.mark.parametrize("access", ["everyone", "Login", ""])
def test_an_unknown_access_mode_is_refused(machine: Path, access: str) -> None:
    said = refused(machine, SECRET_KEY="x", STREAMING_ACCESS=access)

    assert said.endswith(f"STREAMING_ACCESS is {access!r}. It may be 'login' or 'public'.")


def test_a_removed_access_mode_is_refused_with_its_replacement(machine: Path) -> None:
    said = refused(machine, SECRET_KEY="x", STREAMING_ACCESS="local")

    assert "STREAMING_ACCESS is 'local', which no longer exists" in said
    assert "Leave it out" in said


@pytest.mark.parametrize(
    ("env", "upstreams"),
    [
        ({"UPSTREAM_URL": "http://x"}, {"default": {"URL": "http://x", "FORMAT": "native"}}),
        (
            {"UPSTREAM_URL": "http://x", "UPSTREAM_FORMAT": "openai", "UPSTREAM_API_KEY": "k"},
            {"default": {"URL": "http://x", "FORMAT": "openai", "API_KEY_ENV": "UPSTREAM_API_KEY"}},
        ),
        (
            {"UPSTREAM_URL": "http://x", "UPSTREAM_MODELS": "a,b"},
            {"default": {"URL": "http://x", "FORMAT": "native", "MODELS": ["a", "b"]}},
        ),
        ({"UPSTREAM_FORMAT": "openai", "UPSTREAM_API_KEY": "k"}, {}),
        ({"STREAMING_UPSTREAMS": '{"a": {"URL": "http://x"}}'}, {"a": {"URL": "http://x"}}),
        (
            {"STREAMING_UPSTREAMS": '{"default": {"URL": "http://y"}}', "UPSTREAM_URL": "http://x"},
            {"default": {"URL": "http://y"}},
        ),
    ],
)
def test_a_single_upstream_can_be_set_with_separate_variables(
    machine: Path, env: dict[str, str], upstreams: dict[str, Any]
) -> None:
    assert read(machine, "STREAMING_UPSTREAMS", SECRET_KEY="x", **env) == [upstreams]


@pytest.mark.parametrize("url", ["smtps://ann:secret@mail.example", "mail.example", "smtp://mail.example:port"])
def test_an_email_url_that_means_nothing_is_refused_without_its_password(machine: Path, url: str) -> None:
    said = refused(machine, EMAIL_URL=url)

    assert "EMAIL_URL cannot be read: " in said
    assert "secret" not in said


def test_another_database_can_be_set(machine: Path) -> None:
    (databases,) = read(machine, "DATABASES", SECRET_KEY="x", DATABASE_URL="postgres://u:p@h:1/n")

    default = databases["default"]
    assert default["ENGINE"] == "django.db.backends.postgresql"
    assert default["CONN_MAX_AGE"] == 0
    assert "init_command" not in default.get("OPTIONS", {})


@pytest.mark.parametrize("password", ["p@ss", "p/ss", "p#ss", "p?ss", "a@b/c#d"])
def test_a_password_with_signs_of_a_url_is_refused_without_saying_it(machine: Path, password: str) -> None:
    said = refused(machine, DATABASE_URL=f"postgres://user:{password}@host/name")

    assert "write %40 for @" in said
    assert password not in said


def test_a_password_with_encoded_signs_and_a_file_with_signs_are_read(machine: Path) -> None:
    (databases,) = read(machine, "DATABASES", SECRET_KEY="x", DATABASE_URL="postgres://u:%40%2F%3F%23%25@h/n")
    assert databases["default"]["PASSWORD"] == "@/?#%"

    assert read(machine, "DEBUG", SECRET_KEY="x", DATABASE_URL="sqlite:////data/a@b@c#d/db.sqlite3") == [False]


@pytest.mark.parametrize("url", ["", "db.sqlite3", "postgres://user:password@host:port/name", "oracel://x"])
def test_a_database_url_that_means_nothing_is_refused_with_an_example(machine: Path, url: str) -> None:
    said = refused(machine, DATABASE_URL=url)

    assert said.endswith("it has to be like sqlite:///db.sqlite3 or postgres://user:password@host/name.")


def test_postgresql_without_its_driver_says_which_extra_to_install(machine: Path) -> None:
    (machine / "sitecustomize.py").write_text(
        "import sys, importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'psycopg' else find(name, package)\n"
    )

    said = refused(machine, DATABASE_URL="postgres://me@localhost/streams", PYTHONPATH=str(machine))

    assert "its driver is not installed: pip install 'django-streaming-llm[postgres]'" in said


class TestOPERATING:
    TABLE = (ROOT / ".github" / "OPERATING.md").read_text("utf-8")

    def test_has_every_setting_of_the_app(self) -> None:
        code = (ROOT / "streaming" / "conf.py").read_text("utf-8")
        settings = set(re.findall(r'^    """``([A-Z_]+)``', code, re.MULTILINE))

        assert len(settings) > 20
        assert sorted(each for each in settings - INTERNAL if f"`{each}`" not in self.TABLE) == []

    def test_has_every_environment_variable_of_the_project(self, machine: Path) -> None:
        [names] = read(machine, "STREAMING_ENVIRONMENT", SECRET_KEY="x")

        undocumented = [each for each in names if each not in self.TABLE and not each.startswith("UPSTREAM_")]
        assert sorted(undocumented) == []
