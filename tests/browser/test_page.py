"""The page, as a visitor meets it: three panels that do nothing until they are asked."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

NATIVE = "text/event-stream"


def start(page: Page, document: str = "tour", interval: str = "0") -> None:
    panel = page.locator("#stream")
    panel.get_by_label("Document").select_option(document)
    panel.get_by_label("Speed").select_option(interval)
    panel.get_by_role("button", name="Start").click()


def status(page: Page, panel: str):
    return page.locator(f"#{panel} [data-part=status]")


def answer_with(page: Page, address: str, *messages: tuple[str, object], status: int = 200) -> None:
    """Puts an answer of our own in the place of the server's."""
    body = "".join(
        f"id: s:{n}\nevent: {event}\ndata: {json.dumps(data)}\n\n" for n, (event, data) in enumerate(messages)
    )
    page.route(f"**{address}", lambda route: route.fulfill(status=status, content_type=NATIVE, body=body))


# --- before anything is asked


def test_asks_for_nothing_but_its_files_until_a_button_is_pressed(open_page):
    asked = []
    page = open_page()
    page.on("request", lambda request: asked.append(request.url))

    page.reload(wait_until="networkidle")

    assert all("/static/" in url or url.endswith("/") for url in asked), asked
    expect(status(page, "ping")).to_have_text("Ready")


def test_has_one_heading_a_title_and_a_way_to_the_admin(page):
    expect(page).to_have_title("Streams")
    expect(page.get_by_role("heading", level=1)).to_have_text("Streams")
    expect(page.locator("a[href='/admin/']")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_fits_a_screen_of_this_width(open_page, width, scheme):
    page = open_page(viewport={"width": width, "height": 640}, color_scheme=scheme)

    start(page)
    expect(status(page, "stream")).to_have_text("Done")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"


# --- Ping


def test_ping_shows_beats_from_connecting_to_disconnecting(page):
    panel = page.locator("#ping")

    panel.get_by_role("button", name="Connect", exact=True).click()

    expect(status(page, "ping")).to_have_text("Connected")
    expect(panel.locator("li .event").first).to_have_text("connect")
    expect(panel.locator("li .id").nth(1)).to_have_text("0")
    expect(panel.locator("li .id").nth(2)).to_have_text("1")

    panel.get_by_role("button", name="Disconnect").click()

    expect(status(page, "ping")).to_have_text("Disconnected")


# --- Fetch


def test_fetch_lists_the_events_as_the_upstream_sent_them(page):
    panel = page.locator("#fetch")

    panel.get_by_label("Request, as JSON").fill('{"document": "poem", "interval": 0, "step": 200}')
    panel.get_by_role("button", name="Start").click()

    expect(status(page, "fetch")).to_have_text("Done")
    expect(panel.locator("li .event").first).to_have_text("connect")
    expect(panel.locator("li .id").first).to_have_attribute("title", re.compile("^[0-9a-f]{32}:0$"))
    expect(panel.locator("li .data").nth(1)).to_contain_text('"delta"')
    expect(panel.locator("li .event").last).to_have_text("done")

    panel.get_by_role("button", name="Clear").click()

    expect(panel.locator("li")).to_have_count(0)


def test_fetch_stops(page):
    panel = page.locator("#fetch")

    panel.get_by_role("button", name="Start").click()
    expect(panel.locator("li").nth(2)).to_be_visible()
    panel.get_by_role("button", name="Stop").click()

    expect(status(page, "fetch")).to_have_text("Stopped")


def test_fetch_says_that_it_wants_a_json_object(page):
    panel = page.locator("#fetch")

    panel.get_by_label("Request, as JSON").fill("tour")
    panel.get_by_role("button", name="Start").click()

    expect(panel.get_by_role("alert")).to_have_text("The request is not a JSON object.")


# --- Stream


def test_stream_shows_a_document_as_markdown(page):
    start(page, "tour")

    expect(status(page, "stream")).to_have_text("Done")
    answer = page.locator("#stream article")
    expect(answer.locator("h1")).to_have_text("A tour of streamed Markdown")
    expect(answer.locator("table")).to_have_count(1)
    expect(answer.locator("pre code.language-python")).to_have_count(1)
    expect(answer.locator("input[type=checkbox]:checked")).to_have_count(2)
    expect(answer.locator("blockquote blockquote")).to_have_count(1)
    expect(answer.get_by_role("link", name="before its definition")).to_have_count(1)


def test_stream_is_busy_while_it_writes_and_says_so_once(page):
    answer = page.locator("#stream article")
    live = page.locator("#stream [data-part=live]")

    start(page, interval="0.1")

    expect(status(page, "stream")).to_have_text("Streaming")
    expect(answer).to_have_attribute("aria-busy", "true")
    expect(live).to_have_text("answering")
    expect(page.locator("[data-cursor]")).to_have_count(1)

    start(page, "poem")

    expect(status(page, "stream")).to_have_text("Done")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(live).to_have_text("done")
    expect(page.locator("[data-cursor]")).to_have_count(0)


def test_stop_keeps_the_text_and_removes_the_cursor(page, wait_until):
    start(page, interval="0.1")
    wait_until(page, "() => document.querySelector('#stream article').textContent.length > 60")
    shown = page.evaluate("document.querySelector('#stream article').textContent")

    page.locator("#stream").get_by_role("button", name="Stop").click()

    expect(status(page, "stream")).to_have_text("Stopped")
    expect(page.locator("[data-cursor]")).to_have_count(0)
    kept = page.evaluate("document.querySelector('#stream article').textContent")
    assert kept.startswith(shown[:40])
    assert len(kept) >= len(shown)


def test_a_new_start_never_mixes_with_the_old_stream(page):
    start(page, "handbook", interval="0")
    start(page, "poem")

    expect(status(page, "stream")).to_have_text("Done")
    expect(page.locator("#stream article h1")).to_have_count(1)
    alone = page.locator("#stream article").inner_text()
    start(page, "poem")
    expect(status(page, "stream")).to_have_text("Done")
    assert page.locator("#stream article").inner_text() == alone


def test_counts_what_was_moderated(page):
    mask = ("moderation", {"action": "mask", "category": "contact"})
    answer_with(
        page,
        "/transfer",
        ("connect", {}),
        ("message", {"delta": "**** and ****"}),
        mask,
        mask,
        ("done", {"reason": "stop"}),
    )

    start(page)

    expect(page.locator("#stream [data-part=moderated]")).to_have_text("2 passages were moderated.")


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("blocked", "Blocked by moderation"),
        ("stopped", "Stopped"),
        ("length", "Done, at its longest"),
        ("stop", "Done"),
    ],
)
def test_says_how_it_ended(page, reason, says):
    answer_with(page, "/transfer", ("message", {"delta": "text"}), ("done", {"reason": reason}))

    start(page)

    expect(status(page, "stream")).to_have_text(says)
    expect(page.locator("#stream article")).to_have_text("text")


def test_an_error_keeps_the_text_and_offers_to_try_again(page):
    error = {"status": 504, "title": "Gateway Timeout", "detail": "the upstream was silent for 60 s"}
    answer_with(
        page, "/transfer", ("message", {"delta": "half an ans"}), ("error", error), ("done", {"reason": "error"})
    )

    start(page)

    expect(status(page, "stream")).to_have_text("Failed")
    expect(page.locator("#stream article")).to_have_text("half an ans")
    expect(page.locator("#stream").get_by_role("alert")).to_have_text(error["detail"])

    page.unroute("**/transfer")
    page.get_by_role("button", name="Try again").click()

    expect(status(page, "stream")).to_have_text("Done")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_a_stream_that_is_cut_is_not_asked_for_twice(page):
    asked = []

    def cut(route: Route) -> None:
        asked.append(route.request.method)
        route.fulfill(status=200, content_type=NATIVE, body='retry: 1\nid: s:1\ndata: {"delta": "half"}\n\n')

    page.route("**/transfer", cut)
    start(page)

    expect(status(page, "stream")).to_have_text("Failed")
    expect(page.locator("#stream").get_by_role("alert")).to_contain_text("not sent a second time")
    assert asked == ["POST"]


def test_a_request_that_is_refused_shows_the_servers_reason(open_page, browser):
    # A refusal is an error on the browser's own console, which the `page` fixture does not forgive.
    page = browser.new_context().new_page()
    page.goto(open_page().url)
    problem = {"title": "Bad Gateway", "status": 502, "detail": "the upstream refused"}
    page.route(
        "**/transfer",
        lambda route: route.fulfill(status=502, content_type="application/problem+json", body=json.dumps(problem)),
    )

    start(page)

    expect(page.locator("#stream").get_by_role("alert")).to_have_text("the upstream refused")
    page.context.close()


def test_without_motion_text_is_shown_as_it_comes(open_page):
    page = open_page(reduced_motion="reduce")

    start(page)

    expect(status(page, "stream")).to_have_text("Done")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('[data-part=status]'), '::before').animationName")
        == "none"
    )


HIDE = """
() => {
  Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
  globalThis.requestAnimationFrame = () => 1;  // a hidden tab has no frames
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_a_hidden_tab_shows_all_at_once_without_frames(page):
    start(page, interval="0.1")
    expect(status(page, "stream")).to_have_text("Streaming")

    page.evaluate(HIDE)

    start(page, "poem")
    expect(status(page, "stream")).to_have_text("Done")
    expect(page.locator("[data-cursor]")).to_have_count(0)


def test_a_page_that_is_kept_for_the_way_back_holds_no_connection(page):
    page.locator("#ping").get_by_role("button", name="Connect", exact=True).click()
    expect(status(page, "ping")).to_have_text("Connected")
    start(page, interval="0.5")
    expect(status(page, "stream")).to_have_text("Streaming")

    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(status(page, "stream")).to_have_text("Stopped")

    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(status(page, "ping")).to_have_text("Connected")
    expect(page.locator("#ping li .event").last).to_have_text("message")


# --- the keyboard


def test_works_by_keyboard_and_the_focus_never_moves_by_itself(page):
    page.locator("#stream select[name=document]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#stream").get_by_role("button", name="Start")).to_be_focused()

    page.keyboard.press("Enter")
    expect(status(page, "stream")).to_have_text("Streaming")
    expect(page.locator("#stream").get_by_role("button", name="Start")).to_be_focused()

    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(status(page, "stream")).to_have_text("Stopped")
    expect(page.locator("#stream").get_by_role("button", name="Stop")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_token_against_forged_requests_goes_along(page):
    with page.expect_request("**/transfer") as sent:
        start(page)
    assert re.fullmatch("[A-Za-z0-9]{64}", sent.value.headers["x-csrftoken"])
    expect(status(page, "stream")).to_have_text("Done")
