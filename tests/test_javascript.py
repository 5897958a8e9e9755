"""The browser's side has its own tests and types; this runs them, so that pytest alone is everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import JAVASCRIPT, ROOT, node_tool


@pytest.mark.usefixtures("npm_packages")
def test_types_are_right() -> None:
    checked = node_tool("node", str(Path("node_modules", "typescript", "bin", "tsc")), "--project", ".")

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.usefixtures("npm_packages")
def test_one_formatter_has_written_all_of_it() -> None:
    prettier = str(Path("node_modules", "prettier", "bin", "prettier.cjs"))
    globs = ["streaming/static/streaming/**/*.js", "tests/js/*.js", "tests/benchmarks/*.mjs"]
    ignored = str(ROOT / ".prettierignore")

    checked = node_tool("node", prettier, "--check", "--ignore-path", ignored, *(str(ROOT / glob) for glob in globs))

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize("path", sorted(JAVASCRIPT.glob("*.test.js")), ids=lambda path: path.name)
def test_javascript(path: Path) -> None:
    tested = node_tool("node", "--test", path.name)

    assert tested.returncode == 0, tested.stdout[-6000:] + tested.stderr
    assert "# pass" in tested.stdout or "ℹ pass" in tested.stdout
