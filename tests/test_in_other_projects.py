"""The app in a project made by ``startproject``, in an environment of its own, word for word as the README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import DEADLINE, ROOT, eventually, free_port

DJANGOS = {"5.2": (3, 11), "6.0": (3, 12), "6.1": (3, 12)}
"""Each supported Django, and the first Python it runs on."""


def pythons() -> dict[str, str]:
    """The supported Pythons of this machine: "3.13" and the like, and where each is."""
    folders = os.environ["PATH"].split(":")
    places = [*Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin"), *map(Path, folders)]
    found = {}
    for version in ("3.11", "3.12", "3.13", "3.14"):
        for path in (place / f"python{version}" for place in places):
            with suppress(OSError, subprocess.CalledProcessError):
                subprocess.run([path, "-c", "import venv"], check=True, capture_output=True)
                found[version] = str(path)
                break
    return found


PYTHONS = pythons()
MATRIX = [
    (python, django)
    for python in PYTHONS
    for django, first in DJANGOS.items()
    if tuple(map(int, python.split("."))) >= first
]
USUAL = MATRIX[-1]
"""The newest is tried with every run of the suite, which itself has the oldest; the rest with -m matrix."""


def named(pair: tuple[str, str]) -> Any:
    """A parameter. Those of one name run in one process, with ``--dist loadgroup``."""
    name = "Python {}, Django {}".format(*pair)
    marks = [pytest.mark.xdist_group(name), *([] if pair == USUAL else [pytest.mark.matrix])]
    return pytest.param(pair, marks=marks, id=name)


def section_of_readme() -> str:
    readme = (ROOT / "README.md").read_text("utf-8")
    return readme[readme.index("### Into your project") : readme.index("## Moderate")]


class Project:
    """``mysite``, made by ``django-admin startproject``, with the lines of the README at the end of its files."""

    def __init__(self, folder: Path, python: str, django: str) -> None:
        self.folder, self.port = folder, free_port()
        # What says where packages come from, without what this site's own tests run with.
        ours = ("DJANGO_", "STREAMING_", "UPSTREAM_", "PYTEST_", "PYTHON", "DATABASE_URL", "REDIS_URL", "SECRET_KEY")
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._env["VIRTUAL_ENV"] = str(folder / "venv")
        self.run("uv", "venv", "--quiet", "--python", python, "venv")
        self.run("uv", "pip", "install", "--quiet", f"Django=={django}.*")
        self.run("venv/bin/django-admin", "startproject", "mysite", ".")
        (folder / "streams").symlink_to(ROOT)
        section = section_of_readme()
        [arguments] = re.findall(r"^`pip install '(\S+)'`", section, re.MULTILINE)
        self.run("uv", "pip", "install", "--quiet", arguments)
        [lines] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        for name, added in re.findall(r"# (mysite/\w+\.py)\n(.*?)(?=\n\n#|\Z)", lines, re.DOTALL):
            path = folder / name
            path.write_text(f"{path.read_text()}\n{added}\n")

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments: str) -> str:
        return self.run("venv/bin/python", "manage.py", *arguments)

    def python(self, code: str) -> str:
        return self.manage("shell", "--command", code).strip()

    def serve(self, *command: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "server.log").open("wb")
        server = subprocess.Popen(["venv/bin/python", *command], cwd=self.folder, env=self._env, stdout=log, stderr=log)
        eventually(lambda: self._answers() or server.poll() is not None, "the server listens")
        assert server.poll() is None, (self.folder / "server.log").read_text()
        return server

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/admin/login/", timeout=DEADLINE).status_code == 200
        return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE)


@pytest.fixture(scope="module", params=map(named, MATRIX))
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    python, django = request.param
    project = Project(tmp_path_factory.mktemp("project"), PYTHONS[python], django)
    project.manage("migrate", "-v0")
    return project


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Project]:
    server = project.serve("manage.py", "runserver", "--noreload", f"127.0.0.1:{project.port}")
    yield project
    server.terminate()
    server.wait(DEADLINE)


def test_check_finds_nothing_missing(project: Project) -> None:
    assert "no issues" in project.manage("check")
    assert project.manage("makemigrations", "--check", "--dry-run") == "No changes detected\n"


def test_an_upstream_is_a_django_setting(project: Project) -> None:
    (project.folder / "with_upstream.py").write_text(
        "from mysite.settings import *\n"
        "UPSTREAM_URL, UPSTREAM_FORMAT, UPSTREAM_MODELS = 'http://127.0.0.1:9/v1', 'openai', ['llama3.2']\n"
    )
    names = "from streaming import upstream_settings as it; print(it.models(), it.choices()[0].plays_documents)"

    assert "no issues" in project.manage("check", "--settings=with_upstream")
    read = project.manage("shell", "--settings=with_upstream", "--command", names).strip().splitlines()[-1]
    assert read == "{'llama3.2': ('default', 'llama3.2')} False"


def test_no_name_of_the_project_is_taken(project: Project) -> None:
    names = project.python(
        "from django.urls import NoReverseMatch, reverse\n"
        "for name in ('login', 'logout', 'page', 'stream', 'streaming:stream', 'streaming:page'):\n"
        "    try: print(reverse(name))\n"
        "    except NoReverseMatch: print('-')\n"
        "from django.contrib import admin\n"
        "print(admin.site.site_header, admin.site.login_form)"
    )

    assert names.splitlines()[-7:] == ["-", "-", "-", "-", "/ai/stream", "/ai/", "Django administration None"]


def test_static_files_are_collected_with_a_manifest(project: Project) -> None:
    manifest = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    (project.folder / "collecting.py").write_text(
        "from mysite.settings import *\n"
        f"STORAGES = {{'staticfiles': {{'BACKEND': '{manifest}'}}}}\n"
        "STATIC_ROOT = BASE_DIR / 'static'\n"
    )

    collected = project.manage("collectstatic", "--noinput", "--settings=collecting")

    assert "post-processed" in collected
    assert list((project.folder / "static/streaming").glob("page.*.js"))


def test_the_page_and_its_files_are_served(served: Project) -> None:
    page = served.get("/ai/")
    addresses = set(re.findall(r'\b(?:src|href)="(/[^"]*)"', page.text))

    assert page.status_code == 200
    assert 'data-address="/ai/transfer"' in page.text
    assert {served.get(address).status_code for address in addresses if not address.startswith("/admin/")} == {200}
    assert served.get("/static/streaming/vendor/markdown-it.js").status_code == 200


@pytest.mark.parametrize("path", ["/ai/stream?interval=0", "/ai/transfer?interval=0", "/ai/proxy?interval=0"])
def test_a_stream_flows(served: Project, path: str) -> None:
    answer = served.get(path)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"reason": "stop"' in answer.text


def test_a_rule_of_its_admin_moderates(served: Project) -> None:
    served.python("from streaming.models import ModerationRule; ModerationRule.objects.create(pattern='darn')")

    eventually(lambda: "darn" not in shown(served, "/ai/transfer?interval=0"), "a new stream is moderated")
    assert "darn" in shown(served, "/ai/stream?interval=0")


def shown(served: Project, path: str) -> str:
    """The assembled text of a stream."""
    events = re.findall(r"^data: (.*)$", served.get(path).text, re.MULTILINE)
    return "".join(json.loads(event).get("delta", "") for event in events)


def test_under_wsgi_a_stream_is_a_sentence(project: Project) -> None:
    said = project.python(
        "from django.test import Client; r = Client(headers={'Host': 'localhost'}).get('/ai/stream')\n"
        "print(r.status_code, r.json()['detail'])"
    )

    assert said.splitlines()[-1].startswith("501 this server runs the site under WSGI, which cannot stream")
