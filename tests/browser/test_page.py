"""The page: three panels, *Chat*, *Ping* and *Fetch*, which request nothing until they are used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from streaming.management.commands.demo import SAMPLE_RULES
from tests.browser.conftest import launch, patient
from tests.conftest import PASSWORD, ROOT, eventually, manage

TOUR = (ROOT / "streaming/documents/tour.md").read_text("utf-8")


def start(page: Page, document: str = "tour", interval: str = "0", prompt: str = "") -> None:
    panel = page.locator("#chat")
    if panel.get_by_label("Document").is_visible():  # not with a configured upstream
        panel.get_by_label("Document").select_option(document)
        panel.get_by_label("Speed").select_option(interval)
    else:
        prompt = prompt or "Go on."
    panel.get_by_label("Your question").fill(prompt)
    panel.get_by_role("button", name="Send").click()


def developers(page: Page, panel: str):
    """A panel in the collapsed section."""
    page.locator("#developers > summary").click()
    return page.locator(f"#{panel}")


def status(page: Page, panel: str):
    return page.locator(f"#{panel} [data-part=status]")


# --- before the first request


def test_the_page_requests_only_its_own_files_until_a_button_is_pressed(open_page):
    asked = []
    page = open_page()
    page.on("request", lambda request: asked.append(request.url))

    page.reload(wait_until="networkidle")

    assert all("/static/" in url or url.endswith("/") for url in asked), asked
    expect(status(page, "ping")).to_have_text("Ready")


def test_the_page_has_a_title_one_main_heading_and_a_link_to_the_admin(page):
    expect(page).to_have_title("Streams")
    expect(page.get_by_role("heading", level=1)).to_have_text("Streams")
    expect(page.locator("a[href='/admin/']")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_a_screen_of_this_width(open_page, width, scheme):
    page = open_page(viewport={"width": width, "height": 640}, color_scheme=scheme)

    start(page)
    expect(status(page, "chat")).to_have_text("Done")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"


# --- Ping


def test_ping_shows_heartbeats_from_connecting_to_disconnecting(page):
    panel = developers(page, "ping")

    panel.get_by_role("button", name="Connect", exact=True).click()

    expect(status(page, "ping")).to_have_text("Connected")
    expect(panel.locator("li .event").first).to_have_text("connect")
    expect(panel.locator("li .id").nth(1)).to_have_text("0")
    expect(panel.locator("li .id").nth(2)).to_have_text("1")

    panel.get_by_role("button", name="Disconnect").click()

    expect(status(page, "ping")).to_have_text("Disconnected")


# --- Fetch


def test_fetch_lists_the_events_as_the_upstream_sent_them(page):
    panel = developers(page, "fetch")

    panel.get_by_label("Request, as JSON").fill('{"document": "poem", "interval": 0, "step": 200}')
    panel.get_by_role("button", name="Start").click()

    expect(status(page, "fetch")).to_have_text("Done")
    expect(panel.locator("li .event").first).to_have_text("connect")
    expect(panel.locator("li .id").first).to_have_attribute("title", re.compile("^[0-9a-f]{32}:0$"))
    expect(panel.locator("li .data").nth(1)).to_contain_text('"delta"')
    expect(panel.locator("li .event").last).to_have_text("done")

    panel.get_by_role("button", name="Clear").click()

    expect(panel.locator("li")).to_have_count(0)


def test_fetch_can_be_stopped(page):
    panel = developers(page, "fetch")

    panel.get_by_role("button", name="Start").click()
    expect(panel.locator("li").nth(2)).to_be_visible()
    panel.get_by_role("button", name="Stop").click()

    expect(status(page, "fetch")).to_have_text("Stopped")


def test_fetch_reports_that_the_body_must_be_a_json_object(page):
    panel = developers(page, "fetch")

    panel.get_by_label("Request, as JSON").fill("tour")
    panel.get_by_role("button", name="Start").click()

    expect(panel.get_by_role("alert")).to_have_text("The request is not a JSON object.")


# --- Chat


def test_chat_shows_a_document_as_markdown(page):
    start(page, "tour")

    expect(status(page, "chat")).to_have_text("Done")
    answer = page.locator("#chat article")
    expect(answer.locator("h1")).to_have_text("A tour of streamed Markdown")
    expect(answer.locator("table")).to_have_count(1)
    expect(answer.locator("pre code.language-python")).to_have_count(1)
    expect(answer.locator("input[type=checkbox]:checked")).to_have_count(2)
    expect(answer.locator("blockquote blockquote")).to_have_count(1)
    expect(answer.get_by_role("link", name="before its definition")).to_have_count(1)


def test_chat_is_busy_while_it_answers_and_announces_it_once(page):
    answer = page.locator("#chat article")
    live = page.locator("#chat [data-part=live]")

    start(page, "handbook", interval="0.1")

    expect(status(page, "chat")).to_have_text("Streaming")
    expect(answer.last).to_have_attribute("aria-busy", "true")
    expect(live).to_have_text("answering")
    expect(page.locator("[data-cursor]")).to_have_count(1)

    start(page, "poem", prompt="Something shorter?")

    expect(status(page, "chat")).to_have_text("Done")
    expect(answer.last).to_have_attribute("aria-busy", "false")
    expect(live).to_have_text("done")
    expect(page.locator("[data-cursor]")).to_have_count(0)


def test_stop_keeps_the_text_removes_the_cursor_and_closes_the_connection(page, wait_until):
    start(page, "handbook", interval="0.1")
    wait_until(page, "() => document.querySelector('#chat article').textContent.length > 60")
    shown = page.evaluate("document.querySelector('#chat article').textContent")

    with page.expect_event("requestfailed") as left:
        page.locator("#chat").get_by_role("button", name="Stop").click()
    assert left.value.url.endswith("/transfer")
    assert left.value.failure == "net::ERR_ABORTED"

    expect(status(page, "chat")).to_have_text("Stopped")
    expect(page.locator("[data-cursor]")).to_have_count(0)
    kept = page.evaluate("document.querySelector('#chat article').textContent")
    assert kept.startswith(shown[:40])
    assert len(kept) >= len(shown)


def test_a_new_question_never_mixes_with_the_previous_answer(page):
    answers = page.locator("#chat article")
    start(page, "handbook", interval="0.1")
    expect(answers.locator("h1")).to_have_count(1)

    start(page, "poem", prompt="A poem, rather.")

    expect(status(page, "chat")).to_have_text("Done")
    expect(answers.last.locator("h1")).to_have_count(1)
    expect(page.locator("#chat .turn").first.locator("[data-part=reason]")).to_have_text("You stopped this answer.")
    first, second = answers.all_inner_texts()
    start(page, "poem")
    expect(answers).to_have_count(3)
    expect(status(page, "chat")).to_have_text("Done")
    assert answers.all_inner_texts() == [first, second, second]


def test_a_question_is_shown_above_its_answer_and_sent_with_the_earlier_messages(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "*One.*"}), ("done", {"reason": "stop"}))
    start(page, prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")

    with page.expect_request("**/transfer") as sent:
        start(page, prompt="  And then? ")

    expect(page.locator("#chat .question")).to_have_text(["First?", "And then?"])
    asked = sent.value.post_data_json
    assert asked["prompt"] == "And then?"
    assert asked["messages"] == [
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "*One.*"},
        {"role": "user", "content": "And then?"},
    ]
    assert (asked["document"], asked["interval"]) == ("tour", 0)
    expect(page.locator("#chat textarea")).to_have_value("")


def test_enter_sends_and_shift_enter_inserts_a_line_break(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    page.locator("#chat textarea").focus()

    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")

    expect(page.locator("#chat .question")).to_have_text("One\ntwo", use_inner_text=True)


COMPOSE = """([isComposing, keyCode]) => document.querySelector("#chat textarea").dispatchEvent(
  new KeyboardEvent("keydown", { key: "Enter", isComposing, keyCode, bubbles: true, cancelable: true }))"""


@pytest.mark.parametrize("event", [[True, 229], [False, 229]], ids=["as elsewhere", "as in Safari"])
def test_enter_that_confirms_a_composition_does_not_send(page, event):
    page.locator("#chat textarea").fill("ni hao")

    page.evaluate(COMPOSE, event)

    expect(page.locator("#chat .turn")).to_have_count(0)
    expect(page.locator("#chat textarea")).to_have_value("ni hao")


def test_enter_inserts_a_line_break_on_a_touch_keyboard(browser, site):
    context = browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 700})
    page = context.new_page()
    page.goto(site.url)
    field = page.locator("#chat textarea")
    expect(field).to_have_attribute("enterkeyhint", "enter")

    field.press_sequentially("one")
    field.press("Enter")
    field.press_sequentially("two")

    expect(field).to_have_value("one\ntwo")
    context.close()


def test_regenerate_replaces_the_answer(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "old"}), ("done", {"reason": "stop"}))
    start(page, prompt="Again?")
    expect(status(page, "chat")).to_have_text("Done")
    scripted.answers(("message", {"delta": "new"}), ("done", {"reason": "stop"}))

    page.get_by_role("button", name="Regenerate").press("Enter")

    expect(page.locator("#chat article")).to_have_text(["new"])
    expect(page.locator("#chat .question")).to_have_text(["Again?"])
    expect(page.locator("#chat .scroller")).to_be_focused()


def test_only_the_last_answer_can_be_regenerated_so_that_no_later_turn_is_lost(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "error"}))
    start(page, prompt="First?")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    start(page, prompt="Second?")

    expect(page.locator("#chat article")).to_have_text(["Yes.", "Yes."])
    first, second = page.locator("#chat .turn").all()
    expect(second.get_by_role("button", name="Regenerate")).to_be_visible()
    expect(first.get_by_role("button", name="Regenerate")).to_be_hidden()
    expect(first.get_by_role("button", name="Try again")).to_be_hidden()
    expect(first.get_by_role("button", name="Copy answer")).to_be_visible()


def test_the_answer_is_copied_as_markdown_and_the_copy_is_announced(scripted):
    page = scripted.open(permissions=["clipboard-read", "clipboard-write"])
    scripted.answers(("message", {"delta": "# An *answer*\n"}), ("done", {"reason": "stop"}))
    start(page)
    expect(status(page, "chat")).to_have_text("Done")

    page.get_by_role("button", name="Copy answer").click()

    expect(page.locator("#chat [data-part=live]")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == "# An *answer*\n"


def test_another_upstream_has_its_own_address_and_plays_no_document(make_site, upstream, browser):
    async def script(connection):
        await connection.begin()
        await connection.send(b"data: Hello.\n\n")

    upstream.script = script
    site = make_site(STREAMING_UPSTREAMS=json.dumps({"other": {"URL": upstream.url, "FORMAT": "text"}}))
    page = browser.new_context().new_page()
    page.goto(site.url)
    expect(page.locator("#chat").get_by_label("Document")).to_be_visible()
    page.locator("#chat").get_by_label("Answered by").select_option("other")
    expect(page.locator("#chat").get_by_label("Document")).to_be_hidden()
    page.locator("#chat textarea").fill("Hello?")

    with page.expect_request("**/transfer/other") as sent:
        page.locator("#chat").get_by_role("button", name="Send").click()

    assert set(sent.value.post_data_json) == {"prompt", "messages"}
    expect(page.locator("#chat article")).to_have_text("Hello.")
    page.context.close()


def test_a_strict_openai_server_receives_no_unknown_fields(make_site, upstream, browser):
    asked, known = [], {"model", "messages", "stream", "stream_options"}

    async def script(connection):
        asked.append(json.loads(await connection.body()))
        if unknown := set(asked[-1]) - known:
            await connection.begin("400 Bad Request", kind="application/json")
            await connection.send(json.dumps({"error": {"message": f"Unknown parameter: {unknown}"}}).encode())
            return
        await connection.begin()
        delta = {"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]}
        await connection.send(f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode())

    upstream.script = script
    site = make_site(
        UPSTREAM_URL=f"{upstream.url}/v1",
        UPSTREAM_FORMAT="openai",
        UPSTREAM_MODELS="m",
        UPSTREAM_PROXY="1",
        STREAMING_ACCESS="public",
    )
    page = browser.new_context().new_page()
    page.goto(site.url)
    chat = page.locator("#chat")
    expect(chat.get_by_label("Document")).to_have_count(0)
    expect(page.locator("#fetch textarea")).not_to_have_value(re.compile("document|interval"))

    chat.get_by_role("button", name="Send").click()
    expect(chat.get_by_label("Your question")).to_be_focused()
    chat.get_by_label("Your question").fill("Hello?")
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator("article")).to_have_text("Hello.")
    expect(status(page, "chat")).to_have_text("Done")
    chat.get_by_role("button", name="Regenerate").click()
    expect(chat.locator("article")).to_have_text("Hello.")
    expect(status(page, "chat")).to_have_text("Done")
    chat.get_by_label("Your question").fill("And?")
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator("article")).to_have_text(["Hello.", "Hello."])

    assert [len(fields["messages"]) for fields in asked] == [1, 1, 3]
    page.context.close()


def test_the_tour_shows_the_masks_of_the_sample_rules_and_is_otherwise_unchanged(make_site, browser):
    site = make_site()
    rules = [fields for fields in SAMPLE_RULES if fields["action"] == "mask"]
    code = f"from streaming.models import ModerationRule as R\nfor fields in {rules!r}: R.objects.create(**fields)"
    assert manage(site.folder, "shell", "-c", code).returncode == 0
    page = browser.new_context(reduced_motion="reduce").new_page()
    page.goto(site.url)

    def structure() -> list[str]:
        start(page)
        expect(status(page, "chat")).to_have_text("Done")
        return page.locator("#chat article").last.evaluate(
            "root => [...root.querySelectorAll('*')].map(each => each.localName)"
        )

    masked = structure()
    expect(page.locator("#chat article")).to_contain_text("文中若出现••••，或夹带••••，转发之后")
    expect(page.locator("#chat article")).to_contain_text("may write •••• when a test fails, and •••• when")
    delete = "from streaming.models import *; ModerationRule.objects.all().delete()"
    assert manage(site.folder, "shell", "-c", delete).returncode == 0
    eventually(lambda: httpx.get(f"{site.url}/transfer?interval=0").text.count("内部代号"), "the rules are gone")
    page.get_by_role("button", name="New chat").click()
    assert structure() == masked
    page.context.close()


def test_the_meter_counts_what_was_received(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "12345"}), ("message", {"delta": "6"}), ("done", {}))

    start(page)

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("[data-part=events]")).to_have_text("2")
    expect(page.locator("[data-part=held]")).to_have_text("0")
    assert int(page.locator("[data-part=bytes]").text_content()) > 100
    assert int(page.locator("[data-part=rate]").text_content()) > 0


def test_moderated_passages_are_counted(scripted):
    page = scripted.open()
    mask = ("moderation", {"action": "mask", "category": "contact"})
    scripted.answers(
        ("connect", {}),
        ("message", {"delta": "•••• and ••••"}),
        mask,
        mask,
        ("done", {"reason": "stop"}),
    )

    start(page)

    expect(page.locator("#chat [data-part=moderated]")).to_have_text("2 passages were moderated")


@pytest.mark.parametrize(
    ("reason", "says", "because"),
    [
        ("blocked", "Blocked by moderation", "A rule ended this answer."),
        ("stopped", "Stopped", "You stopped this answer."),
        ("length", "Done, length limit reached", "The answer reached its length limit."),
        ("drained", "The server is restarting", re.compile("What arrived is kept")),
        ("stop", "Done", ""),
    ],
)
def test_the_status_says_how_the_answer_ended(scripted, reason, says, because):
    page = scripted.open()
    scripted.answers(("message", {"delta": "text"}), ("done", {"reason": reason}))

    start(page)

    expect(status(page, "chat")).to_have_text(says)
    expect(page.locator("#chat article")).to_have_text("text")
    expect(page.locator("#chat [data-part=reason]")).to_have_text(because)
    expect(page.get_by_role("button", name="Try again")).to_have_count(1 if reason == "drained" else 0)


def test_a_blocked_answer_shows_the_notice_of_the_rule(scripted):
    page = scripted.open()
    block = {"action": "block", "category": "test", "notice": "Ask the press office."}
    scripted.answers(("message", {"delta": "text"}), ("moderation", block), ("done", {"reason": "blocked"}))

    start(page)

    expect(page.locator("#chat [data-part=reason]")).to_have_text("Ask the press office.")


def test_an_error_keeps_the_text_and_offers_a_retry(scripted):
    page = scripted.open()
    error = {"status": 504, "title": "Gateway Timeout", "detail": "the upstream was silent for 60 s"}
    scripted.answers(("message", {"delta": "half an ans"}), ("error", error), ("done", {"reason": "error"}))

    start(page)

    expect(status(page, "chat")).to_have_text("Failed")
    expect(page.locator("#chat article")).to_have_text("half an ans")
    expect(page.locator("#chat [data-part=reason]")).to_have_text(error["detail"])

    scripted.answers(("message", {"delta": "The whole."}), ("done", {"reason": "stop"}))
    page.get_by_role("button", name="Try again").click()

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_the_delay_before_a_reconnect_is_shown_and_can_be_stopped(make_site, browser):
    site = make_site()
    page = browser.new_context().new_page()
    page.goto(site.url)
    start(page, "handbook", interval="0.1")
    expect(page.locator("#chat article h1")).to_have_count(1)

    site.process.kill()

    expect(status(page, "chat")).to_have_text(re.compile(r"Connection lost; trying again"))
    page.locator("#chat").get_by_role("button", name="Stop").click()
    expect(status(page, "chat")).to_have_text("Stopped")
    page.context.close()


def test_a_rejected_request_shows_the_servers_reason(scripted, scripted_site, browser):
    # A refusal is an error on the browser's own console, which the `page` fixture does not forgive.
    page = browser.new_context().new_page()
    page.goto(scripted_site[0].url)
    scripted.refuses("500 Internal Server Error")

    start(page)

    expect(page.locator("#chat [data-part=reason]")).to_have_text(
        "the upstream 'default' answered 500 Internal Server Error: out of order"
    )
    page.context.close()


def test_with_reduced_motion_text_is_shown_as_it_arrives(open_page):
    page = open_page(reduced_motion="reduce")

    start(page)

    expect(status(page, "chat")).to_have_text("Done")
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


def test_a_hidden_tab_shows_text_at_once_without_animation_frames(page):
    start(page, "handbook", interval="0.1")
    expect(status(page, "chat")).to_have_text("Streaming")

    page.evaluate(HIDE)

    start(page, "poem", prompt="Unseen.")
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("[data-cursor]")).to_have_count(0)


def test_a_page_in_the_back_forward_cache_holds_no_connection_and_resumes_when_restored(scripted):
    page, may_end = scripted.open(), scripted.pauses("# A poem\n\n", "Yet it is always the same brook.")
    developers(page, "ping").get_by_role("button", name="Connect", exact=True).click()
    expect(status(page, "ping")).to_have_text("Connected")
    start(page)
    expect(page.locator("#chat article h1")).to_have_count(1)

    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(status(page, "chat")).to_contain_text("Connection lost")

    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(status(page, "ping")).to_have_text("Connected")
    expect(page.locator("#ping li .event").last).to_have_text("message")
    may_end.set()
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat article")).to_contain_text("Yet it is always the same brook.")


def test_an_answer_that_fails_to_render_is_shown_as_plain_text_and_ends(browser, scripted, scripted_site):
    # The error is reported on the console, which would fail the `page` fixture.
    page = browser.new_context().new_page()
    page.goto(scripted_site[0].url)
    scripted.answers(("message", {"delta": "A *word*, and "}), ("message", {"delta": "more."}), ("done", {}))
    page.evaluate("() => { document.createElement = () => { throw new Error('an extension broke this') } }")

    start(page)

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat article")).to_have_text("A *word*, and more.")
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    page.context.close()


def test_printing_shows_the_whole_conversation_and_no_buttons(page):
    start(page, "tour")
    expect(status(page, "chat")).to_have_text("Done")
    page.emulate_media(media="print")

    whole = page.evaluate(
        "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)(document.querySelector('.scroller'))"
    )
    assert whole <= 1
    expect(page.locator("#chat .question")).to_be_visible()
    assert page.locator("button:visible, textarea:visible, select:visible").count() == 0


# --- hasty or repeated input


def test_repeated_clicks_send_one_request(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/transfer" in request.url else None)
    panel = page.locator("#chat")

    panel.get_by_role("button", name="Send").dblclick()
    for _ in range(5):
        panel.locator("textarea").press("Enter")
    expect(panel.locator("article h1")).to_have_count(1)
    panel.get_by_role("button", name="Stop").dblclick()

    expect(status(page, "chat")).to_have_text("Stopped")
    expect(panel.locator(".turn")).to_have_count(1)
    assert len(asked) == 1


def test_stop_after_the_last_text_arrived_keeps_the_answer_complete(scripted, wait_until):
    page = scripted.open()
    # Several minutes of typing.
    text = "All work and no play. " * 1000
    page.locator("#chat [data-part=pacing]").select_option("classic")
    scripted.answers(("message", {"delta": text}), ("done", {"reason": "stop"}))
    start(page)
    wait_until(page, "() => JSON.parse(sessionStorage['streams.turns']).turns[0]?.state === 'done'")
    expect(page.locator("#chat article")).to_contain_text("All work")

    page.locator("#chat").get_by_role("button", name="Stop").click()

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat article")).to_have_text(text.strip())
    expect(page.locator("#chat [data-part=outcome]")).to_be_hidden()


def test_stop_and_regenerate_and_stop_again_leave_one_answer(page):
    start(page, "handbook", interval="0.1")
    for _ in range(3):
        expect(page.locator("#chat article h1")).to_have_count(1)
        page.locator("#chat").get_by_role("button", name="Stop").click()
        expect(status(page, "chat")).to_have_text("Stopped")
        page.get_by_role("button", name="Regenerate").dblclick()
    page.get_by_label("Your question").fill("And another?")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")

    expect(status(page, "chat")).to_have_text("Stopped")
    expect(page.locator("#chat .turn")).to_have_count(2)
    expect(page.locator("[data-cursor]")).to_have_count(0)


def test_a_prompt_of_two_megabytes_is_rejected_kept_and_not_sent_with_the_next_question(browser, make_site):
    site = make_site(STREAMING_MAX_BODY_BYTES="1000000")
    # A refusal is an error on the browser's own console, which the `page` fixture does not forgive.
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.locator("#chat textarea").evaluate("(area) => { area.value = 'long '.repeat(400_000) }")
    page.locator("#chat").get_by_role("button", name="Send").click()

    expect(status(page, "chat")).to_have_text("Failed")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    question = page.locator("#chat .question")
    assert question.evaluate("({ textContent }) => textContent.length") == 2_000_000 - 1
    assert question.bounding_box()["height"] < 250

    with page.expect_request("**/transfer") as sent:
        start(page, "poem", prompt="Something short?")
    assert [said["content"] for said in sent.value.post_data_json["messages"]] == ["Something short?"]
    expect(status(page, "chat")).to_have_text("Done")
    page.context.close()


def test_a_missing_network_is_reported_and_the_chat_works_again_once_online(browser, site):
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.context.set_offline(True)
    start(page, "poem", prompt="Hello?")
    expect(status(page, "chat")).to_have_text("Failed")
    expect(page.locator("#chat [data-part=reason]")).to_have_text("The server cannot be reached.")

    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat .question")).to_have_text(["Hello?"])
    page.context.close()


def test_a_new_chat_has_no_button_to_the_latest_of_the_earlier_one(page):
    start(page, prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")
    page.locator("#chat .scroller").evaluate("scroller => { scroller.scrollTop = 0; }")
    expect(page.get_by_role("button", name="To the latest")).to_be_visible()

    page.get_by_role("button", name="New chat").click()

    expect(page.get_by_role("button", name="To the latest")).to_be_hidden()


def test_a_new_chat_clears_the_conversation(page):
    start(page, "poem", prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")

    page.get_by_role("button", name="New chat").click()

    expect(page.locator("#chat .turn")).to_have_count(0)
    expect(status(page, "chat")).to_have_text("Ready")
    expect(page.locator("#chat textarea")).to_be_focused()
    with page.expect_request("**/transfer") as sent:
        start(page, "poem", prompt="Second?")
    assert [said["content"] for said in sent.value.post_data_json["messages"]] == ["Second?"]
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#chat .turn")).to_have_count(0)
    expect(status(page, "chat")).to_have_text("Ready")


def test_a_required_login_is_linked_and_leads_back_to_the_page(browser, make_site):
    site = make_site(STREAMING_ACCESS="login", STREAMING_UPSTREAMS='{"llm": {"URL": "http://127.0.0.1:9"}}')
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.get_by_label("Answered by").select_option("llm (needs a login)")

    page.get_by_label("Your question").fill("May I?")
    page.get_by_role("button", name="Send").click()

    expect(status(page, "chat")).to_have_text("Failed")
    page.locator("#chat .outcome").get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site.url}/")
    expect(page.get_by_label("Answered by").locator("option")).to_have_text(["default", "llm"])
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    page.context.close()


def test_a_login_in_another_tab_lets_this_one_ask_too(browser, make_site, upstream):
    async def answer(connection) -> None:
        await connection.begin()
        await connection.send(b'data: {"delta": "You may."}\n\nevent: done\ndata: {"reason": "stop"}\n\n')

    upstream.script = answer
    site = make_site(STREAMING_ACCESS="login", STREAMING_UPSTREAMS=json.dumps({"llm": {"URL": upstream.url}}))
    context = browser.new_context()
    page, other = context.new_page(), context.new_page()
    page.goto(site.url)
    other.goto(f"{site.url}/login/")
    other.get_by_label("Username").fill("admin")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    expect(other.get_by_role("button", name="Log out")).to_be_visible()

    page.get_by_label("Answered by").select_option("llm (needs a login)")
    page.get_by_label("Your question").fill("May I?")
    page.get_by_role("button", name="Send").click()

    expect(page.locator("#chat article")).to_have_text("You may.")
    expect(status(page, "chat")).to_have_text("Done")
    context.close()


def test_after_a_logout_the_next_user_of_the_tab_sees_nothing_of_the_conversation(browser, site):
    # Playwright disables the back/forward cache, so this test starts its own browser.
    kept = launch(browser.browser_type, ignore_default_args=["--disable-back-forward-cache"])
    page = patient(kept).new_context().new_page()
    page.goto(site.url)
    start(page, "poem", prompt="Before the login?")
    expect(status(page, "chat")).to_have_text("Done")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#chat .question")).to_have_text(["Before the login?"])
    page.get_by_label("Your question").fill("A draft")

    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    expect(page.locator("#chat .question")).to_have_count(0)
    expect(page.get_by_label("Your question")).to_have_value("")
    page.go_back(wait_until="commit")
    expect(page.locator("#chat .question")).to_have_count(0)
    expect(page.get_by_label("Your question")).to_have_value("")
    kept.close()


def test_a_question_submitted_before_the_script_runs_stays_in_the_form(browser, site):
    page = browser.new_context().new_page()
    held = []
    page.route("**/page.js", lambda route: held.append(route))
    with page.expect_request("**/page.js"):
        page.goto(site.url, wait_until="commit")
    page.get_by_label("Your question").fill("Too early?")

    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.get_by_role("button", name="Send").click(force=True)
    expect(page).to_have_url(f"{site.url}/")
    held[0].continue_()

    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(page.get_by_label("Your question")).to_have_value("Too early?")
    page.context.close()


# --- the conversation is kept


def test_a_reload_keeps_the_conversation_and_the_draft(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "*One.*"}), ("done", {"reason": "stop"}))
    start(page, prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")
    page.get_by_label("Your question").fill("And th")

    page.reload()

    expect(page.locator("#chat .question")).to_have_text(["First?"])
    expect(page.locator("#chat article em")).to_have_text("One.")
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.get_by_label("Your question")).to_have_value("And th")
    expect(page.get_by_label("Your question")).to_be_focused()
    scripted.answers(("message", {"delta": "Two."}), ("done", {"reason": "stop"}))
    with page.expect_request("**/transfer") as sent:
        start(page, prompt="Second?")
    assert [said["content"] for said in sent.value.post_data_json["messages"]] == ["First?", "*One.*", "Second?"]


def test_a_running_answer_resumes_after_a_reload(scripted, wait_until):
    page, may_end = scripted.open(), scripted.pauses("# A poem\n\n", "Yet it is always the same brook.")
    start(page)
    expect(page.locator("#chat article h1")).to_have_count(1)
    wait_until(page, "() => JSON.parse(sessionStorage['streams.turns']).lastEventId !== ''")
    asked = []
    page.on("request", lambda request: asked.append(request))

    page.reload()

    expect(status(page, "chat")).to_have_text("Streaming")
    may_end.set()
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat article")).to_contain_text("Yet it is always the same brook.")
    expect(page.locator("#chat article h1")).to_have_count(1)
    streams = [request for request in asked if "/streams/" in request.url]
    assert [request.method for request in streams] == ["GET"]
    assert re.fullmatch(r"[0-9a-f]{32}:\d+", streams[0].headers["last-event-id"])
    assert not [request for request in asked if request.url.endswith("/transfer")]


def test_text_from_before_and_after_a_reload_forms_the_complete_answer(scripted, wait_until):
    page, half = scripted.open(), len(TOUR) // 2
    may_end = scripted.pauses(TOUR[:half], TOUR[half:])
    start(page)
    expect(page.locator("#chat article")).to_contain_text("A tour of streamed Markdown")
    wait_until(page, "() => JSON.parse(sessionStorage['streams.turns']).lastEventId !== ''")

    page.reload()

    expect(status(page, "chat")).to_have_text("Streaming")
    may_end.set()
    expect(status(page, "chat")).to_have_text("Done")
    answer = page.locator("#chat article")
    expect(answer.locator("h1, table, pre")).to_have_count(3)
    expect(answer).to_contain_text("A tour of streamed Markdown")
    expect(answer).to_contain_text("the same text comes in other steps")


def test_regenerating_after_a_reload_sends_the_earlier_turns_and_the_system_prompt_again(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    page.locator("[name=system]").evaluate("(area) => { area.value = 'Be brief.' }")
    for question in ("First?", "Second?"):
        start(page, prompt=question)
        expect(status(page, "chat")).to_have_text("Done")

    page.reload()

    with page.expect_request("**/transfer") as sent:
        page.get_by_role("button", name="Regenerate").click()
    assert [said["content"] for said in sent.value.post_data_json["messages"]] == [
        "Be brief.",
        "First?",
        "Yes.",
        "Second?",
    ]


def test_a_tab_duplicated_while_a_complete_answer_is_typed_out_shows_it_as_done(scripted, wait_until):
    page = scripted.open()
    # Several minutes of typing.
    text = "All work and no play. " * 1000
    scripted.answers(("message", {"delta": text}), ("done", {"reason": "stop"}))
    page.get_by_label("Pacing").select_option("classic")
    start(page, prompt="And then?")
    wait_until(page, "() => JSON.parse(sessionStorage['streams.turns']).turns[0]?.state === 'done'")
    assert page.locator("#chat article").get_attribute("aria-busy") == "true"

    with page.expect_popup() as duplicated:
        page.evaluate("void open('/')")  # with a copy of its storage

    expect(status(duplicated.value, "chat")).to_have_text("Done")
    expect(duplicated.value.locator("#chat article")).to_have_text(text.strip())
    expect(duplicated.value.locator("#chat [data-part=outcome]")).to_be_hidden()
    duplicated.value.close()


def test_a_conversation_saved_in_an_unknown_form_does_not_keep_the_page_from_working(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    # As another release of the page would: one turn that can be shown, and one that cannot.
    start(page, prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")
    page.evaluate("""() => {
      addEventListener("pagehide", () => {
        const saved = JSON.parse(sessionStorage["streams.turns"]);
        saved.turns.push({ asked: "Second?" }, null);
        sessionStorage["streams.turns"] = JSON.stringify(saved);
      });
    }""")

    page.reload()

    expect(page.locator("#chat .question")).to_have_text(["First?"])
    start(page, prompt="Third?")
    expect(page.locator("#chat article")).to_have_text(["Yes.", "Yes."])


def test_editing_an_earlier_question_removes_the_turns_after_it(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    for question in ("First?", "Second?"):
        start(page, prompt=question)
        expect(status(page, "chat")).to_have_text("Done")

    page.locator("#chat .turn").first.get_by_role("button", name="Edit question").click()

    expect(page.get_by_label("Your question")).to_have_value("First?")
    expect(page.get_by_text("You are editing an earlier question.")).to_be_visible()
    with page.expect_request("**/transfer") as sent:
        start(page, prompt="Another?")
    expect(page.locator("#chat .question")).to_have_text(["Another?"])
    assert [said["content"] for said in sent.value.post_data_json["messages"]] == ["Another?"]


def test_editing_can_be_cancelled_and_neither_loses_the_last_answer_nor_the_draft(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    start(page, prompt="First?")
    expect(status(page, "chat")).to_have_text("Done")
    page.get_by_label("Your question").fill("A draft")

    page.get_by_role("button", name="Edit question").click()
    expect(page.get_by_label("Your question")).to_have_value("First?")
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_label("Your question")).to_have_value("A draft")
    page.get_by_role("button", name="Edit question").click()
    page.get_by_label("Your question").fill("Changed?")
    page.keyboard.press("Enter")
    expect(page.locator("#chat .question")).to_have_text(["Changed?"])
    expect(page.get_by_label("Your question")).to_have_value("A draft")
    page.reload()
    expect(page.get_by_label("Your question")).to_have_value("A draft")


def test_regenerating_an_answer_whose_question_is_being_edited_ends_the_editing(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    for question in ("First?", "Second?"):
        start(page, prompt=question)
        expect(status(page, "chat")).to_have_text("Done")
    page.get_by_role("button", name="Edit question").last.click()

    page.get_by_role("button", name="Regenerate").click()
    expect(status(page, "chat")).to_have_text("Done")

    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    with page.expect_request("**/transfer") as sent:
        start(page, prompt="Third?")
    said = [said["content"] for said in sent.value.post_data_json["messages"]]
    assert said == ["First?", "Yes.", "Second?", "Yes.", "Third?"]


def test_a_question_is_sent_with_text_that_was_received_but_not_yet_typed_out(scripted, wait_until):
    page = scripted.open()
    # Several minutes of typing.
    text = "All work and no play. " * 1000
    scripted.answers(("message", {"delta": text}), ("done", {"reason": "stop"}))
    page.get_by_label("Pacing").select_option("classic")
    start(page, prompt="First?")
    wait_until(page, "(text) => JSON.parse(sessionStorage['streams.turns']).turns[0]?.answer === text", text)

    with page.expect_request("**/transfer") as sent:
        start(page, prompt="Second?")

    assert [said["content"] for said in sent.value.post_data_json["messages"]] == ["First?", text, "Second?"]


def test_the_conversation_is_exported_as_markdown(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "# Yes\n"}), ("done", {"reason": "stop"}))
    start(page, prompt="Is it?")
    expect(status(page, "chat")).to_have_text("Done")

    with page.expect_download() as exported:
        page.get_by_role("button", name="Export").click()

    assert exported.value.suggested_filename == "conversation.md"
    assert Path(exported.value.path()).read_text("utf-8") == "## You\n\nIs it?\n\n## Answer\n\n# Yes\n\n"


def test_a_too_long_conversation_is_reported_before_sending_and_can_omit_the_oldest_turns(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "word " * 1000}), ("done", {"reason": "stop"}))
    for question in ("First?", "Second?"):
        start(page, prompt=question)
        expect(status(page, "chat")).to_have_text("Done")
    page.evaluate("document.querySelector('#chat').dataset.limit = 8000")
    asked = []
    page.on("request", lambda request: asked.append(request) if request.url.endswith("/transfer") else None)

    start(page, prompt="Third?")

    expect(page.get_by_text("the server accepts 8 KB")).to_be_visible()
    expect(page.get_by_label("Your question")).to_have_value("Third?")
    assert asked == []
    page.get_by_role("button", name="Leave out the oldest and send").click()
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat .question").last).to_have_text("Third?")
    assert len(asked) == 1
    assert "First?" not in asked[0].post_data


def test_omitting_the_oldest_turns_makes_room_for_the_system_prompt_too(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "word " * 1000}), ("done", {"reason": "stop"}))
    for question in ("First?", "Second?"):
        start(page, prompt=question)
        expect(status(page, "chat")).to_have_text("Done")
    page.evaluate("document.querySelector('#chat').dataset.limit = 14000")
    page.locator("[name=system]").evaluate("(area) => { area.value = 'brief '.repeat(1300) }")
    start(page, prompt="Third?")
    expect(page.get_by_text("the server accepts 14 KB")).to_be_visible()

    with page.expect_request("**/transfer") as sent:
        page.get_by_role("button", name="Leave out the oldest and send").click()

    assert [said["content"][:7] for said in sent.value.post_data_json["messages"]] == [
        "brief b",
        "Second?",
        "word wo",
        "Third?",
    ]


def test_without_earlier_turns_a_question_too_long_for_its_system_prompt_is_rejected(scripted):
    page = scripted.open()
    page.evaluate("document.querySelector('#chat').dataset.limit = 5000")
    page.locator("[name=system]").evaluate("(area) => { area.value = 'brief '.repeat(1000) }")

    start(page, prompt="Hello?")

    expect(status(page, "chat")).to_have_text("Failed")
    expect(page.locator("#chat [data-part=reason]")).to_contain_text("the server accepts 5 KB")
    expect(page.get_by_role("button", name="Leave out the oldest and send")).to_be_hidden()


def test_a_long_question_is_folded_and_can_be_expanded(scripted):
    page = scripted.open()
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    start(page, prompt="line\n" * 40)
    question = page.locator("#chat .question")
    assert question.bounding_box()["height"] < 250

    page.get_by_role("button", name="Show more").click()

    assert question.bounding_box()["height"] > 600
    expect(page.get_by_role("button", name="Show less")).to_be_visible()


def test_a_question_that_grows_when_the_window_becomes_narrow_can_be_expanded(scripted):
    page = scripted.open(viewport={"width": 1200, "height": 800})
    scripted.answers(("message", {"delta": "Yes."}), ("done", {"reason": "stop"}))
    start(page, prompt="A question of several lines. " * 12)
    expect(page.locator("#chat article")).to_have_text("Yes.")
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    page.set_viewport_size({"width": 320, "height": 800})  # as zooming to 400% does, too

    page.get_by_role("button", name="Show more").click()
    question = page.locator("#chat .question")
    assert question.evaluate("({ scrollHeight, clientHeight }) => scrollHeight - clientHeight") <= 1
    expect(page.get_by_role("button", name="Show less")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_role("button", name="Show less").click()
    page.set_viewport_size({"width": 1200, "height": 800})
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


# --- the first minute


def test_the_first_screen_plays_the_tour(page):
    page.get_by_role("button", name="Play the tour").click()

    expect(page.locator("#chat article h1")).to_have_text("A tour of streamed Markdown")
    expect(page.get_by_role("button", name="Play the tour")).to_be_hidden()


def test_the_first_screen_shows_a_moderated_answer_beside_the_raw_one(browser, make_site, migrated):
    site = make_site()
    rule = "from streaming.models import ModerationRule; ModerationRule.objects.create(pattern='darn', action='mask')"
    assert manage(site.folder, "shell", "-c", rule).returncode == 0
    page = browser.new_context().new_page()
    page.goto(site.url)

    page.get_by_role("button", name="See a rule at work").click()

    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat .raw em")).to_have_text("darn")
    expect(page.locator("#chat article em")).to_have_text("••••")
    assert page.locator("#chat .raw").bounding_box()["x"] < page.locator("#chat article").bounding_box()["x"]
    page.context.close()


def test_the_first_screen_explains_how_to_connect_a_model(page):
    page.get_by_role("button", name="Connect your model").click()

    expect(page.locator("#connecting pre")).to_contain_text("UPSTREAM_FORMAT=openai")


@pytest.mark.parametrize(("width", "height"), [(320, 568), (844, 390), (1280, 780)])
def test_the_composer_is_visible_and_nothing_scrolls_without_overflow(open_page, width, height):
    page = open_page(viewport={"width": width, "height": height})

    expect(page.get_by_label("Your question")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("heading", name="A model's answer, checked while it streams")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollHeight > innerHeight") is (height < 700)
    start(page, "poem")
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.get_by_label("Your question")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_wheel_scrolls_the_page_where_the_chat_cannot_scroll(open_page, wait_until):
    page = open_page(viewport={"width": 400, "height": 500})
    page.locator("#chat .scroller").hover()
    page.evaluate("document.querySelector('#chat .scroller').scrollTop = 99999")

    page.mouse.wheel(0, 300)

    wait_until(page, "() => scrollY > 0")


def test_a_request_without_a_response_explains_the_likely_cause(scripted):
    page = scripted.open()
    page.clock.install()
    scripted.is_silent()
    start(page)
    expect(status(page, "chat")).to_have_text("Connecting…")

    page.clock.run_for(6000)

    expect(status(page, "chat")).to_contain_text("Six streams may be open to one site at once")


# --- models and moderated questions


def test_a_model_can_be_chosen_and_given_a_system_prompt_and_a_reload_keeps_both(browser, make_site, upstream):
    entry = {"URL": upstream.url, "FORMAT": "openai", "MODELS": ["small", "large"]}
    site = make_site(STREAMING_ACCESS="public", STREAMING_UPSTREAMS=json.dumps({"llm": entry}))
    page = browser.new_context().new_page()
    page.goto(site.url)
    expect(page.get_by_label("Model")).to_be_hidden()
    page.get_by_label("Answered by").select_option("llm")
    page.get_by_label("Model").select_option("large")
    page.get_by_text("Instructions to the model").click()
    page.get_by_label("System prompt").fill("Be brief.")
    with page.expect_request("**/transfer/llm") as sent:
        page.get_by_label("Your question").fill("Hello?")
        page.get_by_role("button", name="Send").click()

    asked = sent.value.post_data_json
    assert set(asked) == {"prompt", "messages", "model"}
    assert asked["model"] == "large"
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
    ]

    page.reload()

    expect(page.locator("#chat .question")).to_have_text(["Hello?"])
    expect(page.get_by_label("Answered by")).to_have_value("llm")
    expect(page.get_by_label("Model")).to_have_value("large")
    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")
    page.context.close()


def test_a_moderated_question_is_marked(browser, make_site, upstream):
    async def answer(connection) -> None:
        upstream.asked = json.loads(await connection.body())
        await connection.begin()
        await connection.send(b'data: {"choices": [{"delta": {"content": "Yes."}}]}\n\ndata: [DONE]\n\n')

    upstream.script = answer
    site = make_site(UPSTREAM_URL=upstream.url, UPSTREAM_FORMAT="openai", STREAMING_ACCESS="public")
    rule = (
        "from streaming.models import ModerationRule;"
        "ModerationRule.objects.create(pattern='darn', action='mask', applies_to='both')"
    )
    assert manage(site.folder, "shell", "-c", rule).returncode == 0
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.get_by_label("Your question").fill("A darn question?")
    page.get_by_role("button", name="Send").click()

    expect(page.locator("#chat article")).to_have_text("Yes.")
    expect(page.get_by_text("A rule changed this question")).to_be_visible()
    # A server that accepts only the fields of its API would answer.
    assert set(upstream.asked) <= {"messages", "model", "stream", "stream_options"}
    assert upstream.asked["messages"][-1]["content"] == "A •••• question?"
    expect(status(page, "chat")).to_have_text("Done")
    page.reload()
    expect(page.locator("#chat article")).to_have_text("Yes.")
    expect(page.get_by_text("A rule changed this question")).to_be_visible()
    page.context.close()


def test_a_blocked_question_can_be_edited(browser, make_site, upstream):
    site = make_site(UPSTREAM_URL=upstream.url, UPSTREAM_FORMAT="openai", STREAMING_ACCESS="public")
    rule = (
        "from streaming.models import ModerationRule;"
        "ModerationRule.objects.create(pattern='forbidden', action='block', applies_to='both')"
    )
    assert manage(site.folder, "shell", "-c", rule).returncode == 0
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.get_by_label("Your question").fill("Something forbidden?")
    page.get_by_role("button", name="Send").click()

    expect(status(page, "chat")).to_have_text("Blocked by moderation")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    page.get_by_role("button", name="Change the question").click()
    expect(page.get_by_label("Your question")).to_have_value("Something forbidden?")
    page.context.close()


# --- other channels


def test_thoughts_are_folded_and_not_part_of_the_answer(scripted):
    page = scripted.open(permissions=["clipboard-read", "clipboard-write"])
    scripted.answers(
        ("message", {"delta": "Let me ", "channel": "reasoning_content"}),
        ("message", {"delta": "think <b>.", "channel": "reasoning_content"}),
        ("message", {"delta": "Yes."}),
        ("message", {"delta": "{}", "channel": "tool_calls.0"}),
        ("message", {"delta": "No.", "choice": 1}),
        ("done", {"reason": "stop"}),
    )
    start(page)
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat article")).to_have_text("Yes.")
    thoughts = page.locator("#chat [data-part=thoughts]")
    expect(thoughts).to_be_hidden()

    page.locator("#chat summary").press("Enter")

    expect(thoughts).to_have_text("Let me think <b>.")
    page.get_by_role("button", name="Copy answer").click()
    expect(page.locator("#chat [data-part=live]")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == "Yes."


SEAMS = {
    "two channels of reasoning": [("reasoning", "da"), ("reasoning_content", "rn"), ("content", "ok")],
    "reasoning and a tag": [("reasoning", "da"), ("content", "<think>rn</think>ok")],
    "two tags": [("content", "<think>da</think>\n\n<think>rn</think>ok")],
    "an answer and a refusal": [("content", "da"), ("refusal", "rn")],
    "an open formula and a refusal": [("content", "$$\nda"), ("refusal", "rn\n$$")],
    "an open block of code and a refusal": [("content", "```\nda"), ("refusal", "rn\n```")],
    "a list and a refusal": [("content", "- da"), ("refusal", "  rn")],
}
SHOWN_AND_STORED = """() => {
  document.querySelector("#chat details").open = true;
  const shown = ["article", "[data-part=thoughts]"].map((part) => document.querySelector(`#chat ${part}`).innerText);
  return [...shown, JSON.parse(sessionStorage["streams.turns"]).turns[0].answer];
}"""


@pytest.mark.parametrize("texts", SEAMS.values(), ids=SEAMS)
def test_texts_that_are_moderated_apart_never_join_on_the_page_in_a_copy_or_in_the_history(scripted, texts):
    page = scripted.open(reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"])
    scripted.answers(*(("message", {"delta": text, "channel": name}) for name, text in texts), ("done", {}))
    start(page, prompt="Say it.")
    expect(status(page, "chat")).to_have_text("Done")

    page.get_by_role("button", name="Copy answer").click()
    expect(page.locator("#chat [data-part=live]")).to_have_text("copied")
    before = page.evaluate(SHOWN_AND_STORED)
    page.reload()
    expect(status(page, "chat")).to_have_text("Done")
    with page.expect_request("**/transfer") as sent:
        start(page, prompt="And?")

    seen = [*before, *page.evaluate(SHOWN_AND_STORED), page.evaluate("navigator.clipboard.readText()")]
    seen += [said["content"] for said in sent.value.post_data_json["messages"]]
    assert all("da" in text and "rn" in text for text in ["".join(before), "".join(seen[3:5])])
    assert not [text for text in seen if "darn" in text]


def test_an_answer_without_thoughts_has_no_section_for_them(page):
    start(page, "poem")
    expect(status(page, "chat")).to_have_text("Done")
    expect(page.locator("#chat details")).to_be_hidden()


# --- languages


def test_the_page_is_chinese_for_chinese_browsers(open_page):
    page = open_page(locale="zh-CN")

    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(status(page, "chat")).to_have_text("就绪")
    page.get_by_role("button", name="发送").click()
    expect(page.locator("#chat .question")).to_have_text("播放《tour》。")
    expect(status(page, "chat")).to_have_text("正在接收")


# --- the keyboard


def test_the_page_works_by_keyboard_and_the_focus_never_moves_by_itself(page):
    page.locator("#chat textarea").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#chat").get_by_role("button", name="Send")).to_be_focused()

    page.keyboard.press("Enter")
    expect(status(page, "chat")).to_have_text("Streaming")
    expect(page.locator("#chat").get_by_role("button", name="Send")).to_be_focused()

    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(status(page, "chat")).to_have_text("Stopped")
    expect(page.locator("#chat").get_by_role("button", name="Stop")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_requests_carry_the_csrf_token(page):
    with page.expect_request("**/transfer") as sent:
        start(page)
    assert re.fullmatch("[A-Za-z0-9]{32}", sent.value.headers["x-csrftoken"])
    expect(status(page, "chat")).to_have_text("Done")

    page.evaluate("Object.defineProperty(document, 'cookie', { get: () => '' })")  # as with CSRF_COOKIE_HTTPONLY
    with page.expect_request("**/transfer") as sent:
        start(page)
    assert re.fullmatch("[A-Za-z0-9]{64}", sent.value.headers["x-csrftoken"])
    expect(status(page, "chat")).to_have_text("Done")
