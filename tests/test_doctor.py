"""``manage.py doctor``: what it finds, on a real database, with real upstreams."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Connection, ScriptedUpstream, manage
from tests.redis_server import RedisServer


def examined(folder: Path, **env: str) -> tuple[int, dict[str, list[str]]]:
    """The exit status, and the lines by subject: each begins with ok, note or FAIL."""
    run = manage(folder, "doctor", **env)
    lines: dict[str, list[str]] = {}
    for line in run.stdout.splitlines():
        level, subject, sentence = re.fullmatch(r"(ok|note|FAIL) +(API keys|\w+) +(.*)", line).groups()  # type: ignore[union-attr]
        lines.setdefault(subject, []).append(f"{level} {sentence}")
    return run.returncode, lines


def test_a_migrated_site_with_default_settings_is_healthy(migrated: Path) -> None:
    status, lines = examined(migrated)

    assert status == 0
    assert "Django" in lines["versions"][0]
    assert "daphne" in lines["versions"][0]
    assert lines["database"][0].startswith("ok sqlite")
    assert lines["API keys"] == ["ok 1 in the database; 'manage.py create_key' makes one"]
    assert lines["upstreams"] == ["ok 'default' is this project's own /stream: UPSTREAM_URL is not set"]


def test_missing_migrations_and_mistakes_in_settings_are_named(tmp_path: Path) -> None:
    status, lines = examined(tmp_path, UPSTREAM_MODEL="x", STREAMING_TRUSTED_PROXIES="proxy")

    assert status == 1
    assert "run 'manage.py migrate'" in lines["database"][0]
    assert any(line.startswith("note The variable UPSTREAM_MODEL means nothing") for line in lines["settings"])
    assert any(line.startswith("FAIL STREAMING_TRUSTED_PROXIES may hold") for line in lines["settings"])


@pytest.mark.parametrize(
    ("answer", "found"),
    [("200 OK", "ok"), ("404 Not Found", "ok"), ("401 Unauthorized", "FAIL"), ("502 Bad Gateway", "FAIL")],
)
def test_an_upstream_is_asked_for_its_models_with_its_key(
    migrated: Path, upstream: ScriptedUpstream, answer: str, found: str
) -> None:
    async def script(connection: Connection) -> None:
        await connection.begin(answer, "Content-Length: 2", kind="application/json")
        await connection.send(b"{}")

    upstream.script = script
    entry = {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "API_KEY_ENV": "LLM_KEY"}

    _, lines = examined(migrated, STREAMING_UPSTREAMS=json.dumps({"llm": entry}), LLM_KEY="sk-1")

    address = f"'llm' at {upstream.url}/v1 (openai, with a key)"
    assert lines["upstreams"][-1].startswith(f"{found} {address}: answered {answer}")
    assert upstream.requests[0].request_line == "GET /v1/models HTTP/1.1"
    assert upstream.requests[0].headers["Authorization"] == "Bearer sk-1"


def test_a_native_upstream_is_asked_for_nothing_that_starts_a_stream(
    migrated: Path, upstream: ScriptedUpstream
) -> None:
    async def script(connection: Connection) -> None:
        await connection.begin("204 No Content")

    upstream.script = script

    _, lines = examined(migrated, UPSTREAM_URL=f"{upstream.url}/stream")

    assert lines["upstreams"] == [
        f"ok 'default' at {upstream.url}/stream (native, without a key): answered 204 No Content"
    ]
    assert upstream.requests[0].request_line == "OPTIONS /stream HTTP/1.1"


def test_what_cannot_be_reached_fails(migrated: Path) -> None:
    status, lines = examined(migrated, UPSTREAM_URL="http://127.0.0.1:9", REDIS_URL="redis://127.0.0.1:9")

    assert status == 1
    assert lines["upstreams"][0].startswith("FAIL 'default' at http://127.0.0.1:9 (native, without a key): ")
    assert "cannot be reached: " in lines["upstreams"][0], "the reason is in the line"
    assert "Connect call failed" in lines["upstreams"][0]
    (redis,) = lines["Redis"]
    assert redis.startswith("FAIL REDIS_URL is set, and Redis does not answer there: Error 111 connecting to")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"UPSTREAM_URL": "http://127.0.0.1:9"}, "1 of these cannot work as it is."),
        (
            {"UPSTREAM_URL": "http://127.0.0.1:9", "REDIS_URL": "redis://127.0.0.1:9"},
            "2 of these cannot work as they are.",
        ),
    ],
)
def test_what_fails_is_counted_in_a_sentence_and_said_nowhere_else(
    migrated: Path, env: dict[str, str], said: str
) -> None:
    assert manage(migrated, "doctor", **env).stderr == f"CommandError: {said}\n"


def test_a_redis_that_answers_is_fine(migrated: Path, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        _, lines = examined(migrated, REDIS_URL=redis.url)
    finally:
        redis.stop()

    assert lines["Redis"] == ["ok answers: every worker can serve every stream"]
