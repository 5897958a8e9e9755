"""Runs a real nginx in front of several servers, configured as in the README."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, eventually, free_port

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream site {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://site;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
}}
"""


class Nginx:
    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.port = free_port()
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=self.port, servers=servers, user=user))
        self._process = subprocess.Popen([nginx_executable(), "-p", str(folder), "-c", str(config)])
        eventually(self._listens, "nginx listens")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE):
            return True
        return False


def nginx_executable() -> str:
    """Where nginx is; on Debian root installs it."""
    if path := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        return path
    install = ["apt-get", "install", "--yes", "nginx-light"]
    if os.geteuid() == 0 and "debian" in platform.freedesktop_os_release().get("ID", ""):
        env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, check=False, capture_output=True, env=env)
    if path := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        return path
    pytest.exit(f"The tests of several workers need nginx. To get it: {' '.join(install)}", returncode=1)
