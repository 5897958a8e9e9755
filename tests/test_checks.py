"""What ``manage.py check`` says before a reader would find out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders

from streaming import checks
from tests.conftest import manage


def ids(messages: Any) -> list[str]:
    return [message.id for message in messages]


def test_daphne_has_to_be_first(settings: Any) -> None:
    assert checks.check_daphne_is_first(None) == []

    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "daphne"]

    (warning,) = checks.check_daphne_is_first(None)
    assert warning.id == "streaming.W001"
    assert "not send one byte" in warning.msg


@pytest.mark.parametrize(("access", "found"), [("login", []), ("public", []), ("local", ["E003"]), ("all", ["E003"])])
def test_the_access_has_to_be_one_that_there_is(settings: Any, access: str, found: list[str]) -> None:
    settings.STREAMING_ACCESS = access

    assert ids(checks.check_access(None)) == [f"streaming.{code}" for code in found]


@pytest.mark.parametrize(
    ("access", "debug", "found"), [("public", False, ["streaming.W002"]), ("public", True, []), ("login", False, [])]
)
def test_who_deploys_in_public_is_warned(settings: Any, access: str, debug: bool, found: list[str]) -> None:
    settings.STREAMING_ACCESS, settings.DEBUG = access, debug

    assert ids(checks.check_access_for_deployment(None)) == found


def test_every_upstream_has_to_be_readable(settings: Any) -> None:
    settings.STREAMING_UPSTREAMS = {"good": {"URL": "http://x"}}
    assert checks.check_upstreams(None) == []

    settings.STREAMING_UPSTREAMS = {"good": {"URL": "http://x"}, "bad": {"URL": "x"}, "worse": {}}

    errors = checks.check_upstreams(None)
    assert ids(errors) == ["streaming.E001"] * 2
    assert "STREAMING_UPSTREAMS['bad']['URL']" in errors[0].msg


def test_the_browsers_library_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_the_browser_library_is_there(None) == []

    monkeypatch.setattr(finders, "find", lambda path: None)

    assert ids(checks.check_the_browser_library_is_there(None)) == ["streaming.E002"]


def test_the_site_as_it_comes_has_nothing_to_say(tmp_path: Path) -> None:
    run = manage(tmp_path, "check")

    assert (run.returncode, run.stderr) == (0, "")
    assert "no issues" in run.stdout


def test_a_format_that_does_not_exist_is_named(tmp_path: Path) -> None:
    run = manage(tmp_path, "check", UPSTREAM_URL="http://127.0.0.1:9", UPSTREAM_FORMAT="xml")

    assert run.returncode == 1
    assert "STREAMING_UPSTREAMS['default']['FORMAT'] is 'xml'" in run.stderr
