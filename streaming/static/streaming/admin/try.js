// @ts-check
/** The page "Try it": reloads the result when the form changes, and plays it piece by piece. */

import { Fragment, debounce } from "./fragments.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#try-form"));
const target = /** @type {HTMLElement} */ (document.querySelector("#trial"));
const fragment = new Fragment(target);
const PIECE_MILLISECONDS = 120;

const load = debounce(() => fragment.load(form.action, form));
form.addEventListener("input", (event) => {
  if (event.target instanceof HTMLInputElement && event.target.type === "range") {
    const output = form.querySelector(`output[for=${event.target.id}]`);
    if (output) output.textContent = event.target.value;
  }
  load();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  fragment.load(form.action, form);
});
target.addEventListener("loaded", setUpPlayer);
setUpPlayer();

/** Sets up the player: after each piece it shows what was sent and what is held back. */
function setUpPlayer() {
  const player = target.querySelector(".steps-player");
  const slider = player?.querySelector("input");
  const button = player?.querySelector("button");
  const soFar = player?.querySelector("[data-part=so-far]");
  const held = player?.querySelector("[data-part=held]");
  if (!(player instanceof HTMLElement) || !slider || !button || !soFar || !held) return;
  const rows = [...target.querySelectorAll(".steps-table tbody tr")];
  const sent = rows.map((row) => row.querySelector("[data-part=sent]")?.textContent ?? "");
  const kept = rows.map((row) => row.querySelector("[data-part=held]")?.textContent ?? "");
  const show = () => {
    const count = slider.valueAsNumber;
    soFar.textContent = sent.slice(0, count).join("");
    held.textContent = count ? kept[count - 1] : "";
  };
  let timer = 0;
  const play = () => {
    if (!slider.isConnected || slider.valueAsNumber >= rows.length) return;
    slider.valueAsNumber += 1;
    show();
    timer = window.setTimeout(play, PIECE_MILLISECONDS);
  };
  slider.addEventListener("input", (event) => {
    event.stopPropagation();
    show();
  });
  button.addEventListener("click", () => {
    clearTimeout(timer);
    slider.valueAsNumber = 0;
    play();
  });
  player.hidden = false;
  show();
}
