"""Runs a real Redis on a Unix socket that tests can stop, restart, empty and pause."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import eventually


class RedisServer:
    """Keeps its data over a restart, until it is emptied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._executable = redis_executable()
        self.start()

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder), "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        with (self._folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([self._executable, *options, *durable], stdout=log, stderr=log)
        eventually(self._answers, "Redis answers")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._socket.unlink(missing_ok=True)

    def empty(self) -> None:
        """While it is stopped."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def hold_up(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(self._socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
        return False


def redis_executable() -> str:
    """Where Redis, or Valkey, is; on Debian root installs it."""
    if path := shutil.which("redis-server") or shutil.which("valkey-server"):
        return path
    install = ["apt-get", "install", "--yes", "redis-server"]
    if os.geteuid() == 0 and "debian" in platform.freedesktop_os_release().get("ID", ""):
        # Importing the package would start another server.
        env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, check=False, capture_output=True, env=env)
    if path := shutil.which("redis-server"):
        return path
    pytest.exit(f"The tests of the journal need Redis. To get it: {' '.join(install)}", returncode=1)
