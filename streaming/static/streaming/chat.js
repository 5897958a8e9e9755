// The chat: a question, its answer as it is written, and what can be done with it. It knows no network.

import { copy } from "./clipboard.js";
import { Code } from "./code.js";
import { MarkdownView } from "./markdown/view.js";
import { Meter } from "./meter.js";
import { Panel, Part } from "./panels.js";
import { Scroll } from "./scroll.js";
import { ClassicTypewriter, Typewriter } from "./typewriter.js";
import { word } from "./words.js";

/** @typedef {"done" | "length" | "stopped" | "blocked" | "failed" | "drained"} End */
/** @typedef {{ role: "user" | "assistant", content: string }} Said */

/**
 * What is asked: of which upstream, after what was said before, and how a document is played.
 * @typedef {{ upstream: string, prompt: string, messages: Said[], document?: string, interval?: number }} Question
 */

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

/** One question and its answer. */
class Turn extends Part {
  #moderated = 0;
  #thoughts = new Text();

  /**
   * @param {HTMLElement} element
   * @param {Question} question
   */
  constructor(element, question) {
    super(element);
    this.question = question;
    this.answer = this.part("answer");
    /** @type {Pick<MarkdownView, "source" | "append" | "flush" | "end">} */
    this.view = new MarkdownView(this.answer, { copyLabel: word("copy-code") });
    this.part("thoughts").append(this.#thoughts);
    this.part("question").textContent = question.prompt || word("play", { document: question.document ?? "" });
  }

  /** It has been followed by another question: to answer it anew would take that one away. */
  settle() {
    this.part("regenerate").hidden = this.part("retry").hidden = true;
  }

  moderated() {
    this.#moderated++;
    this.part("moderated").textContent = word(this.#moderated === 1 ? "moderated-one" : "moderated-many", {
      count: this.#moderated,
    });
  }

  /** @param {string} text */
  write(text) {
    try {
      this.view.append(text);
      this.view.flush();
    } catch (error) {
      this.#showPlain(error);
    }
  }

  /** What cannot be shown as Markdown is shown as it came: nothing is lost, and the answer has an end. @param {unknown} error */
  #showPlain(error) {
    reportError(error);
    const { source } = this.view;
    const { answer } = this;
    answer.replaceChildren(source);
    answer.classList.add("plain");
    this.view = {
      source,
      append(text) {
        this.source += text;
      },
      flush() {
        answer.textContent = this.source;
      },
      end() {},
    };
  }

  /** What was said on the way to the answer: folded away, for who wants to know. @param {string} text */
  think(text) {
    this.#thoughts.appendData(text);
    this.part("aside").hidden = false;
  }

  /**
   * @param {End} state
   * @param {string} reason
   * @param {string} [login]  where to log in, if that is what is missing
   */
  end(state, reason, login = "") {
    try {
      this.view.end();
    } catch (error) {
      this.#showPlain(error);
    }
    this.answer.ariaBusy = "false";
    this.part("actions").hidden = false;
    this.part("copy").hidden = this.view.source === "";
    const link = /** @type {HTMLAnchorElement} */ (this.part("login"));
    link.hidden = login === "";
    if (login) link.href = login;
    const outcome = this.part("outcome");
    outcome.dataset.state = state;
    outcome.hidden = reason === "";
    this.part("reason").textContent = reason;
    this.part("retry").hidden = state !== "failed" && state !== "drained";
  }
}

export class ChatPanel extends Panel {
  #scroller = this.part("scroller");
  #turns = this.part("turns");
  #scroll = new Scroll(this.#scroller, this.#turns, (stuck) => {
    this.part("latest").hidden = stuck;
  });
  #meter = new Meter((name) => this.part(name));
  #code = new Code(this.#turns, (copied) => this.#say(copied ? "live-copied" : "live-not-copied"));
  /** @type {Turn[]} */
  #said = [];
  /** @type {Typewriter | ClassicTypewriter} */
  #typewriter = new Typewriter();
  #frame = 0;
  /** What to do when everything is shown. @type {(() => void) | null} */
  #farewell = null;
  #countdown = 0;
  #ask;
  #stop;

  /** @param {{ ask: (question: Question) => void, stop: () => void }} acts */
  constructor({ ask, stop }) {
    super("chat");
    this.#ask = ask;
    this.#stop = stop;
    this.onSubmit((fields) => this.#send(fields));
    this.onClick("stop", stop);
    this.onClick("anew", () => this.#anew());
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

  /** @param {Question} question */
  begin(question) {
    this.#cease();
    this.#turn?.settle();
    const template = /** @type {HTMLTemplateElement} */ (this.part("turn"));
    const element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.#turns.append(element);
    const turn = new Turn(element, question);
    this.#said.push(turn);
    turn.onClick("copy", () => this.#copy(turn.view.source));
    turn.onClick("regenerate", () => this.#again(turn, turn.part("regenerate")));
    turn.onClick("retry", () => this.#again(turn, turn.part("retry")));
    this.#typewriter = this.#valueOf("pacing") === "classic" ? new ClassicTypewriter() : new Typewriter();
    this.part("empty").hidden = true;
    this.part("anew").hidden = false;
    this.#meter.begin();
    this.#say("live-answering");
    this.setStatus("connecting");
    this.enable("stop", true);
    this.#scroll.toEnd();
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
    this.#farewell = () => this.#end(state, reason);
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
    this.#farewell ??= () => this.#end(state, reason, login);
    this.#showAll();
  }

  /** @param {Record<string, string>} fields */
  #send({ prompt = "", upstream = "default", document: name, interval }) {
    const question = prompt.trim();
    // The page has no such field where "default" is a server that would refuse it.
    const isPlayed = upstream === "default" && name !== undefined;
    // A second click, or a third, asks nothing anew.
    if (question === "" && (this.isRunning || !isPlayed)) return this.part("prompt").focus();
    const field = /** @type {HTMLTextAreaElement} */ (this.part("prompt"));
    field.value = "";
    this.#ask({
      upstream,
      prompt: question,
      messages: this.#messages(question),
      ...(isPlayed ? { document: name, interval: Number(interval) } : {}),
    });
  }

  /** What was said and answered so far, for who answers. @param {string} prompt @returns {Said[]} */
  #messages(prompt) {
    const before = this.#said
      .filter(({ view }) => view.source !== "")
      .flatMap(({ question, view }) => [
        { role: /** @type {const} */ ("user"), content: question.prompt },
        { role: /** @type {const} */ ("assistant"), content: view.source },
      ]);
    return [...before, { role: /** @type {const} */ ("user"), content: prompt }].filter(
      ({ content }) => content !== "",
    );
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
  #anew() {
    if (this.isRunning) this.#stop();
    for (const { element } of this.#said.splice(0)) element.remove();
    this.#code.forget();
    this.#meter.begin();
    this.part("empty").hidden = false;
    this.part("anew").hidden = true;
    this.setStatus("idle");
    this.part("live").textContent = "";
    this.part("prompt").focus();
  }

  /** A document can be played by this site itself, and by no other. */
  #choose() {
    const isOther = this.#valueOf("upstream") !== "default";
    for (const field of this.element.querySelectorAll('[data-part="playing"]'))
      field.toggleAttribute("hidden", isOther);
  }

  /** @param {string} select */
  #valueOf(select) {
    return /** @type {HTMLSelectElement} */ (this.part(select)).value;
  }

  /** What was being written is over, and nothing of what has come is lost. */
  #cease() {
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
    else if (this.#farewell) this.#farewell();
    if (text) this.#scroll.follow();
  }

  /**
   * @param {End} state
   * @param {string} reason
   * @param {string} [login]
   */
  #end(state, reason, login) {
    this.#farewell = null;
    this.#turn?.end(state, reason, login);
    this.#code.refresh();
    this.#scroll.follow();
    this.part("live").textContent = reason || word("live-done");
    this.setStatus(state);
    this.enable("stop", false);
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
