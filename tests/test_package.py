"""The package: an sdist and a wheel that hold what the page loads, so that they install without Node."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

VENDOR = "streaming/static/streaming/vendor"
NEEDED = {
    "streaming/py.typed",
    "streaming/templates/streaming/index.html",
    "streaming/locale/zh_Hans/LC_MESSAGES/django.mo",
    *(f"{VENDOR}/{name}" for name in ("markdown-it.js", "temml.js", "markdown-it-licenses.txt")),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that was built from it while npm did not work."""
    folder, programs = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("programs")
    (programs / "npm").write_text(f"#!/bin/sh\ntouch {folder}/npm-was-called\nexit 1\n")
    (programs / "npm").chmod(0o755)
    subprocess.run(["uv", "build", "--quiet", "--sdist", "--out-dir", folder, ROOT], check=True, timeout=300)
    [sdist] = folder.glob("*.tar.gz")
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", folder, sdist], check=True, env=env, timeout=300)
    return folder


def test_a_wheel_is_built_from_the_sdist_without_npm(built: Path) -> None:
    [wheel] = built.glob("django_streaming_llm-*.whl")

    assert set(zipfile.ZipFile(wheel).namelist()) >= NEEDED
    assert not (built / "npm-was-called").exists()


def test_no_file_of_one_machine_is_in_them(built: Path) -> None:
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {Path(name).name for name in [*zipfile.ZipFile(wheel).namelist(), *archive.getnames()]}

    assert names & {".secret-key", "db.sqlite3", "uv.lock", "site.env"} == set()


def test_the_libraries_name_no_source_maps(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    for name in NEEDED:
        if name.endswith(".js"):
            assert b"sourceMappingURL" not in zipfile.ZipFile(wheel).read(name)
