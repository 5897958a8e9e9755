"""Fixtures of the browser tests: a real Chromium, and pages that fail the test on any console error."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, ConsoleMessage, Page, expect, sync_playwright

from streaming.sse import Message, encode
from tests.conftest import DEADLINE, JAVASCRIPT, Connection, ScriptedUpstream, Site, copy_of

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

PATIENCE = 1000 * DEADLINE
"""The maximum time, in milliseconds, of what a page does: a deadline, as the machine may be busy with other tests."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Stopped at the end of the package, as its event loop would disturb other tests that start one.
    with sync_playwright() as playwright:
        browser = patient(launch(playwright.chromium))
        yield browser
        browser.close()


def launch(kind: BrowserType, **options: Any) -> Browser:
    return kind.launch(executable_path=chromium(), args=FLAGS, timeout=2 * PATIENCE, **options)


def patient(browser: Browser) -> Browser:
    """The browser, whose contexts and pages wait for PATIENCE instead of 30 s."""
    new_context = browser.new_context

    def new_patient_context(**options: Any) -> BrowserContext:
        context = new_context(**options)
        context.set_default_timeout(PATIENCE)
        return context

    browser.new_context = new_patient_context  # type: ignore[method-assign]
    return browser


def chromium() -> str | None:
    """The path of Chromium; None means Playwright's own build."""
    if path := shutil.which("chromium"):
        return path
    if os.geteuid() == 0 and "debian" in platform.freedesktop_os_release().get("ID", ""):
        install = ["apt-get", "install", "--yes", "chromium"]
    else:
        install = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(install, check=False, capture_output=True).returncode != 0:
        pytest.exit(f"The browser tests need Chromium. To get it: {' '.join(install)}", returncode=1)
    return shutil.which("chromium")


class Visitors:
    """Browser contexts, shared by pages with the same options, so that later pages find their files in the cache."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._known: dict[str, BrowserContext] = {}

    def __call__(self, **options: Any) -> BrowserContext:
        key = repr(sorted(options.items()))
        if key not in self._known:
            self._known[key] = self._browser.new_context(**options)
        return self._known[key]


@pytest.fixture(scope="package")
def visitors(browser: Browser) -> Visitors:
    return Visitors(browser)


class Visit:
    """Pages and their console errors. Without ``visitors`` each page has its own browser context."""

    def __init__(self, browser: Browser, url: str, visitors: Visitors | None = None) -> None:
        self._browser = browser
        self._visitors = visitors
        self._url = url
        self._pages: list[Page] = []
        self.complaints: list[str] = []

    def __call__(self, path: str = "/", **options: Any) -> Page:
        context = self._visitors(**options) if self._visitors else self._browser.new_context(**options)
        page = context.new_page()
        self._pages.append(page)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self._url + path)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        # A violation of the content security policy is an error on the console too.
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def end(self) -> None:
        for page in self._pages:
            page.close()
            if not self._visitors:
                page.context.close()
        assert not self.complaints


@pytest.fixture
def open_page(browser: Browser, visitors: Visitors, site: Any) -> Iterator[Visit]:
    """Opens the page with browser options: ``open_page(color_scheme="dark")``. Console errors fail the test."""
    visit = Visit(browser, site.url, visitors)
    yield visit
    visit.end()


@pytest.fixture
def page(open_page: Visit) -> Page:
    return open_page()


class Scripted:
    """A site whose upstream answers in the native format with the messages that a test gives it."""

    def __init__(self, upstream: ScriptedUpstream, open_page: Visit) -> None:
        self.upstream = upstream
        self.open = open_page
        """Opens the page with browser options."""

    def answers(self, *messages: tuple[str, object]) -> None:
        """To each request from now on: an event and its data, again and again."""

        async def script(connection: Connection) -> None:
            await connection.begin()
            await connection.send(b"".join(encode(Message(json.dumps(data), event)) for event, data in messages))

        self.upstream.script = script

    def pauses(self, *pieces: str) -> threading.Event:
        """To each request from now on: the first of these pieces, and the rest when what is returned is set."""
        may_go_on = threading.Event()

        async def script(connection: Connection) -> None:
            await connection.begin()
            for piece in pieces:
                await connection.send(encode(Message(json.dumps({"delta": piece}))))
                while not may_go_on.is_set():  # noqa: ASYNC110 (it is set in another thread)
                    await asyncio.sleep(0.01)
            await connection.send(encode(Message('{"reason": "stop"}', "done")))

        self.upstream.script = script
        return may_go_on

    def refuses(self, status: str) -> None:
        async def script(connection: Connection) -> None:
            await connection.begin(status, kind="application/json")
            await connection.send(b'{"error": {"message": "out of order"}}')

        self.upstream.script = script

    def is_silent(self) -> None:
        async def script(connection: Connection) -> None:
            await connection.until_left()

        self.upstream.script = script


@pytest.fixture(scope="package")
def scripted_site(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, ScriptedUpstream]]:
    upstream = ScriptedUpstream()
    site = Site(copy_of(migrated, tmp_path_factory.mktemp("scripted")), UPSTREAM_URL=upstream.url)
    yield site, upstream
    site.stop()
    upstream.stop()


@pytest.fixture
def scripted(browser: Browser, visitors: Visitors, scripted_site: tuple[Site, ScriptedUpstream]) -> Iterator[Scripted]:
    site, upstream = scripted_site
    visit = Visit(browser, site.url, visitors)
    yield Scripted(upstream, visit)
    visit.end()


@pytest.fixture(scope="module")
def workbench(browser: Browser, visitors: Visitors, site: Any) -> Iterator[Page]:
    """One page shared by tests that run their own script and leave no state behind."""
    visit = Visit(browser, site.url, visitors)
    yield visit(reduced_motion="reduce")
    visit.end()


@pytest.fixture(scope="package")
def commonmark_examples(npm_packages: None) -> list[str]:
    """The examples of the CommonMark specification, from the npm package that the Node tests install."""
    spec = JAVASCRIPT / "node_modules" / "commonmark-spec" / "spec.txt"
    found = re.findall(r"^`{32} example[^\n]*\n(.*?)^\.\n.*?^`{32}$", spec.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [example.replace("→", "\t") for example in found]


def wait_until(page: Page, condition: str, argument: object = None, seconds: float = DEADLINE) -> None:
    """Polls a JavaScript function until it returns true. The page forbids the eval that wait_for_function needs."""
    end = time.monotonic() + seconds
    next_frame = "() => new Promise(resolve => setTimeout(resolve, 10))"
    while not page.evaluate(condition, argument):
        assert time.monotonic() < end, f"after {seconds:g} s: {condition}"
        page.evaluate(next_frame)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until
