// The chat panel: questions, streamed answers and the actions on them. It does no network access of its own.

import { copy } from "./clipboard.js";
import { Code } from "./code.js";
import { asMarkdown, messagesOf, systemOf, ConversationStorage } from "./conversation.js";
import { Meter } from "./meter.js";
import { Panel } from "./ping-and-fetch-panels.js";
import { Scroll } from "./scroll.js";
import { Turn } from "./turn.js";
import { ClassicTypewriter, Typewriter } from "./typewriter.js";
import { word } from "./page-texts.js";

/** @typedef {import("./turn.js").End} End */
/** @typedef {import("./conversation.js").Question} Question */
/** @typedef {import("./conversation.js").SavedTurn} SavedTurn */
/** @typedef {import("./conversation.js").ChatMessage} ChatMessage */

/** `login`: the login address, if a login is required. @typedef {{ state: End, reason: string, login?: string }} Ending */

// Milliseconds without a response after which the status explains the likely cause.
const SLOW_RESPONSE = 5000;

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// On-screen keyboards have no Shift+Enter, so on touch devices Enter inserts a line break.
const touchOnly = matchMedia("(hover: none) and (pointer: coarse)");

/**
 * Whether a key press submits the question. Enter that confirms a candidate in an input method does not: Safari ends the
 * composition first and then reports that key with the code 229.
 * @param {KeyboardEvent} event
 */
function isSubmitKey({ key, shiftKey, isComposing, keyCode }) {
  return key === "Enter" && !shiftKey && !isComposing && keyCode !== 229 && !touchOnly.matches;
}

/** The bytes of a question's request. @param {Question} question */
function sizeOf({ upstream: _, ...body }) {
  return new TextEncoder().encode(JSON.stringify(body)).length;
}

export class ChatPanel extends Panel {
  #scroller = this.part("scroller");
  #turns = this.part("turns");
  #scroll = new Scroll(this.#scroller, this.#turns, (stuck) => {
    this.part("latest").hidden = stuck;
  });
  #meter = new Meter((name) => /** @type {HTMLElement} */ (document.querySelector(`[data-part="${name}"]`)));
  #code = new Code(this.#turns, (copied) => this.#announce(copied ? "live-copied" : "live-not-copied"));
  /** @type {Turn[]} */
  #history = [];
  /** @type {Typewriter | ClassicTypewriter} */
  #typewriter = new Typewriter();
  #frame = 0;
  /** How the answer ends once all pending text is shown. @type {Ending | null} */
  #ending = null;
  #countdown = 0;
  #waiting = 0;
  #storage = new ConversationStorage(document.body.dataset.user ?? "");
  /** The id of the last message received. */
  #lastEventId = "";
  /** The idempotency key of the last request. */
  #key = "";
  /** How far the answer has been read. @type {import("./answer-reader.js").Progress | undefined} */
  #progress;
  /** The turn whose question is being edited. @type {Turn | null} */
  #edited = null;
  /** What was in the input before the editing began. */
  #draft = "";
  #ask;
  #stop;

  /** @param {{ ask: (question: Question) => void, stop: () => void }} actions */
  constructor({ ask, stop }) {
    super("chat");
    this.#ask = ask;
    this.#stop = stop;
    this.onSubmit(() => this.#send());
    this.onClick("stop", stop);
    this.onClick("new-chat", () => this.#newChat());
    this.element.addEventListener("keydown", ({ key, isComposing, keyCode }) => {
      if (key === "Escape" && !isComposing && keyCode !== 229 && this.isRunning) stop();
    });
    this.onClick("latest", () => this.#releaseFocus(this.part("latest"), () => this.#scroll.toEnd()));
    const prompt = this.part("prompt");
    prompt.addEventListener("keydown", (event) => {
      if (!isSubmitKey(event)) return;
      event.preventDefault();
      prompt.closest("form")?.requestSubmit();
    });
    this.part("upstream").addEventListener("change", () => this.#showUpstreamFields());
    this.#showUpstreamFields();
    this.onClick("export", () => this.#export());
    this.onClick("cancel-edit", () => this.#edit(null));
    this.onClick("leave-out", () => this.#omitOldest());
    this.onClick("connect-model", () => this.#toggle("connect-model", "connecting"));
    if (this.part("play-tour")) {
      this.onClick("play-tour", () => this.#play("tour"));
      this.onClick("show-rule", () => this.#play("rules", true));
    }
    prompt.addEventListener("input", () => this.#storage.saveDraft(this.#prompt.value));
    addEventListener("pagehide", () => this.#save());
    // In a hidden tab (no animation frames) or with reduced motion, text is shown as it arrives.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#showAll();
    });
    reducedMotion.addEventListener("change", () => {
      if (reducedMotion.matches) this.#showAll();
    });
  }

  get #turn() {
    return this.#history.at(-1);
  }

  get #prompt() {
    return /** @type {HTMLTextAreaElement} */ (this.part("prompt"));
  }

  /** The address of the same stream without moderation. */
  get rawAddress() {
    return this.element.dataset.raw ?? "";
  }

  /**
   * Restores the conversation and the draft after a reload. An answer that was still streaming continues through
   * `resume`, from the last message that was saved.
   * @param {(saved: import("./conversation.js").Saved) => void} resume
   */
  restore(resume) {
    const loaded = this.#storage.load();
    const { turns, lastEventId, progress, key } = loaded;
    this.#prompt.value ||= this.#storage.draft;
    for (const saved of turns) {
      this.#turn?.hideRetry();
      const { question } = saved;
      const messages = messagesOf(this.#history, question.prompt, systemOf(question));
      const turn = this.#add({ ...question, messages });
      turn.restore(saved);
      if (saved.state !== "running") turn.end(saved.state, saved.reason);
    }
    this.#code.refresh();
    const last = turns.at(-1);
    if (last) this.#choose(last.question);
    if (last) this.#scroll.toEnd();
    if (last && last.state !== "running") this.setStatus(last.state);
    if (last?.state === "running") {
      this.#lastEventId = lastEventId;
      this.#progress = progress;
      this.#key = key;
      this.#connect();
      resume(loaded);
    }
    if (!touchOnly.matches && document.activeElement === document.body) this.#prompt.focus({ preventScroll: true });
  }

  /**
   * @param {Question} question
   * @param {string} [key]  the idempotency key of its request
   */
  begin(question, key = "") {
    this.#abandon();
    this.#turn?.hideRetry();
    this.#add(question);
    this.#lastEventId = "";
    this.#key = key;
    this.#progress = undefined;
    this.#typewriter = this.#valueOf("pacing") === "classic" ? new ClassicTypewriter() : new Typewriter();
    this.#meter.begin();
    this.#connect();
    this.#scroll.toEnd();
    this.#save();
  }

  #connect() {
    this.#announce("live-answering");
    this.setStatus("connecting");
    this.enable("stop", true);
    clearTimeout(this.#waiting);
    // Over HTTP/1.1 browsers allow six connections per site across all tabs; a seventh waits without any notice.
    this.#waiting = setTimeout(() => {
      if (this.state === "connecting") this.setStatus("connecting", "waiting");
    }, SLOW_RESPONSE);
  }

  /** @param {Question} question */
  #add(question) {
    const template = /** @type {HTMLTemplateElement} */ (this.part("turn"));
    const element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.#turns.append(element);
    const turn = new Turn(element, question);
    this.#history.push(turn);
    turn.onClick("copy", () => this.#copy(turn.view.source));
    turn.onClick("regenerate", () => this.#askAgain(turn, turn.part("regenerate")));
    turn.onClick("retry", () => this.#askAgain(turn, turn.part("retry")));
    for (const name of ["edit", "change"]) turn.onClick(name, () => this.#edit(turn));
    this.part("empty").hidden = true;
    this.part("new-chat").hidden = this.part("export").hidden = false;
    return turn;
  }

  opened() {
    this.setStatus("streaming");
  }

  /** The connection was lost; `delay` is the time to the next attempt in milliseconds. @param {number} delay */
  showReconnect(delay) {
    const end = performance.now() + delay;
    const showCountdown = () => {
      const seconds = Math.ceil((end - performance.now()) / 1000);
      this.setStatus("reconnecting", seconds > 0 ? "reconnecting-in" : "reconnecting", { seconds });
      if (seconds > 0)
        this.#countdown = setTimeout(() => {
          if (this.state === "reconnecting") showCountdown();
        }, 1000);
    };
    clearTimeout(this.#countdown);
    showCountdown();
  }

  /**
   * Shows reasoning text, which is not part of the answer.
   * @param {string} text
   * @param {string} name  of the thought
   */
  think(text, name) {
    this.#meter.countEvent(text.length);
    this.#turn?.think(text, name);
    this.#scroll.follow();
  }

  /** Shows the unmoderated text beside the answer. @param {string} text */
  showRaw(text) {
    this.#turn?.showRaw(text);
    this.#scroll.follow();
  }

  /**
   * Records that every message up to this id has been received.
   * @param {string} lastEventId
   * @param {import("./answer-reader.js").Progress} progress
   */
  received(lastEventId, progress) {
    this.#lastEventId = lastEventId;
    this.#progress = progress;
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
    this.#update();
  }

  /** A moderation rule has changed the question. */
  promptModerated() {
    this.#turn?.promptModerated();
  }

  moderated() {
    this.#meter.countEvent(0);
    this.#turn?.moderated();
  }

  /**
   * The stream has ended normally: pending text is still typed out.
   * @param {End} state
   * @param {string} [reason]
   */
  finish(state, reason = "") {
    this.#ending = { state, reason };
    this.#typewriter.finish(performance.now());
    this.#update();
  }

  /**
   * Ends the answer now and shows all pending text at once. An answer that was already complete keeps its state.
   * @param {End} state
   * @param {string} [reason]
   * @param {string} [login]
   */
  stop(state, reason = "", login = "") {
    this.#ending ??= { state, reason, login };
    this.#showAll();
  }

  #send() {
    const { prompt, document: name } = this.#question;
    // A double click does not submit twice.
    if (prompt === "" && (this.isRunning || name === undefined)) return this.#prompt.focus();
    // Text not yet shown is part of the conversation too.
    this.#showAll();
    this.#submit(this.#question);
  }

  /** The question in the form. @returns {Question} */
  get #question() {
    const { prompt = "", upstream = "default", document: name, interval, model, system = "" } = this.fields;
    // The page has no document field if the default upstream is a server that would reject it.
    const isPlayed = this.#plays && name !== undefined;
    return {
      upstream,
      prompt: prompt.trim(),
      messages: messagesOf(this.#before, prompt.trim(), system.trim()),
      ...(isPlayed ? { document: name, interval: Number(interval) } : {}),
      ...(model && !isPlayed ? { model } : {}),
    };
  }

  /** The turns that the question in the form follows. */
  get #before() {
    return this.#edited ? this.#history.slice(0, this.#history.indexOf(this.#edited)) : this.#history;
  }

  /** The largest request that the server accepts, in bytes. */
  get #limit() {
    return Number(this.element.dataset.limit) || Infinity;
  }

  /** Sends the question; if it exceeds the server's request limit, offers to omit the oldest turns. @param {Question} question */
  #submit(question) {
    const size = sizeOf(question);
    const isTooLong = size > this.#limit;
    const reason = word("too-long", { size: Math.ceil(size / 1000), limit: Math.floor(this.#limit / 1000) });
    this.part("too-long-reason").textContent = reason;
    const canOmit = isTooLong && question.messages.filter(({ role }) => role !== "system").length > 1;
    this.part("too-long").hidden = !canOmit;
    if (canOmit) return;
    this.#putBackDraft(this.#edited ? this.#draft : "");
    this.#truncate();
    if (!isTooLong) return this.#ask(question);
    // A question that is too long on its own is not sent but stays in the conversation.
    if (this.isRunning) this.#stop();
    this.begin(question);
    this.stop("failed", reason);
  }

  /** Removes the oldest turns until the request fits, then submits it. */
  #omitOldest() {
    while (this.#before.length && sizeOf(this.#question) > this.#limit) this.#history.shift()?.element.remove();
    /** @type {HTMLFormElement} */ (this.part("form")).requestSubmit();
  }

  /** Plays one of the built-in documents. @param {string} name @param {boolean} [isCompared] */
  #play(name, isCompared = false) {
    const played = { upstream: "default", prompt: "", messages: [], document: name, interval: 0.1 };
    this.#releaseFocus(/** @type {HTMLElement} */ (document.activeElement), () =>
      this.#ask(isCompared ? { ...played, seed: 7, isCompared } : played),
    );
  }

  /**
   * Moves a question into the input for editing; null cancels editing.
   * @param {Turn | null} turn
   */
  #edit(turn) {
    if (!this.#edited) this.#draft = this.#prompt.value;
    this.#edited = turn;
    this.part("editing").hidden = turn === null || (turn === this.#turn && turn.view.source === "");
    if (turn) this.#prompt.value = turn.question.prompt;
    else this.#putBackDraft(this.#draft);
    this.#prompt.focus();
  }

  /** @param {string} text */
  #putBackDraft(text) {
    this.#prompt.value = text;
    this.#storage.saveDraft(text);
  }

  /** An edited question replaces the original and all later turns. */
  #truncate() {
    const from = this.#edited ? this.#history.indexOf(this.#edited) : -1;
    if (from >= 0) {
      if (this.isRunning) this.#stop();
      for (const { element } of this.#history.splice(from)) element.remove();
      this.#code.forget();
    }
    this.#endEditing();
  }

  #endEditing() {
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
    const turns = this.#history.map((turn) =>
      // A complete answer has ended, though not all of it may be shown yet: nothing more could be requested after a reload.
      turn === last ? turn.save(this.#typewriter.pending, this.#ending) : turn.save(),
    );
    return { turns, lastEventId: this.#lastEventId, progress: this.#progress, key: this.#key };
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
   * Sends the last question again and replaces its answer.
   * @param {Turn} turn
   * @param {HTMLElement} button
   */
  #askAgain(turn, button) {
    this.#releaseFocus(button, () => {
      this.#history.pop();
      turn.element.remove();
      this.#code.forget();
      if (this.#edited === turn) this.#endEditing();
      this.#ask(turn.question);
    });
  }

  /** Clears the conversation. */
  #newChat() {
    if (this.isRunning) this.#stop();
    for (const { element } of this.#history.splice(0)) element.remove();
    this.#code.forget();
    this.#meter.begin();
    this.#edited = null;
    this.part("empty").hidden = false;
    for (const name of ["new-chat", "export", "editing", "too-long"]) this.part(name).hidden = true;
    this.#save();
    this.setStatus("idle");
    this.part("live").textContent = "";
    this.#scroll.toEnd();
    this.part("prompt").focus();
  }

  /** Whether the chosen upstream plays documents. */
  get #plays() {
    return this.#chosen?.dataset.plays !== undefined;
  }

  get #chosen() {
    return /** @type {HTMLSelectElement} */ (this.part("upstream")).selectedOptions[0];
  }

  /** Shows the fields of the chosen upstream: a document to play, or a model and a system prompt. */
  #showUpstreamFields() {
    for (const field of this.element.querySelectorAll('[data-part="playing"]'))
      field.toggleAttribute("hidden", !this.#plays);
    /** @type {HTMLElement} */ (document.getElementById("instructions")).hidden = this.#plays;
    const models = (this.#chosen?.dataset.models ?? "").split(" ").filter(Boolean);
    this.part("models").hidden = models.length < 2;
    this.part("model").replaceChildren(...(models.length < 2 ? [] : models).map((name) => new Option(name, name)));
  }

  /** Chooses the upstream, the model and the system prompt of an earlier question. @param {Question} question */
  #choose({ upstream, model, messages }) {
    for (const [name, value] of Object.entries({ upstream, model })) {
      const select = /** @type {HTMLSelectElement} */ (this.part(name));
      if (value && [...select.options].some((option) => option.value === value)) select.value = value;
      if (name === "upstream") this.#showUpstreamFields();
    }
    const system = /** @type {HTMLTextAreaElement} */ (document.querySelector("#instructions textarea"));
    system.value ||= systemOf({ messages });
  }

  /** @param {string} select */
  #valueOf(select) {
    return /** @type {HTMLSelectElement} */ (this.part(select)).value;
  }

  /** Stops the running answer and keeps the text received so far. */
  #abandon() {
    if (this.isRunning) this.stop("stopped", word("problem-stopped"));
  }

  #update() {
    if (document.hidden || reducedMotion.matches) this.#showAll();
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
    else if (this.#ending) this.#end(this.#ending);
    if (text) this.#scroll.follow();
  }

  /** @param {Ending} ending */
  #end({ state, reason, login }) {
    this.#ending = null;
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
    this.#announce((await copy(text)) ? "live-copied" : "live-not-copied");
  }

  /** Announces a message to screen readers. @param {string} name */
  #announce(name) {
    this.part("live").textContent = word(name);
  }

  /**
   * Moves the focus from a pressed button to the conversation before the button disappears.
   * @param {HTMLElement} button
   * @param {() => void} act
   */
  #releaseFocus(button, act) {
    if (document.activeElement === button) this.#scroller.focus({ preventScroll: true });
    act();
  }
}
