// @ts-check
/** The page of open streams: keeps its table up to date, over an event stream. */

import { FetchEventSource } from "../event-source.js";

/** @typedef {{ key: string, stream: string, who: string, where: string, seconds: number, [part: string]: string | number }} Row */

const table = /** @type {HTMLTableElement} */ (document.querySelector("#open-streams"));
const template = /** @type {HTMLTemplateElement} */ (document.querySelector("template[data-part=row]"));
const body = table.tBodies[0];
const PARTS = ["who", "where", "chars", "held", "hits", "readers", "process"];

const events = new FetchEventSource(table.dataset.events ?? "");
events.onopen = () => showConnection("live");
// A response that is no stream closes it: the user may no longer be logged in.
events.onerror = () => showConnection(events.readyState === FetchEventSource.CLOSED ? "closed" : "lost");
events.onmessage = (/** @type {MessageEvent} */ event) => {
  const { complete, streams } = JSON.parse(event.data);
  show("incomplete", !complete);
  show("none", streams.length === 0);
  write(document, "count", String(streams.length));
  update(streams);
};
// In the back/forward cache it only disconnects, and reconnects when the page is shown again.
addEventListener("pagehide", ({ persisted }) => {
  if (!persisted) events.close();
});

/** @param {"live" | "lost" | "closed"} state */
function showConnection(state) {
  for (const name of ["live", "lost", "closed"]) show(name, name === state);
}

/** Rows keep their place and their focus: only what has changed is written. @param {Row[]} streams */
function update(streams) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  for (const stream of streams) {
    const row = known.get(stream.key) ?? add(stream);
    known.delete(stream.key);
    write(row, "since", `${stream.seconds} s`);
    for (const name of PARTS) write(row, name, String(stream[name] === "" ? "–" : stream[name]));
  }
  for (const row of known.values()) row.remove();
}

/** @param {Row} stream */
function add(stream) {
  const fragment = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const row = /** @type {HTMLTableRowElement} */ (fragment.querySelector("tr"));
  row.dataset.key = stream.key;
  write(row, "stream", stream.stream || "–");
  const button = row.querySelector("button");
  if (button) {
    button.value = stream.key;
    button.setAttribute("aria-label", `${button.textContent} ${stream.stream}`);
  }
  body.append(row);
  return row;
}

/** A text that has not changed is left alone: it would be announced again. @param {ParentNode} parent @param {string} name @param {string} text */
function write(parent, name, text) {
  const cell = part(parent, name);
  if (cell.textContent !== text) cell.textContent = text;
}

/** @param {string} name @param {boolean} isShown */
function show(name, isShown) {
  part(document, name).hidden = !isShown;
}

/** @param {ParentNode} parent @param {string} name */
function part(parent, name) {
  return /** @type {HTMLElement} */ (parent.querySelector(`[data-part=${name}]`));
}
