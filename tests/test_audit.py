"""Hits reach the database whatever it does, and no stream waits for them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, OperationalError
from django.utils import timezone

from streaming import audit
from streaming.audit import Occasion, Recorder
from streaming.models import LostHits, ModerationHit, ModerationRule
from streaming.moderation import Rule
from streaming.sightings import Sighting
from tests.conftest import ROOT, Site, environment, eventually

pytestmark = pytest.mark.django_db(transaction=True)

hits = ModerationHit.objects
OCCASION = Occasion("a1b2", "default", "answers", 7, "ann")


def sighting(number: int = 1, text: str = "darn", **more: Any) -> Sighting:
    return Sighting(Rule(number, "darn", category="c"), 10, 14, "before ", text, " after", **more)


@pytest.fixture
def make_recorder() -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(**settings: Any) -> Recorder:
        made.append(Recorder(**{"patience": 0.05, **settings}))
        return made[-1]

    yield make
    for recorder in made:
        recorder.leave()


def wait_for(recorder: Recorder) -> None:
    """Until it has written all it was given. The tests' database, in memory, cannot be read meanwhile."""
    eventually(lambda: not recorder.waiting, "all is written")


def test_a_hit_says_what_was_met_where_when_and_by_which_rule(make_recorder: Any) -> None:
    began = timezone.now()
    rule = ModerationRule.objects.create(pattern="darn")

    recorder = make_recorder()
    recorder.witness(OCCASION)(sighting(rule.pk, channel="reasoning", choice=2))

    wait_for(recorder)
    hit = hits.get()
    assert began <= hit.when <= timezone.now()
    assert (hit.stream, hit.upstream, hit.direction, hit.version, hit.who) == ("a1b2", "default", "answers", 7, "ann")
    assert (hit.rule, hit.pattern, hit.action, hit.category, hit.offset) == (rule, "darn", "mask", "c", 10)
    assert (hit.before, hit.text, hit.after, hit.digest) == ("before ", "darn", " after", "")
    assert (hit.channel, hit.choice) == ("reasoning", 2)


def test_texts_that_are_not_kept_leave_a_keyed_hash(make_recorder: Any, settings: Any) -> None:
    settings.STREAMING_HIT_TEXTS = False
    recorder = make_recorder()

    for text in ("darn", "DARN", "heck"):
        recorder.witness(OCCASION)(sighting(text=text))

    wait_for(recorder)
    assert {(hit.before, hit.text, hit.after) for hit in hits.all()} == {("", "", "")}
    digests = [hit.digest for hit in hits.order_by("pk")]
    assert digests[0] == digests[1] != digests[2]
    assert {len(digest) for digest in digests} == {64}


def test_a_rule_that_was_deleted_keeps_its_hits(make_recorder: Any) -> None:
    rule = ModerationRule.objects.create(pattern="darn")
    recorder, name = make_recorder(), rule.pk
    recorder.witness(OCCASION)(sighting(name))
    wait_for(recorder)

    rule.delete()
    recorder.witness(OCCASION)(sighting(name))

    wait_for(recorder)
    assert [hit.rule_id for hit in hits.all()] == [name, name]
    assert {hit.pattern for hit in hits.all()} == {"darn"}


def test_a_thousand_are_written_with_a_few_statements(make_recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    write = Recorder._write
    monkeypatch.setattr(Recorder, "_write", lambda self, rows: sizes.append(len(rows)) or write(self, rows))
    recorder = make_recorder()

    for _ in range(1000):
        recorder.witness(OCCASION)(sighting())

    wait_for(recorder)
    assert hits.count() == 1000
    assert len(sizes) <= 4


class Away:
    """A database that takes nothing until it is back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried = 0
        self.is_back = False
        self._create = type(hits).bulk_create
        monkeypatch.setattr(type(hits), "bulk_create", self._refuse)

    def _refuse(self, rows: list[Any]) -> Any:
        self.tried += 1
        if not self.is_back:
            raise OperationalError("gone")
        return self._create(hits, rows)


def test_while_the_database_is_away_hits_wait_for_it(make_recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    away, recorder = Away(monkeypatch), make_recorder()
    for number in range(700):
        recorder.witness(OCCASION)(sighting(number))
    eventually(lambda: away.tried > 2, "it is tried again and again")
    assert (recorder.state(), hits.count()) == ({"waiting": 700, "lost": 0}, 0)

    away.is_back = True

    wait_for(recorder)
    assert list(hits.order_by("pk").values_list("rule_id", flat=True)) == list(range(700))
    assert not LostHits.objects.exists()


def test_what_is_more_than_it_may_keep_is_counted_and_told(make_recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    away, recorder = Away(monkeypatch), make_recorder(most=100)
    for number in range(130):
        recorder.witness(OCCASION)(sighting(number))
    assert recorder.state() == {"waiting": 100, "lost": 30}

    away.is_back = True

    wait_for(recorder)
    assert LostHits.objects.get().count == 30
    assert hits.count() == 100


def test_one_that_the_database_never_takes_does_not_hold_the_others_up(
    make_recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, rows: list[Any]) -> None:
        raise DataError("what is this")

    monkeypatch.setattr(type(hits), "bulk_create", refuse)
    recorder = make_recorder()

    for number in range(3):
        recorder.witness(OCCASION)(sighting(number))

    wait_for(recorder)
    assert hits.count() == 3


def test_any_text_can_be_written(make_recorder: Any) -> None:
    recorder = make_recorder()
    recorder.witness(OCCASION)(sighting(text="a\0b\ud800c"))

    wait_for(recorder)
    assert hits.get().text == "a\ufffdb?c"


def test_what_waits_is_written_before_the_process_ends(make_recorder: Any) -> None:
    recorder = make_recorder()
    recorder.witness(OCCASION)(sighting())

    recorder.leave()

    assert hits.count() == 1


class TestPruning:
    @pytest.fixture(autouse=True)
    def old_and_new(self) -> None:
        for days in (1, 89, 91, 400):
            hits.create(when=timezone.now() - timedelta(days=days), version=1, offset=days)
        for days in (1, 400):
            LostHits.objects.create(count=days)
            LostHits.objects.filter(count=days).update(when=timezone.now() - timedelta(days=days))

    def test_deletes_what_is_older(self, capsys: Any) -> None:
        call_command("prune_hits", "--days", "90")

        assert sorted(hits.values_list("offset", flat=True)) == [1, 89]
        assert LostHits.objects.get().count == 1
        assert capsys.readouterr().out == "2 hits older than 90 days were deleted.\n"

    def test_can_be_tried_without(self, capsys: Any) -> None:
        call_command("prune_hits", "--dry-run")

        assert hits.count() == 4
        assert capsys.readouterr().out == "2 hits are older than 90 days.\n"

    @pytest.mark.parametrize("days", ["-1", "99999"])
    def test_refuses_a_time_that_is_none(self, days: str) -> None:
        with pytest.raises(CommandError, match="it may be 0 to 36,500"):
            call_command("prune_hits", f"--days={days}")


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(site.folder / "db.sqlite3") as database:
        return database.execute(query).fetchall()


def add_rule(folder: Path, **fields: str) -> None:
    code = f"from streaming.models import ModerationRule as R; R.objects.create(**{fields!r})"
    command = [sys.executable, str(ROOT / "manage.py"), "shell", "-c", code]
    subprocess.run(command, env=environment(folder), check=True, capture_output=True)


def test_a_real_stream_ends_in_time_while_the_database_is_locked_and_its_hits_come_later(make_site: Any) -> None:
    site = make_site()
    add_rule(site.folder, pattern="darn")
    add_rule(site.folder, pattern="tired engineer", action="flag")
    lock = sqlite3.connect(site.folder / "db.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")

    answer = httpx.get(f"{site.url}/transfer?interval=0", timeout=8)

    assert "event: done" in answer.text
    assert '"action": "flag"' not in answer.text
    assert httpx.get(f"{site.url}/healthz").json()["hits"] == {"waiting": 3, "lost": 0}
    lock.execute("ROLLBACK")
    eventually(lambda: len(rows(site, "SELECT * FROM streaming_moderationhit")) == 3, "the hits are written")
    found = rows(site, "SELECT action, text, stream, version FROM streaming_moderationhit ORDER BY offset")
    stream = json.loads(answer.text.split("data: ")[1].split("\n")[0])["stream"]
    assert found == [("flag", "tired engineer", stream, 2), ("mask", "darn", stream, 2), ("mask", "DARN", stream, 2)]


def test_hits_survive_the_end_of_the_server(make_site: Any) -> None:
    site = make_site()
    add_rule(site.folder, pattern="darn")
    httpx.get(f"{site.url}/transfer?interval=0")

    site.stop()

    assert rows(site, "SELECT count(*) FROM streaming_moderationhit") == [(2,)]


def test_its_bounds_are_those_that_the_readme_names() -> None:
    assert audit.MAX_WAITING == 20_000
