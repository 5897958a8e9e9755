"""Each request leaves one record of what it used, however it ends, and nothing of what was said."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.db import InterfaceError
from django.test import AsyncRequestFactory
from django.utils import timezone

from streaming import resumption, usage_log, usage_meter
from streaming.formats import NativeWriter
from streaming.journal import Limits, MemoryJournal
from streaming.models import LostUsage, UsageRecord
from streaming.request_cleanup import request_scope
from streaming.sse import Message, encode
from streaming.upstreams.errors import Unreachable
from streaming.usage_log import UsageLog
from streaming.usage_meter import UsageMeter
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually, manage

PROMPT, ANSWER = "a prompt nobody keeps", "an answer nobody keeps"
HEAD = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1700000000, "model": "one"}
USAGE = {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def wire(*chunks: Any) -> bytes:
    return b"".join(encode(Message(each if isinstance(each, str) else json.dumps(each))) for each in chunks)


COUNTED = [chunk({"content": ANSWER}), chunk({}, "stop"), {**HEAD, "choices": [], "usage": USAGE}, "[DONE]"]


class Service:
    """A site with a key, a rule and one upstream, and the records that it has written."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        rule = "ModerationRule.objects.create(pattern='forbidden', action='block', category='x')"
        assert manage(folder, "shell", "-c", f"from streaming.models import *\n{rule}").returncode == 0
        self.upstream = ScriptedUpstream()
        entry = {"URL": f"{self.upstream.url}/v1", "FORMAT": "openai", "MODELS": ["one"], "TIMEOUTS": {"idle": 2}}
        entries = {"first": entry, "silent": {**entry, "MODELS": ["uncounted"], "USAGE": False, "PROXY": True}}
        entries["strict"] = {**entry, "MODELS": ["strict"]}
        self.site = Site(folder, STREAMING_UPSTREAMS=json.dumps(entries), STREAMING_ACCESS="login", STREAMING_GRACE="0")
        self.asked: list[dict[str, Any]] = []

    def answers(self, *chunks: Any, then: Callable[[Connection], Any] | None = None) -> None:
        async def script(connection: Connection) -> None:
            self.asked.append(json.loads(await connection.body() or b"{}"))
            await connection.begin()
            await connection.send(wire(*chunks))
            if then:
                await then(connection)

        self.upstream.script = script

    def record(self, number: int = 1) -> dict[str, Any]:
        """The last record, once there are so many."""
        with closing(sqlite3.connect(f"file:{self.site.folder / 'db.sqlite3'}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            query = "select * from streaming_usagerecord order by id"
            eventually(lambda: len(database.execute(query).fetchall()) >= number, f"there are {number} records")
            return dict(database.execute(query).fetchall()[-1])

    def count(self) -> int:
        with closing(sqlite3.connect(self.site.folder / "db.sqlite3")) as database:
            return int(database.execute("select count(*) from streaming_usagerecord").fetchone()[0])

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.site.url}{path}", json=fields, headers=self.site.as_staff, timeout=DEADLINE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("usage"), migrated)
    yield service
    service.site.stop()
    service.upstream.stop()


def chat(prompt: str = PROMPT, **more: Any) -> dict[str, Any]:
    return {"model": "one", "messages": [{"role": "user", "content": prompt}], **more}


class TestARecord:
    def test_of_a_stream_has_caller_upstream_model_tokens_times_and_end(self, service: Service) -> None:
        service.answers(*COUNTED)
        before = service.count()

        answer = service.post("/v1/chat/completions", **chat(stream=True))

        record = service.record(before + 1)
        assert ANSWER in answer.text
        assert {key: record[key] for key in ("endpoint", "upstream", "model", "reason", "status", "hits")} == {
            "endpoint": "chat-completions",
            "upstream": "first",
            "model": "one",
            "reason": "stop",
            "status": 200,
            "hits": 0,
        }
        assert (record["username"], record["key_name"]) == ("admin", "tests")
        assert (record["prompt_tokens"], record["completion_tokens"]) == (30, 4)
        assert (record["prompt_chars"], record["completion_chars"]) == (len(PROMPT), len(ANSWER))
        assert record["bytes"] == len(answer.content)
        assert 0 < record["first_byte_seconds"] <= record["seconds"] < DEADLINE
        assert answer.headers["content-location"].endswith(record["stream"])

    def test_of_an_answer_at_once_has_its_tokens(self, service: Service) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin(kind="application/json")
            await connection.send(json.dumps({**HEAD, "choices": [choice], "usage": USAGE}).encode())

        service.upstream.script = script
        before = service.count()

        answer = service.post("/v1/chat/completions", **chat())

        record = service.record(before + 1)
        assert (record["prompt_tokens"], record["completion_tokens"], record["reason"]) == (30, 4, "stop")
        assert (record["completion_chars"], record["bytes"]) == (len(ANSWER), len(answer.content))

    def test_of_transfer_counts_the_same(self, service: Service) -> None:
        service.answers(*COUNTED)
        before = service.count()

        service.post("/transfer/first", prompt=PROMPT)

        record = service.record(before + 1)
        assert (record["endpoint"], record["model"], record["prompt_tokens"]) == ("transfer", "one", 30)
        assert (record["prompt_chars"], record["completion_chars"]) == (len(PROMPT), len(ANSWER))

    def test_of_what_is_relayed_unread_has_bytes_and_no_characters(self, service: Service) -> None:
        service.answers(*COUNTED)
        before = service.count()

        answer = service.post("/proxy/silent/chat/completions", **chat())

        record = service.record(before + 1)
        assert (record["endpoint"], record["upstream"], record["bytes"]) == ("proxy", "silent", len(answer.content))
        assert record["prompt_chars"] is record["completion_chars"] is record["prompt_tokens"] is None
        assert (record["reason"], record["status"], record["username"]) == ("stop", 200, "admin")

    def test_of_a_blocked_prompt_says_so(self, service: Service) -> None:
        before = service.count()

        service.post("/v1/chat/completions", **chat("something forbidden", stream=True))

        record = service.record(before + 1)
        assert (record["reason"], record["status"], record["hits"]) == ("blocked", 400, 1)

    def test_of_a_stream_that_fell_silent_says_504(self, service: Service) -> None:
        service.answers(chunk({"content": "a"}), then=Connection.until_left)
        before = service.count()

        service.post("/transfer/first", prompt=PROMPT)

        record = service.record(before + 1)
        assert (record["reason"], record["status"]) == ("error", 504)
        (line,) = [line for line in service.site.log.splitlines() if record["stream"][:8] in line]
        assert "ended (error: the upstream 'first' was silent for 2 s)" in line
        assert "done" not in line

    def test_of_an_upstreams_refusal_has_its_status(self, service: Service) -> None:
        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin("429 Too Many Requests", kind="application/json")
            await connection.send(json.dumps({"error": {"message": f"too much: {PROMPT}"}}).encode())

        service.upstream.script = script
        before = service.count()

        answer = service.post("/v1/chat/completions", **chat(stream=True))

        record = service.record(before + 1)
        assert (record["reason"], record["status"]) == ("error", 429)
        assert answer.status_code == 429
        assert "the upstream 'first' refused with 429" in service.site.log

    def test_of_a_client_that_left_says_so(self, service: Service) -> None:
        service.answers(chunk({"content": ANSWER}), then=Connection.until_left)
        before = service.count()

        body = json.dumps(chat(stream=True))
        with httpx.stream(
            "POST", f"{service.site.url}/v1/chat/completions", content=body, headers=service.site.as_staff
        ) as answer:
            next(answer.iter_bytes())

        record = service.record(before + 1)
        assert record["reason"] == "left"
        assert record["completion_chars"] == len(ANSWER)

    def test_is_not_written_for_those_who_may_not_come_in(self, service: Service) -> None:
        before = service.count()

        refused = httpx.post(f"{service.site.url}/v1/chat/completions", json=chat())
        service.answers(*COUNTED)
        service.post("/transfer/first", prompt=PROMPT)

        assert refused.status_code == 401
        assert service.record(before + 1)["endpoint"] == "transfer"
        assert service.count() == before + 1

    def test_is_written_once_for_requests_that_share_a_stream(self, service: Service) -> None:
        service.answers(*COUNTED)
        before, key = service.count(), {"Idempotency-Key": "the same", **service.site.as_staff}

        for _ in range(2):
            httpx.post(f"{service.site.url}/transfer/first", json={"prompt": PROMPT}, headers=key, timeout=DEADLINE)
        service.post("/transfer/first", prompt=PROMPT)

        service.record(before + 2)
        assert service.count() == before + 2

    def test_is_written_once_for_requests_that_share_an_answer_at_once(self, service: Service) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}

        async def script(connection: Connection) -> None:
            await connection.body()
            await connection.begin(kind="application/json")
            await connection.send(json.dumps({**HEAD, "choices": [choice], "usage": USAGE}).encode())

        service.upstream.script = script
        before, key = service.count(), {"Idempotency-Key": "one answer", **service.site.as_staff}

        for _ in range(2):
            httpx.post(f"{service.site.url}/v1/chat/completions", json=chat(), headers=key, timeout=DEADLINE)
        service.post("/v1/chat/completions", **chat())

        assert service.record(before + 2)["completion_tokens"] == 4
        assert service.count() == before + 2

    def test_and_the_log_have_nothing_of_prompt_and_answer(self, service: Service) -> None:
        service.answers(*COUNTED)
        before = service.count()

        service.post("/transfer/first", prompt=PROMPT)

        record = service.record(before + 1)
        assert not {PROMPT, ANSWER} & {str(value) for value in record.values()}
        for words in (PROMPT, ANSWER, service.site.admins_key):
            assert words not in service.site.log
        database = b"".join(path.read_bytes() for path in service.site.folder.glob("db.sqlite3*"))
        assert PROMPT.encode() not in database
        assert ANSWER.encode() not in database

    def test_is_also_one_line_in_the_log(self, service: Service) -> None:
        service.answers(*COUNTED)
        before = service.count()

        service.post("/v1/chat/completions", **chat(stream=True))

        record = service.record(before + 1)
        (line,) = [line for line in service.site.log.splitlines() if record["stream"][:8] in line]
        assert "POST /v1/chat/completions ended (stop) after" in line
        assert f"stream {record['stream'][:8]}..., by admin (tests), upstream first, model one" in line
        assert record["stream"] not in service.site.log


class TestTokensAreAskedFor:
    def test_and_the_chunk_with_them_is_kept_from_clients_that_did_not_ask(self, service: Service) -> None:
        service.answers(*COUNTED)

        answer = service.post("/v1/chat/completions", **chat(stream=True))

        assert service.asked[-1]["stream_options"] == {"include_usage": True}
        assert "prompt_tokens" not in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")

    def test_and_the_chunk_with_them_goes_to_clients_that_asked(self, service: Service) -> None:
        service.answers(*COUNTED)

        answer = service.post("/v1/chat/completions", **chat(stream=True, stream_options={"include_usage": True}))

        assert answer.text.count("prompt_tokens") == 1

    def test_but_not_of_an_upstream_without_USAGE(self, service: Service) -> None:  # noqa: N802 (the setting's name)
        service.answers(*COUNTED[:2], "[DONE]")

        service.post("/v1/chat/completions", **{**chat(stream=True), "model": "uncounted"})

        assert "stream_options" not in service.asked[-1]

    def test_once_only_of_an_upstream_that_refuses_the_question(self, service: Service) -> None:
        asked: list[dict[str, Any]] = []

        async def script(connection: Connection) -> None:
            asked.append(json.loads(await connection.body()))
            if "stream_options" in asked[-1]:
                await connection.begin("400 Bad Request", kind="application/json")
                await connection.send(b'{"error": {"message": "Unrecognized request argument: stream_options"}}')
                return
            await connection.begin()
            await connection.send(wire(*COUNTED[:2], "[DONE]"))

        service.upstream.script = script

        first, second = (service.post("/v1/chat/completions", **chat(stream=True, model="strict")) for _ in range(2))

        assert first.text.endswith("data: [DONE]\n\n")
        assert second.text.endswith("data: [DONE]\n\n")
        assert [set(each) - {"model", "messages", "stream"} for each in asked] == [{"stream_options"}, set(), set()]


with_database = pytest.mark.django_db(transaction=True)


def meter(**fields: Any) -> UsageMeter:
    ended = UsageMeter("transfer", "first", lambda _: None, **fields)
    ended.end("stop")
    return ended


@pytest.fixture
def make_log() -> Iterator[Callable[..., UsageLog]]:
    made: list[UsageLog] = []

    def make(**settings: Any) -> UsageLog:
        made.append(UsageLog(**{"retry_seconds": 0.05, **settings}))
        return made[-1]

    yield make
    for log in made:
        log.close()
        if log._thread:
            log._thread.join(DEADLINE)


@with_database
class TestTheQueue:
    def test_writes_a_thousand_records_in_few_statements(self, make_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes, write, are_all_there = [], usage_log._write, threading.Event()

        def late(rows: Any, lost: int) -> None:
            assert are_all_there.wait(DEADLINE)
            sizes.append(len(rows))
            write(rows, lost)

        monkeypatch.setattr(usage_log, "_write", late)
        log = make_log()

        for _ in range(1000):
            log.put(meter())
        are_all_there.set()

        eventually(lambda: not log.waiting, "all is written")
        assert UsageRecord.objects.count() == 1000
        assert len(sizes) <= 4

    def test_discards_and_counts_what_is_too_much_for_it(self, make_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        may_write, write = threading.Event(), usage_log._write
        monkeypatch.setattr(usage_log, "_write", lambda rows, lost: may_write.wait(DEADLINE) and write(rows, lost))
        log = make_log(max_waiting=10)

        for _ in range(15):
            log.put(meter())
        may_write.set()

        eventually(lambda: not (log.waiting or log._unreported), "all is written, and the loss")
        assert (UsageRecord.objects.count(), sum(LostUsage.objects.values_list("count", flat=True))) == (10, 5)

    def test_stores_names_that_databases_refuse(self, make_log: Any) -> None:
        log = make_log()

        log.put(meter(model="a\0b\ud800" + "x" * 300, username="u" * 200))

        eventually(lambda: not log.waiting, "it is written")
        record = UsageRecord.objects.get()
        assert record.model.startswith("a\ufffdb?xxx")
        assert (len(record.model), len(record.username)) == (200, 150)


@with_database
class TestTokensToday:
    def record(self, key: int | None, tokens: int | None, **more: Any) -> None:
        UsageRecord.objects.create(
            **{"when": timezone.now(), "seconds": 1, "status": 200, "api_key_id": key, **more},
            prompt_tokens=tokens,
            completion_tokens=None,
        )

    async def test_are_those_of_this_key_since_midnight(self) -> None:
        quotas = usage_log._Quotas()
        for key, tokens in ((7, 20), (7, 5), (8, 100)):
            await asyncio.to_thread(self.record, key, tokens)
        await asyncio.to_thread(self.record, 7, 1000, when=timezone.now() - timedelta(days=1, seconds=1))

        assert await quotas.today("key:7") == 25
        assert await quotas.today("key:9") == 0

    async def test_include_at_once_what_this_process_records(self) -> None:
        quotas = usage_log._Quotas()
        await quotas.today("key:7")

        quotas.add(meter(api_key_id=7, tokens=usage_log.usage_meter.TokenCounts(30, 4)))

        assert await quotas.today("key:7") == 34

    async def test_include_what_this_process_records_while_others_read_them(self) -> None:
        quotas = usage_log._Quotas()
        reading = [asyncio.create_task(quotas.today("key:7")) for _ in range(5)]

        await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        quotas.add(meter(api_key_id=7, tokens=usage_log.usage_meter.TokenCounts(30, 4)))
        await asyncio.gather(*reading)

        assert await quotas.today("key:7") == 34

    async def test_of_a_user_are_those_of_all_their_keys_and_sessions(self) -> None:
        quotas = usage_log._Quotas()
        for key, user, tokens in ((7, 3, 20), (None, 3, 5), (8, 4, 100)):
            await asyncio.to_thread(self.record, key, tokens, user_id=user)

        assert await quotas.today("user:3") == 25
        quotas.add(meter(user_id=3, tokens=usage_log.usage_meter.TokenCounts(1, 1)))
        assert await quotas.today("user:3") == 27

    async def test_are_estimated_from_characters_where_the_upstream_reports_none(self) -> None:
        quotas = usage_log._Quotas()
        await asyncio.to_thread(self.record, 7, None, prompt_chars=400, completion_chars=41)
        await asyncio.to_thread(self.record, 7, 3, prompt_chars=400, completion_chars=None)

        assert await quotas.today("key:7") == 100 + 10 + 3
        quotas.add(meter(api_key_id=7, prompt_chars=8))
        assert await quotas.today("key:7") == 115

    async def test_are_read_once_in_a_few_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        quotas = usage_log._Quotas()
        monkeypatch.setattr(quotas, "FRESH_SECONDS", DEADLINE)
        await quotas.today("key:7")

        await asyncio.to_thread(self.record, 7, 5)

        assert await quotas.today("key:7") == 0
        monkeypatch.setattr(quotas, "FRESH_SECONDS", 0)
        assert await quotas.today("key:7") == 5


@with_database
class TestRetention:
    def test_deletes_what_is_older_than_the_setting_while_writing(self, make_log: Any, settings: Any) -> None:
        settings.STREAMING_USAGE_DAYS = 30
        usage_log._pruning._due = 0
        for days in (1, 31, 400):
            UsageRecord.objects.create(when=timezone.now() - timedelta(days=days), seconds=1, status=200)

        log = make_log()
        log.put(meter())

        eventually(lambda: not log.waiting, "it is written, and the old ones are deleted")
        assert UsageRecord.objects.count() == 2

    def test_writes_no_record_twice_when_the_database_goes_away_before_the_old_ones_are_deleted(
        self, make_log: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.STREAMING_USAGE_DAYS = 30
        usage_log._pruning._due = 0

        def closed(*_: Any) -> int:
            raise InterfaceError("connection already closed")

        monkeypatch.setattr(usage_log, "delete_before", closed)
        log = make_log()
        log.put(meter())

        eventually(lambda: not log.waiting, "it is written")
        assert UsageRecord.objects.count() == 1

    def test_can_be_done_by_hand(self, capsys: Any) -> None:
        for days in (1, 31):
            UsageRecord.objects.create(when=timezone.now() - timedelta(days=days), seconds=1, status=200)

        call_command("prune_usage", "--days", "30")

        assert "Deleted usage records older than 30 days: 1." in capsys.readouterr().out
        assert UsageRecord.objects.count() == 1


async def test_the_record_of_a_client_that_left_while_its_failed_stream_was_discarded_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records, store, is_discarding = list[UsageMeter](), MemoryJournal(Limits()), asyncio.Event()
    request = AsyncRequestFactory().post("/transfer")
    usage_meter.attach(request, meter := UsageMeter("transfer", "llm", records.append, "s"))

    async def late(_: object) -> None:
        is_discarding.set()
        await asyncio.Event().wait()

    async def start() -> Any:
        raise Unreachable("llm", "cannot be reached")

    async def ask() -> None:
        with request_scope() as scope:
            scope.close_at_end(meter.request_ended)
            await resumption.begin(request, "s", NativeWriter("s"), start)

    monkeypatch.setattr(store, "discard", late)
    monkeypatch.setattr(resumption, "journal", lambda: store)
    asking = asyncio.create_task(ask())
    await is_discarding.wait()
    asking.cancel()
    await asyncio.wait({asking})

    assert [(record.reason, record.status) for record in records] == [("left", 499)]
