// Code blocks: a button that copies the source, and syntax highlighting for known languages.

import { copy } from "./clipboard.js";

// Milliseconds after which a module that could not be loaded is requested again.
const RETRY_AFTER = 3000;

export class Code {
  #root;
  /** @type {import("./highlight.js").Highlighter | null} */
  #highlighter = null;
  #isLoading = false;

  /**
   * @param {HTMLElement} root
   * @param {(copied: boolean) => void} onCopy
   */
  constructor(root, onCopy) {
    this.#root = root;
    root.addEventListener("click", async ({ target }) => {
      const button = target instanceof Element && target.closest("button[data-copy]");
      if (!button) return;
      const copied = await copy(button.parentElement?.querySelector("code")?.textContent?.replace(/\n$/, "") ?? "");
      if (copied) this.#mark(button);
      onCopy(copied);
    });
  }

  /** Call after each frame that showed more text. The highlighter is loaded when the first code with a language appears. */
  refresh() {
    // An element that scrolls must be focusable, so that the keyboard can scroll it.
    for (const wide of this.#root.querySelectorAll(":is(pre, table, .math.display):not([tabindex])"))
      if (wide.scrollWidth > wide.clientWidth) wide.setAttribute("tabindex", "0");
    if (this.#highlighter) this.#highlighter.refresh(this.#root);
    else if (!this.#isLoading && CSS.highlights && this.#root.querySelector("code[class]")) void this.#load();
  }

  /** Drops the highlights of elements that are no longer on the page. */
  forget() {
    this.#highlighter?.forget();
  }

  async #load() {
    this.#isLoading = true;
    try {
      const { Highlighter } = await import("./highlight.js");
      this.#highlighter = new Highlighter();
    } catch {
      // The network may be back when more code is shown.
      setTimeout(() => (this.#isLoading = false), RETRY_AFTER);
      return;
    }
    this.refresh();
  }

  /** Shows on the button itself that it worked, until the pointer or the focus leaves it. @param {Element} button */
  #mark(button) {
    const { classList } = button;
    classList.add("copied");
    for (const type of ["pointerleave", "blur"])
      button.addEventListener(type, () => classList.remove("copied"), { once: true });
  }
}
