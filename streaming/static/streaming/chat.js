// The chat: a question, its answer as it is written, and what can be done with it. It knows no network.

import { copy } from "./clipboard.js";
import { Code } from "./code.js";
import { asMarkdown, messagesOf, ConversationStorage } from "./conversation.js";
import { Meter } from "./meter.js";
import { Panel } from "./panels.js";
import { Scroll } from "./scroll.js";
import { Turn } from "./turn.js";
import { ClassicTypewriter, Typewriter } from "./typewriter.js";
import { word } from "./words.js";

/** @typedef {import("./turn.js").End} End */
/** @typedef {import("./conversation.js").Question} Question */
/** @typedef {import("./conversation.js").SavedTurn} SavedTurn */
/** @typedef {import("./conversation.js").Said} Said */

// Milliseconds without an answer after which it is said what may be the matter.
const LONG_WAIT = 5000;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

// A keyboard on glass has one Enter, and that begins a line there.
const touch = matchMedia("(hover: none) and (pointer: coarse)");

/**
 * Whether a key sends the question. Enter also ends the choice of a Chinese character, and then it sends nothing: Safari
 * ends the composition first and tells of the key behind it, with the code 229.
 * @param {KeyboardEvent} event
 */
function isSending({ key, shiftKey, isComposing, keyCode }) {
  return key === "Enter" && !shiftKey && !isComposing && keyCode !== 229 && !touch.matches;
}

export class ChatPanel extends Panel {
  #scroller = this.part("scroller");
  #turns = this.part("turns");
  #scroll = new Scroll(this.#scroller, this.#turns, (stuck) => {
    this.part("latest").hidden = stuck;
  });
  #meter = new Meter((name) => /** @type {HTMLElement} */ (document.querySelector(`[data-part="${name}"]`)));
  #code = new Code(this.#turns, (copied) => this.#say(copied ? "live-copied" : "live-not-copied"));
  /** @type {Turn[]} */
  #said = [];
  /** @type {Typewriter | ClassicTypewriter} */
  #typewriter = new Typewriter();
  #frame = 0;
  /** What to do when everything is shown. @type {(() => void) | null} */
  #onDrained = null;
  #countdown = 0;
  #waiting = 0;
  #storage = new ConversationStorage();
  /** The id of the last message that is part of what was received. */
  #lastEventId = "";
  /** The turn whose question is being changed. @type {Turn | null} */
  #edited = null;
  #ask;
  #stop;

  /** @param {{ ask: (question: Question) => void, stop: () => void }} acts */
  constructor({ ask, stop }) {
    super("chat");
    this.#ask = ask;
    this.#stop = stop;
    this.onSubmit((fields) => this.#send(fields));
    this.onClick("stop", stop);
    this.onClick("new-chat", () => this.#newChat());
    this.element.addEventListener("keydown", ({ key, isComposing, keyCode }) => {
      if (key === "Escape" && !isComposing && keyCode !== 229 && this.isRunning) stop();
    });
    this.onClick("latest", () => this.#leave(this.part("latest"), () => this.#scroll.toEnd()));
    const prompt = this.part("prompt");
    prompt.addEventListener("keydown", (event) => {
      if (!isSending(event)) return;
      event.preventDefault();
      prompt.closest("form")?.requestSubmit();
    });
    this.part("upstream").addEventListener("change", () => this.#choose());
    this.#choose();
    this.onClick("export", () => this.#export());
    this.onClick("cancel-edit", () => this.#edit(null));
    this.onClick("leave-out", () => this.#leaveOut());
    this.onClick("connect-model", () => this.#toggle("connect-model", "connecting"));
    if (this.part("play-tour")) {
      this.onClick("play-tour", () => this.#play("tour"));
      this.onClick("show-rule", () => this.#play("rules", true));
    }
    prompt.addEventListener("input", () => this.#storage.saveDraft(this.#prompt.value));
    addEventListener("pagehide", () => this.#save());
    // Without frames, or for who wants no motion, text is shown when it comes.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#showAll();
    });
    calm.addEventListener("change", () => {
      if (calm.matches) this.#showAll();
    });
  }

  get #turn() {
    return this.#said.at(-1);
  }

  get #prompt() {
    return /** @type {HTMLTextAreaElement} */ (this.part("prompt"));
  }

  /** The address of what no rule has seen. */
  get rawAddress() {
    return this.element.dataset.raw ?? "";
  }

  /**
   * What was said before a reload, and the draft. An answer that was being written is `resumed` with the id of the last
   * message that was kept of it.
   * @param {(question: Question, lastEventId: string) => void} resume
   */
  restore(resume) {
    const { turns, lastEventId } = this.#storage.load();
    this.#prompt.value ||= this.#storage.draft;
    for (const saved of turns) {
      this.#turn?.hideRetry();
      const turn = this.#add(saved.question);
      turn.restore(saved);
      if (saved.state !== "running") turn.end(saved.state, saved.reason);
    }
    this.#code.refresh();
    const last = turns.at(-1);
    if (last) this.#scroll.toEnd();
    if (last && last.state !== "running") this.setStatus(last.state);
    if (last?.state === "running") {
      this.#lastEventId = lastEventId;
      this.#connect();
      resume(last.question, lastEventId);
    }
    if (!touch.matches && document.activeElement === document.body) this.#prompt.focus({ preventScroll: true });
  }

  /** @param {Question} question */
  begin(question) {
    this.#abandon();
    this.#turn?.hideRetry();
    this.#add(question);
    this.#lastEventId = "";
    this.#typewriter = this.#valueOf("pacing") === "classic" ? new ClassicTypewriter() : new Typewriter();
    this.#meter.begin();
    this.#connect();
    this.#scroll.toEnd();
    this.#save();
  }

  #connect() {
    this.#say("live-answering");
    this.setStatus("connecting");
    this.enable("stop", true);
    clearTimeout(this.#waiting);
    // A browser opens six connections to one site, for all its tabs, and lets a seventh wait without a word.
    this.#waiting = setTimeout(() => {
      if (this.state === "connecting") this.setStatus("connecting", "waiting");
    }, LONG_WAIT);
  }

  /** @param {Question} question */
  #add(question) {
    const template = /** @type {HTMLTemplateElement} */ (this.part("turn"));
    const element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.#turns.append(element);
    const turn = new Turn(element, question);
    this.#said.push(turn);
    turn.fold();
    turn.onClick("copy", () => this.#copy(turn.view.source));
    turn.onClick("regenerate", () => this.#again(turn, turn.part("regenerate")));
    turn.onClick("retry", () => this.#again(turn, turn.part("retry")));
    for (const name of ["edit", "change"]) turn.onClick(name, () => this.#edit(turn));
    this.part("empty").hidden = true;
    this.part("new-chat").hidden = this.part("export").hidden = false;
    return turn;
  }

  opened() {
    this.setStatus("streaming");
  }

  /** The connection was lost; the next attempt is in so many milliseconds. @param {number} delay */
  returning(delay) {
    const end = performance.now() + delay;
    const tell = () => {
      const seconds = Math.ceil((end - performance.now()) / 1000);
      this.setStatus("reconnecting", seconds > 0 ? "reconnecting" : "returning", { seconds });
      if (seconds > 0)
        this.#countdown = setTimeout(() => {
          if (this.state === "reconnecting") tell();
        }, 1000);
    };
    clearTimeout(this.#countdown);
    tell();
  }

  /** What is no part of the answer, but led to it. @param {string} text */
  think(text) {
    this.#meter.countEvent(text.length);
    this.#turn?.think(text);
    this.#scroll.follow();
  }

  /** The same text as no rule has seen it. @param {string} text */
  showRaw(text) {
    this.#turn?.showRaw(text);
    this.#scroll.follow();
  }

  /** All up to the message of this id has been received. @param {string} lastEventId */
  received(lastEventId) {
    this.#lastEventId = lastEventId;
    this.#storage.saveSoon(() => this.#saved());
  }

  /** @param {number} bytes */
  count(bytes) {
    this.#meter.countBytes(bytes);
  }

  /** @param {string} text */
  show(text) {
    this.#meter.countEvent(text.length);
    this.#typewriter.push(text, performance.now());
    this.#move();
  }

  /** A rule has changed the question. */
  promptModerated() {
    this.#turn?.promptModerated();
  }

  moderated() {
    this.#meter.countEvent(0);
    this.#turn?.moderated();
  }

  /**
   * The stream has ended by itself: the rest of the text is still written out.
   * @param {End} state
   * @param {string} [reason]
   */
  finish(state, reason = "") {
    this.#onDrained = () => this.#end(state, reason);
    this.#typewriter.finish(performance.now());
    this.#move();
  }

  /**
   * It is over now: everything that has come is shown at once. An answer that was whole already stays so.
   * @param {End} state
   * @param {string} [reason]
   * @param {string} [login]
   */
  stop(state, reason = "", login = "") {
    this.#onDrained ??= () => this.#end(state, reason, login);
    this.#showAll();
  }

  /** @param {Record<string, string>} fields */
  #send({ prompt = "", upstream = "default", document: name, interval, model, system = "" }) {
    const question = prompt.trim();
    // The page has no such field where "default" is a server that would refuse it.
    const isPlayed = this.#plays && name !== undefined;
    // A second click, or a third, asks nothing anew.
    if (question === "" && (this.isRunning || !isPlayed)) return this.#prompt.focus();
    const before = this.#edited ? this.#said.slice(0, this.#said.indexOf(this.#edited)) : this.#said;
    this.#submit({
      upstream,
      prompt: question,
      messages: messagesOf(before, question, system.trim()),
      ...(isPlayed ? { document: name, interval: Number(interval) } : {}),
      ...(model && !isPlayed ? { model } : {}),
    });
  }

  /** Asks, unless it is more than the server takes: then the reader chooses. @param {Question} question */
  #submit(question) {
    const { upstream: _, ...body } = question;
    const size = new TextEncoder().encode(JSON.stringify(body)).length;
    const limit = Number(this.element.dataset.limit) || Infinity;
    const isTooLong = size > limit;
    const reason = word("too-long", { size: Math.ceil(size / 1000), limit: Math.floor(limit / 1000) });
    this.part("too-long-reason").textContent = reason;
    const mayLeaveOut = isTooLong && question.messages.length > 1;
    this.part("too-long").hidden = !mayLeaveOut;
    if (mayLeaveOut) return;
    this.#truncate();
    this.#prompt.value = "";
    this.#storage.saveDraft("");
    if (!isTooLong) return this.#ask(question);
    // A question that is too long by itself was not sent, and is kept.
    this.begin(question);
    this.stop("failed", reason);
  }

  /** The oldest turns are not sent, as many as it takes. */
  #leaveOut() {
    const limit = Number(this.element.dataset.limit) || Infinity;
    const form = /** @type {HTMLFormElement} */ (this.part("form"));
    const sizeOf = (/** @type {unknown} */ value) => new TextEncoder().encode(JSON.stringify(value)).length;
    // Besides the messages the question is sent by itself, and a few fields.
    const isTooLong = () =>
      sizeOf(messagesOf(this.#said, this.#prompt.value, "")) + sizeOf(this.#prompt.value) + 1000 > limit;
    while (this.#said.length && isTooLong()) this.#said.shift()?.element.remove();
    form.requestSubmit();
  }

  /** A document of this site's own. @param {string} name @param {boolean} [isCompared] */
  #play(name, isCompared = false) {
    const played = { upstream: "default", prompt: "", messages: [], document: name, interval: 0.1 };
    this.#leave(/** @type {HTMLElement} */ (document.activeElement), () =>
      this.#ask(isCompared ? { ...played, seed: 7, isCompared } : played),
    );
  }

  /**
   * Puts a question back where it can be changed; null gives it up.
   * @param {Turn | null} turn
   */
  #edit(turn) {
    this.#edited = turn;
    this.part("editing").hidden = turn === null || turn === this.#turn;
    this.#prompt.value = turn?.question.prompt ?? "";
    this.#prompt.focus();
  }

  /** What is asked anew takes the place of what was asked, and of all behind it. */
  #truncate() {
    const from = this.#edited ? this.#said.indexOf(this.#edited) : -1;
    if (from >= 0) {
      if (this.isRunning) this.#stop();
      for (const { element } of this.#said.splice(from)) element.remove();
      this.#code.forget();
    }
    this.#edited = null;
    this.part("editing").hidden = true;
  }

  #export() {
    const labels = {
      asked: word("asked"),
      answered: word("answered"),
      play: (/** @type {string} */ name) => word("play", { document: name }),
    };
    const blob = new Blob([asMarkdown(this.#saved().turns, labels)], { type: "text/markdown" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "conversation.md";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  #saved() {
    const last = this.#turn;
    const turns = this.#said.map((turn) => turn.save(turn === last ? this.#typewriter.pending : ""));
    return { turns, lastEventId: this.#lastEventId };
  }

  #save() {
    this.#storage.save(this.#saved());
  }

  /** @param {string} button @param {string} name  what it shows and hides */
  #toggle(button, name) {
    const part = this.part(name);
    part.hidden = !part.hidden;
    this.part(button).setAttribute("aria-expanded", String(!part.hidden));
  }

  /**
   * The last question, in the place of its answer.
   * @param {Turn} turn
   * @param {HTMLElement} button
   */
  #again(turn, button) {
    this.#leave(button, () => {
      this.#said.pop();
      turn.element.remove();
      this.#code.forget();
      this.#ask(turn.question);
    });
  }

  /** Everything said is forgotten. */
  #newChat() {
    if (this.isRunning) this.#stop();
    for (const { element } of this.#said.splice(0)) element.remove();
    this.#code.forget();
    this.#meter.begin();
    this.#edited = null;
    this.part("empty").hidden = false;
    for (const name of ["new-chat", "export", "editing", "too-long"]) this.part(name).hidden = true;
    this.#save();
    this.setStatus("idle");
    this.part("live").textContent = "";
    this.part("prompt").focus();
  }

  /** Whether the chosen upstream plays documents. */
  get #plays() {
    return this.#chosen?.dataset.plays !== undefined;
  }

  get #chosen() {
    return /** @type {HTMLSelectElement} */ (this.part("upstream")).selectedOptions[0];
  }

  /** What can be asked of the chosen upstream: a document, or a model that is told what to be. */
  #choose() {
    for (const field of this.element.querySelectorAll('[data-part="playing"]'))
      field.toggleAttribute("hidden", !this.#plays);
    /** @type {HTMLElement} */ (document.getElementById("instructions")).hidden = this.#plays;
    const models = (this.#chosen?.dataset.models ?? "").split(" ").filter(Boolean);
    this.part("models").hidden = models.length < 2;
    this.part("model").replaceChildren(...(models.length < 2 ? [] : models).map((name) => new Option(name, name)));
  }

  /** @param {string} select */
  #valueOf(select) {
    return /** @type {HTMLSelectElement} */ (this.part(select)).value;
  }

  /** What was being written is over, and nothing of what has come is lost. */
  #abandon() {
    if (this.isRunning) this.stop("stopped", word("problem-stopped"));
  }

  #move() {
    if (document.hidden || calm.matches) this.#showAll();
    else this.#nextFrame();
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
    if (text) this.#turn?.write(text);
    if (text) this.#code.refresh();
    this.#meter.show(this.#typewriter.pending.length);
    if (this.#typewriter.pending) this.#nextFrame();
    else if (this.#onDrained) this.#onDrained();
    if (text) this.#scroll.follow();
  }

  /**
   * @param {End} state
   * @param {string} reason
   * @param {string} [login]
   */
  #end(state, reason, login) {
    this.#onDrained = null;
    this.#turn?.end(state, reason, login);
    this.#code.refresh();
    this.#scroll.follow();
    this.part("live").textContent = reason || word("live-done");
    this.setStatus(state);
    this.enable("stop", false);
    this.#save();
  }

  /** @param {string} text */
  async #copy(text) {
    this.#say((await copy(text)) ? "live-copied" : "live-not-copied");
  }

  /** For who listens. @param {string} name */
  #say(name) {
    this.part("live").textContent = word(name);
  }

  /**
   * Before a button that was pressed goes away, its focus goes to the conversation.
   * @param {HTMLElement} button
   * @param {() => void} act
   */
  #leave(button, act) {
    if (document.activeElement === button) this.#scroller.focus({ preventScroll: true });
    act();
  }
}
