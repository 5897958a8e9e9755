// @ts-check
/** Fetches parts of a page for a form that is being filled in: the last that was asked for is the one that is shown. */

export class Fragment {
  /** @param {HTMLElement} place what comes is put there */
  constructor(place) {
    this.place = place;
    /** @type {AbortController | undefined} */
    this.running = undefined;
  }

  /**
   * Posts the form and shows the answer. What fails leaves the place as it was.
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
      if (!response.ok || response.redirected) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      this.place.replaceChildren(...page.body.childNodes);
      this.place.dispatchEvent(new CustomEvent("loaded"));
    } catch (error) {
      if (!running.signal.aborted) throw error;
    }
  }
}

/**
 * Calls once nothing more has happened for a while.
 * @param {() => void} act
 * @param {number} milliseconds
 */
export function whenQuiet(act, milliseconds = 300) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(act, milliseconds);
  };
}
