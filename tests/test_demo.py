"""``manage.py demo``: a running site in one command."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command

from streaming.management.commands import _llama
from streaming.management.commands.demo import SAMPLE_RULES
from tests.conftest import DEADLINE, ROOT, Site, end, environment, eventually, free_port, manage, read_until

DEMO = ["manage.py", "demo", "--port", "{port}"]


@pytest.fixture
def make_demo(tmp_path: Path) -> Callable[[], Site]:
    """Starts the demo in a new folder; further calls start it again in the same folder."""
    return lambda: Site(tmp_path, DEMO, STREAMING_ACCESS="login", UPSTREAM_URL="")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A demo that was started from nothing, for tests that leave its rules as they are."""
    site = Site(tmp_path_factory.mktemp("demo"), DEMO, STREAMING_ACCESS="login", UPSTREAM_URL="")
    eventually(lambda: "Press Ctrl-C" in site.log, "the demo has started")
    yield site
    site.stop()


def shown(site: Site, address: str = "/transfer?interval=0") -> str:
    """The assembled text of a stream."""
    answer = httpx.get(site.url + address, timeout=DEADLINE).text
    messages = [json.loads(data) for data in re.findall(r"^data: (.*)$", answer, re.MULTILINE)]
    return "".join(message.get("delta", "") for message in messages)


def test_starts_a_site_that_moderates_a_stream_from_nothing(demo: Site) -> None:
    plain, moderated = shown(demo, "/stream?interval=0"), shown(demo)

    for word in ("darn", "DARN", "secret-project", "内部代号", "垃圾广告"):
        assert word in plain
        assert word not in moderated
    assert "••••" in moderated
    assert len(plain) == len(moderated)


def test_creates_an_admin_once_and_prints_the_password(make_demo: Callable[[], Site]) -> None:
    site = make_demo()
    try:
        found = re.search(r"'admin' with the password (\S+) \(shown only once\)", site.log)
        assert found
        with httpx.Client(base_url=site.url, follow_redirects=True) as browser:
            login = browser.get("/admin/login/?next=/admin/streaming/moderationrule/")
            form = {"username": "admin", "password": found[1], "csrfmiddlewaretoken": login.cookies["csrftoken"]}
            rules = browser.post(str(login.url), data=form)
            assert "secret-project" in rules.text
            assert "8 moderation rules" in rules.text
            delete = "/admin/streaming/moderationrule/1/delete/"
            browser.post(delete, data={"post": "yes", "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
    finally:
        site.stop()

    again = make_demo()
    try:
        assert "the password" not in again.log
        assert "darn" in shown(again), "a rule that was deleted stays deleted"
        assert "secret-project" not in shown(again)
    finally:
        again.stop()


def test_notes_of_its_rules_do_not_speak_of_their_place_in_a_list_that_can_be_sorted() -> None:
    assert [rule["note"] for rule in SAMPLE_RULES if re.search("above|below", str(rule["note"]))] == []


def test_prints_a_one_time_login_link_and_an_api_key(demo: Site) -> None:
    [link] = re.findall(r"(http://\S+/login/once/\S+) \(a link that logs you in as the admin, once\)", demo.log)
    [key] = re.findall(r"API key:    (streams-\S+)", demo.log)
    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(link)
        rules = browser.get(f"{demo.url}/admin/streaming/moderationrule/")
    again = httpx.get(link)
    health = httpx.get(f"{demo.url}/healthz", headers={"Authorization": f"Bearer {key}"}).json()

    assert page.url.path == "/"
    assert "Log out" in page.text
    assert "8 moderation rules" in rules.text
    assert again.status_code == 200
    assert "This link was used before" in again.text
    assert "sessionid" not in again.cookies
    assert "rules" in health


def test_prints_the_addresses_of_the_site(demo: Site) -> None:
    assert f"{demo.url}/\n" in demo.log
    assert f"{demo.url}/admin/streaming/moderationrule/\n" in demo.log
    assert httpx.get(f"{demo.url}/").status_code == 200
    assert "Traceback" not in demo.log


def test_its_first_lines_have_no_warning(demo: Site) -> None:
    first_lines = demo.log.partition("Press Ctrl-C")[0]

    assert "warn" not in first_lines.lower()
    assert first_lines.startswith("The page:")


def test_ends_quietly_with_ctrl_c(make_demo: Callable[[], Site]) -> None:
    site = make_demo()
    with site.connect("GET /ping") as reader:
        read_until(reader, b"connect")
        site.process.send_signal(signal.SIGINT)
        site.process.wait(DEADLINE)

    assert site.process.returncode == 0
    assert "Traceback" not in site.log


def refusal(folder: Path, *arguments: str, **env: str) -> str:
    run = manage(folder, "demo", *arguments, **env)
    assert run.returncode == 1
    assert run.stdout == ""
    [sentence] = run.stderr.strip().splitlines()
    return sentence


def test_two_that_begin_at_the_same_moment_share_a_new_database(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "demo", "--port"]
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    demos = []
    for log in logs:
        with log.open("wb") as out:
            demos.append(
                subprocess.Popen([*command, str(free_port())], env=environment(tmp_path), stdout=out, stderr=out)
            )
    try:
        for log, started in zip(logs, demos, strict=True):
            eventually(
                lambda log=log, started=started: "Press Ctrl-C" in log.read_text() or started.poll() is not None,
                "it has started",
                3 * DEADLINE,
            )

        assert ["Press Ctrl-C" in log.read_text() for log in logs] == [True, True], [log.read_text() for log in logs]
        assert sum("with the password" in log.read_text() for log in logs) == 1
    finally:
        for started in demos:
            end(started)


def test_a_port_in_use_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        sentence = refusal(tmp_path, "--port", str(other.getsockname()[1]))

    assert "Cannot listen on 127.0.0.1, port" in sentence
    assert "--port" in sentence
    assert not (tmp_path / "db.sqlite3").exists(), "nothing is made before it is known that it can be served"


def test_a_read_only_database_is_reported_in_one_sentence(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, "--port", str(free_port()), DATABASE_URL="sqlite:////proc/nowhere/db.sqlite3")

    assert "/proc/nowhere/db.sqlite3 cannot be prepared: unable to open database file" in sentence


def test_a_model_that_is_not_installed_is_described_with_size_and_licence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_llama, "is_installed", lambda: False)

    with pytest.raises(CommandError) as error:
        call_command("demo", "--model")

    for words in ("uv run --group model manage.py demo --model", "260 MB", "Gemma Terms of Use", "MIT"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "0"], "no port 0"),
        (["--port", "99999"], "no port 99999"),
        (["--host", "no.such.host.invalid"], "Cannot listen on no.such.host.invalid"),
        (["--host", "256.1.1.1"], "Cannot listen on 256.1.1.1"),
    ],
)
def test_an_invalid_address_is_reported_in_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refusal(tmp_path, *arguments)


def test_listens_on_the_given_host_and_port(tmp_path: Path) -> None:
    port = free_port()
    command = [str(word) for word in ("manage.py", "demo", "--host", "127.0.0.2", "--port", port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment(tmp_path),
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
        )
        try:
            eventually(lambda: answers("127.0.0.2", port), "it listens")
            assert not answers("127.0.0.1", port)
        finally:
            process.terminate()
            process.wait(DEADLINE)


def answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_on_all_addresses_it_prints_those_that_others_can_use_and_accepts_them(tmp_path: Path) -> None:
    site = Site(tmp_path, [*DEMO, "--host", "0.0.0.0"], STREAMING_ACCESS="login")
    try:
        eventually(lambda: "Press Ctrl-C" in site.log, "the demo has printed its addresses")
        [address] = re.findall(r"Others:     (http://\S+) \(upstreams of yours need a login or an API key\)", site.log)

        assert "127.0.0.1" not in address
        assert httpx.get(address, timeout=DEADLINE).status_code == 200
        by_name = httpx.get(site.url, headers={"Host": f"{socket.gethostname()}:{site.port}"}, timeout=DEADLINE)
        assert by_name.status_code == 200
        assert httpx.get(site.url, headers={"Host": "elsewhere.example"}, timeout=DEADLINE).status_code == 400
    finally:
        site.stop()


def test_on_all_addresses_it_says_which_setting_keeps_others_out(tmp_path: Path) -> None:
    site = Site(tmp_path, [*DEMO, "--host", "0.0.0.0"], ALLOWED_HOSTS="streams.example")
    try:
        eventually(lambda: "Press Ctrl-C" in site.log, "the demo has printed its addresses")

        assert re.search(r"Others get an error at \S+, unless you set ALLOWED_HOSTS=streams.example,\S+\n", site.log)
    finally:
        site.stop()
