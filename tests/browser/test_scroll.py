"""The answer stays at its end until the reader scrolls away, and never pulls the reader back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

SCROLLER = "document.querySelector('#chat .scroller')"
GAP = f"() => {{ const s = {SCROLLER}; return s.scrollHeight - s.clientHeight - s.scrollTop }}"
TOP = f"() => {SCROLLER}.scrollTop"
LATEST = "To the latest"

# A panel without a network: text is shown by hand, so that nothing depends on a server's pace.
PANEL = """
async () => {
  const { ChatPanel } = await import("/static/streaming/chat.js");
  const panel = new ChatPanel({ ask() {}, stop() {} });
  panel.begin({ upstream: "default", prompt: "", messages: [], document: "tour" });
  globalThis.say = (text) => panel.show(text);
  globalThis.finish = () => panel.finish("done");
}
"""


@pytest.fixture(params=[1, 1.25], ids=["scale 1", "scale 1.25"])
def panel(request, open_page) -> Page:
    page = open_page(device_scale_factor=request.param, reduced_motion="reduce")
    page.evaluate(PANEL)
    say(page, 40)
    return page


def say(page: Page, paragraphs: int) -> None:
    page.evaluate("text => say(text)", "Some words that fill a line or two of this answer.\n\n" * paragraphs)


def frames(page: Page, count: int = 2) -> None:
    page.evaluate("async (count) => { for (; count; count--) await new Promise(requestAnimationFrame) }", count)


def test_stays_within_a_pixel_of_the_end_in_every_frame(panel):
    gaps = panel.evaluate(
        """async () => {
          const scroller = document.querySelector('#chat .scroller'), gaps = [];
          for (let n = 0; n < 60; n++) {
            say(`word ${n} `.repeat(9) + (n % 3 ? "" : "\\n\\n"));
            await new Promise(requestAnimationFrame);
            gaps.push(scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop);
          }
          return gaps;
        }"""
    )
    assert max(gaps) <= 1


def test_stays_at_the_end_when_the_window_changes(panel, wait_until):
    for width in (700, 1100):
        panel.set_viewport_size({"width": width, "height": 500})
        wait_until(panel, f"() => ({GAP})() <= 1")


def test_a_turn_of_the_wheel_upward_releases_and_is_never_pulled_back(panel, wait_until):
    panel.locator("#chat .scroller").hover()
    before = panel.evaluate(TOP)
    panel.mouse.wheel(0, -200)
    wait_until(panel, f"(before) => ({TOP})() < before", before)
    frames(panel, 12)
    place = panel.evaluate(TOP)

    for _ in range(5):
        say(panel, 3)
        frames(panel)

    assert panel.evaluate(TOP) == place
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


@pytest.mark.parametrize("key", ["ArrowUp", "PageUp", "Home"])
def test_a_key_upward_releases_too(panel, wait_until, key):
    panel.locator("#chat .scroller").focus()
    before = panel.evaluate(TOP)
    panel.keyboard.press(key)
    wait_until(panel, f"(before) => ({TOP})() < before", before)

    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


def test_reaching_the_end_sticks_again(panel, wait_until):
    panel.locator("#chat .scroller").focus()
    panel.keyboard.press("Home")
    wait_until(panel, f"() => ({TOP})() === 0")
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()

    panel.keyboard.press("End")
    wait_until(panel, f"() => ({GAP})() <= 1")
    expect(panel.get_by_role("button", name=LATEST)).to_be_hidden()

    say(panel, 5)
    wait_until(panel, f"() => ({GAP})() <= 1")


def test_the_button_leads_to_the_latest_and_the_focus_to_the_answer(panel, wait_until):
    panel.locator("#chat .scroller").focus()
    panel.keyboard.press("Home")
    wait_until(panel, f"() => ({TOP})() === 0")

    panel.get_by_role("button", name=LATEST).press("Enter")

    wait_until(panel, f"() => ({GAP})() <= 1")
    expect(panel.get_by_role("button", name=LATEST)).to_be_hidden()
    expect(panel.locator("#chat .scroller")).to_be_focused()


def test_nothing_moves_while_the_pointer_is_held_down(panel):
    box = panel.locator("#chat .scroller").bounding_box()
    panel.mouse.move(box["x"] + 60, box["y"] + 60)
    panel.mouse.down()
    place = panel.evaluate(TOP)

    say(panel, 10)
    frames(panel)
    assert panel.evaluate(TOP) == place

    panel.mouse.up()
    say(panel, 1)
    frames(panel)
    assert panel.evaluate(GAP) <= 1


def test_the_end_of_the_stream_moves_no_reader(panel, wait_until):
    panel.locator("#chat .scroller").focus()
    panel.keyboard.press("Home")
    wait_until(panel, f"() => ({TOP})() === 0")

    panel.evaluate("finish()")
    frames(panel)

    assert panel.evaluate(TOP) == 0
