"""Content relayed from an upstream never runs as this site's code, however a page embeds its URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import Connection
from tests.test_views import Relay

CODE = b"globalThis.hasRun = true; globalThis.postMessage?.('has run');"


@pytest.fixture(scope="module")
def relay(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    async def script(connection: Connection) -> None:
        await connection.body()
        await connection.begin("200 OK", "Cache-Control: max-age=600", kind="text/javascript")
        await connection.send(CODE)

    relay = Relay(tmp_path_factory.mktemp("relay"), migrated)
    relay.upstream.script = script
    yield relay
    relay.stop()


@pytest.fixture
def page(browser: Browser, relay: Relay) -> Iterator[Page]:
    """A page of the site without its content security policy, which has already fetched a script as text."""
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(relay.site.url)
    assert page.evaluate("() => fetch('/proxy/default/a.js').then(answer => answer.text())") == CODE.decode()
    yield page
    page.context.close()


@pytest.mark.parametrize(
    "use",
    {
        "a script": "const it = document.createElement('script'); it.src = address; document.head.append(it);",
        "a module": "import(address).then(() => done('has run'), () => done('refused')); const it = {};",
        "a worker": "const it = new Worker(address); it.onmessage = () => done('has run');",
        "a service worker": """
          navigator.serviceWorker.register(address).then(() => done("has run"), () => done("refused")); const it = {};
        """,
    }.items(),
    ids=lambda use: use[0],
)
def test_relayed_content_never_runs_as(page: Page, use: tuple[str, str]) -> None:
    run: Any = page.evaluate(
        f"""address => new Promise(done => {{
          {use[1]}
          it.onload = () => done("has run");
          it.onerror = () => done("refused");
        }})""",
        "/proxy/default/a.js",
    )

    assert run == "refused"
    assert page.evaluate("() => globalThis.hasRun") is None
