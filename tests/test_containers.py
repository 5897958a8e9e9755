"""ssesite/deploy's Dockerfile, compose.yaml and systemd units, in containers: container_images.py has their images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.conftest import ROOT, commands_after, eventually
from tests.container_images import Containers

pytestmark = pytest.mark.container
NAME = "streams.example"
DJANGO = ["python", "-m", "ssesite"]
NEW_USER = ["createsuperuser", "--noinput", "--username=admin", "--email="]
PASSWORD = ["--env", "DJANGO_SUPERUSER_PASSWORD=a-password"]
BOOT = 120.0
"""Seconds that a site may take until it is well, on a busy machine."""


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    containers = Containers()
    containers.make_python()
    yield containers
    containers.stop()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a clone has."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def image(containers: Containers, clone: Path) -> str:
    """The Dockerfile's image, under the name that compose gives it."""
    said = containers.build("localhost/streams_site", clone / "ssesite/deploy/Dockerfile", clone)
    assert "warning" not in said.lower(), said
    return "localhost/streams_site"


def is_well(containers: Containers, container: str) -> bool:
    """Runs the container's own healthcheck, as a timer of the host does."""
    command = [*containers.inside, "podman", "healthcheck", "run", container]
    return subprocess.run(command, env=containers.env, capture_output=True, check=False).returncode == 0


class TestDockerfile:
    @pytest.fixture
    def site(self, containers: Containers, image: str) -> Iterator[str]:
        def start() -> str:
            containers.podman("run", "--detach", "--name=site", "--volume=kept:/data", "--publish=8000:8000", image)
            eventually(lambda: is_well(containers, "site"), "the healthcheck succeeds", BOOT)
            return "site"

        self.start = start
        yield start()
        containers.podman("rm", "--force", "site")

    def test_it_streams_as_a_user_without_rights(self, containers: Containers, site: str) -> None:
        streamed = containers.run("curl", "-sN", "http://127.0.0.1:8000/transfer?interval=0")

        assert '"reason": "stop"' in streamed
        assert containers.podman("exec", site, "id", "-un").split() == ["streams"]
        assert containers.podman("exec", site, "sh", "-c", "test -w /opt/streams || echo read-only").split() == [
            "read-only"
        ]

    def test_stopping_it_ends_streams_properly_and_another_finds_its_data(
        self, containers: Containers, site: str
    ) -> None:
        containers.podman("exec", *PASSWORD, site, *DJANGO, *NEW_USER)
        secret = containers.podman("exec", site, "cat", "/data/.secret-key")
        address = "http://127.0.0.1:8000/transfer?interval=1"
        reader = subprocess.Popen([*containers.inside, "curl", "-sN", address], stdout=subprocess.PIPE, text=True)
        assert reader.stdout
        reader.stdout.readline()

        containers.podman("stop", "--time=60", site)
        state = json.loads(containers.podman("inspect", "--format={{json .State}}", site).splitlines()[0])
        rest = reader.communicate(timeout=30)[0]
        containers.podman("rm", site)
        self.start()

        assert '"reason": "drained"' in rest
        assert state["ExitCode"] == 0
        assert containers.podman("exec", site, "cat", "/data/.secret-key") == secret
        with pytest.raises(AssertionError, match="already taken"):
            containers.podman("exec", *PASSWORD, site, *DJANGO, *NEW_USER)


def make_certificate(folder: Path) -> Path:
    """``fullchain.pem`` and ``privkey.pem`` in this folder, and the authority that clients have to know."""
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    folder.mkdir()
    certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "fullchain.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


class Compose:
    """The services of ssesite/deploy in a clone, as OPERATING says, with a certificate of our own."""

    def __init__(self, containers: Containers, clone: Path) -> None:
        self._containers, self.folder = containers, clone / "ssesite/deploy"
        self._program = containers.make_compose()
        shutil.copy(self.folder / "site.env.example", self.folder / "site.env")
        self._authority = make_certificate(self.folder / "tls")

    def __call__(self, *arguments: str) -> str:
        return self._containers.run(self._program, *arguments, within=self.folder)

    def up(self) -> None:
        self("up", "--detach")
        eventually(lambda: is_well(self._containers, "streams_postgres_1"), "PostgreSQL's healthcheck succeeds", BOOT)
        eventually(lambda: is_well(self._containers, "streams_site_1"), "the site's healthcheck succeeds", BOOT)

    def django(self, *arguments: str) -> str:
        return self("exec", "-T", *PASSWORD, "site", *DJANGO, *arguments)

    def curl(self, *arguments: str) -> str:
        known = ["--cacert", str(self._authority), "--connect-to", f"{NAME}::127.0.0.1:"]
        return self._containers.run("curl", "-sN", *known, *arguments)


@pytest.fixture(scope="module")
def compose(containers: Containers, clone: Path, image: str) -> Iterator[Compose]:
    containers.make_servers()
    compose = Compose(containers, clone)
    compose.up()
    yield compose
    compose("down", "--volumes")


class TestCompose:
    def test_a_stream_flows_through_nginx(self, compose: Compose) -> None:
        streamed = compose.curl("-w", "HTTP/%{http_version}", f"https://{NAME}/transfer?interval=0")

        assert '"reason": "stop"' in streamed
        assert streamed.endswith("HTTP/2")

    def test_plain_http_is_sent_to_https(self, compose: Compose) -> None:
        assert f"Location: https://{NAME}/x" in compose.curl("-i", f"http://{NAME}/x")

    def test_a_stream_is_found_again_by_any_worker(self, compose: Compose) -> None:
        answer = compose.curl("-i", f"https://{NAME}/stream?interval=0")
        [path] = re.findall(r"^content-location: (\S+)", answer, re.IGNORECASE | re.MULTILINE)
        [last] = re.findall(r"^id: (\S+)\s+event: done", answer, re.MULTILINE)

        assert all(last in compose.curl(f"https://{NAME}{path}") for _ in range(6))

    def test_check_and_doctor_are_content(self, compose: Compose) -> None:
        found = compose.django("doctor")

        assert "no issues" in compose.django("check", "--deploy")
        assert "ok    database    postgresql 17" in found
        assert "ok    Redis" in found

    def test_what_was_written_is_there_after_down_and_up(self, compose: Compose) -> None:
        assert "created" in compose.django(*NEW_USER)

        compose("down")
        compose.up()

        with pytest.raises(AssertionError, match="already taken"):
            compose.django(*NEW_USER)


class Debian:
    """A Debian 12 on which the commands of OPERATING were run, word for word: apt and pip before systemd was there."""

    def __init__(self, containers: Containers, clone: Path, folder: Path) -> None:
        self._containers, self._folder = containers, folder
        self._authority = make_certificate(folder / "tls")
        commands = commands_after("Or as root on Debian")
        fetching, running = commands[:2], commands[2:]
        self._build(clone, fetching)
        capabilities = ["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"]
        tls = f"--volume={folder}/tls:/etc/nginx/tls"
        containers.podman(
            "run", "--detach", "--name=debian", "--systemd=always", *capabilities, tls, "localhost/fetched"
        )
        eventually(
            lambda: "running" in self.state("postgresql@15-main") + self.state("nginx"), "Debian has started", BOOT
        )
        for line in running:
            self.shell(line.replace("createsuperuser", " ".join(NEW_USER)))

    def _build(self, clone: Path, commands: list[str]) -> None:
        lines = ["FROM localhost/debian", "COPY . /clone", "WORKDIR /clone", "RUN apt-get update -q=2"]
        lines += ["ENV DEBIAN_FRONTEND=noninteractive", *(f"RUN {command}" for command in commands)]
        dockerfile = self._folder / "Dockerfile"
        dockerfile.write_text("\n".join(lines))
        self._containers.build("localhost/fetched", dockerfile, clone)

    def shell(self, line: str) -> str:
        return self._containers.podman("exec", *PASSWORD, "--workdir=/clone", "debian", "bash", "-ec", line)

    def state(self, unit: str) -> str:
        """``running``, ``dead``, ``failed`` and the like."""
        command = [*self._containers.inside, "podman", "exec", "debian", "systemctl", "show", "-PSubState", unit]
        return subprocess.run(command, env=self._containers.env, capture_output=True, text=True, check=False).stdout

    def curl(self, *arguments: str) -> subprocess.Popen[str]:
        """Asks nginx from outside, over TLS."""
        address = self.shell("hostname -I").split()[0]
        known = ["--cacert", str(self._authority), "--connect-to", f"{NAME}::{address}:"]
        command = [*self._containers.inside, "curl", "-sN", *known, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def get(self, path: str, *options: str) -> str:
        return self.curl(*options, f"https://{NAME}{path}").communicate(timeout=90)[0]

    def statuses_while(self, command: str) -> set[str]:
        """Of requests that were sent, one after the other, from before this command until after its end."""
        running = threading.Thread(target=self.shell, args=[command])
        running.start()
        statuses = []
        while running.is_alive() or len(statuses) < 10:
            statuses.append(self.get("/healthz", "--output", "/dev/null", "--write-out", "%{http_code}"))
        running.join()
        return set(statuses)


@pytest.fixture(scope="module")
def debian(containers: Containers, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    containers.make_debian()
    yield Debian(containers, clone, tmp_path_factory.mktemp("debian"))
    containers.podman("rm", "--force", "--time=5", "debian")


class TestDebian:
    def test_a_stream_flows_through_nginx(self, debian: Debian) -> None:
        streamed = debian.get("/transfer?interval=0", "-w", "HTTP/%{http_version}")

        assert '"reason": "stop"' in streamed
        assert streamed.endswith("HTTP/2")
        assert debian.shell("systemctl is-enabled streams.socket streams.service").split() == ["enabled", "enabled"]

    @pytest.mark.parametrize("what", ["restart", "reload"])
    def test_no_request_is_refused_meanwhile_and_a_stream_can_be_read_on(self, debian: Debian, what: str) -> None:
        reader = debian.curl("-i", f"https://{NAME}/stream?interval=1")
        assert reader.stdout
        head = "".join(iter(reader.stdout.readline, "\n"))
        [path] = re.findall(r"^content-location: (\S+)", head, re.IGNORECASE | re.MULTILINE)

        statuses = debian.statuses_while(f"systemctl {what} streams")
        rest = reader.communicate(timeout=60)[0]

        assert statuses == {"200"}
        assert '"reason": "drained"' in rest
        assert '"reason": "drained"' in debian.get(path)

    def test_a_request_starts_the_service_that_was_stopped(self, debian: Debian) -> None:
        debian.shell("systemctl stop streams.service")
        assert debian.state("streams.service").strip() == "dead"

        assert debian.get("/healthz") == '{"status": "ok"}'

    def test_it_comes_back_when_it_was_killed(self, debian: Debian) -> None:
        debian.shell("systemctl kill --signal=KILL streams.service")

        assert debian.get("/healthz") == '{"status": "ok"}'

    def test_the_commands_that_back_up_and_roll_back_bring_back_what_was_there(self, debian: Debian) -> None:
        django = (
            "cd /var/lib/streams && set -a && . /etc/streams.env && runuser -u streams -- /opt/streams/bin/python -m"
        )
        [back_up, _] = commands_after("**Upgrade**")
        debian.shell(back_up)
        debian.shell(f"{django} ssesite create_key made-after-the-backup")
        assert "1 in the database" in debian.shell(f"{django} ssesite doctor")

        debian.shell("\n".join(commands_after("**Roll back**")))

        assert "0 in the database" in debian.shell(f"{django} ssesite doctor")
        assert debian.get("/healthz") == '{"status": "ok"}'
