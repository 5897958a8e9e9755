"""Prometheus sees the figures of all workers, under bounded labels, and the public sees none."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streaming import metrics, monitoring
from tests.conftest import (
    DEADLINE,
    PASSWORD,
    Connection,
    ScriptedUpstream,
    Site,
    eventually,
    free_port,
    manage,
    read_until,
)

MakeSite = Callable[..., Site]
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "hi darn"}, "finish_reason": null}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
COUNT = b'data: {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
TWO_WORKERS = [
    "-m",
    "uvicorn",
    "--workers",
    "2",
    "--port",
    "{port}",
    "--log-level",
    "warning",
    "ssesite.asgi:application",
]


def figures(site: Site, **headers: str) -> dict[str, float]:
    """The samples by their names and labels, as Prometheus's own parser reads them."""
    answer = httpx.get(f"{site.url}/metrics", headers={**site.as_staff, **headers}, timeout=DEADLINE)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples]
    return {
        " ".join([each.name, *(f"{key}={each.labels[key]}" for key in sorted(each.labels))]): each.value
        for each in samples
    }


async def test_its_task_ends_though_a_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``asyncio.wait_for`` of Python 3.11; a worker would never go down."""
    waiting = asyncio.Event()

    async def lose_the_first() -> None:
        is_first = not waiting.is_set()
        waiting.set()
        try:
            await asyncio.sleep(10 * DEADLINE)
        except asyncio.CancelledError:
            if not is_first:
                raise

    monkeypatch.setattr(monitoring, "SECONDS", 0)
    monkeypatch.setattr(monitoring.open_streams, "exchange", lose_the_first)
    every_second = monitoring.EverySecond()
    every_second.start()

    await waiting.wait()
    closing = asyncio.create_task(every_second.close())
    await asyncio.wait({closing}, timeout=DEADLINE)

    assert closing.done()


@pytest.fixture(scope="module")
def served(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, ScriptedUpstream]]:
    """A site under uvicorn with two workers, and its upstream."""
    folder, upstream = tmp_path_factory.mktemp("metrics"), ScriptedUpstream()
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    rule = "from streaming.models import *; ModerationRule.objects.create(pattern='darn')"
    assert manage(folder, "shell", "-c", rule).returncode == 0
    entry = {"URL": f"{upstream.url}/v1", "FORMAT": "openai", "MODELS": ["one"], "TIMEOUTS": {"idle": 2}}
    env = {"STREAMING_UPSTREAMS": json.dumps({"first": entry}), "PROMETHEUS_MULTIPROC_DIR": str(folder / "figures")}
    site = Site(folder, TWO_WORKERS, STREAMING_GRACE="0", **env)
    yield site, upstream
    site.stop()
    upstream.stop()


class TestWorkersTogether:
    def test_show_what_they_did_and_do(self, served: tuple[Site, ScriptedUpstream]) -> None:
        site, upstream = served

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(CHUNK + END + COUNT)

        upstream.script = script
        for _ in range(8):  # each on a connection of its own, so that both workers get some
            answer = httpx.post(
                f"{site.url}/transfer/first", json={"prompt": "x"}, headers=site.as_staff, timeout=DEADLINE
            )
            assert "done" in answer.text
        invented = {"prompt": "x", "model": "made up by a user"}
        httpx.post(f"{site.url}/transfer/first", json=invented, headers=site.as_staff, timeout=DEADLINE)

        counted = {
            "streaming_streams_ended_total endpoint=transfer model=one reason=stop upstream=first": 8,
            "streaming_streams_ended_total endpoint=transfer model=other reason=stop upstream=first": 1,
            "streaming_streams_opened_total endpoint=transfer upstream=first": 9,
            "streaming_tokens_total direction=prompt model=one upstream=first": 8 * 30,
            "streaming_tokens_total direction=completion model=one upstream=first": 8 * 4,
            "streaming_moderation_hits_total action=mask": 9,
            "streaming_first_byte_seconds_count upstream=first": 9,
            "streaming_stream_duration_seconds_count upstream=first": 9,
        }
        eventually(lambda: counted.items() <= figures(site).items(), "every worker counts")
        eventually(lambda: figures(site)["streaming_sent_bytes_total"] > 9 * 100, "and what it sent")
        found = figures(site)
        assert found["streaming_events_total"] >= 9 * 4
        eventually(lambda: figures(site)["streaming_rules_edition"] >= 1, "the gauges are set, which each second are")
        assert "made up" not in str(found)

    def test_count_open_streams_and_forget_workers_that_died(self, served: tuple[Site, ScriptedUpstream]) -> None:
        site, upstream = served
        name = "streaming_streams_open endpoint=transfer upstream=first"

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(CHUNK)
            await connection.until_left()

        upstream.script = script
        entry = json.dumps({"prompt": "x"}).encode()
        key = f"Authorization: {site.as_staff['Authorization']}"
        clients = [
            site.connect(f"POST /transfer/first\n{key}\nContent-Type: application/json", entry) for _ in range(4)
        ]
        for client in clients:
            read_until(client, b"moderation")

        eventually(lambda: figures(site).get(name, 0) >= 1, "open streams are counted")
        workers = [child for child in site.ps.children() if "spawn" in " ".join(child.cmdline())]
        for worker in workers[:2]:
            worker.kill()
        psutil.wait_procs(workers, timeout=DEADLINE)

        def are_forgotten() -> bool:
            found = _figures_if_reachable(site)
            return found is not None and not found.get(name)

        eventually(are_forgotten, "the dead are forgotten")
        for client in clients:
            client.close()

    def test_count_an_upstreams_failures_by_kind(self, served: tuple[Site, ScriptedUpstream]) -> None:
        site, upstream = served

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(CHUNK)
            await connection.until_left()

        upstream.script = script
        name = "streaming_upstream_errors_total error=silent upstream=first"
        before = figures(site).get(name, 0)

        httpx.post(f"{site.url}/transfer/first", json={"prompt": "x"}, headers=site.as_staff)

        eventually(lambda: figures(site).get(name, 0) == before + 1, "it is counted")


def _figures_if_reachable(site: Site) -> dict[str, float] | None:
    """None while no worker answers."""
    try:
        return figures(site)
    except (httpx.HTTPError, AssertionError):
        return None


class TestAccess:
    def test_is_for_staff_only(self, site: Site) -> None:
        nobody = httpx.get(f"{site.url}/metrics")
        wrong = httpx.get(f"{site.url}/metrics", headers={"Authorization": "Bearer streams-none"})
        other = httpx.get(f"{site.url}/metrics", headers={**site.as_staff, "Origin": "https://evil.example"})

        assert (nobody.status_code, wrong.status_code, other.status_code) == (401, 401, 403)
        assert nobody.headers["content-type"] == "application/problem+json"
        assert "streaming_" not in nobody.text + wrong.text + other.text

    def test_is_not_for_a_user_without_staff_status(self, make_site: MakeSite) -> None:
        site = make_site()
        code = f"from django.contrib.auth.models import User; User.objects.create_user('bob', password={PASSWORD!r})"
        assert manage(site.folder, "shell", "-c", code).returncode == 0
        key = manage(site.folder, "create_key", "bobs", "--owner", "bob").stdout.strip()

        answer = httpx.get(f"{site.url}/metrics", headers={"Authorization": f"Bearer {key}"})

        assert answer.status_code == 403

    def test_can_be_opened_to_everyone(self, make_site: MakeSite) -> None:
        site = make_site(STREAMING_METRICS="public")

        assert httpx.get(f"{site.url}/metrics", headers={"Host": "10.1.2.3"}).status_code == 200

    def test_one_process_under_daphne_shows_its_figures(self, site: Site) -> None:
        httpx.get(f"{site.url}/stream?interval=0&document=poem", timeout=DEADLINE)

        ended = "streaming_streams_ended_total endpoint=stream model=simulated reason=stop upstream=simulated"
        eventually(lambda: figures(site).get(ended, 0) >= 1, "it is counted")
        assert figures(site)["process_resident_memory_bytes"] > 0

    def test_counts_the_limits_that_were_reached(self, make_site: MakeSite) -> None:
        site = make_site(STREAMING_STREAMS_PER_ADDRESS="1")
        with site.connect("GET /stream?interval=60") as reader:
            read_until(reader, b'"delta"')
            assert httpx.get(f"{site.url}/stream", timeout=DEADLINE).status_code == 429

            assert figures(site)["streaming_limits_reached_total limit=streams_at_once"] == 1

    def test_counts_the_failure_of_an_upstream_that_another_one_made_up_for(
        self, make_site: MakeSite, upstream: ScriptedUpstream
    ) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin()
            await connection.send(CHUNK + END + COUNT)

        upstream.script = script
        entry = {"FORMAT": "openai", "MODELS": ["one"]}
        dead = {**entry, "URL": f"http://127.0.0.1:{free_port()}/v1", "ORDER": 0}
        alive = {**entry, "URL": f"{upstream.url}/v1", "ORDER": 1}
        site = make_site(STREAMING_UPSTREAMS=json.dumps({"dead": dead, "alive": alive}))
        message = {"model": "one", "messages": [{"role": "user", "content": "x"}], "stream": True}

        answer = httpx.post(f"{site.url}/v1/chat/completions", json=message, headers=site.as_staff, timeout=DEADLINE)

        assert "[DONE]" in answer.text
        ended = "streaming_streams_ended_total endpoint=chat-completions model=one reason=stop upstream=alive"
        eventually(lambda: figures(site).get(ended) == 1, "its end is counted")
        assert figures(site)["streaming_upstream_errors_total error=unreachable upstream=dead"] == 1

    def test_speaks_openmetrics_to_those_who_prefer_it(self, site: Site) -> None:
        headers = {**site.as_staff, "Accept": "application/openmetrics-text; version=1.0.0"}

        answer = httpx.get(f"{site.url}/metrics", headers=headers)

        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


class TestNames:
    def test_follow_the_conventions(self) -> None:
        for name in (*metrics.COUNTERS, *metrics.GAUGES, *metrics.HISTOGRAMS):
            assert name == name.lower()
            assert not name.endswith(("_total", "_count", "_sum", "_ms"))
        assert all(name.endswith("_seconds") for name in metrics.HISTOGRAMS)

    def test_have_a_help_text(self, site: Site) -> None:
        text = httpx.get(f"{site.url}/metrics", headers=site.as_staff).text

        for name, (words, *_) in {**metrics.COUNTERS, **metrics.GAUGES, **metrics.HISTOGRAMS}.items():
            suffix = "_total" if name in metrics.COUNTERS else ""
            assert f"# HELP streaming_{name}{suffix} {words}" in text


def test_a_figure_that_cannot_be_written_stops_nothing(
    make_site: MakeSite, tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    folder = tmp_path / "figures"
    site = make_site(PROMETHEUS_MULTIPROC_DIR=str(folder))
    eventually(folder.exists, "the folder is there")
    httpx.get(f"{site.url}/stream?interval=0&document=poem", timeout=DEADLINE)
    shutil.rmtree(folder)
    folder.write_text("a file in its place")

    answers = [httpx.get(f"{site.url}/transfer?interval=0&document=poem", timeout=DEADLINE) for _ in range(2)]

    assert all("done" in answer.text for answer in answers)
    assert site.process.poll() is None


def test_wrong_settings_of_upstreams_do_not_close_the_sites_own_stream(make_site: MakeSite) -> None:
    site = make_site(STREAMING_UPSTREAMS=json.dumps({"wrong": {"URL": "nonsense", "FORMAT": "openai"}}))

    answer = httpx.get(f"{site.url}/stream?interval=0&document=poem", timeout=DEADLINE)

    assert (answer.status_code, "done" in answer.text) == (200, True)


def test_without_the_library_counting_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "client", None)
    monkeypatch.setattr(metrics, "_figures", None)

    metrics.count("events", 3)
    metrics.observe("first_byte_seconds", 1.0, upstream="x")
    metrics.show("held_characters", 1)

    assert not metrics.is_available()
