// The ping and fetch panels and their base classes. They do no network access. The chat panel is in chat.js.

import { Scroll } from "./scroll.js";
import { word } from "./page-texts.js";

/** @typedef {import("./sse.js").Message} Message */

// The log shows recent events; older ones are removed.
const LONGEST_LOG = 500;

/** An element of the page whose parts have names (`data-part`). */
export class Part {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /** @param {string} name */
  part(name) {
    return /** @type {HTMLElement} */ (this.element.querySelector(`[data-part="${name}"]`));
  }

  /**
   * A disabled button stays in the tab order, so that the focus never moves by itself.
   * @param {string} name
   * @param {boolean} enabled
   */
  enable(name, enabled) {
    this.part(name).setAttribute("aria-disabled", String(!enabled));
  }

  /**
   * @param {string} name
   * @param {() => void} act
   */
  onClick(name, act) {
    const button = this.part(name);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") act();
    });
  }
}

export class Panel extends Part {
  /** @param {string} id */
  constructor(id) {
    super(/** @type {HTMLElement} */ (document.getElementById(id)));
    this.address = this.element.dataset.address ?? "";
    this.setStatus("idle");
  }

  /**
   * @param {string} state
   * @param {string} [wordName]  the name of its label, if it differs from the state
   * @param {Record<string, string | number>} [values]
   */
  setStatus(state, wordName = state, values = {}) {
    const status = this.part("status");
    status.dataset.state = state;
    status.textContent = word(wordName, values);
  }

  get state() {
    return this.part("status").dataset.state ?? "";
  }

  get isRunning() {
    return ["connecting", "streaming", "reconnecting"].includes(this.state);
  }

  get #form() {
    return /** @type {HTMLFormElement} */ (this.part("form"));
  }

  /** What the form's fields contain now. @returns {Record<string, string>} */
  get fields() {
    return Object.fromEntries([...new FormData(this.#form)].map(([name, value]) => [name, String(value)]));
  }

  /**
   * @param {(fields: Record<string, string>) => void} act
   */
  onSubmit(act) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(this.fields);
    });
  }
}

/** A list of events, the latest last. */
class Log {
  #list;
  #scroll;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
    this.#scroll = new Scroll(list, list, () => {});
  }

  /** @param {Message} message */
  add({ event, id, data }) {
    const line = document.createElement("li");
    line.append(piece("event", event), piece("id", id, shorten(id)), piece("data", data));
    this.#list.append(line);
    if (this.#list.childElementCount > LONGEST_LOG) this.#list.firstElementChild?.remove();
    this.#scroll.follow();
  }

  clear() {
    this.#list.replaceChildren();
  }
}

/**
 * @param {string} name
 * @param {string} text
 * @param {string} [short]
 */
function piece(name, text, short = text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = short;
  if (short !== text) span.title = text;
  return span;
}

/** Shortens an id to its beginning and end, which distinguish it from its neighbours. @param {string} id */
function shorten(id) {
  return id.length > 20 ? `${id.slice(0, 6)}…${id.slice(-6)}` : id;
}

export class PingPanel extends Panel {
  #log = new Log(this.part("log"));

  /** @param {{ connect: () => void, disconnect: () => void }} actions */
  constructor({ connect, disconnect }) {
    super("ping");
    this.onClick("connect", connect);
    this.onClick("disconnect", disconnect);
  }

  /** @param {"connecting" | "connected" | "reconnecting" | "closed" | "failed"} state */
  setState(state) {
    const isOff = state === "closed" || state === "failed";
    this.setStatus(state);
    this.enable("connect", isOff);
    this.enable("disconnect", !isOff);
  }

  /** @param {Message} message */
  show(message) {
    this.#log.add(message);
  }
}

export class FetchPanel extends Panel {
  #log = new Log(this.part("log"));

  /** @param {{ start: (body: string) => void, stop: () => void }} actions */
  constructor({ start, stop }) {
    super("fetch");
    this.onSubmit(({ body = "" }) => start(body));
    this.onClick("stop", stop);
    this.onClick("clear", () => this.#log.clear());
  }

  /**
   * @param {"connecting" | "streaming" | "done" | "stopped" | "failed"} state
   * @param {string} [reason]
   */
  setState(state, reason = "") {
    this.setStatus(state);
    this.enable("stop", state === "connecting" || state === "streaming");
    this.part("reason").hidden = reason === "";
    this.part("reason").textContent = reason;
  }

  /** @param {Message} message */
  show(message) {
    this.#log.add(message);
  }
}
