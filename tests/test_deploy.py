"""ssesite/deploy/ as it stands: nginx, two workers, PostgreSQL and Redis, started with its own files."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
import pytest
import trustme
import yaml

from streaming.own_keys import MAX_KEYS
from tests.conftest import (
    DEADLINE,
    PASSWORD,
    ROOT,
    Connection,
    ScriptedUpstream,
    commands_after,
    end,
    environment,
    eventually,
    free_port,
    read_until,
)
from tests.nginx import nginx_executable
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

DEPLOY = ROOT / "ssesite" / "deploy"
NAME = "streams.example"


def settings_of_example() -> dict[str, str]:
    lines = (DEPLOY / "site.env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def command_of_unit(key: str) -> list[str]:
    [line] = re.findall(rf"^{key}=(.*)$", (DEPLOY / "streams.service").read_text("utf-8"), re.MULTILINE)
    program, *arguments = shlex.split(line)
    return [str(Path(sys.executable).parent / Path(program).name), *arguments]


class Deployed:
    """The site behind nginx. ``port`` is nginx's TLS port, ``plain`` the one that redirects there."""

    def __init__(self, folder: Path, upstream: ScriptedUpstream) -> None:
        self.folder, self.port, self.plain = folder, free_port(), free_port()
        self.redis, self.postgres = RedisServer(folder), PostgresServer()
        entry = {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "MODELS": ["m"], "PROXY": True}
        servers = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        more = {"STREAMING_UPSTREAMS": json.dumps({"llm": entry}), "DJANGO_SETTINGS_MODULE": "ssesite.settings"}
        self.env = {**environment(folder), **settings_of_example(), **servers, **more}
        del self.env["STREAMING_ACCESS"]
        subprocess.run(command_of_unit("ExecStartPre"), env=self.env, cwd=ROOT, check=True, capture_output=True)
        self.manage("createsuperuser", "--noinput", "--username=admin", "--email=", DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        self.key = self.manage("create_key", "tests").strip()
        self.site = self._start_site()
        self.nginx = self._start_nginx()

    def manage(self, *arguments: str, **env: str) -> str:
        command = [sys.executable, "-m", "ssesite", *arguments]
        done = subprocess.run(
            command, env={**self.env, **env}, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start_site(self) -> subprocess.Popen[bytes]:
        """As systemd does: the listening socket is the file descriptor 3."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.site_port = self._socket.getsockname()[1]
        number = self._socket.fileno()
        command = f"exec 3<&{number}; exec {shlex.join(command_of_unit('ExecStart'))}"
        log = (self.folder / "site.log").open("wb")
        return subprocess.Popen(
            ["bash", "-c", command], env=self.env, cwd=ROOT, pass_fds=[number], stdout=log, stderr=log
        )

    def _start_nginx(self) -> subprocess.Popen[bytes]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        certificate = authority.issue_cert(NAME)
        certificate.private_key_pem.write_to_path(str(self.folder / "privkey.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / "fullchain.pem"))
        text = (DEPLOY / "nginx.conf").read_text("utf-8")
        text = re.sub(r"    listen \[::\].*\n", "", text)
        text = text.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.plain};")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.site_port}")
        text = text.replace("/etc/nginx/tls", str(self.folder))
        (self.folder / "streams.conf").write_text(text)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log; {user} events {{}}\n"
            f"http {{ access_log off; {folders} include {self.folder}/streams.conf; }}\n"
        )
        command = [nginx_executable(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def client(self, **options: Any) -> httpx.Client:
        """Speaks HTTP/2, and connects to nginx under the site's name."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        host = {"Host": f"{NAME}:{self.port}", **options.pop("headers", {})}
        client = httpx.Client(
            http2=True,
            verify=context,
            base_url=f"https://127.0.0.1:{self.port}",
            headers=host,
            timeout=DEADLINE,
            **options,
        )
        client.event_hooks["request"] = [lambda request: request.extensions.update(sni_hostname=NAME)]
        return client

    def workers(self) -> list[psutil.Process]:
        """uvicorn's two workers, without the helper that it starts beside them."""
        children = psutil.Process(self.site.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def ask_site(self, path: str) -> httpx.Response:
        """Asks the site itself, as nginx does, over a new connection."""
        headers = {"Host": NAME, "X-Forwarded-Proto": "https", "Authorization": f"Bearer {self.key}"}
        return httpx.get(f"http://127.0.0.1:{self.site_port}{path}", headers=headers, timeout=DEADLINE)

    def answers(self) -> bool:
        with suppress(httpx.HTTPError), self.client() as client:
            return client.get("/healthz").status_code == 200
        return False

    @property
    def log(self) -> str:
        return (self.folder / "site.log").read_text("utf-8", "replace")

    def stop(self) -> None:
        late = [*end(self.nginx, DEADLINE), *end(self.site, DEADLINE)]
        self._socket.close()
        self.postgres.stop()
        self.redis.stop()
        assert not late, self.log


@pytest.fixture(scope="module")
def llm() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, llm: ScriptedUpstream) -> Iterator[Deployed]:
    deployed = Deployed(tmp_path_factory.mktemp("deployed"), llm)
    eventually(lambda: deployed.answers() or deployed.site.poll() is not None, "the site answers", 3 * DEADLINE)
    assert deployed.site.poll() is None, deployed.log
    yield deployed
    deployed.stop()


def test_check_deploy_is_clean_with_the_example_settings(deployed: Deployed) -> None:
    assert "no issues" in deployed.manage("check", "--deploy", "--fail-level", "WARNING", SECRET_KEY="a1B2-" * 20)


def test_doctor_is_content(deployed: Deployed, llm: ScriptedUpstream) -> None:
    async def script(connection: Connection) -> None:
        await connection.begin("200 OK", "Content-Length: 2", kind="application/json")
        await connection.send(b"{}")

    llm.script = script

    found = deployed.manage("doctor", SECRET_KEY="a1B2-" * 20)

    assert "ok    database    postgresql" in found
    assert "ok    Redis" in found
    assert "ok    proxies" in found


@pytest.mark.parametrize("path", ["/stream?interval=0.1&document=poem", "/proxy/default?interval=0.1&document=poem"])
def test_a_stream_flows_over_http_2_and_is_not_held_back(deployed: Deployed, path: str) -> None:
    with deployed.client() as client, client.stream("GET", path) as answer:
        arrived = [time.monotonic() for _ in answer.iter_bytes()]

    assert answer.http_version == "HTTP/2"
    assert len(arrived) > 10
    assert arrived[-1] - arrived[0] > 1


def test_each_worker_serves_the_streams_of_the_other(deployed: Deployed) -> None:
    first, second = deployed.workers()

    with only(first, second):
        made = deployed.ask_site("/stream?interval=0&document=poem")
    with only(second, first):
        again = deployed.ask_site(made.headers["content-location"])
        pid = deployed.ask_site("/healthz").json()["pid"]

    assert "event: done" in made.text
    assert "event: done" in again.text
    assert pid == second.pid


@contextmanager
def only(running: psutil.Process, halted: psutil.Process) -> Iterator[None]:
    halted.suspend()
    try:
        yield
    finally:
        halted.resume()


def test_what_a_client_says_of_itself_is_overwritten(deployed: Deployed, llm: ScriptedUpstream) -> None:
    async def script(connection: Connection) -> None:
        await connection.begin("200 OK", "Content-Length: 2", kind="text/plain")
        await connection.send(b"ok")

    llm.script, lies = script, {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http"}
    lies |= {"X-Forwarded-Host": "liar.example", "Forwarded": "for=192.0.2.66", "Daphne-Root-Path": "/evil"}
    before = len(llm.requests)

    with deployed.client(headers={**lies, "Authorization": f"Bearer {deployed.key}"}) as client:
        assert client.get("/proxy/llm/x").text == "ok"
        page = client.get("/").text

    [sent] = [request.headers for request in llm.requests[before:]]
    assert sent["X-Forwarded-Proto"] == "https"
    assert sent["X-Forwarded-For"] == "127.0.0.1"
    assert sent["X-Forwarded-Host"] == f"{NAME}:{deployed.port}"
    assert "evil" not in page


def log_in(client: httpx.Client, origin: str) -> httpx.Response:
    token = re.search(r'csrfmiddlewaretoken" value="(.+?)"', client.get("/login/").text)
    assert token
    # httpx keeps cookies by the address, 127.0.0.1, and sends secure ones there too.
    form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    return client.post("/login/", data=form, headers={"Origin": origin, "Referer": f"{origin}/login/"})


def test_a_login_works_on_any_port_and_its_cookies_are_secure(deployed: Deployed) -> None:
    with deployed.client() as client:
        answer = log_in(client, f"https://{NAME}:{deployed.port}")

    assert answer.status_code == 302
    assert answer.headers["location"] == "/"
    assert all("Secure" in cookie for cookie in answer.headers.get_list("set-cookie"))
    assert answer.headers["strict-transport-security"] == "max-age=3600; includeSubDomains; preload"


def test_rules_are_edited_in_their_list(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("pattern,action\nedited in the list,mask\n")
    deployed.manage("import_rules", str(tmp_path / "words.csv"))
    origin, path = f"https://{NAME}:{deployed.port}", "/admin/streaming/moderationrule/?q=edited"
    with deployed.client() as client:
        log_in(client, origin)
        page = client.get(path).text
        hidden = re.findall(r'<input type="hidden" name="(\S+)" value="(.*?)"', page)
        given = {name: html.unescape(value) for name, value in hidden if name.startswith(("form-", "csrf"))}
        given |= {"form-0-action": "block", "form-0-category": "", "form-0-enabled": "on", "_save": "Save"}

        answer = client.post(path, data=given, headers={"Origin": origin, "Referer": f"{origin}{path}"})

    assert answer.status_code == 302, answer.text
    assert "edited in the list,literal,block" in deployed.manage("backup_rules")


SEND_TWICE = """
import json, os, threading
from concurrent.futures import ThreadPoolExecutor
import psycopg
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

url, host, table, path, form = json.loads(os.environ["TO_SEND"])
clients = [Client(SERVER_NAME=host), Client(SERVER_NAME=host)]
for client in clients:
    client.force_login(User.objects.get(username="admin"))

def send(client):
    try:
        client.raise_request_exception = False
        answer = client.post(path, form, secure=True)
        return answer.status_code, answer.headers.get("Location", ""), answer.text
    finally:
        connections.close_all()

with (
    psycopg.connect(url) as locking,
    psycopg.connect(url, autocommit=True) as watching,
    ThreadPoolExecutor() as pool,
):
    locking.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    answers = [pool.submit(send, client) for client in clients]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while watching.execute(waiting).fetchone()[0] < 2 and not any(answer.done() for answer in answers):
        threading.Event().wait(0.01)
    locking.rollback()
    print(json.dumps([answer.result() for answer in answers]))
"""


class Sent(NamedTuple):
    status: int
    location: str
    text: str


def at_once(deployed: Deployed, table: str, path: str, form: dict[str, str]) -> list[Sent]:
    """Sends a form twice at the same moment: both wait for a table that may only be read until both have got there."""
    to_send = json.dumps([deployed.postgres.url, NAME, table, path, form])
    lines = deployed.manage("shell", "-v0", "-c", SEND_TWICE, TO_SEND=to_send).splitlines()
    return [Sent(*each) for each in json.loads(lines[-1])]


FILLED_IN = {
    "moderationrule": {"pattern": "twice", "action": "mask", "enabled": "on"},
    "rulelist": {"name": "twice", "enabled": "on", "applies_to": "both"},
}


@pytest.mark.parametrize("kind", FILLED_IN)
def test_what_is_added_twice_at_the_same_moment_is_there_once_and_the_form_says_so(
    deployed: Deployed, kind: str
) -> None:
    answers = at_once(deployed, "streaming_edition", f"/admin/streaming/{kind}/add/", FILLED_IN[kind])

    assert sorted(answer.status for answer in answers) == [200, 302]
    [refused] = [answer.text for answer in answers if answer.status == 200]
    assert "already" in " ".join(re.findall(r'class="errorlist.*?</ul>', refused, re.DOTALL))


def test_a_group_that_is_added_twice_at_the_same_moment_is_in_the_list_once(deployed: Deployed) -> None:
    answers = at_once(deployed, "auth_group", "/admin/auth/group/add/", {"name": "twice"})

    assert [answer.status for answer in answers] == [302, 302]
    assert {answer.location for answer in answers} == {"/admin/auth/group/"}


MAKE_KEYS = """
INSERT INTO streaming_apikey
    (owner_id, hashed, name, prefix, last4, created, enabled, allowed_upstreams, allowed_models)
SELECT auth_user.id, number, 'many', '', '', now(), true, '[]', '[]'
FROM auth_user, generate_series((SELECT count(*) FROM streaming_apikey) + 1, %s) AS number
"""


def test_nobody_makes_more_keys_than_the_limit_by_asking_twice_at_the_same_moment(deployed: Deployed) -> None:
    with psycopg.connect(deployed.postgres.url) as connection:
        connection.execute(MAKE_KEYS, [MAX_KEYS - 1])

    answers = at_once(deployed, "auth_user", "/keys/", {"action": "create", "name": "the last", "days": "30"})

    assert sorted("Copy it now" in answer.text for answer in answers) == [False, True]
    assert sorted("revoke one first" in answer.text for answer in answers) == [False, True]


def test_plain_http_is_sent_to_https(deployed: Deployed) -> None:
    answer = httpx.get(f"http://127.0.0.1:{deployed.plain}/admin/?x=1", headers={"Host": NAME})

    assert (answer.status_code, answer.headers["location"]) == (301, f"https://{NAME}/admin/?x=1")


@pytest.mark.parametrize(("size", "status"), [(2_000_000, b"400"), (26_000_000, b"413")])
def test_nginx_lets_through_the_bodies_that_the_site_accepts(deployed: Deployed, size: int, status: bytes) -> None:
    context = ssl.create_default_context(cafile=str(deployed.folder / "ca.pem"))
    head = [f"Host: {NAME}", f"Authorization: Bearer {deployed.key}", f"Content-Length: {size}", "", ""]
    with (
        socket.create_connection(("127.0.0.1", deployed.port), DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        connection.sendall("\r\n".join(["POST /v1/chat/completions HTTP/1.1", *head]).encode())
        if status == b"400":
            connection.sendall(b" " * size)
        assert read_until(connection, b"\r\n").split()[1] == status


def test_an_answer_of_ten_minutes_is_waited_for() -> None:
    [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", (DEPLOY / "nginx.conf").read_text("utf-8"))

    assert int(seconds) >= 600


def test_a_reload_refuses_no_request_and_ends_streams_properly(deployed: Deployed) -> None:
    with deployed.client() as reader, reader.stream("GET", "/stream?interval=1") as answer:
        events = answer.iter_text()
        next(events)
        deployed.site.send_signal(signal.SIGHUP)
        statuses = []
        while "event: done" not in (text := next(events)):
            with deployed.client() as client:
                statuses.append(client.get("/healthz").status_code)
        for _ in range(10):
            with deployed.client() as client:
                statuses.append(client.get("/healthz").status_code)

    assert '"reason": "drained"' in text
    assert set(statuses) == {200}


async def answer_chats(connection: Connection) -> None:
    message = {"role": "assistant", "content": "Hello"}
    completion = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    body = json.dumps({} if "/models" in connection.request_line else completion)
    await connection.begin("200 OK", f"Content-Length: {len(body)}", kind="application/json")
    await connection.send(body.encode())


class Service:
    """OPERATING's commands from a public demo to a service, with the values that it leaves out, and a port."""

    def __init__(self, deployed: Deployed, llm: ScriptedUpstream, folder: Path) -> None:
        self.port = free_port()
        values = {"SECRET_KEY": "a1B2-" * 20, "UPSTREAM_URL": f"{llm.url}/v1", "UPSTREAM_MODELS": "m"}
        values |= {"UPSTREAM_API_KEY": "sk-1", "DATABASE_URL": deployed.postgres.url, "REDIS_URL": deployed.redis.url}
        values |= {"PROMETHEUS_MULTIPROC_DIR": str(folder / "figures")}
        lines = [line.partition("  # ")[0].partition(" # ")[0].strip() for line in commands_after("## From a `public`")]
        [install], self.settings = lines[:1], [line for line in lines if line.startswith(("export", "unset"))]
        assert install.startswith("pip install")
        for name, value in values.items():
            self.settings = [re.sub(rf"\b{name}=\S+", f"{name}={shlex.quote(value)}", line) for line in self.settings]
        assert "..." not in str(self.settings)
        self.prepare, self.key, self.serve, self.usage = lines[-4:]
        new_user = "createsuperuser --noinput --username=boss --email="
        self.prepare = self.prepare.replace("createsuperuser", new_user)
        self.key += " --owner boss"  # this database has another superuser
        self.serve = self.serve.replace("uvicorn --workers 4", f"exec uvicorn --port {self.port} --workers 2")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {"PATH": path, "HOME": str(folder), "STREAMING_ACCESS": "public"}
        self.env["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD

    def run(self, command: str) -> str:
        done = subprocess.run(**self.arguments(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def arguments(self, command: str) -> dict[str, Any]:
        return {"args": ["bash", "-ec", "\n".join([*self.settings, command])], "env": self.env, "cwd": ROOT}

    def ask(self, key: str) -> httpx.Response:
        headers = {"Host": "ai.example", "X-Forwarded-Proto": "https", "Authorization": f"Bearer {key}"}
        chat = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        address = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        return httpx.post(address, headers=headers, json=chat, trust_env=False)

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.ask("none").status_code == HTTPStatus.UNAUTHORIZED
        return False


def test_the_commands_from_a_public_demo_to_a_service_lead_there(
    deployed: Deployed, llm: ScriptedUpstream, tmp_path: Path
) -> None:
    llm.script = answer_chats
    service = Service(deployed, llm, tmp_path)

    found = service.run(service.prepare)
    key = service.run(service.key).strip()
    serving = subprocess.Popen(**service.arguments(service.serve))
    try:
        eventually(lambda: service.answers() or serving.poll() is not None, "it asks for a key", 2 * DEADLINE)
        answer = service.ask(key)
    finally:
        late = end(serving, DEADLINE)

    assert "FAIL" not in found
    assert "ok    upstreams   'default'" in found
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert not late
    assert "backend" in service.run(service.usage)


def test_the_compose_file_starts_what_the_unit_starts() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    options = " ".join(command_of_unit("ExecStart")[3:])

    assert set(services) == {"site", "nginx", "redis", "postgres"}
    assert options in dockerfile
    assert services["nginx"]["network_mode"] == "service:site"
    assert "noeviction" in services["redis"]["command"]
