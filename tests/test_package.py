"""The package: an sdist and a wheel that hold what the page loads, so that they install without Node."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def build(kind: str, source: Path, target: Path, registry: str) -> subprocess.CompletedProcess[str]:
    """Builds an sdist or a wheel; what it has to fetch from npm comes from this registry, "" for npm's own."""
    command = ["uv", "build", f"--{kind}", "--out-dir", str(target), str(source)]
    env = {**os.environ, "NPM_CONFIG_REGISTRY": registry}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)


@contextmanager
def registry_of_forgeries() -> Iterator[str]:
    """The address of a registry that has every package, with other contents than the lock says."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *parts: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self._tarball() if self.path == "/tarball" else self._description())

        def _description(self) -> bytes:
            return json.dumps({"dist": {"tarball": f"http://{self.headers['Host']}/tarball"}}).encode()

        def _tarball(self) -> bytes:
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                archive.addfile(tarfile.TarInfo("package/index.js"), io.BytesIO(b""))
            return file.getvalue()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that was built from it where no registry of npm can be reached."""
    folder = tmp_path_factory.mktemp("dist")
    assert (done := build("sdist", ROOT, folder, "")).returncode == 0, done.stderr
    [sdist] = folder.glob("*.tar.gz")
    assert (done := build("wheel", sdist, folder, "http://127.0.0.1:9")).returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built from, without the browser's libraries."""
    folder = tmp_path_factory.mktemp("clone") / "site"
    for name in ("ssesite", "streaming", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(folder / VENDOR, ignore_errors=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_a_wheel_is_built_from_the_sdist_without_npm(built: Path) -> None:
    [wheel] = built.glob("django_streaming_llm-*.whl")

    assert set(zipfile.ZipFile(wheel).namelist()) >= NEEDED


def test_libraries_other_than_the_locked_ones_are_refused(clone: Path, tmp_path: Path) -> None:
    with registry_of_forgeries() as registry:
        done = build("wheel", clone, tmp_path, registry)

    assert done.returncode != 0
    assert f"argparse 3.0.4 cannot be fetched from {registry}: " in done.stderr
    assert "checksum mismatch" in done.stderr
    assert not (clone / VENDOR).exists()


def test_a_clone_is_built_without_node(clone: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("npm", "node"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/node-was-called\nexit 1\n")
        (programs / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        assert (done := build("wheel", clone, tmp_path, "")).returncode == 0, done.stderr

    [wheel] = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(wheel).namelist()) >= NEEDED
    assert not (tmp_path / "node-was-called").exists()


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
