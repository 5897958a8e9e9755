"""A page of another site uses two modules and nothing else of this site."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.conftest import ROOT

PAGE = (Path(__file__).parent / "reuse.html").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


class OtherSite(BaseHTTPRequestHandler):
    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def other_site() -> Iterator[str]:
    """Its address: browsers treat ``localhost`` and 127.0.0.1 as different sites."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OtherSite)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_site_shows_a_stream_with_two_modules(make_site, other_site, browser):
    site = make_site(STREAMING_ALLOWED_ORIGINS=other_site)
    OtherSite.page = PAGE.replace("SITE", site.url).encode()
    complaints: list[str] = []
    page = browser.new_context().new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(other_site)

    expect(page).to_have_title("Done")
    answer = page.locator("#answer")
    expect(answer.locator("h1")).to_have_text("A tour of streamed Markdown")
    expect(answer.locator("pre code.language-python")).to_have_count(1)
    expect(answer.locator("[data-cursor]")).to_have_count(0)
    assert complaints == []
    page.context.close()


def test_a_page_of_a_site_that_is_not_allowed_cannot_read_the_stream(site, other_site, browser):
    OtherSite.page = PAGE.replace("SITE", site.url).encode()
    errors: list[str] = []
    page = browser.new_context().new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))

    with page.expect_event("pageerror"):
        page.goto(other_site)

    assert len(errors) == 1
    expect(page.locator("#answer")).to_be_empty()
    page.context.close()


def test_the_snippet_of_the_readme_works_from_another_site_with_an_api_key(make_site, other_site, browser):
    upstream = make_site()
    env = {"STREAMING_ACCESS": "login", "STREAMING_ALLOWED_ORIGINS": other_site}
    site = make_site(UPSTREAM_URL=f"{upstream.url}/stream", **env)
    [snippet] = re.findall(r"```html\n(.+?)```", README, re.DOTALL)
    snippet = snippet.replace("https://streams.example", site.url)
    page = browser.new_context().new_page()

    OtherSite.page = snippet.encode()
    with page.expect_event("pageerror") as refusal:
        page.goto(other_site)
    assert "API key" in str(refusal.value)
    expect(page.locator("#answer")).to_be_empty()

    OtherSite.page = snippet.replace("Bearer KEY", f"Bearer {site.admins_key}").encode()
    page.goto(other_site)
    expect(page.locator("#answer h1")).to_have_text("A tour of streamed Markdown")
    page.context.close()
