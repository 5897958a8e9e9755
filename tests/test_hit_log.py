"""Hits are recorded in the database even if it is unavailable for a while, and no stream waits for it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from streaming import alerts, hit_log, write_behind
from streaming.hit_context import HitContext
from streaming.hit_log import HitLog, StreamInfo
from streaming.models import LostHits, ModerationHit, ModerationRule
from streaming.moderation import Rule
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually, manage

pytestmark = pytest.mark.django_db(transaction=True)

hits = ModerationHit.objects
STREAM = StreamInfo("a1b2", "default", "answers", 7, "ann")


def context(number: int = 1, text: str = "darn", **more: Any) -> HitContext:
    return HitContext(Rule(number, "darn", category="c"), 10, 14, "before ", text, " after", **more)


@pytest.fixture
def make_log() -> Iterator[Callable[..., HitLog]]:
    made: list[HitLog] = []

    def make(**settings: Any) -> HitLog:
        made.append(HitLog(**{"retry_seconds": 0.05, **settings}))
        return made[-1]

    yield make
    for log in made:
        log.close()
        if log._thread:
            log._thread.join(DEADLINE)


def wait_for(log: HitLog) -> None:
    """Wait until all hits are written. A test that empties the tables must not meet its thread."""
    eventually(lambda: not log.waiting, "all is written")


def test_a_hit_records_the_match_its_stream_time_and_rule(make_log: Any) -> None:
    began = timezone.now()
    rule = ModerationRule.objects.create(pattern="darn")

    log = make_log()
    log.on_hit(STREAM)(context(rule.pk, channel="reasoning", choice=2))

    wait_for(log)
    hit = hits.get()
    assert began <= hit.when <= timezone.now()
    assert (hit.stream, hit.upstream, hit.direction, hit.version, hit.who) == ("a1b2", "default", "answers", 7, "ann")
    assert (hit.rule, hit.pattern, hit.action, hit.category, hit.offset) == (rule, "darn", "mask", "c", 10)
    assert (hit.before, hit.text, hit.after, hit.digest) == ("before ", "darn", " after", "")
    assert (hit.channel, hit.choice) == ("reasoning", 2)


def test_a_keyed_hash_is_stored_when_texts_are_not_kept(make_log: Any, settings: Any) -> None:
    settings.STREAMING_HIT_TEXTS = False
    log = make_log()

    for text in ("darn", "DARN", "heck"):
        log.on_hit(STREAM)(context(text=text))

    wait_for(log)
    assert {(hit.before, hit.text, hit.after) for hit in hits.all()} == {("", "", "")}
    digests = [hit.digest for hit in hits.order_by("pk")]
    assert digests[0] == digests[1] != digests[2]
    assert {len(digest) for digest in digests} == {64}


def test_a_rule_that_was_deleted_keeps_its_hits(make_log: Any) -> None:
    rule = ModerationRule.objects.create(pattern="darn")
    log, name = make_log(), rule.pk
    log.on_hit(STREAM)(context(name))
    wait_for(log)

    rule.delete()
    log.on_hit(STREAM)(context(name))

    wait_for(log)
    assert [hit.rule_id for hit in hits.all()] == [name, name]
    assert {hit.pattern for hit in hits.all()} == {"darn"}


def test_a_thousand_hits_are_written_in_few_statements(make_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, write, are_all_there = [], hit_log._write, threading.Event()

    def late(rows: Any, lost: int) -> None:
        assert are_all_there.wait(DEADLINE)
        sizes.append(len(rows))
        write(rows, lost)

    monkeypatch.setattr(hit_log, "_write", late)
    log = make_log()

    for _ in range(1000):
        log.on_hit(STREAM)(context())
    are_all_there.set()

    wait_for(log)
    assert hits.count() == 1000
    assert len(sizes) <= 4


def test_a_hit_counts_as_waiting_at_every_moment_until_it_is_written(make_log: Any) -> None:
    log, seen = make_log(), list[int]()

    class Watched(deque[Any]):
        def popleft(self) -> Any:
            row = super().popleft()
            seen.append(log.waiting)
            return row

    log._queue = Watched()
    log.on_hit(STREAM)(context())

    wait_for(log)
    assert seen == [1]


class Away:
    """A database that accepts no hits until ``come_back``, because the table is renamed."""

    def __init__(self) -> None:
        self._name("streaming_moderationhit", "away")

    def come_back(self) -> None:
        self._name("away", "streaming_moderationhit")

    def _name(self, old: str, new: str) -> None:
        def is_renamed() -> bool:
            try:
                with connection.schema_editor() as editor:
                    editor.alter_db_table(ModerationHit, old, new)
            except OperationalError as error:
                if "locked" not in str(error):
                    raise
                return False
            return True

        eventually(is_renamed, "the thread that writes hits leaves the table for a moment")


def test_hits_wait_while_the_database_is_unavailable(make_log: Any, log_text: Any) -> None:
    away, log = Away(), make_log()
    for number in range(700):
        log.on_hit(STREAM)(context(number))
    eventually(lambda: log_text().count("no such table") > 2, "it is tried again and again")
    assert log.state() == {"waiting": 700, "lost": 0}

    away.come_back()

    wait_for(log)
    assert list(hits.order_by("pk").values_list("rule_id", flat=True)) == list(range(700))
    assert not LostHits.objects.exists()


def test_hits_beyond_the_limit_are_discarded_counted_and_reported(make_log: Any) -> None:
    away, log = Away(), make_log(max_waiting=100)
    for number in range(130):
        log.on_hit(STREAM)(context(number))
    assert log.state() == {"waiting": 100, "lost": 30}

    away.come_back()

    wait_for(log)
    eventually(lambda: not log._unreported, "the loss is written")
    assert sum(LostHits.objects.values_list("count", flat=True)) == 30
    assert hits.count() == 100


@pytest.mark.parametrize("bad", [{"choice": 10**20}, {"choice": "many"}, {"text": None}, {"channel": b"x"}])
def test_a_hit_that_cannot_be_written_does_not_hold_up_others(make_log: Any, bad: dict[str, Any]) -> None:
    log = make_log()

    for number in range(3):
        log.on_hit(STREAM)(context(number))
        log.on_hit(STREAM)(context(9, **bad))

    wait_for(log)
    eventually(lambda: not log._unreported, "the loss is written")
    assert sorted(hits.values_list("rule_id", flat=True)) == [0, 1, 2]
    assert sum(LostHits.objects.values_list("count", flat=True)) == log.lost == 3


def test_a_temporary_error_is_retried_a_limited_number_of_times(make_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, make_row = [], hit_log._row

    def refuse_one(hit: Any) -> ModerationHit:
        if hit.context.rule.id == 9:
            tried.append(hit)
            raise OperationalError("index row size exceeds maximum")  # as PostgreSQL says of a row
        return make_row(hit)

    monkeypatch.setattr(hit_log, "_row", refuse_one)
    log = make_log()

    for number in (1, 9, 2):
        log.on_hit(STREAM)(context(number))

    wait_for(log)
    assert sorted(hits.values_list("rule_id", flat=True)) == [1, 2]
    assert log.lost == 1
    assert len(tried) >= write_behind.MAX_ATTEMPTS


def test_any_text_can_be_written(make_log: Any) -> None:
    log = make_log()
    log.on_hit(STREAM)(context(text="a\0b\ud800c"))

    wait_for(log)
    assert hits.get().text == "a\ufffdb?c"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of threads that cannot be started, as at the end of a process under Python 3.12."""
    names, start = {"alerts"}, threading.Thread.start

    def start_if_possible(thread: threading.Thread) -> None:
        if thread.name in names:
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_possible)
    monkeypatch.setattr(alerts, "wake", alerts._Checker(alerts._check_and_retry).wake)
    return names


def test_a_hit_is_written_once_when_alerts_can_no_longer_be_checked(make_log: Any, refused: set[str]) -> None:
    assert "alerts" in refused
    log = make_log()
    log.on_hit(STREAM)(context())

    wait_for(log)
    assert (hits.count(), log.lost) == (1, 0)


def test_a_hit_waits_while_no_thread_can_be_started(make_log: Any, refused: set[str]) -> None:
    refused.add("write hits of moderation rules")
    log = make_log()
    log.on_hit(STREAM)(context())
    assert log.waiting == 1

    refused.discard("write hits of moderation rules")
    log.on_hit(STREAM)(context())

    wait_for(log)
    assert hits.count() == 2


def test_waiting_hits_are_written_before_the_process_ends(make_log: Any) -> None:
    log = make_log()
    log.on_hit(STREAM)(context())

    log.close()

    assert hits.count() == 1


class TestPruning:
    @pytest.fixture(autouse=True)
    def old_and_new(self) -> None:
        for days in (1, 89, 91, 400):
            hits.create(when=timezone.now() - timedelta(days=days), version=1, offset=days)
        for days in (1, 400):
            LostHits.objects.create(count=days)
            LostHits.objects.filter(count=days).update(when=timezone.now() - timedelta(days=days))

    def test_deletes_hits_that_are_older(self, capsys: Any) -> None:
        call_command("prune_hits", "--days", "90")

        assert sorted(hits.values_list("offset", flat=True)) == [1, 89]
        assert LostHits.objects.get().count == 1
        assert capsys.readouterr().out == "Deleted hits older than 90 days: 2.\n"

    def test_has_a_dry_run(self, capsys: Any) -> None:
        call_command("prune_hits", "--dry-run")

        assert hits.count() == 4
        assert capsys.readouterr().out == "Hits older than 90 days: 2.\n"

    @pytest.mark.parametrize("days", ["-1", "99999"])
    def test_refuses_an_invalid_number_of_days(self, days: str) -> None:
        with pytest.raises(CommandError, match="it may be 0 to 36,500"):
            call_command("prune_hits", f"--days={days}")


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(site.folder / "db.sqlite3")) as database:
        return database.execute(query).fetchall()


def add_rule(folder: Path, **fields: str) -> None:
    made = manage(
        folder, "shell", "-c", f"from streaming.models import ModerationRule as R; R.objects.create(**{fields!r})"
    )
    assert made.returncode == 0, made.stderr


def test_a_locked_database_does_not_delay_a_stream_and_its_hits_are_written_later(make_site: Any) -> None:
    site = make_site()
    add_rule(site.folder, pattern="darn")
    add_rule(site.folder, pattern="tired engineer", action="flag")
    lock = sqlite3.connect(site.folder / "db.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")

    answer = httpx.get(f"{site.url}/transfer?interval=0", timeout=8)

    assert "event: done" in answer.text
    assert '"action": "flag"' not in answer.text
    assert httpx.get(f"{site.url}/healthz", headers=site.as_staff).json()["hits"] == {"waiting": 3, "lost": 0}
    lock.execute("ROLLBACK")
    eventually(lambda: len(rows(site, "SELECT * FROM streaming_moderationhit")) == 3, "the hits are written")
    found = rows(site, "SELECT action, text, stream, version FROM streaming_moderationhit ORDER BY offset")
    stream = json.loads(answer.text.split("data: ")[1].split("\n")[0])["stream"]
    assert found == [("flag", "tired engineer", stream, 2), ("mask", "darn", stream, 2), ("mask", "DARN", stream, 2)]


def test_hits_wait_while_the_database_file_is_damaged(make_site: Any) -> None:
    site = make_site(STREAMING_ACCESS="public")
    add_rule(site.folder, pattern="darn")
    path = site.folder / "db.sqlite3"
    assert "event: moderation" in httpx.get(f"{site.url}/transfer?interval=0").text
    eventually(lambda: len(rows(site, "SELECT * FROM streaming_moderationhit")) == 2, "the hits are written")
    eventually(lambda: rows(site, "SELECT * FROM streaming_usagerecord"), "and the usage, which is written by itself")
    eventually(lambda: not path.with_name("db.sqlite3-wal").exists(), "nobody has it open")
    good, other = path.read_bytes(), path.with_name("other")
    other.write_bytes(b"This is no database. " * 1000)
    other.replace(path)  # at once: an empty file would be a new database

    assert "event: moderation" in httpx.get(f"{site.url}/transfer?interval=0").text
    eventually(lambda: "the database accepts no hits" in site.log, "it is tried")
    other.write_bytes(good)
    other.replace(path)

    eventually(lambda: len(rows(site, "SELECT * FROM streaming_moderationhit")) == 4, "the hits are written")
    assert "never" not in site.log


def test_a_choice_index_of_any_size_can_be_recorded(make_site: Any, upstream: ScriptedUpstream) -> None:
    async def script(connection: Connection) -> None:
        asked = json.loads(await connection.body())
        choice = {"index": json.loads(asked["user"]), "finish_reason": "stop"}
        key, kind = ("delta", "text/event-stream") if asked["stream"] else ("message", "application/json")
        data = json.dumps({"choices": [{**choice, key: {"content": "oh darn"}}]})
        await connection.begin(kind=kind)
        await connection.send(f"data: {data}\n\ndata: [DONE]\n\n".encode() if asked["stream"] else data.encode())

    upstream.script = script
    site = make_site(
        STREAMING_ACCESS="public", UPSTREAM_URL=f"{upstream.url}/v1", UPSTREAM_FORMAT="openai", UPSTREAM_MODELS="m"
    )
    add_rule(site.folder, pattern="darn")
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}

    for index in (10**20, 2**31, 2**63, -1, 1.5, 1e300, "x", None, [0]):
        for stream in (True, False):
            answer = httpx.post(
                f"{site.url}/v1/chat/completions", json={**body, "user": json.dumps(index), "stream": stream}
            )
            assert "darn" not in answer.text
    last = httpx.post(f"{site.url}/v1/chat/completions", json={**body, "user": "5"})

    assert last.status_code == 200
    eventually(lambda: rows(site, "SELECT choice FROM streaming_moderationhit")[-1:] == [(5,)], "the hit is written")
    assert httpx.get(f"{site.url}/healthz", headers=site.as_staff).json()["hits"] == {"waiting": 0, "lost": 0}


@pytest.mark.parametrize(
    "command", [None, ["-m", "uvicorn", "--port", "{port}", "ssesite.asgi:application"]], ids=["daphne", "uvicorn"]
)
def test_what_is_recorded_survives_the_end_of_the_server(make_site: Any, command: list[str] | None) -> None:
    site = make_site(command)
    add_rule(site.folder, pattern="darn")
    httpx.get(f"{site.url}/transfer?interval=0")

    site.process.terminate()
    site.process.wait(DEADLINE)

    assert rows(site, "SELECT count(*) FROM streaming_moderationhit") == [(2,)]
    assert rows(site, "SELECT count(*) FROM streaming_usagerecord WHERE endpoint = 'transfer'") == [(1,)]


def test_the_limits_are_those_in_the_readme() -> None:
    assert write_behind.MAX_WAITING == 20_000
