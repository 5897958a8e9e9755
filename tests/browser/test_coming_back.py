"""Answers whose connection is interrupted, in a real browser, with a real site and upstream."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import wait_until
from tests.conftest import DEADLINE, Connection, ScriptedUpstream, Site, eventually
from tests.cutting_proxy import CuttingProxy

WORDS = [f"word{number} " for number in range(200)]


@pytest.fixture
def site(make_site: Callable[..., Site], upstream: ScriptedUpstream) -> Site:
    # Longer than any test waits for an upstream to be closed.
    return make_site(UPSTREAM_URL=upstream.url, STREAMING_GRACE="600")


@pytest.fixture
def proxy(site: Site) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(site.port)
    yield proxy
    proxy.stop()


@pytest.fixture
def page(browser: Browser, proxy: CuttingProxy) -> Iterator[Page]:
    # The browser reports an interruption as a console error.
    context = browser.new_context()
    page = context.new_page()
    page.goto(proxy.url)
    yield page
    context.close()


def in_words(words: list[str], seconds: float, may_end: threading.Event) -> Callable[[Connection], object]:
    """A word every so many seconds; the last of them only when the answer may end, however slow its readers are."""

    async def script(connection: Connection) -> None:
        await connection.begin()
        await connection.send(b"retry: 100\n\n")
        for word in words:
            await connection.send(f"data: {json.dumps({'delta': word})}\n\n".encode())
            await asyncio.sleep(seconds)
            while word == words[-20] and not may_end.is_set():  # noqa: ASYNC110 (it is set in another thread)
                await asyncio.sleep(seconds)
        await connection.send(b'event: done\ndata: {"reason": "stop"}\n\n')

    return script


async def speak_until_left(connection: Connection) -> None:
    await connection.begin()
    await connection.send(b'data: {"delta": "and so on"}\n\n')
    await connection.until_left()


def ask(page: Page) -> None:
    panel = page.locator("#chat")
    panel.get_by_label("Your question").fill("Say many words.")
    panel.get_by_role("button", name="Send").click()


def has_shown(page: Page, word: str) -> None:
    wait_until(page, "word => document.querySelector('#chat article')?.textContent.includes(word)", word.strip())


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    """Polls what the page's events change: they are handled only while the page is asked for something."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        page.evaluate("() => new Promise(resolve => setTimeout(resolve, 10))")


def state(page: Page) -> object:
    return page.locator("#chat [data-part=status]")


def test_an_answer_interrupted_five_times_and_reloaded_once_is_complete_and_was_requested_once(
    page: Page, proxy: CuttingProxy, upstream: ScriptedUpstream
) -> None:
    may_end = threading.Event()
    upstream.script = in_words(WORDS, 0.05, may_end)  # type: ignore[assignment]
    ask(page)

    for cut in range(1, 6):
        has_shown(page, WORDS[cut * 10])
        proxy.cut()
        if cut == 3:
            page.reload()
    assert proxy.cuts >= 5
    may_end.set()

    expect(state(page)).to_have_text("Done")  # type: ignore[arg-type]
    expect(page.locator("#chat article")).to_have_text("".join(WORDS).strip())
    assert len(upstream.requests) == 1


# Only waits for the next attempt become short, not the 45 s after which a silent connection counts as lost.
SHORT_WAITS = """{
  const { setTimeout } = window;
  window.setTimeout = (act, delay, ...given) => setTimeout(act, delay < 40_000 ? delay / 100 : delay, ...given);
}"""


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_an_answer_is_asked_for_again_while_the_server_is_away_for_a_minute(
    page: Page, proxy: CuttingProxy, upstream: ScriptedUpstream, is_reloaded: bool
) -> None:
    may_end = threading.Event()
    upstream.script = in_words(WORDS, 0.05, may_end)  # type: ignore[assignment]
    page.add_init_script(SHORT_WAITS)
    page.reload()
    ask(page)
    has_shown(page, WORDS[5])
    tries: list[int] = []

    def refuse(route: Route) -> None:
        tries.append(len(tries))
        if len(tries) > 8:
            route.continue_()
        elif len(tries) % 2:
            route.fulfill(status=503)
        else:
            route.abort()

    page.route("**/streams/*", refuse)
    if is_reloaded:
        page.reload()
    else:
        proxy.cut()
    wait_for(page, lambda: len(tries) > 8)
    may_end.set()

    expect(state(page)).to_have_text("Done")  # type: ignore[arg-type]
    expect(page.locator("#chat article")).to_have_text("".join(WORDS).strip())
    assert len(upstream.requests) == 1


def test_stop_closes_the_upstream_at_once(page: Page, upstream: ScriptedUpstream) -> None:
    upstream.script = speak_until_left
    ask(page)
    has_shown(page, "and so on")

    page.locator("#chat").get_by_role("button", name="Stop").click()

    assert upstream.left.wait(DEADLINE), "though a stream that its client left goes on for a while"


def test_a_page_that_is_reloaded_before_the_answer_begins_shows_it_and_it_was_requested_once(
    page: Page, upstream: ScriptedUpstream
) -> None:
    may_begin = threading.Event()
    may_begin_late(upstream, may_begin, "and it", " came")
    ask(page)
    eventually(lambda: len(upstream.requests) == 1, "the upstream is asked")

    for _ in range(2):
        page.reload()
        expect(state(page)).to_have_text("Streaming")  # type: ignore[arg-type]
    may_begin.set()

    expect(state(page)).to_have_text("Done")  # type: ignore[arg-type]
    expect(page.locator("#chat article")).to_have_text("and it came")
    assert len(upstream.requests) == 1


def test_an_answer_that_nobody_knows_after_a_reload_has_failed_and_is_not_requested_by_itself(
    page: Page, upstream: ScriptedUpstream
) -> None:
    page.route("**/transfer", lambda route: None)  # it never reaches the site
    ask(page)
    expect(state(page)).to_have_attribute("data-state", "connecting")  # type: ignore[arg-type]

    page.reload()

    expect(state(page)).to_have_text("Failed")  # type: ignore[arg-type]
    expect(page.locator("#chat .question")).to_have_text("Say many words.")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert not upstream.requests


def may_begin_late(upstream: ScriptedUpstream, may_begin: threading.Event, *words: str) -> None:
    async def script(connection: Connection) -> None:
        while not may_begin.is_set():  # noqa: ASYNC110 (it is set in another thread)
            await asyncio.sleep(0.01)
        await connection.begin()
        for word in words:
            await connection.send(f"data: {json.dumps({'delta': word})}\n\n".encode())
        await connection.send(b'event: done\ndata: {"reason": "stop"}\n\n')

    upstream.script = script


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_stop_before_the_answer_begins_closes_the_upstream_at_once(
    page: Page, upstream: ScriptedUpstream, is_reloaded: bool
) -> None:
    async def think_until_left(connection: Connection) -> None:
        await connection.until_left()

    upstream.script = think_until_left
    ask(page)
    eventually(lambda: len(upstream.requests) == 1, "the upstream is asked")
    if is_reloaded:
        page.reload()

    page.locator("#chat").get_by_role("button", name="Stop").click()

    assert upstream.left.wait(DEADLINE)
    expect(page.locator("#chat article")).to_have_text("")
    expect(state(page)).to_have_text("Stopped")  # type: ignore[arg-type]


def test_stop_that_overtakes_its_request_closes_the_upstream_when_the_answer_begins(
    page: Page, upstream: ScriptedUpstream
) -> None:
    upstream.script = speak_until_left
    on_their_way: list[Route] = []
    page.route("**/transfer", lambda route: on_their_way.append(route))
    ask(page)
    wait_for(page, lambda: bool(on_their_way))
    with page.expect_response(lambda response: response.request.method == "DELETE") as first:
        page.locator("#chat").get_by_role("button", name="Stop").click()
    assert first.value.status == 204

    with page.expect_response(lambda response: response.request.method == "DELETE") as second:
        on_their_way[0].continue_()

    assert second.value.status == 202
    assert upstream.left.wait(DEADLINE)
    expect(page.locator("#chat article")).to_have_text("")
    expect(state(page)).to_have_text("Stopped")  # type: ignore[arg-type]


def test_stop_reaches_the_site_although_the_page_is_left_at_once(page: Page, upstream: ScriptedUpstream) -> None:
    upstream.script = speak_until_left
    page.add_init_script(
        """{
          const { fetch } = window;
          window.fetch = (url, init) => {
            if (init?.method === "DELETE") sessionStorage.setItem("keepalive", String(init.keepalive));
            return fetch(url, init);
          };
        }"""
    )
    page.reload()
    ask(page)
    has_shown(page, "and so on")

    page.evaluate("document.querySelector('#chat [data-part=stop]').click(), location.assign('login/')")

    assert upstream.left.wait(DEADLINE)
    page.wait_for_url("**/login/")
    # Otherwise the browser may cancel it with the page.
    assert page.evaluate("sessionStorage.getItem('keepalive')") == "true"


def test_stop_closes_the_upstream_although_the_page_was_reloaded_and_is_not_connected_yet(
    page: Page, upstream: ScriptedUpstream
) -> None:
    upstream.script = speak_until_left
    ask(page)
    has_shown(page, "and so on")
    # The page's question for the rest stays on its way; its order to stop reaches the site.
    page.route("**/streams/*", lambda route: route.continue_() if route.request.method == "DELETE" else None)
    page.reload()
    expect(state(page)).to_have_attribute("data-state", "connecting")  # type: ignore[arg-type]

    with page.expect_request(lambda request: request.method == "DELETE"):
        page.locator("#chat").get_by_role("button", name="Stop").click()

    assert upstream.left.wait(DEADLINE)


def test_a_question_that_is_too_long_to_be_sent_ends_the_running_answer_too(
    page: Page, upstream: ScriptedUpstream
) -> None:
    async def think_until_left(connection: Connection) -> None:
        await connection.begin()
        await connection.send(b'data: {"delta": "Let me think.", "channel": "reasoning"}\n\n')
        await connection.until_left()

    upstream.script = think_until_left
    ask(page)
    expect(page.locator("#chat .aside")).to_be_visible()
    page.evaluate("document.querySelector('#chat').dataset.limit = 2000")
    page.locator("#chat").get_by_label("Your question").fill("long " * 500)

    with page.expect_request(lambda request: request.method == "DELETE"):
        page.locator("#chat").get_by_role("button", name="Send").click()

    # Otherwise its text would be shown below the new question.
    assert upstream.left.wait(DEADLINE)
    expect(state(page)).to_have_text("Failed")  # type: ignore[arg-type]


def test_an_answer_that_is_no_longer_stored_has_failed(
    browser: Browser, make_site: Callable[..., Site], upstream: ScriptedUpstream
) -> None:
    upstream.script = in_words(WORDS, 0.05, threading.Event())  # type: ignore[assignment]
    proxy = CuttingProxy(make_site(UPSTREAM_URL=upstream.url, STREAMING_GRACE="0", STREAMING_KEEP="0").port)
    page = browser.new_context().new_page()
    page.goto(proxy.url)
    ask(page)
    has_shown(page, WORDS[5])

    proxy.cut()

    expect(state(page)).to_have_text("Failed")  # type: ignore[arg-type]
    expect(page.locator("#chat [data-part=reason]")).to_contain_text("not sent a second time")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert len(upstream.requests) == 1
    page.context.close()
    proxy.stop()
