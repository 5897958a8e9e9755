"""The log: one line a stream, Django's errors under every server, JSON for programs, and nothing that was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import DEADLINE, ROOT, Connection, ScriptedUpstream, Site, eventually, manage

MakeSite = Callable[..., Site]
UVICORN = ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]
GRANIAN = ["-m", "granian", "--interface", "asgi", "--port", "{port}", "--access-log", "ssesite.asgi:application"]
GUNICORN = [
    "-m",
    "gunicorn",
    "-k",
    "uvicorn_worker.UvicornWorker",
    "-b",
    "127.0.0.1:{port}",
    "ssesite.asgi:application",
]
SERVERS = {"daphne": None, "uvicorn": UVICORN, "granian": GRANIAN, "gunicorn": GUNICORN}
BROKEN = """
from django.urls import include, path
def fail(request): raise RuntimeError("a view is broken")
urlpatterns = [path("broken", fail), path("", include("ssesite.urls"))]
"""


def json_lines(site: Site) -> list[dict[str, Any]]:
    whole = site.log.rpartition("\n")[0]  # the last line may be being written
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def finished(site: Site) -> list[dict[str, Any]]:
    return [line for line in json_lines(site) if "reason" in line]


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_a_failure_of_a_view_reaches_the_log_under_every_server(
    make_site: MakeSite, tmp_path: Path, command: list[str] | None
) -> None:
    (tmp_path / "broken_site.py").write_text('from ssesite.settings import *\nROOT_URLCONF = "broken_urls"\n')
    (tmp_path / "broken_urls.py").write_text(BROKEN)
    path = ":".join([str(tmp_path), str(ROOT)])
    site = make_site(command, DJANGO_SETTINGS_MODULE="broken_site", PYTHONPATH=path, DEBUG="0")

    answer = httpx.get(f"{site.url}/broken?q=secret-words", timeout=DEADLINE)

    assert answer.status_code == 500
    eventually(lambda: "RuntimeError: a view is broken" in site.log, "the error is in the log")
    assert "Internal Server Error: /broken" in site.log
    assert "secret-words" not in site.log


class TestJson:
    @pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
    def test_is_every_line_under_every_server(self, make_site: MakeSite, command: list[str] | None) -> None:
        site = make_site(command, LOG_FORMAT="json")

        httpx.get(
            f"{site.url}/stream?interval=0&document=poem&seed=77", headers={"X-Request-ID": "r-1"}, timeout=DEADLINE
        )
        httpx.get(f"{site.url}/login/", headers={"Host": "wicked.example"}, timeout=DEADLINE)
        httpx.get(f"{site.url}/not-there?q=secret-words", timeout=DEADLINE)

        eventually(lambda: finished(site), "the end of the stream is logged")
        (line,) = finished(site)
        assert {key: line[key] for key in ("level", "logger", "endpoint", "upstream", "model", "reason", "status")} == {
            "level": "INFO",
            "logger": "streaming.usage_log",
            "endpoint": "stream",
            "upstream": "simulated",
            "model": "simulated",
            "reason": "stop",
            "status": 200,
        }
        assert line["request_id"] == "r-1"
        assert len(line["stream"]) == 8
        assert line["bytes"] > 100
        assert line["first_byte_seconds"] <= line["seconds"]
        eventually(lambda: "Not Found" in site.log, "the other is logged")
        [refused] = [each for each in json_lines(site) if each["logger"] == "django.security.DisallowedHost"]
        assert "wicked.example" in refused["message"]
        assert "exception" not in refused, "a traceback through Django says nothing about a client's mistake"
        own = [text for text in site.log.splitlines() if text and not _from_before_the_settings(text)]
        assert [text for text in own if not text.startswith("{")] == []
        assert "secret-words" not in site.log
        assert "seed=77" not in site.log

    def test_holds_an_exception_on_one_line(self, make_site: MakeSite, tmp_path: Path) -> None:
        (tmp_path / "broken_site.py").write_text('from ssesite.settings import *\nROOT_URLCONF = "broken_urls"\n')
        (tmp_path / "broken_urls.py").write_text(BROKEN)
        path = ":".join([str(tmp_path), str(ROOT)])
        site = make_site(LOG_FORMAT="json", DJANGO_SETTINGS_MODULE="broken_site", PYTHONPATH=path, DEBUG="0")

        httpx.get(f"{site.url}/broken?q=secret-words", timeout=DEADLINE)

        eventually(lambda: [line for line in json_lines(site) if "exception" in line], "it is logged")
        (line,) = [line for line in json_lines(site) if "exception" in line]
        assert line["exception"].endswith("RuntimeError: a view is broken")
        assert line["level"] == "ERROR"

    def test_is_the_only_other_format(self, tmp_path: Path) -> None:
        checked = manage(tmp_path, "check", LOG_FORMAT="xml")

        assert checked.returncode != 0
        assert "LOG_FORMAT is 'xml'. It may be 'line' or 'json'." in checked.stderr


def _from_before_the_settings(line: str) -> bool:
    """Lines that a server writes before it loads the site, in its own format."""
    return (
        line.startswith(("INFO:", "[INFO]", "[")) or "Starting" in line or "Listening" in line or "Configuring" in line
    )


class TestARequestId:
    def test_passes_through_to_the_log_the_upstream_and_the_answer(
        self, make_site: MakeSite, upstream: ScriptedUpstream
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n')
            await connection.send(b"data: [DONE]\n\n")

        upstream.script = script
        site = make_site(UPSTREAM_URL=f"{upstream.url}/v1", UPSTREAM_FORMAT="openai", UPSTREAM_MODELS="m")
        message = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}

        for path, body in (("/v1/chat/completions", message), ("/transfer", {"prompt": "x"})):
            answer = httpx.post(f"{site.url}{path}", json=body, headers={"X-Request-ID": f"r{path}"}, timeout=DEADLINE)

            assert answer.headers["x-request-id"] == f"r{path}"
            assert upstream.requests[-1].headers["x-request-id"] == f"r{path}"
            eventually(lambda path=path: f"[request r{path}]" in site.log, "it is in the log")

    def test_is_in_errors_too(self, site: Site) -> None:
        refused = httpx.post(f"{site.url}/v1/chat/completions", content=b"{", headers={"X-Request-ID": "r-2"})

        assert (refused.status_code, refused.headers["x-request-id"]) == (400, "r-2")

    @pytest.mark.parametrize("identity", ["a b", "x" * 129, 'a"b', "\N{LATIN SMALL LETTER E WITH ACUTE}"])
    def test_that_could_forge_a_log_line_is_left_out(self, site: Site, identity: str) -> None:
        headers = {"X-Request-ID": identity.encode("latin-1")}

        answer = httpx.get(f"{site.url}/stream?interval=0&document=poem", headers=headers)  # type: ignore[arg-type]

        assert "x-request-id" not in answer.headers


def test_the_databases_words_about_a_row_are_not_logged() -> None:
    from streaming.write_behind import _shown

    error = ValueError("null value in column violates not-null constraint\nDETAIL:  Failing row contains (1, a secret)")

    assert _shown(error) == "ValueError: null value in column violates not-null constraint"
