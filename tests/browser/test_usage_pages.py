"""The admin's pages of usage and of open streams in a browser."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_accessibility import violations  # noqa: F401 (a fixture)
from tests.browser.test_admin import LOOKS, photograph
from tests.conftest import PASSWORD, Site, manage, read_until

USAGE = "/admin/streaming/usagerecord/"
SEED = """
from datetime import timedelta
from django.utils import timezone
from streaming.models import UsageRecord
for number in range(200):
    UsageRecord.objects.create(
        when=timezone.now() - timedelta(hours=number * 3), stream=f"{number:032x}", endpoint="chat-completions",
        username=["ann", "bob", ""][number % 3], key_name=["backend", "notebook", ""][number % 3], upstream="default",
        model=["gpt-4o-mini", "llama3.2"][number % 2], prompt_tokens=number * 7 % 900, completion_tokens=number * 3,
        prompt_chars=number * 30, completion_chars=number * 12, hits=number % 4, first_byte_seconds=0.2,
        seconds=number / 7, bytes=number * 100, reason=["stop", "error"][number % 5 == 0],
        status=[200, 504][number % 5 == 0])
"""


@pytest.fixture(scope="module")
def usage_site(migrated: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("usage-pages")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    seeded = manage(folder, "shell", "-c", SEED)
    assert seeded.returncode == 0, seeded.stderr
    site = Site(folder, STREAMING_GRACE="0")
    yield site
    site.stop()


@pytest.fixture
def enter(browser, usage_site):
    visit = Visit(browser, usage_site.url)

    def enter(address: str, **options):
        page = visit(f"/admin/login/?next={address}", **options)
        page.locator("[name=username]").fill("admin")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[type=submit]").click()
        page.wait_for_url(usage_site.url + address)
        return page

    yield enter
    visit.end()


def ask(site: Site):
    """A stream that goes on until its client leaves."""
    headers = f"Authorization: {site.as_staff['Authorization']}"
    reader = site.connect(f"GET /transfer?interval=0.3&document=handbook&step=5\n{headers}")
    read_until(reader, b'"delta"')
    return reader


@pytest.mark.parametrize("look", LOOKS)
def test_both_pages_fit_their_window_and_have_no_violation(enter, usage_site, violations, look):  # noqa: F811
    page = enter(USAGE, **LOOKS[look])
    expect(page.locator(".hits-chart")).to_be_visible()
    page.locator(".hits-overview details > summary").click()
    found = {"usage": violations(page)}
    photograph(page, f"usage-{look}")

    with closing(ask(usage_site)):
        page.goto(f"{usage_site.url}{USAGE}open/")
        expect(page.locator("[data-part=live]")).to_be_visible()
        expect(page.locator("#open-streams tbody tr").first).to_be_visible()
        found["open"] = violations(page)
        photograph(page, f"open-{look}")

    assert found == {"usage": [], "open": []}, json.dumps(found)


def test_open_streams_come_grow_and_go_without_a_reload_and_keep_the_focus(enter, usage_site):
    page = enter(f"{USAGE}open/")
    rows = page.locator("#open-streams tbody tr")
    expect(page.locator("[data-part=live]")).to_be_visible()
    expect(page.get_by_text("Nothing runs at the moment.")).to_be_visible()

    with closing(ask(usage_site)):
        expect(rows).to_have_count(1)
        expect(rows.locator("[data-part=where]")).to_have_text("transfer, default")
        expect(rows.locator("[data-part=who]")).to_have_text("admin (tests)")
        stop = rows.get_by_role("button", name="Stop")
        stop.focus()
        before = int(rows.locator("[data-part=chars]").inner_text())
        expect(rows.locator("[data-part=chars]")).not_to_have_text(str(before))
        expect(stop).to_be_focused()
    expect(page.get_by_text("Nothing runs at the moment.")).to_be_visible()
    expect(rows).to_have_count(0)


def test_open_streams_are_up_to_date_again_after_the_page_was_in_the_back_forward_cache(enter):
    page = enter(f"{USAGE}open/")
    expect(page.locator("[data-part=live]")).to_be_visible()

    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(page.locator("[data-part=lost]")).to_be_visible()

    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.locator("[data-part=live]")).to_be_visible()


def test_open_streams_are_not_promised_any_more_once_the_user_is_logged_out(enter):
    page = enter(f"{USAGE}open/")
    expect(page.locator("[data-part=live]")).to_be_visible()
    page.evaluate("() => { window.fetch = async () => new Response('log in', { status: 403 }) }")

    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(page.locator("[data-part=lost]")).to_be_visible()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    expect(page.locator("[data-part=lost]")).to_be_hidden()
    expect(page.locator("[data-part=live]")).to_be_hidden()
    page.get_by_role("link", name="reload the page").click()
    expect(page.locator("[data-part=live]")).to_be_visible()


def test_the_stop_button_ends_a_stream(enter, usage_site):
    page = enter(f"{USAGE}open/")
    expect(page.get_by_text("Nothing runs at the moment.")).to_be_visible()
    with closing(ask(usage_site)) as reader:
        page.locator("#open-streams tbody tr").get_by_role("button", name="Stop").click()
        expect(page.get_by_text("The stream ends within a second.")).to_be_visible()
        assert b'{"reason": "stopped"}' in read_until(reader, b'"stopped"}')
