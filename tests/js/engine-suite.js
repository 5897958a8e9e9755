// Checks that must pass in every browser engine, run in a page of the misbehaving server. Returns the failures as JSON
// values.

import * as client from "/static/event-source.js";
import { createMarkdown } from "/static/markdown/dialect.js";
import { patch } from "/static/markdown/patch.js";
import { MarkdownView } from "/static/markdown/view.js";
import { isAtEnd, Scroll } from "/static/scroll.js";
import { Typewriter } from "/static/typewriter.js";
import { scenarios } from "./scenarios.js";
import { sentences } from "./standard.js";

const md = createMarkdown();
const nextFrame = () => new Promise(requestAnimationFrame);

/** @param {string} text */
function whole(text) {
  const root = document.createElement("div");
  patch({ parent: root, last: null, kept: 0 }, md.parse(text, {}));
  return root;
}

/** The incremental rendering of every prefix equals rendering it at once. @param {string} text */
function wrongPrefix(text) {
  const root = document.createElement("div");
  const view = new MarkdownView(root, { heal: false, cursor: false });
  for (let end = 1; end <= text.length; end++) {
    view.append(text[end - 1]);
    view.flush();
    if (!root.isEqualNode(whole(text.slice(0, end)))) return [text.slice(0, end), root.outerHTML];
  }
  return null;
}

/** Shown text never disappears while streaming, and the result equals rendering the text at once. @param {string} text */
function wrongEnd(text) {
  const root = document.createElement("div");
  const view = new MarkdownView(root);
  for (const character of text) {
    view.append(character);
    view.flush();
  }
  view.end();
  return root.isEqualNode(whole(text)) ? null : [text, root.outerHTML];
}

async function selectionSurvives() {
  const root = document.body.appendChild(document.createElement("div"));
  const view = new MarkdownView(root);
  view.append("# Earlier\n\nMore words.\n\n- an item that grows");
  view.flush();
  const text = root.querySelector("li").firstChild;
  getSelection().setBaseAndExtent(text, 3, text, 8);
  const before = String(getSelection());
  for (let n = 0; n < 200; n++) {
    view.append(n % 9 ? " word" : " **bold**\n- item");
    view.flush();
  }
  view.end();
  const after = String(getSelection());
  root.remove();
  return before === after && before !== "" ? null : [before, after];
}

async function staysAtTheEnd() {
  const scroller = document.body.appendChild(document.createElement("div"));
  const content = scroller.appendChild(document.createElement("div"));
  Object.assign(scroller.style, { height: "200px", width: "300px", overflow: "auto" });
  const changes = [];
  const scroll = new Scroll(scroller, content, (stuck) => changes.push(stuck));
  const view = new MarkdownView(content);
  const gaps = [];
  for (let n = 0; n < 40; n++) {
    view.append(`word ${n} `.repeat(9) + (n % 3 ? "" : "\n\n"));
    view.flush();
    scroll.follow();
    await nextFrame();
    gaps.push(scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop);
  }
  scroller.scrollTop -= 100;
  const place = scroller.scrollTop;
  for (let n = 0; n < 5; n++) {
    view.append("more\n\n");
    view.flush();
    scroll.follow();
    await nextFrame();
  }
  const stayed = scroller.scrollTop === place;
  scroll.toEnd();
  const back = isAtEnd(scroller);
  scroller.remove();
  const right = Math.max(...gaps) <= 1.5 && stayed && back && changes.join() === "false,true";
  return right ? null : [Math.max(...gaps), stayed, back, changes];
}

/** Text streamed over a real connection appears completely, and before the stream ends. @param {string} origin */
async function streams(origin) {
  const root = document.createElement("div");
  const view = new MarkdownView(root);
  const typewriter = new Typewriter();
  let first = "";
  for await (const { event, data } of client.fetchEvents(`${origin}/drip/${Math.random()}`)) {
    if (event === "done") typewriter.finish(performance.now());
    else typewriter.push(`**${data}** and more`, performance.now());
    await nextFrame();
    view.append(typewriter.take(performance.now() + 2000));
    view.flush();
    first ||= root.textContent;
  }
  view.append(typewriter.flush());
  view.end();
  return first && root.innerHTML === '<p dir="auto"><strong>你好</strong> and more</p>'
    ? null
    : [first, root.innerHTML];
}

/**
 * @param {string} origin
 * @param {string[]} samples
 * @returns {Promise<unknown[]>}
 */
export async function failures(origin, samples) {
  const found = [];
  const add = (name, wrong) => wrong && found.push([name, ...wrong]);
  for (const text of samples) {
    add("prefix", wrongPrefix(text));
    add("end", wrongEnd(text));
  }
  add("selection", await selectionSurvives());
  add("scrolling", await staysAtTheEnd());
  add("streaming", await streams(origin));
  // WebKitGTK encodes the bytes of a header a second time.
  const isWebKit = !/Chrome|Firefox/.test(navigator.userAgent);
  const checks = [...scenarios(client, origin), ...sentences(client.FetchEventSource, origin)].filter(
    ({ needsBackPressure, needsByteHeaders }) => !needsBackPressure && !(needsByteHeaders && isWebKit),
  );
  for (const { name, sentence, run, expect } of checks) {
    const got = await run().catch(String);
    if (JSON.stringify(got) !== JSON.stringify(expect)) found.push([name ?? sentence, got, expect]);
  }
  return found;
}
