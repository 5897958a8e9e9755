"""Two workers behind nginx with one Redis, and failures of each of them.

Whatever happens, each client has each character once, and the upstream is asked once for each answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from streaming.sse import Message, Parser
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually, measured_delay
from tests.cutting_proxy import CuttingProxy
from tests.faults.conftest import start_background_tasks
from tests.nginx import Nginx
from tests.redis_server import RedisServer

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--port", "{port}", "tests.faults.counted_site:application"],
    "daphne": ["-m", "daphne", "-p", "{port}", "tests.faults.counted_site:application"],
}
LONG = 120.0
"""Seconds until a client gives up: the machine may be busy with everything else."""


class Model:
    """The upstream: answers each prompt with its own words, one by one, and counts the requests and what it said.

    An answer ends after its number of words, or once it may.
    """

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.asked, self.said = Counter[str](), Counter[str]()
        self.may_end = threading.Event()
        self.open = 0
        upstream.script = self._answer

    async def _answer(self, connection: Connection) -> None:
        fields = json.loads(await connection.body())
        self.asked[fields["prompt"]] += 1
        self.open += 1
        try:
            await connection.begin()
            for word in words(fields["prompt"], fields["words"]):
                if self.may_end.is_set():
                    break
                self.said[fields["prompt"]] += 1
                await connection.send(f'data: {{"delta": "{word}"}}\n\n'.encode())
                await asyncio.sleep(fields["seconds"])
            await connection.send(b'event: done\ndata: {"reason": "stop"}\n\n')
        finally:
            self.open -= 1


def words(prompt: str, count: int) -> list[str]:
    return [f"{prompt[:4]}{number} " for number in range(count)]


class Cluster:
    """The site in two processes, Redis and nginx, and a proxy that cuts what goes to nginx."""

    def __init__(self, folder: Path, migrated: Path, server: str, upstream: ScriptedUpstream) -> None:
        self.model = Model(upstream)
        (folder / "redis").mkdir()
        (folder / "nginx").mkdir()
        self.redis = RedisServer(folder / "redis")
        env = {"UPSTREAM_URL": upstream.url, "STREAMING_ACCESS": "public", "REDIS_URL": self.redis.url}
        self.workers = []
        for number in range(2):
            shutil.copytree(migrated, folder / f"worker-{number}")
            self.workers.append(Site(folder / f"worker-{number}", SERVERS[server], **env))
        self.nginx = Nginx(folder / "nginx", [worker.port for worker in self.workers])
        self.proxy = CuttingProxy(self.nginx.port)
        for worker in self.workers:
            start_background_tasks(worker)
        self.tasks_at_rest = [self._tasks(worker) for worker in self.workers]

    def stop(self) -> None:
        self.proxy.stop()
        self.nginx.stop()
        for worker in self.workers:
            worker.stop()
        self.redis.stop()

    def answer(self, **options: object) -> Answer:
        return Answer(self.proxy.url, **options)  # type: ignore[arg-type]

    def check(self, answers: list[Answer]) -> None:
        """Nothing lost, nothing doubled, nothing paid twice, and nothing left open."""
        for answer in answers:
            assert answer.reason == "stop", answer.messages[-3:]
            assert answer.text == "".join(words(answer.prompt, answer.words))
            numbers = [int(message.id.rpartition(":")[2]) for message in answer.messages]
            # Who joined without an id has some events as one.
            assert (numbers, numbers[-1]) == (sorted({*numbers}), answer.words + 1)
        # On a very busy machine Redis may not respond in time: whoever is refused with a 503 then asks again.
        refused = sum(worker.log.count("Service Unavailable: /transfer") for worker in self.workers)
        asked = [self.model.asked[answer.prompt] for answer in answers]
        assert all(asked), asked
        assert sum(asked) <= len(asked) + refused, asked
        eventually(lambda: self.model.open == 0, "the upstream is left")
        for worker, tasks in zip(self.workers, self.tasks_at_rest, strict=True):
            eventually(lambda worker=worker: self._streams(worker) == 0, "no connection to the upstream is open")
            eventually(lambda worker=worker, tasks=tasks: self._tasks(worker) <= tasks, "no task is left")
            assert "Traceback" not in worker.log
        with Redis.from_url(self.redis.url) as redis:
            assert [key for key in redis.keys("*") if redis.ttl(key) == -1] == []
            assert len(redis.client_list()) <= 2 * 3 + 1

    def _tasks(self, worker: Site) -> int:
        if worker.process.poll() is not None:
            return 0
        return int(httpx.get(f"{worker.url}/_counts", trust_env=False, timeout=LONG).json()["tasks"])

    def _streams(self, worker: Site) -> int:
        if worker.process.poll() is not None:
            return 0
        connections = psutil.Process(worker.process.pid).net_connections("tcp")
        port = self.model.upstream.port
        return sum(
            bool(each.raddr) and each.raddr.port == port and each.status == "ESTABLISHED" for each in connections
        )


@dataclass
class Answer:
    """A client like fetchEvents: it reconnects until its answer is done, and keeps everything it received."""

    base: str
    first_base: str = ""
    words: int = 40
    seconds: float = 0.005
    prompt: str = field(default_factory=lambda: uuid.uuid4().hex)
    messages: list[Message] = field(default_factory=list)
    address: str = ""
    last_event_id: str = ""
    attempts: int = 0
    ended_at: float = 0.0
    refusals: list[int] = field(default_factory=list)

    async def read(self) -> Answer:
        async with asyncio.timeout(LONG), httpx.AsyncClient(timeout=LONG, trust_env=False) as client:
            while not self.reason:
                self.attempts += 1
                try:
                    await self._read_once(client)
                except httpx.TransportError:
                    await asyncio.sleep(random.uniform(0, 0.05))
        self.ended_at = time.monotonic()
        return self

    async def _read_once(self, client: httpx.AsyncClient) -> None:
        headers = {"Connection": "close"}
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        base = self.first_base if self.attempts == 1 and self.first_base else self.base
        if self.address:
            # Not compacted, so that each event can be counted.
            after = "" if self.last_event_id else "?after=-1"
            request = client.build_request("GET", f"{base}{self.address}{after}", headers=headers)
        else:
            body = {"prompt": self.prompt, "words": self.words, "seconds": self.seconds}
            headers["Idempotency-Key"] = self.prompt
            request = client.build_request("POST", f"{base}/transfer", headers=headers, json=body)
        response = await client.send(request, stream=True)
        try:
            if response.status_code != 200:
                self.refusals.append(response.status_code)
                assert response.status_code in (429, 502, 503, 504), await response.aread()
                await asyncio.sleep(0.1)
                return
            self.address = response.headers["Content-Location"]
            parser = Parser(self.last_event_id)
            async for chunk in response.aiter_raw():
                for message in parser.feed(chunk):
                    self.messages.append(message)
                self.last_event_id = parser.last_event_id
        finally:
            await response.aclose()

    @property
    def text(self) -> str:
        return "".join(json.loads(message.data)["delta"] for message in self.messages if message.event == "message")

    @property
    def reason(self) -> str:
        last = self.messages[-1] if self.messages else None
        return str(json.loads(last.data)["reason"]) if last and last.event == "done" else ""


@pytest.fixture(scope="module", params=SERVERS)
def cluster(
    request: pytest.FixtureRequest, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """For tests that leave both workers and Redis as they were."""
    upstream = ScriptedUpstream()
    cluster = Cluster(tmp_path_factory.mktemp(request.param), migrated, request.param, upstream)
    yield cluster
    cluster.stop()
    upstream.stop()


@pytest.fixture(params=SERVERS)
def doomed_cluster(
    request: pytest.FixtureRequest, migrated: Path, tmp_path: Path, upstream: ScriptedUpstream
) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, migrated, request.param, upstream)
    yield cluster
    cluster.stop()


async def read_all(answers: list[Answer], at_once: int = 50) -> list[Answer]:
    limit = asyncio.Semaphore(at_once)

    async def read(answer: Answer) -> Answer:
        async with limit:
            return await answer.read()

    return await asyncio.gather(*map(read, answers))


@pytest.mark.parametrize("cuts", [500, pytest.param(5_000, marks=pytest.mark.long)])
async def test_a_network_that_cuts_at_random_bytes_loses_and_repeats_nothing(cluster: Cluster, cuts: int) -> None:
    """500 cuts for each server: 1,000. With -m long 10,000."""
    dice = random.Random(cuts)
    cluster.proxy.cuts = 0
    cluster.proxy.plan = lambda _: dice.randint(0, 1_500) if cluster.proxy.cuts < cuts else None

    answers = list[Answer]()
    while cluster.proxy.cuts < cuts:
        answers += await read_all([cluster.answer() for _ in range(40)])

    cluster.proxy.plan = lambda _: None
    cluster.check(answers)


async def test_clients_that_join_a_stream_get_the_same_text(cluster: Cluster) -> None:
    first = cluster.answer(words=150)
    reading = asyncio.create_task(first.read())
    await until(lambda: len(first.messages) > 10)
    tabs = [
        Answer(worker.url, words=150, prompt=first.prompt, address=first.address)
        for worker in cluster.workers
        for _ in range(3)
    ]

    await asyncio.gather(reading, *(tab.read() for tab in tabs))

    cluster.check([first, *tabs])


async def test_a_stop_reaches_the_worker_that_drives(cluster: Cluster) -> None:
    answers = [cluster.answer(first_base=worker.url, words=100_000) for worker in cluster.workers for _ in range(2)]
    reading = [asyncio.create_task(answer.read()) for answer in answers]
    await until(lambda: all(len(answer.messages) > 5 for answer in answers))

    async with httpx.AsyncClient(trust_env=False) as client:
        statuses = [(await client.delete(f"{cluster.proxy.url}{answer.address}")).status_code for answer in answers]
    await asyncio.gather(*reading)

    assert statuses == [202] * 4
    assert {answer.reason for answer in answers} == {"stopped"}
    await asyncio.to_thread(eventually, lambda: cluster.model.open == 0, "the upstream is left")


async def test_a_killed_worker_is_reported_to_every_client_once(doomed_cluster: Cluster) -> None:
    cluster = doomed_cluster
    doomed, other = cluster.workers
    victims = [cluster.answer(first_base=doomed.url, words=100_000) for _ in range(10)]
    survivors = [cluster.answer(first_base=other.url, words=400, seconds=0.01) for _ in range(10)]
    watching = [Answer(other.url, words=100_000) for _ in victims]
    reading = [asyncio.create_task(answer.read()) for answer in [*victims, *survivors]]
    await until(lambda: all(len(answer.messages) > 10 for answer in [*victims, *survivors]))
    for tab, victim in zip(watching, victims, strict=True):
        tab.address, tab.prompt = victim.address, victim.prompt
    reading += [asyncio.create_task(tab.read()) for tab in watching]
    await until(lambda: all(len(tab.messages) > 10 for tab in watching))

    began = time.monotonic()
    doomed.process.kill()
    async with measured_delay() as delay:
        await asyncio.gather(*reading)
    seconds = [answer.ended_at - began for answer in [*victims, *watching]]

    print(f"noticed after {min(seconds):.1f} to {max(seconds):.1f} s")  # noqa: T201 (pytest -s)
    assert max(seconds) - delay() < 5 + 10, "5 s, and 10 for a machine that is busy with all that comes back"
    for answer in [*victims, *watching]:
        events = Counter(message.event for message in answer.messages)
        assert (answer.reason, events["error"], events["done"]) == ("error", 1, 1)
        assert re.fullmatch(f"({answer.prompt[:4]}\\d+ )+", answer.text)
        assert answer.text == "".join(words(answer.prompt, len(answer.text.split())))
    cluster.check(survivors)


@pytest.mark.parametrize("emptied", [False, True], ids=["with its data", "empty"])
async def test_a_restart_of_redis_loses_nothing(doomed_cluster: Cluster, emptied: bool) -> None:
    cluster = doomed_cluster
    answers = [cluster.answer(words=100_000, seconds=0.01) for _ in range(20)]
    reading = [asyncio.create_task(answer.read()) for answer in answers]
    await until(lambda: all(len(answer.messages) > 10 for answer in answers))

    await asyncio.to_thread(cluster.redis.stop)
    if emptied:
        cluster.redis.empty()
    before = [len(answer.messages) for answer in answers]
    await until(lambda: all(len(a.messages) > b for a, b in zip(answers, before, strict=True)))
    refused = await asyncio.to_thread(httpx.get, f"{cluster.workers[0].url}/streams/{'0' * 32}", trust_env=False)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    await asyncio.to_thread(cluster.redis.start)
    # Cut while it comes back: they are refused for a moment, and then read on, from either worker.
    before = [answer.attempts for answer in answers]
    cluster.proxy.cut()
    await until(lambda: all(a.attempts > b for a, b in zip(answers, before, strict=True)))
    cluster.model.may_end.set()
    await asyncio.gather(*reading)

    cluster.check(said_in_full(cluster, answers))


async def test_a_worker_that_shuts_down_notifies_its_clients_and_its_answers_are_kept(doomed_cluster: Cluster) -> None:
    cluster = doomed_cluster
    leaving, other = cluster.workers
    done = await cluster.answer(first_base=leaving.url).read()
    running = cluster.answer(first_base=leaving.url, words=100_000)
    reader_here = cluster.answer(first_base=other.url, words=100_000, seconds=0.02)
    reading = [asyncio.create_task(answer.read()) for answer in (running, reader_here)]
    await until(lambda: len(running.messages) > 5 and len(reader_here.messages) > 5)
    tab = Answer(cluster.proxy.url, first_base=leaving.url, words=100_000, prompt=reader_here.prompt)
    tab.address = reader_here.address
    reading.append(asyncio.create_task(tab.read()))
    await until(lambda: len(tab.messages) > 5)

    leaving.process.terminate()
    await reading[0]
    await until(lambda: tab.attempts > 1)  # its stream goes on elsewhere: it is cut, and comes back
    cluster.model.may_end.set()
    await asyncio.gather(*reading)
    # uvicorn raises the signal again when it has done its work.
    assert await asyncio.to_thread(leaving.process.wait, DEADLINE) in (0, -signal.SIGTERM)

    assert running.reason == "drained"
    again = [
        replace(answer, base=other.url, first_base="", messages=[], last_event_id="") for answer in (done, running)
    ]
    await read_all(again)
    assert [answer.reason for answer in again] == ["stop", "drained"]
    assert again[1].text == running.text
    cluster.check([done, again[0], *said_in_full(cluster, [reader_here, tab])])


def said_in_full(cluster: Cluster, answers: list[Answer]) -> list[Answer]:
    """Answers that ended when they might: their words are all that was said."""
    return [replace(answer, words=cluster.model.said[answer.prompt]) for answer in answers]


async def until(condition: object) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.01)
