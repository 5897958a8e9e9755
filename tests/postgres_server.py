"""Runs a real PostgreSQL on a Unix socket. It refuses to run as root, so there it runs as Debian's user postgres."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import DEADLINE


class PostgresServer:
    def __init__(self) -> None:
        self._programs = postgres_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's folders are open to their owner only
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "--pgdata", "data", "--auth", "trust", "--username", "streams", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "--pgdata", "data", "--wait", "--log", "log", "--options", options)
        self._run("createdb", "--host", str(self._folder), "--username", "streams", "streams")
        self.url = f"postgres://streams@{quote(str(self._folder), safe='')}/streams"

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--pgdata", "data", "--mode", "immediate")
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*become, str(self._programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=DEADLINE * 10, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs; on Debian root installs them."""
    install = ["apt-get", "install", "--yes", "postgresql"]
    for attempt in range(2):
        if found := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
            return found[-1].parent
        if attempt == 0 and os.geteuid() == 0 and "debian" in platform.freedesktop_os_release().get("ID", ""):
            env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(install, check=False, capture_output=True, env=env)
    pytest.exit(f"The tests of deploying need PostgreSQL. To get it: {' '.join(install)}", returncode=1)
