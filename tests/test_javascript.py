"""Runs the JavaScript tests, the type checker and the formatter, so that pytest includes them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from tests.conftest import JAVASCRIPT, ROOT, node_tool


@pytest.mark.usefixtures("npm_packages")
def test_types_are_right() -> None:
    checked = node_tool("node", str(Path("node_modules", "typescript", "bin", "tsc")), "--project", ".")

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.usefixtures("npm_packages")
def test_the_formatter_changes_nothing() -> None:
    prettier = str(Path("node_modules", "prettier", "bin", "prettier.cjs"))
    globs = ["streaming/static/streaming/**/*.js", "tests/js/*.js", "tests/benchmarks/*.mjs"]
    ignored = str(ROOT / ".prettierignore")

    checked = node_tool("node", prettier, "--check", "--ignore-path", ignored, *(str(ROOT / glob) for glob in globs))

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize("path", sorted(JAVASCRIPT.glob("*.test.js")), ids=lambda path: path.name)
def test_the_javascript_tests_pass(path: Path) -> None:
    tested = node_tool("node", "--test", path.name)

    assert tested.returncode == 0, tested.stdout[-6000:] + tested.stderr
    assert "# pass" in tested.stdout or "ℹ pass" in tested.stdout


@pytest.mark.usefixtures("npm_packages")
def test_another_project_has_the_modules_from_npm_with_types_and_vite_builds_them(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(JAVASCRIPT / "package-user", project)
    static = str(ROOT / "streaming" / "static" / "streaming")

    packed = node_tool("npm", "pack", static, "--pack-destination", str(tmp_path), "--ignore-scripts")
    assert packed.returncode == 0, packed.stdout + packed.stderr
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (project / "node_modules").mkdir()
    (tmp_path / "package").rename(project / "node_modules" / "ssesite-streaming")

    tsc = str(Path("node_modules", "typescript", "bin", "tsc"))
    typed = node_tool("node", tsc, "--project", str(project))
    assert typed.returncode == 0, typed.stdout + typed.stderr

    built = node_tool("node", "build-with-vite.js", str(project))
    assert built.returncode == 0, built.stdout + built.stderr
    scripts = "".join(path.read_text("utf-8") for path in (project / "dist" / "assets").glob("*.js"))
    assert "Last-Event-ID" in scripts
    # The formulas' library stays a file of its own, which is loaded when it is needed.
    assert len(list((project / "dist" / "assets").glob("temml*.js"))) == 1
