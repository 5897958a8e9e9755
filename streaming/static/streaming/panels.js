// What the three panels show, and what the reader asks of them. They know no network.

import { MarkdownView } from "./markdown/view.js";
import { Scroll } from "./scroll.js";
import { Typewriter } from "./typewriter.js";
import { word } from "./words.js";

/** @typedef {import("./sse.js").Message} Message */

// A log is for looking at what comes, not for keeping it.
const LONGEST_LOG = 500;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Panel {
  /** @param {string} id */
  constructor(id) {
    this.element = /** @type {HTMLElement} */ (document.getElementById(id));
    this.address = this.element.dataset.address ?? "";
    this.setStatus("idle");
  }

  /** @param {string} name */
  part(name) {
    return /** @type {HTMLElement} */ (this.element.querySelector(`[data-part="${name}"]`));
  }

  /**
   * @param {string} state
   * @param {string} [said]  the word for it, where it is another
   */
  setStatus(state, said = state) {
    const status = this.part("status");
    status.dataset.state = state;
    status.textContent = word(said);
  }

  get isRunning() {
    return ["connecting", "streaming"].includes(this.part("status").dataset.state ?? "");
  }

  /**
   * A button that cannot be used now keeps its place in the tab order: focus never moves by itself.
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
    button.addEventListener("click", () => { if (button.getAttribute("aria-disabled") !== "true") act(); });
  }

  /**
   * @param {(fields: Record<string, string>) => void} act
   */
  onSubmit(act) {
    const form = /** @type {HTMLFormElement} */ (this.part("form"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)])));
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

/** The beginning and the end of an id tell it from its neighbours. @param {string} id */
function shorten(id) {
  return id.length > 20 ? `${id.slice(0, 6)}…${id.slice(-6)}` : id;
}

export class PingPanel extends Panel {
  #log = new Log(this.part("log"));

  /** @param {{ connect: () => void, disconnect: () => void }} acts */
  constructor({ connect, disconnect }) {
    super("ping");
    this.onClick("connect", connect);
    this.onClick("disconnect", disconnect);
  }

  /** @param {"connecting" | "connected" | "returning" | "closed" | "failed"} state */
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

  /** @param {{ start: (body: string) => void, stop: () => void }} acts */
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

/** @typedef {"done" | "stopped" | "blocked" | "failed"} End */

export class StreamPanel extends Panel {
  #answer = this.part("answer");
  #scroll = new Scroll(this.part("scroller"), this.#answer, (stuck) => { this.part("latest").hidden = stuck; });
  #view = new MarkdownView(this.#answer, { cursor: false });
  #typewriter = new Typewriter();
  #frame = 0;
  #moderated = 0;
  /** What to say when everything is shown. @type {(() => void) | null} */
  #farewell = null;

  /** @param {{ start: (fields: Record<string, string>) => void, stop: () => void, retry: () => void }} acts */
  constructor({ start, stop, retry }) {
    super("stream");
    this.onSubmit(start);
    this.onClick("stop", stop);
    this.onClick("retry", () => this.#leave("retry", retry));
    this.onClick("latest", () => this.#leave("latest", () => this.#scroll.toEnd()));
    // Without frames, or for who wants no motion, text is shown when it comes.
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.#showAll(); });
    calm.addEventListener("change", () => { if (calm.matches) this.#showAll(); });
  }

  begin() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#farewell = null;
    this.#moderated = 0;
    this.#typewriter = new Typewriter();
    this.#view = new MarkdownView(this.#answer);
    this.#answer.ariaBusy = "true";
    for (const name of ["empty", "problem", "moderated"]) this.part(name).hidden = true;
    this.part("live").textContent = word("live-answering");
    this.part("reason").textContent = "";
    this.setStatus("connecting");
    this.enable("stop", true);
    this.#scroll.toEnd();
  }

  opened() {
    this.setStatus("streaming");
  }

  /** All the text that has come, shown or not. */
  get received() {
    return this.#view.source + this.#typewriter.pending;
  }

  /** @param {string} text */
  show(text) {
    this.#typewriter.push(text, performance.now());
    if (document.hidden || calm.matches) this.#showAll();
    else this.#nextFrame();
  }

  moderated() {
    this.#moderated++;
    const note = this.part("moderated");
    note.hidden = false;
    note.textContent = word(this.#moderated === 1 ? "moderated-one" : "moderated-many", { count: this.#moderated });
  }

  /**
   * The stream has ended by itself: the rest of the text is still written out.
   * @param {End} state
   * @param {{ reason?: string, said?: string }} [details]
   */
  finish(state, details = {}) {
    this.#farewell = () => this.#close(state, details);
    this.#typewriter.finish(performance.now());
    if (document.hidden || calm.matches) this.#showAll();
    else this.#nextFrame();
  }

  /**
   * It is over now: everything that has come is shown at once.
   * @param {End} state
   * @param {{ reason?: string, said?: string }} [details]
   */
  stop(state, details = {}) {
    this.#farewell = () => this.#close(state, details);
    this.#showAll();
  }

  #nextFrame() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#write(this.#typewriter.take(performance.now()));
    });
  }

  #showAll() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#write(this.#typewriter.flush());
  }

  /** @param {string} text */
  #write(text) {
    if (text) {
      this.#view.append(text);
      this.#view.flush();
    }
    if (this.#typewriter.pending) this.#nextFrame();
    else if (this.#farewell) this.#farewell();
    if (text) this.#scroll.follow();
  }

  /**
   * @param {End} state
   * @param {{ reason?: string, said?: string }} details
   */
  #close(state, { reason = "", said = state }) {
    this.#farewell = null;
    this.#view.end();
    this.#scroll.follow();
    this.#answer.ariaBusy = "false";
    this.part("live").textContent = word("live-done");
    this.setStatus(state, said);
    this.enable("stop", false);
    this.part("problem").hidden = reason === "";
    this.part("reason").textContent = reason;
  }

  /**
   * Before a button that was pressed goes away, its focus goes to the answer.
   * @param {string} name
   * @param {() => void} act
   */
  #leave(name, act) {
    if (document.activeElement === this.part(name)) this.part("scroller").focus({ preventScroll: true });
    act();
  }
}
