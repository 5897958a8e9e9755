// Keeps growing content scrolled to the bottom until the user scrolls away.

/** @typedef {{ scrollTop: number, scrollHeight: number, clientHeight: number }} Position */

// At a device scale of 1.25 the end can be a fraction of a pixel away.
const TOLERANCE_PX = 1.5;

/** @param {Position} position */
export function isAtEnd({ scrollTop, scrollHeight, clientHeight }) {
  return scrollHeight - clientHeight - scrollTop <= TOLERANCE_PX;
}

/**
 * Whether to follow the end after a scroll event: scrolling up stops following, reaching the end resumes it. Content
 * that shrinks moves the position up too, which does not count as scrolling.
 * @param {boolean} stuck
 * @param {Position} before
 * @param {Position} now
 */
export function sticksAfterScroll(stuck, before, now) {
  const shrank = now.scrollHeight - now.clientHeight < before.scrollHeight - before.clientHeight;
  if (now.scrollTop < before.scrollTop && !shrank) return false;
  return stuck || isAtEnd(now);
}

/**
 * Whether a key scrolls up.
 * @param {{ key: string, shiftKey: boolean }} event
 */
export function isUpward({ key, shiftKey }) {
  return ["ArrowUp", "PageUp", "Home"].includes(key) || (key === " " && shiftKey);
}

export class Scroll {
  #stuck = true;
  #isPressed = false;
  #touchY = 0;
  #destroyed = new AbortController();
  #scroller;
  #content;
  #onChange;
  /** @type {Position} */
  #last;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content  whose size is observed: fonts and window size change it too
   * @param {(stuck: boolean) => void} onChange
   */
  constructor(scroller, content, onChange) {
    this.#scroller = scroller;
    this.#content = content;
    this.#onChange = onChange;
    this.#last = positionOf(scroller);
    this.#anchor();
    const { signal } = this.#destroyed;
    const passive = { passive: true, signal };
    scroller.addEventListener("scroll", () => this.#scrolled(), passive);
    scroller.addEventListener(
      "wheel",
      ({ deltaY, ctrlKey }) => {
        // With Ctrl, or as a pinch on a touchpad, it zooms.
        if (deltaY < 0 && !ctrlKey) this.#release();
      },
      passive,
    );
    scroller.addEventListener(
      "touchstart",
      ({ touches }) => {
        this.#touchY = touches[0]?.clientY ?? 0;
      },
      passive,
    );
    scroller.addEventListener(
      "touchmove",
      ({ touches }) => {
        if ((touches[0]?.clientY ?? 0) > this.#touchY) this.#release();
      },
      passive,
    );
    scroller.addEventListener(
      "keydown",
      (event) => {
        if (isUpward(event)) this.#release();
      },
      { signal },
    );
    // Nothing moves under the pointer while the user selects text or drags the scrollbar.
    scroller.addEventListener(
      "pointerdown",
      ({ button }) => {
        // Other buttons open a menu, and no pointerup follows.
        this.#isPressed = button === 0;
      },
      { signal },
    );
    for (const type of ["pointerup", "pointercancel"])
      addEventListener(
        type,
        () => {
          this.#isPressed = false;
        },
        { signal },
      );
    const sizes = new ResizeObserver(() => this.follow());
    sizes.observe(scroller);
    sizes.observe(content);
    signal.addEventListener("abort", () => sizes.disconnect());
  }

  /** Call after each frame that showed more text. */
  follow() {
    if (this.#destroyed.signal.aborted) return;
    // The user may have scrolled in this frame; its scroll event is still to come.
    this.#scrolled();
    // The introduction shown before the first turn is read from its top.
    if (!this.#stuck || this.#isPressed || this.#content.clientHeight === 0) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#last = positionOf(this.#scroller);
  }

  /** Call when the scroller leaves the page, or shall no longer follow: nothing listens or moves any more. */
  destroy() {
    this.#destroyed.abort();
    this.#scroller.style.overflowAnchor = "";
  }

  toEnd() {
    this.#set(true);
    this.follow();
  }

  #scrolled() {
    const now = positionOf(this.#scroller);
    // An unchanged position means that the user did not scroll.
    if (now.scrollTop !== this.#last.scrollTop) this.#set(sticksAfterScroll(this.#stuck, this.#last, now));
    this.#last = now;
  }

  #release() {
    if (this.#scroller.scrollTop > 0) this.#set(false);
  }

  /** @param {boolean} stuck */
  #set(stuck) {
    if (stuck === this.#stuck) return;
    this.#stuck = stuck;
    this.#anchor();
    this.#onChange(stuck);
  }

  /** Scroll anchoring keeps the visible text in place after the user scrolled away; it is off while following the end. */
  #anchor() {
    this.#scroller.style.overflowAnchor = this.#stuck ? "none" : "auto";
  }
}

/** @param {Position} element @returns {Position} */
function positionOf({ scrollTop, scrollHeight, clientHeight }) {
  return { scrollTop, scrollHeight, clientHeight };
}
