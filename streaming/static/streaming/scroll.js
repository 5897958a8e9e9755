// Stays at the bottom of what grows, until the reader scrolls away.

/** @typedef {{ scrollTop: number, scrollHeight: number, clientHeight: number }} Position */

// At a device scale of 1.25 the end is a fraction of a pixel away.
const NEAR = 1.5;

/** @param {Position} position */
export function isAtEnd({ scrollTop, scrollHeight, clientHeight }) {
  return scrollHeight - clientHeight - scrollTop <= NEAR;
}

/**
 * Whether it sticks after the reader scrolled: upward releases, reaching the end sticks. What became shorter moves
 * the place upward too, and that is nobody's wish.
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
 * Whether a key moves the place upward.
 * @param {{ key: string, shiftKey: boolean }} event
 */
export function isUpward({ key, shiftKey }) {
  return ["ArrowUp", "PageUp", "Home"].includes(key) || (key === " " && shiftKey);
}

export class Scroll {
  #stuck = true;
  #isPressed = false;
  #touchY = 0;
  #scroller;
  #content;
  #onChange;
  /** @type {Position} */
  #last;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content  whose size is watched: fonts and windows change it too
   * @param {(stuck: boolean) => void} onChange
   */
  constructor(scroller, content, onChange) {
    this.#scroller = scroller;
    this.#content = content;
    this.#onChange = onChange;
    this.#last = positionOf(scroller);
    this.#anchor();
    const passive = { passive: true };
    scroller.addEventListener("scroll", () => this.#scrolled(), passive);
    scroller.addEventListener(
      "wheel",
      ({ deltaY }) => {
        if (deltaY < 0) this.#release();
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
    scroller.addEventListener("keydown", (event) => {
      if (isUpward(event)) this.#release();
    });
    // While the reader selects, or holds the scrollbar, nothing moves under the pointer.
    scroller.addEventListener("pointerdown", ({ button }) => {
      // Another button opens a menu, and nobody tells when it is let go.
      this.#isPressed = button === 0;
    });
    for (const type of ["pointerup", "pointercancel"])
      addEventListener(type, () => {
        this.#isPressed = false;
      });
    const sizes = new ResizeObserver(() => this.follow());
    sizes.observe(scroller);
    sizes.observe(content);
  }

  /** After each frame that showed more. */
  follow() {
    // The reader may have scrolled in this frame, and the event for it is still to come.
    this.#scrolled();
    // What stands there before anything has come is read from its beginning.
    if (!this.#stuck || this.#isPressed || this.#content.clientHeight === 0) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#last = positionOf(this.#scroller);
  }

  toEnd() {
    this.#set(true);
    this.follow();
  }

  #scrolled() {
    const now = positionOf(this.#scroller);
    // Where our own writing left it, the reader did nothing.
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

  /** What is under the eyes of who has scrolled away stays there when earlier text grows; the end has no such anchor. */
  #anchor() {
    this.#scroller.style.overflowAnchor = this.#stuck ? "none" : "auto";
  }
}

/** @param {Position} element @returns {Position} */
function positionOf({ scrollTop, scrollHeight, clientHeight }) {
  return { scrollTop, scrollHeight, clientHeight };
}
