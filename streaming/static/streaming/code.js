// Blocks of code: a button that copies each as it was written, and colours for languages that are known.

import { copy } from "./clipboard.js";

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

  /** After each frame that showed more. Colours are fetched when the first code in a language comes. */
  refresh() {
    // What scrolls by itself is scrolled by keys, too.
    for (const wide of this.#root.querySelectorAll(":is(pre, table, .math.display):not([tabindex])"))
      if (wide.scrollWidth > wide.clientWidth) wide.setAttribute("tabindex", "0");
    if (this.#highlighter) this.#highlighter.refresh(this.#root);
    else if (!this.#isLoading && CSS.highlights && this.#root.querySelector("code[class]")) void this.#load();
  }

  /** Colours of what is not on the page any more. */
  forget() {
    this.#highlighter?.forget();
  }

  async #load() {
    this.#isLoading = true;
    const { Highlighter } = await import("./highlight.js");
    this.#highlighter = new Highlighter();
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
