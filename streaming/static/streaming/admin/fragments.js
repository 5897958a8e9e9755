// @ts-check
/** Loads a part of the page while a form is being filled in; of several requests only the last one is shown. */

export class Fragment {
  /** @param {HTMLElement} target the element whose content is replaced */
  constructor(target) {
    this.target = target;
    /** @type {AbortController | undefined} */
    this.running = undefined;
  }

  /**
   * Posts the form and shows the response; after a failure a sentence says why there is none, as what an earlier form
   * gave would be wrong. The sentences are attributes of the target.
   * @param {string} address
   * @param {HTMLFormElement} form
   */
  async load(address, form) {
    this.running?.abort();
    const running = (this.running = new AbortController());
    try {
      const response = await fetch(address, {
        method: "POST",
        body: new FormData(form),
        headers: { "X-Requested-With": "fetch" },
        signal: running.signal,
      });
      // Who is no longer logged in is sent to the login.
      if (response.redirected || response.status === 403) return this.#fail("denied");
      if (!response.ok) return this.#fail("refused", String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      this.target.replaceChildren(...page.body.childNodes);
      this.target.dispatchEvent(new CustomEvent("loaded"));
    } catch {
      if (!running.signal.aborted) this.#fail("unreachable");
    }
  }

  /** @param {"denied" | "refused" | "unreachable"} why @param {string} [status] */
  #fail(why, status = "") {
    const sentence = document.createElement("p");
    sentence.className = "errornote";
    sentence.textContent = (this.target.dataset[why] ?? "").replace("{status}", status);
    this.target.replaceChildren(sentence);
  }

  /** Shows nothing, and not what may still be on its way. */
  clear() {
    this.running?.abort();
    this.target.replaceChildren();
  }
}

/**
 * Debounces: the returned function calls `action` once it has not been called for a while.
 * @param {() => void} action
 * @param {number} milliseconds
 */
export function debounce(action, milliseconds = 300) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(action, milliseconds);
  };
}
