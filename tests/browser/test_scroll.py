"""The chat follows the end of the answer until the user scrolls away, and never scrolls back by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import wait_until

SCROLLER = "document.querySelector('#chat .scroller')"
GAP = f"() => {{ const s = {SCROLLER}; return s.scrollHeight - s.clientHeight - s.scrollTop }}"
TOP = f"() => {SCROLLER}.scrollTop"
# In frames and in time: the browser scrolls in a thread of its own, which may be behind on a busy machine.
STILL = f"""async () => {{
  const before = {SCROLLER}.scrollTop, begun = performance.now();
  for (let n = 0; n < 10 || performance.now() - begun < 500; n++) await new Promise(requestAnimationFrame);
  return {SCROLLER}.scrollTop === before;
}}"""
LATEST = "To the latest"

# A panel without a network: the test feeds it text, so that nothing depends on a server's timing.
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
    # The page has its own panel on the same elements, which must have handled this too.
    frames(page)
    return page


def say(page: Page, paragraphs: int) -> None:
    page.evaluate("text => say(text)", "Some words that fill a line or two of this answer.\n\n" * paragraphs)


def press(page: Page, key: str, until: str) -> None:
    """Returns when the key's scrolling is over, and this holds: its animation takes back what scrolls meanwhile."""
    page.evaluate(f"globalThis.isOver = false; {SCROLLER}.onscrollend = () => {{ isOver = {until}; }}")
    page.keyboard.press(key)
    wait_until(page, "() => isOver")


def frames(page: Page, count: int = 2) -> None:
    page.evaluate("async (count) => { for (; count; count--) await new Promise(requestAnimationFrame) }", count)


def test_the_chat_stays_within_a_pixel_of_the_end_in_every_frame(panel):
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


def test_the_chat_stays_at_the_end_when_the_window_is_resized(panel, wait_until):
    for width in (700, 1100):
        panel.set_viewport_size({"width": width, "height": 500})
        wait_until(panel, f"() => ({GAP})() <= 1")


def test_the_chat_stays_at_the_end_when_its_content_grows_without_new_text(panel, wait_until):
    # Like an image or a font that has just loaded.
    panel.evaluate("document.querySelector('#chat article p').style.minHeight = '700px'")
    wait_until(panel, f"() => ({GAP})() <= 1")
    panel.evaluate("document.querySelector('#chat article').style.fontSize = '23.3px'")
    wait_until(panel, f"() => ({GAP})() <= 1")


def test_scrolling_up_with_the_wheel_stops_following(panel, wait_until):
    panel.locator("#chat .scroller").hover()
    before = panel.evaluate(TOP)
    panel.mouse.wheel(0, -200)
    wait_until(panel, f"(before) => ({TOP})() < before", before)
    wait_until(panel, STILL)
    place = panel.evaluate(TOP)

    for _ in range(5):
        say(panel, 3)
        frames(panel)

    assert panel.evaluate(TOP) == place
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


def test_zooming_with_the_wheel_does_not_stop_following(panel, wait_until):
    zoom = "new WheelEvent('wheel', { deltaY: -100, ctrlKey: true, bubbles: true })"  # as a pinch on a touchpad, too
    panel.evaluate(f"{SCROLLER}.dispatchEvent({zoom})")

    expect(panel.get_by_role("button", name=LATEST)).to_be_hidden()
    say(panel, 5)
    wait_until(panel, f"() => ({GAP})() <= 1")


def test_scrolling_up_by_touch_stops_following(browser, site, wait_until):
    context = browser.new_context(has_touch=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(site.url)
    page.evaluate(PANEL)
    say(page, 40)
    box = page.locator("#chat .scroller").bounding_box()
    x, y = box["x"] + 100, box["y"] + 60
    devtools = context.new_cdp_session(page)

    def touch(kind: str, *points: float) -> None:
        touches = [{"x": x, "y": y + point} for point in points]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", 0)
    for moved in (10, 30, 60, 100):
        touch("touchMove", moved)
    say(page, 2)
    frames(page)
    touch("touchEnd")
    wait_until(page, f"() => ({GAP})() > 20")
    wait_until(page, STILL)
    place = page.evaluate(TOP)
    say(page, 2)
    frames(page)

    assert page.evaluate(TOP) == place
    expect(page.get_by_role("button", name=LATEST)).to_be_visible()
    context.close()


def test_dragging_the_scrollbar_up_stops_following(panel, wait_until):
    # Dragging it is a scroll event without a wheel, key or touch event before it.
    panel.evaluate(f"{SCROLLER}.scrollTop -= 80")
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()
    place = panel.evaluate(TOP)

    say(panel, 3)
    frames(panel)

    assert panel.evaluate(TOP) == place


def test_scrolling_up_in_a_frame_that_shows_more_text_is_not_undone(panel):
    place = panel.evaluate(
        f"() => {{ {SCROLLER}.scrollTop -= 80; const place = {SCROLLER}.scrollTop; say('More.\\n\\n'); return place }}"
    )
    frames(panel)

    assert panel.evaluate(TOP) == place
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


def test_visible_text_does_not_move_when_earlier_text_grows(panel, wait_until):
    panel.evaluate(f"{SCROLLER}.scrollTop -= 200")
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()
    frames(panel)
    under_the_eyes = """() => {
      const top = document.querySelector('#chat .scroller').getBoundingClientRect().top;
      const paragraphs = [...document.querySelectorAll('#chat article p')];
      globalThis.seen ??= paragraphs.find((p) => p.getBoundingClientRect().top > top);
      return seen.getBoundingClientRect().top;
    }"""
    before = panel.evaluate(under_the_eyes)

    for _ in range(3):
        panel.evaluate("document.querySelector('#chat article p').append(' More words, said late.'.repeat(20))")
        say(panel, 1)
        frames(panel)

    assert abs(panel.evaluate(under_the_eyes) - before) < 1
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


@pytest.mark.parametrize("key", ["ArrowUp", "PageUp", "Home"])
def test_scrolling_up_with_a_key_stops_following(panel, wait_until, key):
    panel.locator("#chat .scroller").focus()
    before = panel.evaluate(TOP)
    panel.keyboard.press(key)
    wait_until(panel, f"(before) => ({TOP})() < before", before)

    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()


def test_reaching_the_end_resumes_following(panel, wait_until):
    panel.locator("#chat .scroller").focus()
    press(panel, "Home", until=f"({TOP})() === 0")
    expect(panel.get_by_role("button", name=LATEST)).to_be_visible()

    press(panel, "End", until=f"({GAP})() <= 1")
    expect(panel.get_by_role("button", name=LATEST)).to_be_hidden()

    say(panel, 5)
    wait_until(panel, f"() => ({GAP})() <= 1")


def test_the_latest_button_scrolls_to_the_end_and_moves_the_focus_to_the_answer(panel, wait_until):
    # Not with a key: its animation may end after the button's scrolling, which it then takes back.
    panel.locator("#chat .scroller").evaluate("scroller => { scroller.scrollTop = 0; }")
    wait_until(panel, f"() => ({TOP})() === 0")

    panel.get_by_role("button", name=LATEST).press("Enter")

    wait_until(panel, f"() => ({GAP})() <= 1")
    expect(panel.get_by_role("button", name=LATEST)).to_be_hidden()
    expect(panel.locator("#chat .scroller")).to_be_focused()


def test_nothing_scrolls_during_a_drag_selection_and_the_selection_is_kept(panel, wait_until):
    box = panel.locator("#chat .scroller").bounding_box()
    panel.mouse.move(box["x"] + 60, box["y"] + 60)
    panel.mouse.down()
    panel.mouse.move(box["x"] + 160, box["y"] + 90, steps=3)
    place, selected = panel.evaluate(TOP), panel.evaluate("String(getSelection())")

    for _ in range(3):
        say(panel, 5)
        frames(panel)
    assert panel.evaluate(TOP) == place
    assert panel.evaluate("String(getSelection())") == selected != ""

    # Even if the button is released outside the scroll container.
    panel.mouse.move(box["x"] + box["width"] + 40, box["y"] + 90)
    panel.mouse.up()
    say(panel, 1)
    wait_until(panel, f"() => ({GAP})() <= 1")


def test_a_right_click_menu_does_not_stop_following(panel, wait_until):
    # The menu consumes the pointerup event, so the page never receives it.
    panel.locator("#chat .scroller").dispatch_event("pointerdown", {"button": 2})

    say(panel, 5)

    wait_until(panel, f"() => ({GAP})() <= 1")


def test_a_scroll_that_was_destroyed_moves_nothing_and_listens_to_nothing(open_page, wait_until):
    page = open_page(reduced_motion="reduce")
    page.evaluate(
        """async () => {
          const { Scroll } = await import("/static/streaming/scroll.js");
          const { addEventListener } = EventTarget.prototype, { observe, disconnect } = ResizeObserver.prototype;
          globalThis.listening = [];
          globalThis.observing = new Set();
          EventTarget.prototype.addEventListener = function (type, act, options) {
            if (!(this instanceof AbortSignal)) listening.push(options?.signal);
            return addEventListener.call(this, type, act, options);
          };
          ResizeObserver.prototype.observe = function (target) { observing.add(this); observe.call(this, target); };
          ResizeObserver.prototype.disconnect = function () { observing.delete(this); disconnect.call(this); };
          globalThis.box = document.createElement("div");
          box.style.cssText = "height: 100px; overflow: auto";
          box.innerText = "a line ".repeat(900);
          document.body.append(box);
          globalThis.changes = [];
          globalThis.scroll = new Scroll(box, box, (stuck) => changes.push(stuck));
        }"""
    )
    at_end = "() => box.scrollHeight - box.clientHeight - box.scrollTop <= 1.5"
    page.evaluate("scroll.follow()")
    wait_until(page, at_end)

    page.evaluate(
        "scroll.destroy(); box.append(document.createElement('p')); box.lastChild.textContent = 'a line '.repeat(900)"
    )
    page.evaluate("scroll.follow()")

    assert page.evaluate("[listening.length >= 8, listening.every((signal) => signal?.aborted), observing.size]") == [
        True,
        True,
        0,
    ]
    assert not page.evaluate(at_end)
    assert page.evaluate("[box.style.overflowAnchor, changes.length]") == ["", 0]


def test_the_end_of_the_stream_does_not_scroll_a_reader(panel):
    panel.locator("#chat .scroller").focus()
    press(panel, "Home", until=f"({TOP})() === 0")

    panel.evaluate("finish()")
    frames(panel)

    assert panel.evaluate(TOP) == 0
