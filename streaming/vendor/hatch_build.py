"""Fetches the browser's libraries from npm's registry while the package is built; nobody needs Node.

The lock file beside this one says which, in which version, and with which hash. Of each one file is copied, to where
the page imports it. An sdist has them already. ``NPM_CONFIG_REGISTRY`` names another registry, as it does for npm.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
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
        return [] if self._is_fetched() else ["hatch-npm-vendor==0.1.0", "certifi"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._is_fetched():
            return
        with tempfile.TemporaryDirectory() as folder:
            packages = Path(folder)
            _fetch(json.loads((self._here / "package-lock.json").read_text("utf-8")), packages)
            self._served.mkdir(parents=True, exist_ok=True)
            for source, name, export in FILES:
                text = (packages / source).read_text("utf-8")
                (self._served / name).write_text(SOURCE_MAP.sub("\n", text) + export, "utf-8")
            (self._served / LICENSES).write_text(_licenses(packages), "utf-8")
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


def _fetch(lock: dict[str, Any], folder: Path) -> None:
    """Each package of the lock into a folder of its name; raises SystemExit when one cannot be had as locked."""
    from hatch_npm_vendor import vendor_package
    from hatch_npm_vendor.plugin import DEFAULT_REGISTRY

    _find_certificates()
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or DEFAULT_REGISTRY
    for place, package in lock["packages"].items():
        name = place.removeprefix("node_modules/")
        if not name:  # the folder of the lock itself
            continue
        try:
            vendor_package(folder / name, name, package["version"], package["integrity"], registry=registry)
        except (OSError, RuntimeError, ValueError) as error:
            what = f"{name} {package['version']} cannot be fetched from {registry}: {error}"
            raise SystemExit(f"{what} (NPM_CONFIG_REGISTRY can name another registry)") from error


def _find_certificates() -> None:
    """Some Pythons, such as those of python.org for macOS, come without the system's certificates."""
    places = ssl.get_default_verify_paths()
    if not (places.cafile or places.capath):
        import certifi

        os.environ["SSL_CERT_FILE"] = certifi.where()
