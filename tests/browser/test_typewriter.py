"""Text is written once a frame at the rate of arrival; at once in hidden tabs and with reduced motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

# A panel without a network; the test feeds it text as a stream would.
PANEL = """
async (pacing) => {
  const { ChatPanel } = await import("/static/streaming/chat.js");
  const panel = globalThis.panel = new ChatPanel({ ask() {}, stop() {} });
  document.querySelector("[data-part=pacing]").value = pacing;
  panel.begin({ upstream: "default", prompt: "", messages: [], document: "tour" });
  panel.opened();
  globalThis.shown = () => document.querySelector("#chat article").textContent;
}
"""
MUCH = "All work and no play. " * 100  # half a minute, in the classic way

# Plays pieces of one size, each after a gap, and counts frames, DOM changes per frame, and timers.
PLAY = """
async ([size, gap, times]) => {
  const answer = document.querySelector("#chat article"), timers = { count: 0 };
  const { setTimeout: later, setInterval: often } = globalThis;
  globalThis.setTimeout = (...given) => { timers.count++; return later(...given); };
  globalThis.setInterval = (...given) => { timers.count++; return often(...given); };
  const text = Array.from({ length: size * times }, (_, n) => "abcdefghij"[n % 10]).join("");
  let flushes = 0, sent = 0, frames = 0, changed = 0, longestStill = 0, still = 0, last = 0, inOrder = true;
  new MutationObserver(() => { flushes++; }).observe(answer, { subtree: true, childList: true, characterData: true });
  const begun = performance.now();
  let end = null;
  while (shown().length < text.length) {
    await new Promise(requestAnimationFrame);
    frames++;
    const due = Math.min(times, Math.floor((performance.now() - begun) / gap) + 1);
    for (; sent < due; sent++) panel.show(text.slice(sent * size, (sent + 1) * size));
    if (sent === times && end === null) { panel.finish("done"); end = performance.now(); }
    const length = shown().length;
    inOrder &&= text.startsWith(shown());
    still = length !== last || length === sent * size ? 0 : still + 1;
    longestStill = Math.max(longestStill, still);
    if (length !== last) changed++;
    last = length;
  }
  Object.assign(globalThis, { setTimeout: later, setInterval: often });
  return { flushes, frames, changed, longestStill, afterEnd: performance.now() - end, timers: timers.count, inOrder };
}
"""


@pytest.fixture
def classic(open_page) -> Page:
    page = open_page()
    page.evaluate(PANEL, "classic")
    page.evaluate("text => panel.show(text)", MUCH)
    return page


@pytest.mark.parametrize(
    ("size", "gap", "times"), [(5, 12, 150), (30, 500, 6), (400, 2000, 2), (20, 150, 15)], ids=lambda n: str(n)
)
def test_one_flush_a_frame_without_timers_and_without_long_pauses(open_page, size, gap, times):
    # A busy machine has few frames and long ones now and then; only what is so each time is the page's own.
    for _ in range(5):
        page = open_page()
        page.evaluate(PANEL, "adaptive")
        counted = page.evaluate(PLAY, [size, gap, times])
        page.close()
        assert counted["inOrder"]
        assert counted["timers"] == 0
        assert counted["flushes"] <= counted["frames"] + 1
        if not (wrong := not_smooth(counted, times)):
            break

    assert wrong == []


def not_smooth(counted, times):
    """Which of the figures say that text was not written over many frames, but in lumps as it came."""
    return [
        name
        for name, is_right in {
            "changed": counted["changed"] >= min(3 * times, counted["frames"] / 3),
            # In frames: ten are 150 ms and a little. The pure logic's own figures are tested with a clock.
            "longestStill": counted["longestStill"] <= 10,
            "afterEnd": counted["afterEnd"] <= 1500,
        }.items()
        if not is_right
    ]


def test_a_stall_of_the_page_is_caught_up_in_the_next_frame(classic):
    before, after = classic.evaluate(
        """async () => {
          const before = shown().length, end = performance.now() + 1000;
          while (performance.now() < end);
          await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return [before, shown().length];
        }"""
    )
    assert after - before >= 99


def test_stop_shows_what_was_received_and_takes_the_cursor_away_in_the_same_frame(classic):
    # No frame comes between the stop and the look.
    stopped = classic.evaluate(
        """() => {
          const before = [shown().length, document.querySelectorAll("[data-cursor]").length];
          panel.stop("stopped", "as you like");
          return [...before, shown().length, document.querySelectorAll("[data-cursor]").length];
        }"""
    )
    assert stopped[0] < len(MUCH) / 2
    assert stopped[1:] == [1, len(MUCH.rstrip()), 0]


def test_without_motion_it_shows_all_at_once_from_the_moment_that_is_wished(classic):
    blinks = "getComputedStyle(document.querySelector('[data-cursor]'), '::after').animationName"
    assert classic.evaluate("shown().length") < len(MUCH) / 2
    assert classic.evaluate(blinks) == "blink"

    classic.emulate_media(reduced_motion="reduce")

    expect(classic.locator("#chat article")).to_have_text(MUCH.strip())
    assert classic.evaluate(blinks) == "none"
    shown = classic.evaluate("panel.show('Then at once.'), shown()")
    assert shown.endswith("Then at once.")

    classic.emulate_media(reduced_motion="no-preference")
    assert classic.evaluate("text => { panel.show(text); return shown().length }", MUCH) < 1.5 * len(MUCH)


def test_a_hidden_tab_shows_all_without_frames_and_nothing_is_replayed_on_return(classic):
    hidden = classic.evaluate(
        """(text) => {
          globalThis.hide = true;
          Object.defineProperty(document, "hidden", { get: () => hide });
          const { requestAnimationFrame: frame } = globalThis;
          globalThis.requestAnimationFrame = () => 1;
          document.dispatchEvent(new Event("visibilitychange"));
          const lengths = [shown().length];
          panel.show(text);
          lengths.push(shown().length);
          hide = false;
          globalThis.requestAnimationFrame = frame;
          document.dispatchEvent(new Event("visibilitychange"));
          return [...lengths, shown().length];
        }""",
        MUCH,
    )
    assert hidden == [len(MUCH.rstrip()), len((MUCH + MUCH).rstrip()), len((MUCH + MUCH).rstrip())]

    more = classic.evaluate(
        "async (text) => { panel.show(text); await new Promise(requestAnimationFrame); return shown().length }", MUCH
    )
    assert hidden[-1] <= more < hidden[-1] + len(MUCH) / 2
