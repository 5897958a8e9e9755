"""Runs podman without a daemon, in a network of its own, with stand-ins for the images that ssesite/deploy names.

No registry of images is asked. ``python:3.13-slim`` is a Debian 13 made by debootstrap, with Debian's Python 3.13 and
pip; ``nginx``, ``redis`` and ``postgres`` are the same with Debian's packages, started as those images start them.
``debian`` is a whole Debian 12, with systemd.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, eventually

PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "curl": "curl",
}
PACKAGES = [*PROGRAMS.values(), "buildah", "netavark", "aardvark-dns"]

# What Docker's images of these servers do beyond running Debian's packages.
SERVERS = {
    "servers": r"""
        FROM docker.io/library/python:3.13-slim
        RUN apt-get update -q=2 && \
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q=2 --no-install-recommends \
            nginx-light redis-server postgresql-17 && \
            rm /etc/nginx/sites-enabled/default && ln -s /usr/lib/postgresql/17/bin/* /usr/local/bin/
    """,
    "docker.io/library/nginx:1.29": """
        FROM localhost/servers
        CMD ["nginx", "-g", "daemon off;"]
    """,
    "docker.io/library/redis:8": r"""
        FROM localhost/servers
        RUN printf '#!/bin/sh\nexec "$@" --protected-mode no\n' >/usr/local/bin/entry && chmod +x /usr/local/bin/entry
        VOLUME /data
        WORKDIR /data
        ENTRYPOINT ["entry"]
    """,
    "docker.io/library/postgres:17": r"""
        FROM localhost/servers
        ENV PGDATA=/var/lib/postgresql/data
        RUN printf '%s\n' '#!/bin/sh' 'set -e' 'if [ ! -s $PGDATA/PG_VERSION ]; then' \
            'chown postgres $PGDATA; echo "$POSTGRES_PASSWORD" >/tmp/password' \
            'setpriv --reuid postgres initdb -U "$POSTGRES_USER" --pwfile /tmp/password -A scram-sha-256' \
            'echo "host all all all scram-sha-256" >>$PGDATA/pg_hba.conf' \
            'echo "CREATE DATABASE $POSTGRES_DB" | setpriv --reuid postgres postgres --single postgres' \
            'fi' 'exec setpriv --reuid postgres postgres -c "listen_addresses=*"' \
            >/usr/local/bin/entry && chmod +x /usr/local/bin/entry
        VOLUME /var/lib/postgresql/data
        CMD ["entry"]
    """,
}


class Containers:
    """Images, containers and volumes in a folder of their own, and a network that no other program has."""

    def __init__(self) -> None:
        _install()
        self._folder = Path(tempfile.mkdtemp(prefix="containers-"))
        self.env = {**os.environ, **self._settings()}
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.inside = ["nsenter", "--net", f"--target={self._network.pid}"]
        eventually(self._has_a_network, "the network is there")

    def _settings(self) -> dict[str, str]:
        """Not more open files than this machine may have, no systemd, and no file of podman's users."""
        engine = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
        limits = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        (self._folder / "containers.conf").write_text(limits + engine)
        storage = f'driver = "overlay"\ngraphroot = "{self._folder}/images"\nrunroot = "{self._folder}/running"\n'
        (self._folder / "storage.conf").write_text(f"[storage]\n{storage}")
        return {
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._folder / "storage.conf"),
            "XDG_RUNTIME_DIR": str(self._folder),
            "BUILDAH_ISOLATION": "chroot",
        }

    def _has_a_network(self) -> bool:
        own = Path(f"/proc/{self._network.pid}/ns/net")
        if own.readlink() == Path("/proc/self/ns/net").readlink():
            return False
        return subprocess.run([*self.inside, "ip", "link", "set", "lo", "up"], check=False).returncode == 0

    def run(self, *command: str | Path, within: Path = ROOT, timeout: float = 900) -> str:
        """Its output, standard error after it; the program runs in the network of the containers."""
        words = [*self.inside, *map(str, command)]
        done = subprocess.run(
            words, env=self.env, cwd=within, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def podman(self, *arguments: str | Path) -> str:
        return self.run("podman", *arguments)

    def make_compose(self) -> Path:
        """podman-compose, the program that reads compose files without Docker."""
        venv = self._folder / "compose"
        subprocess.run(["uv", "venv", "--quiet", venv], check=True)
        into = ["--quiet", "--python", str(venv / "bin/python")]
        subprocess.run(["uv", "pip", "install", *into, "podman-compose==1.6.0"], check=True, cwd=self._folder)
        return venv / "bin/podman-compose"

    def build(self, tag: str, dockerfile: Path, context: Path) -> str:
        """With this machine's network, which the registries of packages are reached by."""
        options = ["--network=host", "--format=docker", "--pull=never", "--layers=false"]
        command = ["podman", "build", *options, "--tag", tag, "--file", str(dockerfile), str(context)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def make_python(self) -> None:
        """``python:3.13-slim``: as there, pip may install, and it is called python."""
        root = self._make_root("trixie", "python3,python3-pip,python3-venv,netbase,tzdata")
        (root / "usr/bin/python").symlink_to("python3")
        (root / "usr/lib/python3.13/EXTERNALLY-MANAGED").unlink()
        self._import(root, "docker.io/library/python:3.13-slim", 'CMD ["python3"]')

    def make_debian(self) -> None:
        """``debian``: a Debian 12 that systemd starts."""
        root = self._make_root("bookworm", "systemd,systemd-sysv,dbus,procps")
        # A container has not the capabilities for what units ask for here.
        (root / "etc/systemd/system/service.d").mkdir()
        limits = "[Service]\nLimitNOFILE=4096\nPrivateUsers=no\n"
        (root / "etc/systemd/system/service.d/limits.conf").write_text(limits)
        self._import(root, "localhost/debian", 'CMD ["/sbin/init"]')

    def _make_root(self, release: str, packages: str) -> Path:
        root = self._folder / release
        command = ["debootstrap", "--variant=minbase", f"--include=ca-certificates,{packages}", release, str(root)]
        subprocess.run(command, check=True, capture_output=True, timeout=1800)
        # Certificates that this machine trusts, so that the registries of packages are reached as from here.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        return root

    def _import(self, root: Path, tag: str, *changes: str) -> None:
        certificates = "/etc/ssl/certs/ca-certificates.crt"
        changes += ("ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
        changes += (f"ENV SSL_CERT_FILE={certificates}", f"ENV PIP_CERT={certificates}")
        options = [option for change in changes for option in ("--change", change)]
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
            command = ["podman", "import", *options, "-", tag]
            subprocess.run(command, env=self.env, stdin=packed.stdout, check=True, capture_output=True)
        shutil.rmtree(root)

    def make_servers(self) -> None:
        for tag, text in SERVERS.items():
            dockerfile = self._folder / "Dockerfile"
            dockerfile.write_text(text)
            self.build(tag, dockerfile, self._folder)

    def stop(self) -> None:
        self.podman("rm", "--all", "--force")
        self.podman("volume", "rm", "--all", "--force")
        self._network.terminate()
        self._network.wait()
        shutil.rmtree(self._folder)


def _install() -> None:
    """What is missing, on Debian where this is root."""
    if not _missing():
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    if os.geteuid() == 0 and "debian" in platform.freedesktop_os_release().get("ID", ""):
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)
        env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, check=False, capture_output=True, env=env)
    if missing := _missing():
        pytest.exit(f"The tests of containers need {', '.join(missing)}, as root: {' '.join(install)}", returncode=1)


def _missing() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    return [program for program in PROGRAMS if not shutil.which(program, path=path)]
